# Copyright 2026 The mtf_switch Authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The slices of each core, by hand, and the picture of them."""

import matplotlib.image
import numpy as np
import pytest

from mtf_switch import errors
from mtf_switch.planning import held_slices
from mtf_switch.planning import picture

# 16 cores: Figure 9's.
SIZES = held_slices.Sizes(
    num_experts=16, d_ff=64, num_heads=32, batch=48, outer_batch=1
)
FIGURE_9 = {
    "data": ("data:16", "batch:data"),
    "model": ("model:16", "d_ff:model,heads:model,vocab:model"),
    "model and data": (
        "data:4;model:4",
        "batch:data,d_ff:model,heads:model,vocab:model",
    ),
    "expert and data": ("data:16", "batch:data,experts:data"),
    "expert, model and data": (
        "data:4;model:4",
        "batch:data,experts:data,d_ff:model,heads:model,vocab:model",
    ),
}


def layout(name, sizes=SIZES):
  return held_slices.Layout(name, *FIGURE_9[name], sizes)


# What core 6 holds: of 16 in a row, or the third of the second of four rows.
@pytest.mark.parametrize(
    "name, experts, d_ff, heads, sequences",
    [
        ("data", (0, 16), (0, 64), (0, 32), (18, 21)),
        ("model", (0, 16), (24, 28), (12, 14), (0, 48)),
        ("model and data", (0, 16), (32, 48), (16, 24), (12, 24)),
        ("expert and data", (6, 7), (0, 64), (0, 32), (18, 21)),
        ("expert, model and data", (4, 8), (32, 48), (16, 24), (12, 24)),
    ],
)
def test_the_seventh_core_of_figure_9(name, experts, d_ff, heads, sequences):
  held = held_slices.cores(layout(name))
  assert held[6] == held_slices.Core(
      experts, d_ff, heads, outer_batches=(0, 1), sequences=sequences
  )


@pytest.mark.parametrize(
    "name, of_experts, of_dense_layers, of_data",
    [
        ("data", 1, 1, 16),
        ("model", 16, 16, 1),
        ("model and data", 4, 4, 4),
        ("expert and data", 16, 1, 16),
        ("expert, model and data", 16, 4, 4),
    ],
)
def test_how_many_slices_figure_9_shows(
    name, of_experts, of_dense_layers, of_data
):
  held = held_slices.cores(layout(name))
  assert len(held) == 16
  assert len({(core.experts, core.d_ff) for core in held}) == of_experts
  assert len({core.d_ff for core in held}) == of_dense_layers
  assert len({core.sequences for core in held}) == of_data


def test_replicated_experts():
  """2 copies of 2 experts; the first half of the batch goes to the first."""
  sizes = held_slices.Sizes(2, 8, 4, batch=12, outer_batch=2)
  replicated = held_slices.Layout(
      "replicated",
      "outer:2;data:2",
      "outer_batch:outer,batch:data,experts:data",
      sizes,
  )
  held = held_slices.cores(replicated)
  assert [core.experts for core in held] == [(0, 1), (1, 2)] * 2
  assert [core.outer_batches for core in held] == [(0, 1)] * 2 + [(1, 2)] * 2
  assert [core.sequences for core in held] == [(0, 3), (3, 6)] * 2
  assert held_slices.describe_weights(replicated).splitlines() == [
      "core 0: expert 0 of 2,",
      "d_ff 0-7 of 8, heads 0-3 of 4",
      "experts: 2 slices, each on 2 cores",
      "dense layers: the same on 4 cores",
  ]
  assert held_slices.describe_data(replicated).splitlines() == [
      "core 0: sequences 0-2 of 12",
      "4 slices, no copies",
  ]


