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

"""Checks of layouts, before anything is built.

A layout is a mesh, named axes of cores, and rules, each of which splits the
dimensions of one name over one axis. Mesh TensorFlow ignores a rule without a
matching dimension, and reports other mistakes only when it lowers the first
tensor concerned.
"""

from collections.abc import Iterable, Mapping, Sequence
import math
from typing import NamedTuple
import warnings

from mtf_switch import errors
from mtf_switch import spelling

# The dimensions of each kind of tensor that a layout may split. Beside the
# experts, the batch has a name that is never split.
_TOKENS = ("outer_batch", "batch", "length")
_TENSORS = {
    "activations": {*_TOKENS, "d_model"},
    "the inner activations of feed-forward layers": {*_TOKENS, "d_ff"},
    "queries": {*_TOKENS, "heads", "d_kv"},
    "keys": {*_TOKENS[:2], "memory_length", "heads", "d_kv"},
    "the inputs of keys": {*_TOKENS[:2], "memory_length", "d_model"},
    "attention's weights": {*_TOKENS, "memory_length", "heads"},
    "the vocabulary's logits": {*_TOKENS, "vocab"},
    "the embedding": {"vocab", "d_model"},
    "the variables of feed-forward layers": {"d_model", "d_ff"},
    "the variables of attention": {"d_model", "heads", "d_kv"},
    "the experts' variables": {"experts", "d_model", "d_ff"},
    "the experts' inputs": {"outer_batch", "experts", "d_model"},
    "the experts' inner activations": {"outer_batch", "experts", "d_ff"},
}  # fmt: skip
# The dimensions that a layout rule may name.
DIMENSIONS = sorted(set().union(*_TENSORS.values()))
# T5's default layout, for whatever axes a mesh has; beside these, it has a rule
# for ensembles of models.
_T5_RULES = {
    ("batch", "batch"),
    ("d_ff", "model"),
    ("experts", "batch"),
    ("heads", "model"),
    ("vocab", "model"),
}
_T5_ENSEMBLE = ("ensemble", "ensemble")


class Number(NamedTuple):
  """A user's setting that determines the size of a dimension.

  Attributes:
    name: its name in messages.
    value: the number.
    dimension: the dimension's name; its size is value / parts.
    parts: the outer batches that the number is divided among first.
    can_change: whether the user can choose another value.
  """

  name: str
  value: int
  dimension: str
  parts: int = 1
  can_change: bool = True


def sizes_of_axes(mesh_shape: Iterable) -> dict[str, int]:
  """Returns the size of each axis of an mtf.Shape by its name."""
  return {axis.name: axis.size for axis in mesh_shape}


