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

"""Tokens to slots and back: by Appendix F's einsums, or by copying rows.

Steps of Figure 15 from the combine tensor on belong to the first of these
strategies, not to the router: all carry out the same `Routing`, with the same
numbers.
"""

import functools
import math

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import experts
from mtf_switch.layer import routing as routing_lib


class EinsumDispatcher:
  """Carries out a `Routing` with one-hot tensors.

  Attributes:
    dispatch_tensor: `[num_cores, tokens_per_core, num_experts,
      expert_capacity]`, in the activations' dtype; 1 where a token holds a
      slot.
    combine_tensor: the same, the token's gate where it holds a slot.
  """

  def __init__(
      self,
      routing: routing_lib.Routing,
      dims: dims_lib.SwitchDims,
      dtype: tf.DType,
  ):
    """Builds the two tensors (Figure 15, last steps).

    The figure derives dispatch from combine, so that a gate that underflows
    would lose its token; the two side by side do not.

    Args:
      routing: the router's decisions.
      dims: the layer's dimensions.
      dtype: of the activations; the tensors are cast to it before they are
        used, and so before the all-to-all (section 2.4).
    """
    self._dims = dims

    def by_expert(x):
      """`[..., choices]` -> `[..., num_experts]`; a token's choices differ."""
      one_hot = mtf.one_hot(
          routing.expert_index, dims.num_experts_unsplit, dtype=x.dtype
      )
      return mtf.einsum(
          [x, one_hot],
          output_shape=[
              *dims.groups,
              dims.tokens_per_core,
              dims.num_experts_unsplit,
          ],
      )

    slot = mtf.one_hot(
        mtf.cast(
            by_expert(mtf.cast(routing.position_in_expert, tf.float32)),
            tf.int32,
        ),
        dims.expert_capacity,
    )
    # [num_cores`, tokens_per_core, num_experts, expert_capacity]
    dispatch_tensor = by_expert(routing.kept) * slot
    self.dispatch_tensor = mtf.cast(dispatch_tensor, dtype)
    gate = by_expert(routing.expert_gate)
    self.combine_tensor = mtf.cast(gate * mtf.cast(slot, gate.dtype), dtype)

  def dispatch(self, inputs: mtf.Tensor) -> mtf.Tensor:
    """Puts each token into its slot; slots that nobody holds are zero.

    Args:
      inputs: [num_cores`, tokens_per_core, d_model].

    Returns:
      [num_experts_unsplit, num_cores`, expert_capacity, d_model].
    """
    return mtf.einsum(
        [inputs, self.dispatch_tensor],
        output_shape=[
            self._dims.num_experts_unsplit,
            *self._dims.groups,
            self._dims.expert_capacity,
            self._dims.d_model,
        ],
    )

  def combine(self, expert_outputs: mtf.Tensor) -> mtf.Tensor:
    """Takes each token's result from its slot, times its gate.

    The figure's einsum reduces over tokens_per_core, which is the axis of the
    result; over the experts and their slots is meant.

    Args:
      expert_outputs: [num_experts_unsplit, num_cores`, expert_capacity,
        d_output].

    Returns:
      [num_cores`, tokens_per_core, d_output], exactly zero for tokens without a
      slot.
    """
    return mtf.einsum(
        [expert_outputs, self.combine_tensor],
        output_shape=[
            *self._dims.groups,
            self._dims.tokens_per_core,
            expert_outputs.shape.dims[-1],
        ],
    )


