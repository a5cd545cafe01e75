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

"""The slices of weights and batch that each core of a layout holds."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import mesh_tensorflow as mtf

# A core's part of a dimension: from the first index up to the second.
Slice = tuple[int, int]


class Sizes(NamedTuple):
  """The sizes that a layout splits; 0 for parts that a model does not have.

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
  """Returns the slices that each core holds.

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


def describe_weights(layout: Layout) -> str:
  """The cores' slices of the weights, in words; core 0 is the example."""
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
  """The cores' slices of the batch, in words; core 0 is the example."""
  held = cores(layout)
  count = _count([(core.outer_batches, core.sequences) for core in held])
  return f"core 0: {_sequences(held[0], layout.sizes)}\n{count}"


def place(core: Core, sizes: Sizes) -> Slice | None:
  """A core's place in the whole batch; None if it is in several pieces."""
  inner_batch = sizes.batch // sizes.outer_batch
  (first, last), (start, stop) = core.outer_batches, core.sequences
  if last - first > 1 and stop - start < inner_batch:
    return None
  # Outer batches follow one another.
  return first * inner_batch + start, (last - 1) * inner_batch + stop


def _sequences(core: Core, sizes: Sizes) -> str:
  """The sequences of a core, in words."""
  whole = place(core, sizes)
  if whole:
    return _part("sequences", whole, sizes.batch)
  return (
      f"{_part('sequences', core.sequences, sizes.batch // sizes.outer_batch)}"
      f" of each of\n"
      f"{_part('outer batches', core.outer_batches, sizes.outer_batch)}"
  )


def range_text(part: Slice | None) -> str:
  """For example "0-7", or "3"."""
  if part is None:
    return ""
  start, stop = part
  return str(start) if stop - start == 1 else f"{start}-{stop - 1}"


def short(part: Slice | None, size: int) -> str:
  """For example "all" or "0-7"."""
  return "all" if part == (0, size) else range_text(part)


def fraction(part: Slice, size: int) -> str:
  """For example "all", or "2/4" for the second quarter."""
  length = part[1] - part[0]
  if length == size:
    return "all"
  return f"{part[0] // length + 1}/{size // length}"


def _part(what: str, part: Slice, size: int) -> str:
  """For example "experts 0-7 of 16" or "expert 3 of 16"."""
  if part[1] - part[0] == 1:
    what = what.removesuffix("s")
  return f"{what} {range_text(part)} of {size}"


def _count(held: Sequence[Hashable]) -> str:
  """The number of different slices, and of the cores that hold each."""
  different = len(set(held))
  copies = len(held) // different
  if different == 1:
    return f"the same on {copies} cores" if copies > 1 else "one core"
  if copies == 1:
    return f"{different} slices, no copies"
  return f"{different} slices, each on {copies} cores"
