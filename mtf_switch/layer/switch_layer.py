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
from mtf_switch.layer import exchange
from mtf_switch.layer import routing

# From inputs, dims, is_training and nonpadding to a Routing: one of `router`'s
# with its weights and options bound.
Router = Callable[..., routing.Routing]


def switch_layer(
    inputs: mtf.Tensor,
    router: Router,
    feed_forward: Callable[[mtf.Tensor], mtf.Tensor],
    dims: dims_lib.SwitchDims,
    is_training: bool = False,
    nonpadding: mtf.Tensor | None = None,
    dispatcher_class=dispatch.EinsumDispatcher,
) -> tuple[mtf.Tensor, routing.Routing]:
  """Figure 16: each token through the expert that the router chooses.

  Args:
    inputs: `[batch, ..., d_model]`, as many tokens as num_cores *
      tokens_per_core.
    router: one of `router`'s, its weights and options bound.
    feed_forward: the experts: `[num_experts, num_cores_unsplit,
      expert_capacity, d_model]` to the same with d_output.
    dims: the layer's dimensions.
    is_training: whether the router explores.
    nonpadding: float32 of the shape of inputs without d_model, 1 for real
      tokens and 0 for padding; None if all are real.
    dispatcher_class: one of dispatch's.

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
  # -> [num_experts_unsplit, num_cores`, expert_capacity, d_model]
  expert_inputs = dispatcher.dispatch(inputs)
  # -> [num_experts`, num_cores_unsplit, expert_capacity, d_model]
  expert_inputs = exchange.to_experts(expert_inputs, dims)
  expert_outputs = feed_forward(expert_inputs)
  # -> [num_experts_unsplit, num_cores`, expert_capacity, d_model]
  expert_outputs = exchange.from_experts(expert_outputs, dims)
  # -> [num_cores`, tokens_per_core, d_model] -> [batch`, length, d_model]
  outputs = dispatcher.combine(expert_outputs)
  return mtf.reshape(outputs, batch_dims + outputs.shape.dims[-1:]), routing_


def local_switch_layer(
    inputs: mtf.Tensor,
    router: Router,
    feed_forward: Callable[..., mtf.Tensor],
    dims: dims_lib.SwitchDims,
    is_training: bool,
    nonpadding: mtf.Tensor | None,
    dispatcher_class,
) -> tuple[mtf.Tensor, routing.Routing]:
  """The same without an exchange, where each core has all of every expert.

  Args:
    inputs: `[batch, ..., d_model]`.
    router: as for switch_layer.
    feed_forward: the experts; takes rows in the form of the dispatcher, and how
      to multiply them as `matmul`.
    dims: the layer's dimensions.
    is_training: whether the router explores.
    nonpadding: as for switch_layer.
    dispatcher_class: dispatch.RaggedDispatcher or dropless.BlockDispatcher.

  Returns:
    as switch_layer.
  """
  batch_dims = inputs.shape.dims[:-1]
  inputs, nonpadding = _in_groups(inputs, nonpadding, dims)
  routing_ = router(
      inputs, dims=dims, is_training=is_training, nonpadding=nonpadding
  )
  dispatcher = dispatcher_class(routing_, dims, inputs.dtype)
  expert_outputs = feed_forward(
      dispatcher.dispatch(inputs), matmul=dispatcher.matmul
  )
  outputs = dispatcher.combine(expert_outputs)
  return mtf.reshape(outputs, batch_dims + outputs.shape.dims[-1:]), routing_


def _in_groups(inputs, nonpadding, dims: dims_lib.SwitchDims):
  """`[batch, ..., d_model]` -> [num_cores`, tokens_per_core, d_model]."""
  group_dims = [*dims.groups, dims.tokens_per_core]
  inputs = mtf.reshape(inputs, group_dims + [dims.d_model])
  if nonpadding is not None:
    nonpadding = mtf.reshape(nonpadding, group_dims)
  return inputs, nonpadding
