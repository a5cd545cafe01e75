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

"""Rows of tokens: copied to their places and back, without one-hot tensors.

Where a place's row comes from and where a choice's row goes are known both
ways, so that copies are gathers, and their gradients too.
"""

from collections.abc import Callable, Sequence
import functools
import math
from typing import NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import routing as routing_lib


class Places(NamedTuple):
  """The place of each choice and the choice at each place; -1 for none.

  A strategy decides on the places: the slots of experts, or rows without empty
  ones. Both are counted over the groups of a slice.

  Attributes:
    of_choice: `[num_cores, tokens_per_core, choices]` int32.
    choice_at: the shape of the places, int32.
  """

  of_choice: mtf.Tensor
  choice_at: mtf.Tensor


def slots(routing: routing_lib.Routing, dims: dims_lib.SwitchDims) -> Places:
  """The slots as places.

  Args:
    routing: the router's decisions.
    dims: the layer's dimensions.

  Returns:
    Places, choice_at being [num_experts_unsplit, num_cores`, expert_capacity].
  """
  return Places(
      *operations.slicewise(
          functools.partial(
              _match,
              num_experts=dims.num_experts_unsplit.size,
              expert_capacity=dims.expert_capacity.size,
          ),
          [routing.expert_index, routing.position_in_expert, routing.kept],
          output_shape=[
              routing.expert_index.shape,
              mtf.Shape(
                  [dims.num_experts_unsplit, *dims.groups, dims.expert_capacity]
              ),
          ],
          output_dtype=[tf.int32, tf.int32],
          multiplications=None,
          splittable_dims=dims.groups,
          grad_function=0,
          name="match",
      )
  )


