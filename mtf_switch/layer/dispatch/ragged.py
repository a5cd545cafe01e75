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

"""Rows without empty slots, where each core has all experts.

A core multiplies the rows of its own groups. How many an expert has differs
from core to core, so that neither can the experts be split: what is exchanged
must have one size. The same sums in another order make the numbers of several
cores: the gradients of weights are added up over cores, and a product's
rounding depends on its number of rows.
"""

import functools

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import routing as routing_lib
from mtf_switch.layer.dispatch import contract
from mtf_switch.layer.dispatch import places
from mtf_switch.layer.dispatch import ragged_products


class RaggedDispatcher(contract.Dispatcher):
  """Copies the tokens that are kept to rows that are sorted by expert.

  Capacity only decides which tokens are dropped: nothing but the tokens that
  are kept is multiplied.
  """

  def __init__(
      self,
      routing: routing_lib.Routing,
      dims: dims_lib.SwitchDims,
      dtype: tf.DType,
  ):
    """Matches rows and choices.

    Args:
      routing: the router's decisions.
      dims: the layer's dimensions, none of them split but the groups.
      dtype: of the activations; gates are cast to it.
    """
    self._dims = dims
    self._gate = mtf.cast(routing.expert_gate, dtype)
    slots = places.slots(routing, dims)
    num_experts = dims.num_experts_unsplit
    rows = mtf.Dimension(
        "rows",
        min(
            dims.tokens_per_core.size
            * routing.expert_index.shape.dims[-1].size,
            num_experts.size * dims.expert_capacity.size,
        ),
    )
    row_of_choice, choice_at_row, self._end_of_expert = operations.slicewise(
        functools.partial(_close_ranks, rows_per_core=rows.size),
        [*slots],
        output_shape=[
            slots.of_choice.shape,
            mtf.Shape([*dims.groups, rows]),
            mtf.Shape([*dims.groups, num_experts]),
        ],
        output_dtype=[tf.int32] * 3,
        multiplications=None,
        splittable_dims=dims.groups,
        grad_function=0,
        name="close_ranks",
    )
    self._rows = places.Places(row_of_choice, choice_at_row)

  def dispatch(self, inputs: mtf.Tensor) -> mtf.Tensor:
    """Leaves the tokens where they are: products copy them to rows.

    Args:
      inputs: [num_cores`, tokens_per_core, d_model].

    Returns:
      the same.
    """
    return inputs

  def choices(self) -> mtf.Tensor:
    """The choice at each row, `[num_cores, rows]`."""
    return places.choices_of_batch(self._rows, self._dims)

  def multiply(
      self, x: mtf.Tensor, weights: mtf.Tensor, new_dim: mtf.Dimension
  ) -> mtf.Tensor:
    """Multiplies the rows of each expert by its own matrix.

    Args:
      x: [num_cores`, tokens_per_core, d_input], or results of such a product.
      weights: `[num_experts, d_input, new_dim]`.
      new_dim: the output dimension.

    Returns:
      [num_cores`, rows, new_dim]: on each core the rows of the first expert, of
      the second, and so on, and then rows of zeros.
    """
    are_tokens = self._dims.tokens_per_core in x.shape.dims
    return ragged_products.ragged_matmul(
        x,
        weights,
        new_dim,
        self._end_of_expert,
        self._rows if are_tokens else None,
    )

  def combine(self, expert_outputs: mtf.Tensor) -> mtf.Tensor:
    """Takes each token's results from its rows, times its gates.

    Args:
      expert_outputs: [num_cores`, rows, d_output].

    Returns:
      [num_cores`, tokens_per_core, d_output], exactly zero for tokens that are
      dropped.
    """
    return places.from_places(
        expert_outputs, self._rows, self._gate, self._dims
    )


def _close_ranks(slot_of_choice, choice_of_slot, rows_per_core):
  """Leaves out the empty slots of a core's groups.

  Args:
    slot_of_choice: `[num_cores, tokens_per_core, choices]` int32, -1 for none.
    choice_of_slot: `[num_experts, num_cores, expert_capacity]` int32, -1 for
      none.
    rows_per_core: the most slots of a group that can be held.

  Returns:
    as slot_of_choice, with rows for slots; `[num_cores, rows_per_core]` int32,
    the choice of each row, -1 for the last ones; and `[num_cores,
    num_experts]` int32, the rows of a group for all experts up to each.
  """
  groups = slot_of_choice.shape[:-2]
  held = choice_of_slot >= 0
  held_by_expert = tf.reduce_sum(tf.cast(held, tf.int32), axis=-1)
  # Experts first, in `choice_of_slot`; groups first, in what is returned.
  end_of_expert = tf.cumsum(
      tf.transpose(tf.reshape(held_by_expert, [held.shape[0], -1])), axis=-1
  )
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
          tf.fill([num_rows - tf.reduce_sum(held_by_expert)], -1),
      ],
      axis=0,
  )
  return (
      row_of_choice,
      tf.reshape(choice_of_row, [*groups, rows_per_core]),
      tf.reshape(end_of_expert, [*groups, -1]),
  )
