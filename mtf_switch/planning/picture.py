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
from typing import NamedTuple

import matplotlib.axes
import matplotlib.figure
import matplotlib.layout_engine
import matplotlib.patches
import mesh_tensorflow as mtf

from mtf_switch import errors
from mtf_switch import files

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

# What a core holds of a dimension: from the first index up to the second.
Slice = tuple[int, int]
Colour = tuple[float, float, float]


class Sizes(NamedTuple):
  """What a layout splits; 0 where a model has nothing of the kind.

  Attributes:
    num_experts: of a Switch layer.
    d_ff: of a feed-forward network, expert or not.
    num_heads: of attention.
    batch: the sequences of a step.
    outer_batch: the outer batches that they are cut into.
    has_dense_layers: whether there are feed-forward layers without experts.
  """

  num_experts: int
  d_ff: int
  num_heads: int
  batch: int
  outer_batch: int = 1
  has_dense_layers: bool = True


class Layout(NamedTuple):
  """A layout of a model.

  Attributes:
    name: a title.
    mesh_shape: for example "data:4;model:4".
    layout_rules: for example "batch:data;d_ff:model".
    sizes: the model's and the batch's.
  """

  name: str
  mesh_shape: str
  layout_rules: str
  sizes: Sizes


class Core(NamedTuple):
  """The slices that one core holds.

  Attributes:
    experts: of the Switch layers' experts.
    d_ff: of each of these experts, and of the dense feed-forward layers.
    heads: of attention.
    outer_batches: of the outer batches.
    sequences: of the sequences of each of these outer batches.
  """

  experts: Slice
  d_ff: Slice
  heads: Slice
  outer_batches: Slice
  sequences: Slice


def cores(layout: Layout) -> list[Core]:
  """What each core holds.

  Args:
    layout: a layout whose mesh axes divide what they split.

  Returns:
    the cores in the mesh's order, in which its last axis changes fastest.
  """
  mesh_shape = mtf.convert_to_shape(layout.mesh_shape)
  rules = mtf.convert_to_layout_rules(layout.layout_rules)
  sizes = layout.sizes
  dims = [
      mtf.Dimension("experts", sizes.num_experts),
      mtf.Dimension("d_ff", sizes.d_ff),
      mtf.Dimension("heads", sizes.num_heads),
      mtf.Dimension("outer_batch", sizes.outer_batch),
      mtf.Dimension("batch", sizes.batch // sizes.outer_batch),
  ]
  axes = [rules.tensor_dimension_to_mesh_axis(dim, mesh_shape) for dim in dims]
  held = []
  for core in range(mesh_shape.size):
    coordinates = mtf.pnum_to_processor_coordinates(mesh_shape, core)
    slices = []
    for dim, axis in zip(dims, axes):
      length = dim.size if axis is None else dim.size // mesh_shape[axis].size
      start = 0 if axis is None else coordinates[axis] * length
      slices.append((start, start + length))
    held.append(Core(*slices))
  return held


def grid(mesh_shape: str) -> list[tuple[int, int]]:
  """Where the picture of a mesh has its cores.

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


def describe_weights(layout: Layout) -> str:
  """What the cores hold of the weights, in words; core 0 is the example."""
  held, sizes = cores(layout), layout.sizes
  core = held[0]
  d_ff = _part("d_ff", core.d_ff, sizes.d_ff)
  heads = _part("heads", core.heads, sizes.num_heads)
  dense = _count([core.d_ff for core in held])
  if not sizes.num_experts:
    return f"core 0: {d_ff},\n{heads}\n{dense}"
  experts = _part("experts", core.experts, sizes.num_experts)
  of_experts = _count([(core.experts, core.d_ff) for core in held])
  lines = [f"core 0: {experts},", f"{d_ff}, {heads}", f"experts: {of_experts}"]
  if sizes.has_dense_layers:
    lines.append(f"dense layers: {dense}")
  return "\n".join(lines)


def describe_data(layout: Layout) -> str:
  """What the cores hold of the batch, in words; core 0 is the example."""
  held = cores(layout)
  count = _count([(core.outer_batches, core.sequences) for core in held])
  return f"core 0: {_sequences(held[0], layout.sizes)}\n{count}"


def _place(core: Core, sizes: Sizes) -> Slice | None:
  """A core's place in the whole batch; None if it is in several pieces."""
  inner_batch = sizes.batch // sizes.outer_batch
  (first, last), (start, stop) = core.outer_batches, core.sequences
  if last - first > 1 and stop - start < inner_batch:
    return None
  # Outer batches follow one another.
  return first * inner_batch + start, (last - 1) * inner_batch + stop


def _sequences(core: Core, sizes: Sizes) -> str:
  """The sequences of a core, in words."""
  place = _place(core, sizes)
  if place:
    return _part("sequences", place, sizes.batch)
  return (
      f"{_part('sequences', core.sequences, sizes.batch // sizes.outer_batch)}"
      f" of each of\n"
      f"{_part('outer batches', core.outer_batches, sizes.outer_batch)}"
  )


def _range(part: Slice | None) -> str:
  """For example "0-7", or "3"."""
  if part is None:
    return ""
  start, stop = part
  return str(start) if stop - start == 1 else f"{start}-{stop - 1}"


def _short(part: Slice | None, size: int) -> str:
  """For example "all" or "0-7"."""
  return "all" if part == (0, size) else _range(part)


def _fraction(part: Slice, size: int) -> str:
  """For example "all", or "2/4" for the second quarter."""
  length = part[1] - part[0]
  if length == size:
    return "all"
  return f"{part[0] // length + 1}/{size // length}"


def _part(what: str, part: Slice, size: int) -> str:
  """For example "experts 0-7 of 16" or "expert 3 of 16"."""
  if part[1] - part[0] == 1:
    what = what.removesuffix("s")
  return f"{what} {_range(part)} of {size}"


def _count(held: Sequence[Hashable]) -> str:
  """How many different slices there are, and on how many cores each is."""
  different = len(set(held))
  copies = len(held) // different
  if different == 1:
    return f"the same on {copies} cores" if copies > 1 else "one core"
  if copies == 1:
    return f"{different} slices, no copies"
  return f"{different} slices, each on {copies} cores"


def colours(
    held: Sequence[tuple[Slice, Slice]], saturation: float
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


def greys(held: Sequence[Slice]) -> list[Colour]:
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


def draw(layouts: Sequence[Layout], path: str):
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


def _draw_weights(panel: matplotlib.axes.Axes, layout: Layout):
  """Draws the weights that each core of a layout holds."""
  held, sizes = cores(layout), layout.sizes
  places = grid(layout.mesh_shape)
  d_ff = [f"F {_fraction(core.d_ff, sizes.d_ff)}" for core in held]
  if sizes.num_experts:
    _draw_cells(
        panel,
        places,
        colours([(x.experts, x.d_ff) for x in held], _WEIGHTS_SATURATION),
        [
            f"E {_short(core.experts, sizes.num_experts)}\n{text}"
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
  panel.set_xlabel(describe_weights(layout), fontsize=7)


def _draw_data(panel: matplotlib.axes.Axes, layout: Layout):
  """Draws the part of the batch that each core of a layout holds."""
  held, sizes = cores(layout), layout.sizes
  _draw_cells(
      panel,
      grid(layout.mesh_shape),
      hues([(x.outer_batches, x.sequences) for x in held], _DATA_SATURATION),
      [_short(_place(x, sizes), sizes.batch) for x in held],
  )
  panel.set_xlabel(describe_data(layout), fontsize=7)


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
