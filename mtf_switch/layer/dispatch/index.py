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

"""Tokens to slots and back by copying rows."""

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import exchange
from mtf_switch.layer import experts
from mtf_switch.layer import routing as routing_lib
from mtf_switch.layer.dispatch import contract
from mtf_switch.layer.dispatch import places


class IndexDispatcher(contract.Dispatcher):
  """Copies rows to slots, where EinsumDispatcher multiplies by one-hots."""

  def __init__(
      self,
      routing: routing_lib.Routing,
      dims: dims_lib.SwitchDims,
      dtype: tf.DType,
  ):
    """Matches slots and choices.

    Args:
      routing: the router's decisions.
      dims: the layer's dimensions.
      dtype: of the activations; gates are cast to it, as the combine tensor is.
    """
    self._dims = dims
    self._gate = mtf.cast(routing.expert_gate, dtype)
    self._slots = places.slots(routing, dims)

  def dispatch(self, inputs: mtf.Tensor) -> mtf.Tensor:
    """Copies each token to its slots; slots without a token are zero.

    Args:
      inputs: [num_cores`, tokens_per_core, d_model].

    Returns:
      [num_experts`, num_cores_unsplit, expert_capacity, d_model].
    """
    # -> [num_experts_unsplit, num_cores`, expert_capacity, d_model]
    expert_inputs = places.to_places(inputs, self._slots, self._dims)
    return exchange.to_experts(expert_inputs, self._dims)

  def choices(self) -> mtf.Tensor:
    """The choice at each slot, [num_experts`, num_cores_unsplit, capacity]."""
    return exchange.to_experts(
        places.choices_of_batch(self._slots, self._dims), self._dims
    )

  def multiply(
      self, x: mtf.Tensor, weights: mtf.Tensor, new_dim: mtf.Dimension
  ) -> mtf.Tensor:
    """Multiplies the slots of each expert by its own matrix."""
    return experts.multiply_slots(x, weights, new_dim)

  def combine(self, expert_outputs: mtf.Tensor) -> mtf.Tensor:
    """Takes each token's results from its slots, times its gates.

    Args:
      expert_outputs: [num_experts`, num_cores_unsplit, expert_capacity,
        d_output].

    Returns:
      [num_cores`, tokens_per_core, d_output], exactly zero for tokens without
      a slot.
    """
    # -> [num_experts_unsplit, num_cores`, expert_capacity, d_output]
    expert_outputs = exchange.from_experts(expert_outputs, self._dims)
    return places.from_places(
        expert_outputs, self._slots, self._gate, self._dims
    )
