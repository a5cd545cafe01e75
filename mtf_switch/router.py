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

"""Figure 15: the router of the Switch layer."""

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import dims as dims_lib
from mtf_switch import losses
from mtf_switch import routing


def router(
    inputs: mtf.Tensor,
    router_weights: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    eps: float = 0.0,
    is_training: bool = False,
    nonpadding: mtf.Tensor | None = None,
) -> routing.Routing:
  """Figure 15: sends each token to its most probable expert while slots last.

  Everything inside is float32, whatever the activations are (section 2.4).

  Args:
    inputs: [num_cores`, tokens_per_core, d_model].
    router_weights: `[d_model, num_experts_unsplit]` float32, no bias.
    dims: the layer's dimensions.
    eps: in training the router's input is multiplied by draws from
      [1 - eps, 1 + eps] (input jitter, Appendix C). The figure adds them to
      the logits, where the 1 cancels in the softmax.
    is_training: whether to jitter.
    nonpadding: `[num_cores, tokens_per_core]` float32, 1 for real tokens and 0
      for padding, which takes no slot and does not count; None if all are real.

  Returns:
    a Routing.
  """
  num_cores, tokens_per_core = dims.num_cores, dims.tokens_per_core
  experts = dims.num_experts_unsplit
  # The figure casts the logits; the prose casts the router's input, and means
  # its weights too.
  inputs = mtf.cast(inputs, tf.float32)
  if is_training:
    inputs = mtf.layers.multiplicative_jitter(inputs, eps)
  # [num_cores`, tokens_per_core, num_experts]
  router_logits = mtf.einsum(
      [inputs, router_weights],
      output_shape=[num_cores, tokens_per_core, experts],
  )
  router_probs = mtf.softmax(router_logits, reduced_dim=experts)
  # [num_cores`, tokens_per_core]
  expert_gate, expert_index = mtf.top_1(router_probs, reduced_dim=experts)
  expert_mask = mtf.one_hot(expert_index, experts, dtype=tf.float32)
  if nonpadding is not None:
    expert_mask *= nonpadding
  aux_loss = losses.load_balance_loss(
      router_probs, expert_mask, num_cores, tokens_per_core, experts, nonpadding
  )
  # A token's position is the number of earlier tokens with the same expert.
  # The figure's inclusive sum starts at 1 and, compared with <, would leave
  # slot 0 empty and use only expert_capacity - 1 slots.
  position_in_expert = (
      mtf.cumsum(expert_mask, tokens_per_core, exclusive=True) * expert_mask
  )
  routed = mtf.reduce_sum(expert_mask, reduced_dim=experts)
  expert_mask *= mtf.cast(
      mtf.less(position_in_expert, float(dims.expert_capacity.size)), tf.float32
  )
  expert_mask_flat = mtf.reduce_sum(expert_mask, reduced_dim=experts)
  expert_gate *= expert_mask_flat
  return routing.Routing(
      expert_index=expert_index,
      expert_gate=expert_gate,
      position_in_expert=mtf.reduce_sum(
          position_in_expert, reduced_dim=experts
      ),
      routed=routed,
      kept=expert_mask_flat,
      router_probs=router_probs,
      aux_loss=aux_loss,
  )
