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

"""A picture in the manner of Figure 9: which slices each core holds."""

from collections.abc import Hashable, Sequence
import colorsys
import math
import textwrap

import matplotlib.axes
import matplotlib.figure
import matplotlib.layout_engine
import matplotlib.patches
import mesh_tensorflow as mtf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.planning import held_slices

MAX_CORES = 64
# Three layouts side by side are about 800 pixels, as wide as a page shows them.
_LAYOUTS_IN_A_ROW = 3
_INCHES_OF_A_PANEL = 2.15
_INCHES_OF_WORDS = 1.75
_CHARACTERS_OF_A_PANEL = 40
# With more, text does not fit into a cell.
_MAX_COLUMNS_WITH_TEXT = 4
# Full colours for weights, pale ones for data: they have nothing in common.
_WEIGHTS_SATURATION = 0.6
_DATA_SATURATION = 0.28
_INNER_SIZE = 0.36
_LEGEND = (
    "A square is a core; squares of one colour hold the same slice. E: experts;"
    " F: d_ff, F 2/4 being the second of four slices. Inner squares: the dense"
    " feed-forward layers beside the experts. Lower panels: sequences."
)

Colour = tuple[float, float, float]


def grid(mesh_shape: str) -> list[tuple[int, int]]:
  """Places of a mesh's cores in its picture.

  The last axis goes to the right and the one before it downward; further axes
  put such blocks side by side. One axis alone is folded into lines, as near to
  a square as can be.

  Args:
    mesh_shape: for example "data:4;model:4".

  Returns:
    row and column of each core.
  """
  mesh = mtf.convert_to_shape(mesh_shape)
  if mesh.ndims < 2:
    rows = math.isqrt(mesh.size)
    while mesh.size % rows:
      rows -= 1
    return [divmod(core, mesh.size // rows) for core in range(mesh.size)]
  downward, rightward = mesh.to_integer_list[-2:]
  places = []
  for core in range(mesh.size):
    block, within = divmod(core, downward * rightward)
    row, column = divmod(within, rightward)
    places.append((row, block * rightward + column))
  return places


def colours(
    held: Sequence[tuple[held_slices.Slice, held_slices.Slice]],
    saturation: float,
) -> list[Colour]:
  """A colour for each core, the same where both slices are the same.

  Args:
    held: two slices for each core. Where both differ between cores, the first
      has the hue and the second the shade.
    saturation: from 0 to 1.

  Returns:
    RGB colours.
  """
  firsts, seconds = (sorted(set(slices)) for slices in zip(*held))
  if len(firsts) == 1:
    return hues([second for _, second in held], saturation)
  shades = max(len(seconds) - 1, 1)
  of_first = hues([first for first, _ in held], saturation)
  return [
      tuple(x * (1 - 0.35 * seconds.index(second) / shades) for x in colour)
      for colour, (_, second) in zip(of_first, held)
  ]


def hues(held: Sequence[Hashable], saturation: float) -> list[Colour]:
  """A colour for each core, the same where they hold the same."""
  different = sorted(set(held))
  return [
      colorsys.hsv_to_rgb(
          (0.58 + different.index(x) / len(different)) % 1, saturation, 0.95
      )
      for x in held
  ]


def greys(held: Sequence[held_slices.Slice]) -> list[Colour]:
  """A grey for each core, the same where the slices are the same."""
  different = sorted(set(held))
  shades = max(len(different) - 1, 1)
  return [(0.9 - 0.7 * different.index(x) / shades,) * 3 for x in held]


def check_size(mesh: mtf.Shape):
  """Refuses a mesh that a picture has no room for.

  Args:
    mesh: the mesh.

  Raises:
    UserError: it has more than 64 cores.
  """
  if mesh.size > MAX_CORES:
    raise errors.UserError(
        f"a picture shows up to {MAX_CORES} cores; the mesh has {mesh.size:,}."
    )


def draw(layouts: Sequence[held_slices.Layout], path: str):
  """Draws layouts, three in a row: their weights above, and the data below.

  The hue shows the slice of experts, or of feed-forward layers in a dense
  model, and the shade the slice of d_ff in experts that are split both ways.
  Beside experts the grey of the inner square shows the slice of the dense
  feed-forward layers.

  Args:
    layouts: the layouts, each drawn as two panels.
    path: a PNG file in an existing directory.

  Raises:
    UserError: a mesh has more than 64 cores.
  """
  for layout in layouts:
    check_size(mtf.convert_to_shape(layout.mesh_shape))
  columns = min(len(layouts), _LAYOUTS_IN_A_ROW)
  rows = math.ceil(len(layouts) / columns)
  figure = matplotlib.figure.Figure(
      figsize=(
          _INCHES_OF_A_PANEL * columns + 0.4,
          rows * (2 * _INCHES_OF_A_PANEL + _INCHES_OF_WORDS) + 0.5,
      ),
      # Squares have no say in the layout; without room, titles are cut off.
      layout=matplotlib.layout_engine.ConstrainedLayoutEngine(
          rect=(0, 0, 1, 0.98)
      ),
  )
  panels = figure.subplots(2 * rows, columns, squeeze=False)
  for panel in panels.flat:
    panel.set_axis_off()
  for number, layout in enumerate(layouts):
    row, column = divmod(number, columns)
    weights, data = panels[2 * row : 2 * row + 2, column]
    _draw_weights(weights, layout)
    _draw_data(data, layout)
    if column == 0:
      weights.set_ylabel("weights")
      data.set_ylabel("data")
  figure.supxlabel(
      textwrap.fill(_LEGEND, _CHARACTERS_OF_A_PANEL * columns), fontsize=7
  )
  files.write_png(path, figure)


def _draw_weights(panel: matplotlib.axes.Axes, layout: held_slices.Layout):
  """Draws the weights that each core of a layout holds."""
  held, sizes = held_slices.cores(layout), layout.sizes
  places = grid(layout.mesh_shape)
  d_ff = [f"F {held_slices.fraction(core.d_ff, sizes.d_ff)}" for core in held]
  if sizes.num_experts:
    _draw_cells(
        panel,
        places,
        colours([(x.experts, x.d_ff) for x in held], _WEIGHTS_SATURATION),
        [
            f"E {held_slices.short(core.experts, sizes.num_experts)}\n{text}"
            for core, text in zip(held, d_ff)
        ],
    )
    if sizes.has_dense_layers:
      _draw_inner_cells(panel, places, greys([x.d_ff for x in held]))
  else:
    _draw_cells(
        panel, places, hues([x.d_ff for x in held], _WEIGHTS_SATURATION), d_ff
    )
  panel.set_title(
      f"{layout.name}\n{layout.mesh_shape or 'one core'}", fontsize=9
  )
  panel.set_xlabel(held_slices.describe_weights(layout), fontsize=7)


def _draw_data(panel: matplotlib.axes.Axes, layout: held_slices.Layout):
  """Draws the part of the batch that each core of a layout holds."""
  held, sizes = held_slices.cores(layout), layout.sizes
  _draw_cells(
      panel,
      grid(layout.mesh_shape),
      hues([(x.outer_batches, x.sequences) for x in held], _DATA_SATURATION),
      [
          held_slices.short(held_slices.place(x, sizes), sizes.batch)
          for x in held
      ],
  )
  panel.set_xlabel(held_slices.describe_data(layout), fontsize=7)


def _draw_cells(
    panel: matplotlib.axes.Axes,
    places: Sequence[tuple[int, int]],
    cell_colours: Sequence[Colour],
    texts: Sequence[str],
):
  """Draws the mesh, a square for each core."""
  rows, columns = (1 + max(numbers) for numbers in zip(*places))
  panel.set_axis_on()
  panel.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal")
  panel.set(xticks=[], yticks=[])
  for (row, column), colour, text in zip(places, cell_colours, texts):
    panel.add_patch(
        matplotlib.patches.Rectangle(
            (column, row), 1, 1, facecolor=colour, edgecolor="white"
        )
    )
    if columns <= _MAX_COLUMNS_WITH_TEXT:
      panel.text(column + 0.08, row + 0.08, text, fontsize=6.5, va="top")


def _draw_inner_cells(
    panel: matplotlib.axes.Axes,
    places: Sequence[tuple[int, int]],
    cell_colours: Sequence[Colour],
):
  """Draws a smaller square into each cell, at the lower right."""
  for (row, column), colour in zip(places, cell_colours):
    panel.add_patch(
        matplotlib.patches.Rectangle(
            (column + 0.92 - _INNER_SIZE, row + 0.92 - _INNER_SIZE),
            _INNER_SIZE,
            _INNER_SIZE,
            facecolor=colour,
            edgecolor="white",
        )
    )
