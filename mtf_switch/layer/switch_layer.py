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

from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import dispatch
from mtf_switch.layer import routing


def switch_layer(
    inputs: mtf.Tensor,
    router: Callable[..., routing.Routing],
    feed_forward: Callable[..., mtf.Tensor],
    dims: dims_lib.SwitchDims,
    is_training: bool = False,
    nonpadding: mtf.Tensor | None = None,
    dispatcher_class: type[dispatch.Dispatcher] = dispatch.EinsumDispatcher,
) -> tuple[mtf.Tensor, routing.Routing]:
  """Figure 16: each token through the expert that the router chooses.

  Args:
    inputs: `[batch, ..., d_model]`, as many tokens as num_cores *
      tokens_per_core.
    router: a routing.Router with its weights bound.
    feed_forward: the experts: from expert inputs in the dispatcher's form, and
      its methods `multiply` and `choices`, to the same with d_output.
    dims: the layer's dimensions.
    is_training: whether the router explores.
    nonpadding: float32 of the shape of inputs without d_model, 1 for real
      tokens and 0 for padding; None if all are real.
    dispatcher_class: one of dispatch's. The shapes below are those of
      strategies with slots; see dispatch.contract for the others.

  Returns:
    outputs, `[batch, ..., d_output]`, exactly zero for dropped tokens; and the
    Routing.
  """
  batch_dims = inputs.shape.dims[:-1]
  # [batch`, length, d_model] -> [num_cores`, tokens_per_core, d_model]
  inputs, nonpadding = _in_groups(inputs, nonpadding, dims)
  routing_ = router(
      inputs, dims=dims, is_training=is_training, nonpadding=nonpadding
  )
  dispatcher = dispatcher_class(routing_, dims, inputs.dtype)
  # -> [num_experts_unsplit, num_cores`, expert_capacity, d_model], and by the
  # first all-to-all [num_experts`, num_cores_unsplit, expert_capacity, d_model]
  expert_inputs = dispatcher.dispatch(inputs)
  # -> [num_experts`, num_cores_unsplit, expert_capacity, d_output]
  expert_outputs = feed_forward(
      expert_inputs, multiply=dispatcher.multiply, choices=dispatcher.choices
  )
  # By the second all-to-all [num_experts_unsplit, num_cores`, expert_capacity,
  # d_output] -> [num_cores`, tokens_per_core, d_output]
  outputs = dispatcher.combine(expert_outputs)
  # -> [batch`, length, d_output]
  return mtf.reshape(outputs, batch_dims + outputs.shape.dims[-1:]), routing_


def _in_groups(inputs, nonpadding, dims: dims_lib.SwitchDims):
  """`[batch, ..., d_model]` -> [num_cores`, tokens_per_core, d_model]."""
  group_dims = [*dims.groups, dims.tokens_per_core]
  inputs = mtf.reshape(inputs, group_dims + [dims.d_model])
  if nonpadding is not None:
    nonpadding = mtf.reshape(nonpadding, group_dims)
  return inputs, nonpadding