def rules_in_force(
    mesh_shape: Mapping[str, int], layout_rules: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
  """Returns the layout rules that split something, in order.

  Args:
    mesh_shape: the size of each axis by name.
    layout_rules: pairs of a dimension's and an axis's name.

  Returns:
    the rules whose axis has several cores.
  """
  return [
      (dimension, axis)
      for dimension, axis in sorted(layout_rules)
      if mesh_shape.get(axis, 1) > 1
  ]


def numbers_of_batch(
    batch_size: int, outer_batch_size: int, lengths: Iterable[int]
) -> list[Number]:
  """The settings that determine the dimensions of a batch.

  Args:
    batch_size: sequences in a batch.
    outer_batch_size: outer batches that it is divided into.
    lengths: positions of each feature.

  Returns:
    a Number for each pair of a setting and a dimension.
  """
  return [
      Number("batch_size", batch_size, "batch", outer_batch_size),
      Number("outer_batch_size", outer_batch_size, "outer_batch"),
      *(
          Number("sequence_length", length, dimension)
          for length in lengths
          for dimension in ("length", "memory_length")
      ),
  ]


def numbers_of_model(model, outer_batch_size: int) -> list[Number]:
  """The settings that determine the dimensions of a model's layers.

  Args:
    model: a Bitransformer or Unitransformer. Only attributes are read.
    outer_batch_size: outer batches that a batch is divided into.

  Returns:
    a Number for each pair of a setting and a dimension.
  """
  stacks = (
      [model.encoder, model.decoder] if hasattr(model, "encoder") else [model]
  )
  numbers = []

  def add(owner, attribute, name, dimension, parts=1):
    value = getattr(owner, attribute, None)
    if value:
      numbers.append(Number(name, value, dimension, parts))

  for stack in stacks:
    numbers.append(Number("d_model", stack.model_dim.size, "d_model"))
    for vocabulary in (stack.input_vocab_dim, stack.output_vocab_dim):
      if vocabulary is not None:
        numbers.append(
            Number(
                "the vocabulary's rows",
                vocabulary.size,
                "vocab",
                can_change=False,
            )
        )
    for layer in stack.layer_stack.layers:
      if getattr(layer, "num_heads", 1) > 1:
        add(layer, "num_heads", "num_heads", "heads")
        add(layer, "key_value_size", "d_kv", "d_kv")
      for part in (layer, *getattr(layer, "switches", ())):
        add(part, "hidden_size", "d_ff", "d_ff")
        add(part, "num_experts", "num_experts", "experts")
        if getattr(part, "strict_groups", False):
          add(part, "num_cores", "num_cores", "batch", outer_batch_size)
  return list(dict.fromkeys(numbers))


def check(
    mesh_shape: Mapping[str, int],
    layout_rules: Iterable[tuple[str, str]],
    numbers: Sequence[Number],
):
  """Rejects a layout that cannot work, and suggests similar ones that can.

  Args:
    mesh_shape: the size of each axis by name.
    layout_rules: pairs of a dimension's and an axis's name.
    numbers: the settings that determine the dimensions of batch and model.

  Raises:
    UserError: a rule names an unknown dimension or axis, two dimensions of one
      tensor are split over one axis, or a dimension cannot be split evenly.
  """
  rules = _without_idle_rules_of_t5(mesh_shape, layout_rules)
  for dimension, axis in rules:
    rule = f"the layout rule {dimension}:{axis} names a"
    if dimension not in DIMENSIONS:
      raise errors.UserError(
          f"{rule} dimension that models do not have; "
          f"{_did_you_mean(dimension, DIMENSIONS)}"
      )
    if axis not in mesh_shape:
      raise errors.UserError(
          f"{rule}n axis that mesh_shape = {text(mesh_shape)!r} does not "
          f"have; {_did_you_mean(axis, mesh_shape)}"
      )
  _check_axes(mesh_shape, rules_in_force(mesh_shape, rules), numbers)
  axis_of = dict(rules)
  _check_outer_batches(mesh_shape, axis_of, numbers)
  for number in numbers:
    axis = axis_of.get(number.dimension)
    if axis:
      _check_divides(mesh_shape, axis_of, number, numbers)


def _without_idle_rules_of_t5(mesh_shape, layout_rules) -> list:
  """The rules in order; of T5's default layout only those with an axis."""
  rules = set(layout_rules) - {_T5_ENSEMBLE}
  if _T5_RULES <= rules:
    rules -= {rule for rule in _T5_RULES if rule[1] not in mesh_shape}
  return sorted(rules)


def warn_of_idle_axes(
    mesh_shape: Mapping[str, int], layout_rules: Iterable[tuple[str, str]]
):
  """Warns about axes that no rule uses: their cores all do the same work.

  Args:
    mesh_shape: the size of each axis by name.
    layout_rules: pairs of a dimension's and an axis's name.
  """
  used = {axis for _, axis in layout_rules}
  for axis, size in mesh_shape.items():
    if size > 1 and axis not in used:
      warnings.warn(
          f"no layout rule uses the mesh axis {axis} = {size}: its cores all "
          "do the same work.",
          errors.UserNotice,
          stacklevel=2,
      )


def _check_axes(mesh_shape: Mapping[str, int], rules, numbers):
  """Rejects a dimension on two axes, and two of one tensor on one axis."""
  for i, (dimension, axis) in enumerate(rules):
    for other, other_axis in rules[:i]:
      if dimension == other:
        raise errors.UserError(
            f"the layout rules {other}:{other_axis} and {dimension}:{axis} "
            "split one dimension over two mesh axes; leave one of them out."
        )
      tensor = _common_tensor(dimension, other)
      if axis == other_axis and tensor:
        better = [
            *_free_axes(mesh_shape, rules, (other, dimension), numbers),
            *_two_axes(mesh_shape, (other, dimension), axis, numbers),
        ][:2]
        raise errors.UserError(
            f"the layout rules {other}:{axis} and {dimension}:{axis} split "
            f"two dimensions of {tensor} over one mesh axis; "
            + (f"use {_or(better)}, or " if better else "")
            + "leave one of them out."
        )


def _free_axes(mesh_shape, rules, dimensions, numbers) -> list[str]:
  """Rules that split one of the dimensions over another axis of the mesh."""
  return [
      f"{dimension}:{axis}"
      for dimension in dimensions
      for axis, ways in mesh_shape.items()
      if _divides(ways, dimension, numbers)
      and not any(
          _common_tensor(dimension, neighbour)
          for neighbour, taken in rules
          if taken == axis
      )
  ]


def _two_axes(mesh_shape, dimensions, axis: str, numbers) -> list[str]:
  """The squarest mesh with two axes in place of one, as a rule for it."""
  first, second = dimensions
  cores = mesh_shape[axis]
  meshes = [
      (cores // n, n)
      for n in range(2, cores)
      if cores % n == 0
      and _divides(cores // n, first, numbers)
      and _divides(n, second, numbers)
  ]
  if not meshes:
    return []
  rest, ways = min(meshes, key=max)
  mesh = {**mesh_shape, axis: rest, second: ways}
  return [f"{second}:{second} on mesh_shape = {text(mesh)!r}"]


def _check_outer_batches(mesh_shape, axis_of, numbers: Sequence[Number]):
  """Rejects numbers that the outer batches do not divide."""
  cut = [number for number in numbers if number.parts > 1]
  ways = mesh_shape.get(axis_of.get("outer_batch"), 1)
  for number in cut:
    if number.value % number.parts:
      sizes = _near_divisors([n.value for n in cut], number.parts, ways)
      better = [f"outer_batch_size = {_or(sizes)}"] if sizes else []
      parts = number.parts * mesh_shape.get(axis_of.get(number.dimension), 1)
      raise errors.UserError(
          f"{number.name} = {number.value} cannot be dealt out to "
          f"outer_batch_size = {number.parts} outer batches; use "
          f"{', or '.join([*better, _better_number(number, parts)])}."
      )


def _check_divides(mesh_shape, axis_of, number: Number, numbers):
  """Rejects a number that the mesh axis of its dimension does not divide."""
  axis = axis_of[number.dimension]
  ways = mesh_shape[axis]
  size = number.value // number.parts
  if size % ways == 0:
    return
  sizes = [
      n.value // n.parts for n in numbers if axis_of.get(n.dimension) == axis
  ]
  better = [f"{axis} = {_or(_near_divisors(sizes, ways))}"]
  if number.can_change:
    better.append(_better_number(number, ways * number.parts))
  cut = f" / {number.parts} outer batches" if number.parts > 1 else ""
  raise errors.UserError(
      f"{number.name} = {number.value}{cut} cannot be split over the mesh axis "
      f"{axis} = {ways} (layout rule {number.dimension}:{axis}); use "
      f"{', or '.join(better)}."
  )


def _divides(ways: int, dimension: str, numbers: Sequence[Number]) -> bool:
  """Whether a dimension can be split evenly into so many parts."""
  return not any(
      number.value // number.parts % ways
      for number in numbers
      if number.dimension == dimension
  )


def _common_tensor(a: str, b: str) -> str | None:
  """A kind of tensor with both dimensions, or None."""
  return next((k for k, dims in _TENSORS.items() if {a, b} <= dims), None)


def _near_divisors(
    numbers: Sequence[int], wanted: int, multiple_of: int = 1
) -> list[int]:
  """The common divisors nearest to a wanted one, below and above."""
  greatest = math.gcd(*numbers)
  divisors = [
      n for n in range(1, greatest + 1)
      if greatest % n == 0 and n % multiple_of == 0
  ]  # fmt: skip
  below = [n for n in divisors if n < wanted][-1:]
  return below + [n for n in divisors if n > wanted][:1]


def _better_number(number: Number, multiple_of: int) -> str:
  """Advice to use the nearest multiples, below and above."""
  below = number.value // multiple_of * multiple_of
  near = [n for n in (below, below + multiple_of) if n]
  return f"{number.name} = {_or(near)}"


def _did_you_mean(name: str, names: Iterable[str]) -> str:
  advice = spelling.did_you_mean(name, names)
  if advice:
    return advice
  return f"use {_or(names)}." if names else "leave it out."


def _or(choices: Iterable) -> str:
  """Alternatives as a phrase: "a, b or c"."""
  *first, last = map(str, choices)
  return ", ".join(first) + (" or " if first else "") + last


def text(mesh_shape: Mapping[str, int]) -> str:
  """A mesh in gin's notation, for example "data:4;model:2"."""
  return ";".join(f"{axis}:{size}" for axis, size in mesh_shape.items())
