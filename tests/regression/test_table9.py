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

"""Table 9: the gin files have its rows; parameters and FLOPs come out."""

import mtf_switch  # isort: skip  # noqa: F401
import math

import pytest

from mtf_switch.paper import tables
from mtf_switch.paper import text
from mtf_switch.planning import accounting
from mtf_switch.planning import table9
from tests import gin_files
from tests.regression import ours

CORRECTED = [file for file in ours.SIZES if not file.endswith("_table9")]


@pytest.mark.filterwarnings("ignore::mtf_switch.errors.UserNotice")
@pytest.mark.parametrize("file", ours.SIZES)
def test_gin_file_builds_a_graph_with_these_parameters(file):
  size = ours.size(file)
  required = [] if file.startswith("t5") else ["num_cores = 1"]
  gin_files.parse([f"models/{file}.gin"], required)
  # 32000 pieces and 100 sentinels, which Mesh TensorFlow rounds up to 32128.
  assert accounting.size_of(gin_files.build_model(32100)) == size
  # Tokens for one slot of each of Switch-C's 2048 experts.
  shapes = gin_files.variable_shapes(32100, 32, 512, 114)

  def count(part):
    return sum(math.prod(shapes[name]) for name in shapes if part in name)

  assert count("") == accounting.num_parameters(size)
  assert count("/experts/") == accounting.expert_parameters(size)


@pytest.mark.parametrize("file", CORRECTED)
def test_printed_parameters(file):
  row = tables.TABLE_9[table9.FILES[file]]
  assert (
      table9.rounded_as(ours.parameters(file), row.parameters) == row.parameters
  )


@pytest.mark.parametrize("file", CORRECTED)
def test_printed_flops(file):
  row = tables.TABLE_9[table9.FILES[file]]
  # Kaplan's rule leaves out what is smaller than that.
  assert ours.flops(file) == pytest.approx(table9.number(row.flops), rel=0.01)


@pytest.mark.parametrize("experts", [1, 128, 2048])
def test_switch_base_has_the_flops_of_t5_base(experts):
  assert ours.flops("switch_base", num_experts=experts) == ours.flops("t5_base")
  table = tables.TABLE_9
  assert table["Switch-Base"].flops == table["T5-Base"].flops


def test_large_is_relu_or_geglu():
  """The row says GEGLU 2816; parameters and FLOPs are those of ReLU 4096."""
  table = tables.TABLE_9
  assert (table["T5-Large"].geglu, table["T5-Large"].d_ff) == (True, 2816)
  assert table9.rounded_as(ours.parameters("t5_large"), "0.7B") == "0.7B"
  assert table9.rounded_as(ours.parameters("t5_large_table9"), "0.7B") == "0.8B"
  assert table9.rounded_as(ours.parameters("switch_large"), "26B") == "26B"
  assert (
      table9.rounded_as(ours.parameters("switch_large_table9"), "26B") == "27B"
  )
  for model in ("t5_large", "switch_large"):
    assert table9.rounded_as(ours.flops(model), "425B") == "425B"
    assert table9.rounded_as(ours.flops(f"{model}_table9"), "425B") == "433B"


def test_base_is_geglu_as_printed():
  """ReLU with 3072, as was released, makes the same numbers."""
  relu = dict(gated=False, d_ff=3072)
  for model in ("t5_base", "switch_base"):
    assert ours.size(model).gated
    assert ours.parameters(model) == ours.parameters(model, **relu)
    assert ours.flops(model) == ours.flops(model, **relu)


def test_embeddings_are_tied_or_not():
  """Only Base's size, 223M in Tables 6 to 8, can tell."""
  assert table9.rounded_as(ours.parameters("t5_base"), "223M") == "223M"
  untied = ours.parameters("t5_base", tied_embeddings=False)
  assert table9.rounded_as(untied, "223M") == "248M"


def test_xxl_has_64_or_128_experts():
  """The row says 64; its parameters are those of 128."""
  assert tables.TABLE_9["Switch-XXL"].experts == 64
  assert table9.rounded_as(ours.parameters("switch_xxl"), "395B") == "395B"
  assert (
      table9.rounded_as(ours.parameters("switch_xxl_table9"), "395B") == "201B"
  )


def test_c_has_32_or_30_heads():
  """The row says 32, and 30 were released; only the FLOPs can tell."""
  printed = table9.number(tables.TABLE_9["Switch-C"].flops)
  for heads, error in ((32, 0.0045), (30, -0.0235)):
    assert (
        table9.rounded_as(ours.parameters("switch_c", num_heads=heads), "1571B")
        == "1571B"
    )
    assert ours.flops(
        "switch_c", num_heads=heads
    ) / printed - 1 == pytest.approx(error, abs=1e-4)
  assert ours.size("switch_c").num_heads == 32


def test_base_has_12_or_14_heads():
  """Table 1 widens 14 heads to 16 for Switch-Base+; Table 9 has 12.

  Heads of 64 fill a width of 768 with 12, and the 896 of Switch-Base+ with 14.
  """
  size = ours.size("switch_base")
  base, plus = tables.TABLE_1_BASE_PLUS["d_model"]
  heads, heads_plus = tables.TABLE_1_BASE_PLUS["heads"]
  assert size.num_heads * size.d_kv == size.d_model == base
  assert heads * size.d_kv == plus
  assert heads_plus * size.d_kv != plus


def test_t5_large_to_t5_base():
  """Section 3.3 rounds up: 3.4 by the printed FLOPs and by ours."""
  printed = ours.printed_flops_ratio("T5-Large", "T5-Base")
  assert printed == pytest.approx(3.43, abs=0.005)
  ratio = ours.flops("t5_large") / ours.flops("t5_base")
  assert ratio == pytest.approx(3.41, abs=0.005)
  assert round(ratio, 1) != text.SECTION_3_3_FLOPS_RATIO


def test_switch_xxl_to_switch_c():
  """Section 5.6 says nearly 10 times the FLOPs; Table 9 and ours say 7."""
  printed = ours.printed_flops_ratio("Switch-XXL", "Switch-C")
  assert printed == pytest.approx(7.08, abs=0.005)
  ratio = ours.flops("switch_xxl") / ours.flops("switch_c")
  assert ratio == pytest.approx(7.00, abs=0.005)
  assert ratio < 0.8 * text.SECTION_5_6_FLOPS_RATIO


def test_gains_over_t5_xxl():
  """Section 5.6 says over 0.061 of both models; Switch-C gains 0.051."""
  table = tables.TABLE_9
  t5 = table["T5-XXL"].at_250k
  xxl, c = table["Switch-XXL"].at_250k - t5, table["Switch-C"].at_250k - t5
  assert xxl == pytest.approx(text.SECTION_5_6_GAIN, abs=1e-9)
  assert c == pytest.approx(0.051, abs=1e-9)