class IndexDispatcher:
  """Carries out a `Routing` by copying rows, without one-hot tensors.

  Dispatch and combine are gathers, and so are their gradients: where a slot's
  row comes from and where a choice's row goes are known both ways.
  """

  def __init__(
      self,
      routing: routing_lib.Routing,
      dims: dims_lib.SwitchDims,
      dtype: tf.DType,
  ):
    """Finds out which choice each slot holds, and the slot of each choice.

    Args:
      routing: the router's decisions.
      dims: the layer's dimensions.
      dtype: of the activations; gates are cast to it, as the combine tensor is.
    """
    self._dims = dims
    self._gate = mtf.cast(routing.expert_gate, dtype)
    # Counted over the groups of a slice; -1 for empty slots, and for choices
    # without one.
    self._slot_of_choice, self._choice_of_slot = operations.slicewise(
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

  def dispatch(self, inputs: mtf.Tensor) -> mtf.Tensor:
    """Puts each token into its slot; slots that nobody holds are zero.

    Args:
      inputs: [num_cores`, tokens_per_core, d_model].

    Returns:
      [num_experts_unsplit, num_cores`, expert_capacity, d_model].
    """
    return self._gather(
        _fill_from_tokens,
        _add_choices,
        inputs,
        self._choice_of_slot.shape + inputs.shape.dims[-1:],
        "dispatch",
    )

  def combine(self, expert_outputs: mtf.Tensor) -> mtf.Tensor:
    """Takes each token's results from its slots, times its gates.

    Args:
      expert_outputs: [num_experts_unsplit, num_cores`, expert_capacity,
        d_output].

    Returns:
      [num_cores`, tokens_per_core, d_output], exactly zero for tokens without
      a slot.
    """
    d_output = expert_outputs.shape.dims[-1]
    # [num_cores`, tokens_per_core, choices, d_output]
    rows = self._gather(
        _take_choices,
        _fill_from_choices,
        expert_outputs,
        self._slot_of_choice.shape + [d_output],
        "combine",
    )
    return mtf.reduce_sum(
        rows * self._gate,
        output_shape=[
            *self._dims.groups,
            self._dims.tokens_per_core,
            d_output,
        ],
    )

  def _gather(self, forth, back, x, output_shape, name):
    """Copies rows with one function, and their gradients with the other."""
    splittable_dims = [*self._dims.groups, x.shape.dims[-1]]

    def gradient(op, y_gradient):
      # The operation's inputs: a recomputed one has its own.
      x, *matches = op.inputs
      x_gradient = operations.slicewise(
          back,
          [y_gradient, *matches],
          output_shape=x.shape,
          multiplications=None,
          splittable_dims=splittable_dims,
          name=f"{name}_gradient",
      )
      return [x_gradient, None, None]

    return operations.slicewise(
        forth,
        [x, self._slot_of_choice, self._choice_of_slot],
        output_shape=output_shape,
        multiplications=None,
        splittable_dims=splittable_dims,
        grad_function=gradient,
        name=name,
    )


class RaggedDispatcher(IndexDispatcher):
  """The same without empty slots, where one core has all tokens and experts.

  Capacity then only decides who is dropped: the tokens that are kept lie one
  after the other, sorted by expert, and nothing else is multiplied.
  """

  def __init__(
      self,
      routing: routing_lib.Routing,
      dims: dims_lib.SwitchDims,
      dtype: tf.DType,
  ):
    """Finds out which choice each row holds, and the row of each choice.

    Args:
      routing: the router's decisions.
      dims: the layer's dimensions, none of them split.
      dtype: of the activations; gates are cast to it.
    """
    super().__init__(routing, dims, dtype)
    choices = routing.expert_index.shape.dims[-1].size
    num_experts = dims.num_experts_unsplit
    rows = mtf.Dimension(
        "rows",
        min(
            dims.tokens_per_core.size * choices,
            num_experts.size * dims.expert_capacity.size,
        ),
    )
    self._slot_of_choice, self._choice_of_slot, self._end_of_expert = (
        operations.slicewise(
            functools.partial(_close_ranks, rows_per_core=rows.size),
            [self._slot_of_choice, self._choice_of_slot],
            output_shape=[
                self._slot_of_choice.shape,
                mtf.Shape([*dims.groups, rows]),
                mtf.Shape([num_experts]),
            ],
            output_dtype=[tf.int32] * 3,
            multiplications=None,
            splittable_dims=[],
            grad_function=0,
            name="close_ranks",
        )
    )

  def matmul(
      self, x: mtf.Tensor, weights: mtf.Tensor, new_dim: mtf.Dimension
  ) -> mtf.Tensor:
    """Multiplies the rows of each expert by its own matrix.

    Args:
      x: `[num_cores, rows, d_input]`, as dispatch sorts them.
      weights: `[num_experts, d_input, new_dim]`.
      new_dim: the output dimension.

    Returns:
      `[num_cores, rows, new_dim]`.
    """
    return experts.ragged_matmul(x, weights, new_dim, self._end_of_expert)


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


def _close_ranks(slot_of_choice, choice_of_slot, rows_per_core):
  """Leaves out the empty slots.

  Args:
    slot_of_choice: `[num_cores, tokens_per_core, choices]` int32; see _match.
    choice_of_slot: `[num_experts, num_cores, expert_capacity]` int32.
    rows_per_core: how many slots of a group can be held at most.

  Returns:
    as slot_of_choice, with rows for slots; `[num_cores, rows_per_core]` int32,
    the choice of each row, -1 for the last ones; and `[num_experts]` int32,
    the rows of all experts up to each.
  """
  groups = slot_of_choice.shape[:-2]
  choice_of_slot = tf.reshape(choice_of_slot, [choice_of_slot.shape[0], -1])
  held = choice_of_slot >= 0
  end_of_expert = tf.cumsum(tf.reduce_sum(tf.cast(held, tf.int32), axis=1))
  row_of_slot = tf.cumsum(tf.reshape(tf.cast(held, tf.int32), [-1])) - 1
  row_of_choice = tf.where(
      slot_of_choice >= 0,
      tf.gather(row_of_slot, tf.maximum(slot_of_choice, 0)),
      slot_of_choice,
  )
  num_rows = groups.num_elements() * rows_per_core
  choice_of_row = tf.concat(
      [
          tf.boolean_mask(choice_of_slot, held),
          tf.fill([num_rows - end_of_expert[-1]], -1),
      ],
      axis=0,
  )
  return (
      row_of_choice,
      tf.reshape(choice_of_row, [*groups, rows_per_core]),
      end_of_expert,
  )


def _rows(x, index):
  """The rows of x that an index names, zeros for -1."""
  x = tf.reshape(x, [-1, x.shape[-1]])
  x = tf.concat([x, tf.zeros([1, x.shape[-1]], x.dtype)], axis=0)
  return tf.gather(x, tf.where_v2(index < 0, x.shape[0] - 1, index))


def _fill_from_tokens(tokens, slot_of_choice, choice_of_slot):
  """`[num_cores, tokens_per_core, d_model]` to the slots."""
  choices = slot_of_choice.shape[-1]
  return _rows(tokens, choice_of_slot // choices)  # -1 // n = -1.


def _add_choices(slots, slot_of_choice, choice_of_slot):
  """The slots to `[num_cores, tokens_per_core, d_model]`, choices added."""
  return tf.reduce_sum(
      _take_choices(slots, slot_of_choice, choice_of_slot), axis=-2
  )


def _take_choices(slots, slot_of_choice, choice_of_slot):
  """The slots to `[num_cores, tokens_per_core, choices, d_output]`."""
  del choice_of_slot
  return _rows(slots, slot_of_choice)


def _fill_from_choices(rows, slot_of_choice, choice_of_slot):
  """`[num_cores, tokens_per_core, choices, d_output]` to the slots."""
  del slot_of_choice
  return _rows(rows, choice_of_slot)