def choices_of_batch(places: Places, dims: dims_lib.SwitchDims) -> mtf.Tensor:
  """Counts the choices at places over the batch instead of a slice.

  Args:
    places: of the choices.
    dims: the layer's dimensions.

  Returns:
    int32, the shape of the places: token * choices + choice; any number where
    nobody is.
  """
  choices_of_group = (
      dims.tokens_per_core.size * places.of_choice.shape.dims[-1].size
  )

  def count(choice_at, *groups):
    group = 0
    for dim, own in zip(dims.groups, groups):
      group = tf.expand_dims(group, -1) * dim.size + own
    choice_at = tf.maximum(choice_at, 0)
    group = tf.gather(tf.reshape(group, [-1]), choice_at // choices_of_group)
    return group * choices_of_group + choice_at % choices_of_group

  mesh = places.choice_at.mesh
  return operations.slicewise(
      count,
      [places.choice_at]
      + [mtf.range(mesh, dim, tf.int32) for dim in dims.groups],
      multiplications=None,
      splittable_dims=dims.groups,
      grad_function=0,
      name="choices",
  )


def to_places(
    inputs: mtf.Tensor, places: Places, dims: dims_lib.SwitchDims
) -> mtf.Tensor:
  """Copies each token to the places of its choices.

  Args:
    inputs: [num_cores`, tokens_per_core, d_model].
    places: of the choices.
    dims: the layer's dimensions.

  Returns:
    `[..., d_model]`, the shape of the places first; zeros where nobody is.
  """
  return _copy(
      _fill_from_tokens,
      _add_choices,
      inputs,
      places,
      dims,
      places.choice_at.shape + inputs.shape.dims[-1:],
      "dispatch",
  )


def add_choices(
    rows: mtf.Tensor,
    places: Places,
    shape: mtf.Shape,
    splittable_dims: Sequence[mtf.Dimension],
) -> mtf.Tensor:
  """Adds up what is at the places of each token's choices: to_places' gradient.

  Args:
    rows: `[..., d_model]`, the shape of the places first.
    places: of the choices.
    shape: of the result.
    splittable_dims: the dimensions that the mesh may split.

  Returns:
    [num_cores`, tokens_per_core, d_model], zeros where nobody has a place.
  """
  return operations.slicewise(
      _add_choices,
      [rows, *places],
      output_shape=shape,
      multiplications=None,
      splittable_dims=splittable_dims,
      name="dispatch_gradient",
  )


def from_places(
    expert_outputs: mtf.Tensor,
    places: Places,
    gate: mtf.Tensor,
    dims: dims_lib.SwitchDims,
) -> mtf.Tensor:
  """Adds up what is at the places of each token's choices, times its gates.

  Args:
    expert_outputs: `[..., d_output]`, the shape of the places first.
    places: of the choices.
    gate: `[num_cores, tokens_per_core, choices]`.
    dims: the layer's dimensions.

  Returns:
    [num_cores`, tokens_per_core, d_output], exactly zero for tokens without a
    place.
  """
  d_output = expert_outputs.shape.dims[-1]
  # [num_cores`, tokens_per_core, choices, d_output]
  rows = _copy(
      _take_choices,
      _fill_from_choices,
      expert_outputs,
      places,
      dims,
      places.of_choice.shape + [d_output],
      "combine",
  )
  return mtf.reduce_sum(
      rows * gate,
      output_shape=[*dims.groups, dims.tokens_per_core, d_output],
  )


def _copy(
    forth: Callable,
    back: Callable,
    x: mtf.Tensor,
    places: Places,
    dims: dims_lib.SwitchDims,
    output_shape: mtf.Shape,
    name: str,
) -> mtf.Tensor:
  """Copies rows with one function, and their gradients with the other."""
  splittable_dims = [*dims.groups, x.shape.dims[-1]]

  def gradient(op, y_gradient):
    # The operation's inputs: a recomputed one has its own.
    x, *of_op = op.inputs
    x_gradient = operations.slicewise(
        back,
        [y_gradient, *of_op],
        output_shape=x.shape,
        multiplications=None,
        splittable_dims=splittable_dims,
        name=f"{name}_gradient",
    )
    return [x_gradient, None, None]

  return operations.slicewise(
      forth,
      [x, *places],
      output_shape=output_shape,
      multiplications=None,
      splittable_dims=splittable_dims,
      grad_function=gradient,
      name=name,
  )


# What follows works on the slice of a core, `[num_cores, ...]` being the groups
# that it holds; with an outer batch they have two dimensions.


def _match(
    expert_index, position_in_expert, kept, num_experts, expert_capacity
):
  """The slot of each choice and the choice of each slot; -1 for none.

  Args:
    expert_index: `[num_cores, tokens_per_core, choices]` int32.
    position_in_expert: the same shape, int32.
    kept: the same shape, float32.
    num_experts: the number of experts.
    expert_capacity: the slots of an expert in a group.

  Returns:
    `[num_cores, tokens_per_core, choices]` and `[num_experts, num_cores,
    expert_capacity]` int32, counted over all groups of the slice.
  """
  *groups, tokens_per_core, choices = expert_index.shape
  num_cores = math.prod(groups)
  core = tf.reshape(tf.range(num_cores), [*groups, 1, 1])
  slot = (expert_index * num_cores + core) * expert_capacity
  slot = tf.where(kept > 0, slot + position_in_expert, -tf.ones_like(slot))
  num_choices = num_cores * tokens_per_core * choices
  # No two choices share a slot, so that the greatest is the only one; those
  # of -1 are left out.
  choice = tf.math.unsorted_segment_max(
      tf.range(num_choices),
      tf.reshape(slot, [-1]),
      num_experts * num_cores * expert_capacity,
  )
  choice = tf.maximum(choice, -1)
  return slot, tf.reshape(choice, [num_experts, *groups, expert_capacity])


def _rows(x, index):
  """The rows of x that an index names, zeros for -1."""
  x = tf.reshape(x, [-1, x.shape[-1]])
  x = tf.concat([x, tf.zeros([1, x.shape[-1]], x.dtype)], axis=0)
  return tf.gather(x, tf.where_v2(index < 0, x.shape[0] - 1, index))


def _fill_from_tokens(tokens, place_of_choice, choice_at_place):
  """`[num_cores, tokens_per_core, d_model]` to the places."""
  choices = place_of_choice.shape[-1]
  return _rows(tokens, choice_at_place // choices)  # -1 // n = -1.


def _add_choices(rows, place_of_choice, choice_at_place):
  """The places to `[num_cores, tokens_per_core, d_model]`, choices added."""
  return tf.reduce_sum(
      _take_choices(rows, place_of_choice, choice_at_place), axis=-2
  )


def _take_choices(rows, place_of_choice, choice_at_place):
  """The places to `[num_cores, tokens_per_core, choices, d_output]`."""
  del choice_at_place
  return _rows(rows, place_of_choice)


def _fill_from_choices(rows, place_of_choice, choice_at_place):
  """`[num_cores, tokens_per_core, choices, d_output]` to the places."""
  del place_of_choice
  return _rows(rows, choice_at_place)
