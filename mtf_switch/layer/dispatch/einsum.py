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

"""Appendix F's way: tokens to slots and back by one-hot tensors.

The steps of Figure 15 from the combine tensor on are here, not in the router:
they belong to this strategy alone.
"""

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import exchange
from mtf_switch.layer import experts
from mtf_switch.layer import routing as routing_lib
from mtf_switch.layer.dispatch import contract
from mtf_switch.layer.dispatch import places


class EinsumDispatcher(contract.Dispatcher):
  """Multiplies by one-hot tensors.

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
    self._routing = routing

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
    """Sends each token to its slot; slots without a token are zero.

    Args:
      inputs: [num_cores`, tokens_per_core, d_model].

    Returns:
      [num_experts`, num_cores_unsplit, expert_capacity, d_model].
    """
    # -> [num_experts_unsplit, num_cores`, expert_capacity, d_model]
    expert_inputs = mtf.einsum(
        [inputs, self.dispatch_tensor],
        output_shape=[
            self._dims.num_experts_unsplit,
            *self._dims.groups,
            self._dims.expert_capacity,
            self._dims.d_model,
        ],
    )
    return exchange.to_experts(expert_inputs, self._dims)

  def choices(self) -> mtf.Tensor:
    """The choice at each slot, [num_experts`, num_cores_unsplit, capacity]."""
    slots = places.slots(self._routing, self._dims)
    return exchange.to_experts(
        places.choices_of_batch(slots, self._dims), self._dims
    )

  def multiply(
      self, x: mtf.Tensor, weights: mtf.Tensor, new_dim: mtf.Dimension
  ) -> mtf.Tensor:
    """Multiplies the slots of each expert by its own matrix."""
    return experts.multiply_slots(x, weights, new_dim)

  def combine(self, expert_outputs: mtf.Tensor) -> mtf.Tensor:
    """Takes each token's results from its slots, times its gates.

    The figure's einsum reduces over tokens_per_core, which is an axis of the
    result; the intended axes are the experts and their slots.

    Args:
      expert_outputs: [num_experts`, num_cores_unsplit, expert_capacity,
        d_output].

    Returns:
      [num_cores`, tokens_per_core, d_output], exactly zero for tokens without a
      slot.
    """
    # -> [num_experts_unsplit, num_cores`, expert_capacity, d_output]
    expert_outputs = exchange.from_experts(expert_outputs, self._dims)
    return mtf.einsum(
        [expert_outputs, self.combine_tensor],
        output_shape=[
            *self._dims.groups,
            self._dims.tokens_per_core,
            expert_outputs.shape.dims[-1],
        ],
    )
