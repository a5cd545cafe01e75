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

"""Experts for a few tokens: one product of a row for each choice of a token.

A step of decoding has so few tokens that finding those of an expert, to
multiply them together, takes longer than it saves. A row's product depends on
no other row to the last bit.
"""

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import routing as routing_lib
from mtf_switch.layer.dispatch import contract


class TokenDispatcher(contract.Dispatcher):
  """Leaves tokens in their places and reads the matrices of their experts."""

  def __init__(
      self,
      routing: routing_lib.Routing,
      dims: dims_lib.SwitchDims,
      dtype: tf.DType,
  ):
    """Takes the experts and gates of the choices.

    Args:
      routing: the router's decisions; nothing is dropped.
      dims: the layer's dimensions; no dimension of the experts is split.
      dtype: of the activations; gates are cast to it.
    """
    self._dims = dims
    self._expert = routing.expert_index
    self._gate = mtf.cast(routing.expert_gate, dtype)

  def dispatch(self, inputs: mtf.Tensor) -> mtf.Tensor:
    """Repeats each token for its choices.

    Args:
      inputs: [num_cores`, tokens_per_core, d_model].

    Returns:
      [num_cores`, tokens_per_core, choices, d_model].
    """
    return mtf.broadcast(inputs, self._expert.shape + self._dims.d_model)

  def multiply(
      self, x: mtf.Tensor, weights: mtf.Tensor, new_dim: mtf.Dimension
  ) -> mtf.Tensor:
    """Multiplies each row by its expert's matrix."""
    return token_matmul(x, weights, new_dim, self._expert)

  def combine(self, expert_outputs: mtf.Tensor) -> mtf.Tensor:
    """Adds the results of each token's choices, times their gates.

    Args:
      expert_outputs: [num_cores`, tokens_per_core, choices, d_output].

    Returns:
      [num_cores`, tokens_per_core, d_output].
    """
    *tokens, choices, d_output = expert_outputs.shape.dims
    gated = expert_outputs * self._gate
    if choices.size == 1:
      return mtf.reshape(gated, [*tokens, d_output])
    return mtf.reduce_sum(gated, reduced_dim=choices)


def token_matmul(
    x: mtf.Tensor,
    weights: mtf.Tensor,
    new_dim: mtf.Dimension,
    expert: mtf.Tensor,
) -> mtf.Tensor:
  """Multiplies each row by its expert's matrix.

  Args:
    x: [num_cores`, tokens_per_core, choices, d_input].
    weights: `[num_experts, d_input, new_dim]`, not split.
    new_dim: the output dimension.
    expert: `[num_cores, tokens_per_core, choices]` int32.

  Returns:
    [num_cores`, tokens_per_core, choices, new_dim].
  """

  def multiply(x, weights, expert):
    rows, matrix = expert.shape.num_elements(), weights.shape.as_list()[1:]
    begins = tf.pad(tf.reshape(expert, [rows, 1]), [[0, 0], [0, 2]])
    products = [
        # A slice of whole experts is not copied.
        tf.matmul(
            row,
            tf.reshape(tf.slice(weights, begin, [1, *matrix]), matrix),
        )
        for row, begin in zip(
            tf.split(tf.reshape(x, [rows, -1]), rows), tf.unstack(begins)
        )
    ]
    return tf.reshape(tf.concat(products, axis=0), [*expert.shape, -1])

  return operations.slicewise(
      multiply,
      [x, weights, expert],
      output_shape=x.shape.dims[:-1] + [new_dim],
      output_dtype=x.dtype,
      multiplications=lambda slice_size: slice_size([*x.shape.dims, new_dim]),
      splittable_dims=[x.shape.dims[0]],
      name="token_matmul",
  )