def test_sequences_in_several_pieces():
  """4 outer batches of 3, 2 a core, each of them split over 3 cores."""
  sizes = held_slices.Sizes(0, 8, 4, batch=12, outer_batch=4)
  in_pieces = held_slices.Layout(
      "pieces", "outer:2;data:3", "outer_batch:outer,batch:data", sizes
  )
  last = held_slices.cores(in_pieces)[-1]
  assert (last.outer_batches, last.sequences) == ((2, 4), (2, 3))
  assert held_slices.describe_data(in_pieces).splitlines() == [
      "core 0: sequence 0 of 3 of each of",
      "outer batches 0-1 of 4",
      "6 slices, no copies",
  ]
  # Whole outer batches follow one another.
  whole = in_pieces._replace(layout_rules="outer_batch:outer")
  assert "sequences 0-5 of 12" in held_slices.describe_data(whole)


@pytest.mark.parametrize(
    "sizes, lines",
    [
        (SIZES, ["experts: 4 slices, each on 4", "dense layers: 4 slices"]),
        (SIZES._replace(has_dense_layers=False), ["experts: 4 slices"]),
        (SIZES._replace(num_experts=0), ["4 slices, each on 4 cores"]),
    ],
)
def test_the_words_are_of_what_a_model_has(sizes, lines):
  text = held_slices.describe_weights(layout("model and data", sizes))
  found = text.splitlines()[2:]
  assert len(found) == len(lines)
  assert all(map(str.startswith, found, lines))


@pytest.mark.parametrize(
    "mesh_shape, places",
    [
        ("", [(0, 0)]),
        ("data:6", [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]),
        ("data:3;model:2", [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]),
        (
            "outer:2;data:2;model:2",
            [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)],
        ),
    ],
)
def test_where_cores_are_drawn(mesh_shape, places):
  assert picture.grid(mesh_shape) == places


def test_colours_are_the_same_where_the_slices_are():
  a, b, c = (0, 1), (1, 2), (2, 3)
  for held in (
      [(a, a), (b, a), (a, a), (c, a)],
      [(a, a), (a, b), (a, a), (a, c)],
      [(a, a), (a, b), (a, a), (b, b)],
  ):
    one, two, three, four = picture.colours(held, 0.6)
    assert one == three and len({one, two, four}) == 3
  assert len(set(picture.greys([a, b, a, c]))) == 3


def test_the_picture_has_the_colours_of_the_slices(tmp_path):
  path = tmp_path / "layouts.png"
  picture.draw([layout(name) for name in FIGURE_9], str(path))
  pixels = matplotlib.image.imread(path)[..., :3]
  found = {tuple(x) for x in np.unique(pixels.reshape(-1, 3), axis=0)}
  held = held_slices.cores(layout("expert, model and data"))
  of_experts = picture.colours([(x.experts, x.d_ff) for x in held], 0.6)
  assert len(set(of_experts)) == 16
  for colour in of_experts + picture.greys([x.d_ff for x in held]):
    # Of 8 bits, cut off or rounded.
    assert any(np.allclose(colour, x, atol=1 / 255) for x in found)
  assert (pixels[:5] == 1).all(), "the title is cut off"


def test_a_picture_is_of_64_cores_at_most(tmp_path):
  large = layout("data")._replace(mesh_shape="data:65")
  with pytest.raises(errors.UserError, match="64 cores; the mesh has 65."):
    picture.draw([large], str(tmp_path / "layouts.png"))
  largest = large._replace(mesh_shape="data:64", sizes=SIZES._replace(batch=64))
  picture.draw([largest], str(tmp_path / "layouts.png"))
  assert (tmp_path / "layouts.png").exists()


def test_a_picture_is_as_wide_as_a_page_shows_it(tmp_path):
  path = tmp_path / "layouts.png"
  picture.draw([layout(name) for name in FIGURE_9], str(path))
  _, width, _ = matplotlib.image.imread(path).shape
  assert width < 850  # Wider ones are shrunk, until nobody can read them.


@pytest.mark.parametrize(
    "part, short, fraction",
    [
        ((0, 16), "all", "all"),
        ((4, 8), "4-7", "2/4"),
        ((15, 16), "15", "16/16"),
    ],
)
def test_what_stands_in_a_cell(part, short, fraction):
  # pylint: disable=protected-access
  assert held_slices.short(part, 16) == short
  assert held_slices.fraction(part, 16) == fraction
