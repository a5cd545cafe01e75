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

"""Appendix F's dispatch: tokens to slots and back, by einsum.

Steps of Figure 15 from the combine tensor on belong to this strategy, not to
the router, so that others can carry out the same `Routing`.
"""

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import dims as dims_lib
from mtf_switch import routing as routing_lib


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

    def of_slots(x):
      """Puts a value of each choice where its slot is."""
      return mtf.einsum(
          [
              mtf.one_hot(
                  routing.expert_index, dims.num_experts_unsplit, dtype=x.dtype
              ),
              # Gates of choices without a slot are 0.
              x
              * mtf.one_hot(
                  routing.position_in_expert,
                  dims.expert_capacity,
                  dtype=x.dtype,
              ),
          ],
          output_shape=[
              dims.num_cores,
              dims.tokens_per_core,
              dims.num_experts_unsplit,
              dims.expert_capacity,
          ],
      )

    self.dispatch_tensor = mtf.cast(of_slots(routing.kept), dtype)
    self.combine_tensor = mtf.cast(of_slots(routing.expert_gate), dtype)

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
            self._dims.num_cores,
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
            self._dims.num_cores,
            self._dims.tokens_per_core,
            expert_outputs.shape.dims[-1],
        ],
    )
