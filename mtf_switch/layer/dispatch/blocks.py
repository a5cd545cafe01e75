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

"""Experts without capacity: every token reaches its expert, none is dropped.

For decoding and scoring where a core holds all experts. Tokens are dealt out
to blocks of a few rows, each block of one expert, and only blocks with tokens
are multiplied. All products have the shape of a block, whatever the other
tokens of the batch choose, so that a token's result does not depend on them to
the last bit.
"""

import functools

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import routing as routing_lib
from mtf_switch.layer.dispatch import contract


class BlockDispatcher(contract.Dispatcher):
  """Deals out tokens to blocks of rows, each block of one expert."""

  def __init__(
      self,
      routing: routing_lib.Routing,
      dims: dims_lib.SwitchDims,
      dtype: tf.DType,
  ):
    """Assigns a row to each choice.

    Args:
      routing: the router's decisions; nothing is dropped.
      dims: the layer's dimensions; no dimension of the experts is split.
      dtype: of the activations; gates are cast to it.
    """
    self._dims = dims
    self._gate = mtf.cast(routing.expert_gate, dtype)
    num_experts = dims.num_experts_unsplit.size
    choices = routing.expert_index.shape.dims[-1].size
    num_requests = dims.tokens_per_core.size * choices
    rows = rows_per_block(num_requests, num_experts)
    # Each expert has at most one block that is not full, and none has no token.
    num_blocks = min(num_requests, num_requests // rows + num_experts)
    self._blocks = mtf.Dimension("blocks", num_blocks)
    self._rows = mtf.Dimension("block_rows", rows)
    # `[num_cores, tokens_per_core, choices]`, counted over all blocks of a
    # group, -1 for padding; and `[num_cores, blocks]`, num_experts for blocks
    # without a token, which come last.
    self._row, self._expert = operations.slicewise(
        functools.partial(
            _deal_out, num_experts=num_experts, num_blocks=num_blocks, rows=rows
        ),
        [routing.expert_index, routing.position_in_expert, routing.routed],
        output_shape=[
            routing.expert_index.shape,
            mtf.Shape([dims.num_cores, self._blocks]),
        ],
        output_dtype=[tf.int32, tf.int32],
        multiplications=None,
        splittable_dims=[dims.num_cores],
        grad_function=0,
        name="blocks",
    )

  def dispatch(self, inputs: mtf.Tensor) -> mtf.Tensor:
    """Copies each token to its rows; rows without a token are zero.

    Args:
      inputs: [num_cores`, tokens_per_core, d_model].

    Returns:
      [num_cores`, blocks, block_rows, d_model].
    """
    num_blocks, num_rows = self._blocks.size, self._rows.size

    def copy(x, row):
      choices = row.shape[2]
      x = tf.repeat(x, choices, axis=1)
      # The group's rows follow those of the groups before; rows of -1 are left
      # out.
      offset = tf.range(row.shape[0])[:, tf.newaxis, tf.newaxis]
      row = tf.where(row >= 0, row + num_blocks * num_rows * offset, row)
      rows = tf.math.unsorted_segment_sum(
          tf.reshape(x, [-1, x.shape[-1]]),
          tf.reshape(row, [-1]),
          row.shape[0] * num_blocks * num_rows,
      )
      return tf.reshape(rows, [row.shape[0], num_blocks, num_rows, x.shape[-1]])

    return operations.slicewise(
        copy,
        [inputs, self._row],
        output_shape=[
            self._dims.num_cores,
            self._blocks,
            self._rows,
            self._dims.d_model,
        ],
        output_dtype=inputs.dtype,
        multiplications=None,
        splittable_dims=[self._dims.num_cores],
        name="to_blocks",
    )

  def multiply(
      self, x: mtf.Tensor, weights: mtf.Tensor, new_dim: mtf.Dimension
  ) -> mtf.Tensor:
    """Multiplies each block by its expert's matrix."""
    return block_matmul(x, weights, new_dim, self._expert)

  def combine(self, expert_outputs: mtf.Tensor) -> mtf.Tensor:
    """Takes each token's results from its rows, times its gates, and adds them.

    Args:
      expert_outputs: [num_cores`, blocks, block_rows, d_output].

    Returns:
      [num_cores`, tokens_per_core, d_output].
    """

    def collect(x, row, gate):
      rows = tf.reshape(x, [x.shape[0], -1, x.shape[-1]])
      # Padding reads row 0, times a gate of 0.
      taken = tf.gather(rows, tf.maximum(row, 0), batch_dims=1)
      return tf.reduce_sum(taken * gate[..., tf.newaxis], axis=2)

    return operations.slicewise(
        collect,
        [expert_outputs, self._row, self._gate],
        output_shape=[
            self._dims.num_cores,
            self._dims.tokens_per_core,
            expert_outputs.shape.dims[-1],
        ],
        output_dtype=expert_outputs.dtype,
        multiplications=None,
        splittable_dims=[self._dims.num_cores],
        name="from_blocks",
    )


def rows_per_block(num_requests: int, num_experts: int) -> int:
  """A power of two near the tokens of an expert, from 8 to 64, or 128 of many.

  Args:
    num_requests: tokens times choices of a group.
    num_experts: the number of experts.

  Returns:
    the rows of a block, no more than there are requests, rounded up.
  """
  rows = 8
  while rows < min(64, num_requests / num_experts):
    rows *= 2
  # Larger products are faster, but half a block of each expert is empty.
  if num_requests >= 1024 * num_experts:
    rows = 128
  while rows // 2 >= num_requests:
    rows //= 2
  return rows


def _deal_out(
    expert_index, position_in_expert, routed, num_experts, num_blocks, rows
):
  """The row of each request and the expert of each block, of one slice."""
  group_size = expert_index.shape[1] * expert_index.shape[2]
  flat = [expert_index.shape[0], group_size]
  asked = tf.reshape(tf.cast(routed, tf.int32), flat)
  mask = (
      tf.one_hot(tf.reshape(expert_index, flat), num_experts, dtype=tf.int32)
      * asked[..., tf.newaxis]
  )
  # [num_cores, num_experts]
  blocks_needed = (tf.reduce_sum(mask, axis=1) + rows - 1) // rows
  end = tf.cumsum(blocks_needed, axis=1)
  first_row = (end - blocks_needed) * rows
  row = tf.gather(first_row, expert_index, batch_dims=1) + position_in_expert
  row = tf.where(routed > 0, row, -tf.ones_like(row))
  expert = tf.searchsorted(
      end, tf.tile(tf.range(num_blocks)[tf.newaxis], [flat[0], 1]), side="right"
  )
  return row, expert


def block_matmul(
    x: mtf.Tensor,
    weights: mtf.Tensor,
    new_dim: mtf.Dimension,
    block_expert: mtf.Tensor,
) -> mtf.Tensor:
  """Multiplies each block by its expert's matrix.

  Args:
    x: [num_cores`, blocks, block_rows, d_input].
    weights: `[num_experts, d_input, new_dim]`, not split.
    new_dim: the output dimension.
    block_expert: `[num_cores, blocks]` int32; num_experts for blocks without a
      token.

  Returns:
    [num_cores`, blocks, block_rows, new_dim]; zero for blocks without a token.
  """

  def multiply(x, weights, expert):
    """The blocks of a slice's groups, one product at a time."""
    groups, num_blocks = x.shape[:2]
    x = tf.reshape(x, [groups * num_blocks, *x.shape[2:]])
    expert = tf.reshape(expert, [-1])
    used = tf.where(expert < weights.shape[0])[:, 0]
    count = tf.size(used)

    def one_block(i, outputs):
      block = used[i]
      product = tf.matmul(x[block], weights[expert[block]])
      return i + 1, outputs.write(tf.cast(block, tf.int32), product)

    # Blocks that are not written are zeros.
    outputs = tf.TensorArray(
        x.dtype,
        size=groups * num_blocks,
        element_shape=[x.shape[1], weights.shape[-1]],
    )
    outputs = tf.while_loop(lambda i, _: i < count, one_block, [0, outputs])[1]
    outputs = outputs.stack()
    return tf.reshape(outputs, [groups, num_blocks, *outputs.shape[1:]])

  return operations.slicewise(
      multiply,
      [x, weights, block_expert],
      output_shape=x.shape.dims[:-1] + [new_dim],
      output_dtype=x.dtype,
      # At most: blocks without a token are left out.
      multiplications=lambda slice_size: slice_size([*x.shape.dims, new_dim]),
      splittable_dims=[x.shape.dims[0]],
      name="block_matmul",
  )
