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

"""Figure 16: the Switch layer."""

from collections.abc import Callable

import mesh_tensorflow as mtf

from mtf_switch import dims as dims_lib
from mtf_switch import dispatch
from mtf_switch import exchange
from mtf_switch import router as router_lib
from mtf_switch import routing


def switch_layer(
    inputs: mtf.Tensor,
    router_weights: mtf.Tensor,
    feed_forward: Callable[[mtf.Tensor], mtf.Tensor],
    dims: dims_lib.SwitchDims,
    eps: float = 0.0,
    is_training: bool = False,
    nonpadding: mtf.Tensor | None = None,
) -> tuple[mtf.Tensor, routing.Routing]:
  """Figure 16: each token through one expert, chosen by the router.

  Args:
    inputs: `[batch, ..., d_model]`, as many tokens as num_cores *
      tokens_per_core.
    router_weights: `[d_model, num_experts_unsplit]` float32.
    feed_forward: the experts: `[num_experts, num_cores_unsplit,
      expert_capacity, d_model]` to the same.
    dims: the layer's dimensions.
    eps: the router's jitter in training.
    is_training: whether to jitter.
    nonpadding: float32 of the shape of inputs without d_model, 1 for real
      tokens and 0 for padding; None if all are real.

  Returns:
    outputs, as inputs, exactly zero for dropped tokens; and the Routing.
  """
  batch_dims = inputs.shape.dims[:-1]
  group_dims = [dims.num_cores, dims.tokens_per_core]
  # [batch`, length, d_model] -> [num_cores`, tokens_per_core, d_model]
  inputs = mtf.reshape(inputs, group_dims + [dims.d_model])
  if nonpadding is not None:
    nonpadding = mtf.reshape(nonpadding, group_dims)
  routing_ = router_lib.router(
      inputs, router_weights, dims, eps, is_training, nonpadding
  )
  dispatcher = dispatch.EinsumDispatcher(routing_, dims, inputs.dtype)
  # -> [num_experts_unsplit, num_cores`, expert_capacity, d_model]
  expert_inputs = dispatcher.dispatch(inputs)
  # -> [num_experts`, num_cores_unsplit, expert_capacity, d_model]
  expert_inputs = exchange.to_experts(expert_inputs, dims)
  expert_outputs = feed_forward(expert_inputs)
  # -> [num_experts_unsplit, num_cores`, expert_capacity, d_model]
  expert_outputs = exchange.from_experts(expert_outputs, dims)
  # -> [num_cores`, tokens_per_core, d_model] -> [batch`, length, d_model]
  outputs = dispatcher.combine(expert_outputs)
  return mtf.reshape(outputs, batch_dims + [dims.d_model]), routing_
