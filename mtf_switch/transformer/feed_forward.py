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

"""Switch layers for mesh_tensorflow's transformer stacks, set by gin."""

import functools
from typing import Literal

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import values
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import experts
from mtf_switch.layer import initializers
from mtf_switch.layer import routing as routing_lib
from mtf_switch.layer import switch_layer as switch_layer_lib
from mtf_switch.transformer import contexts
from mtf_switch.transformer import dispatchers
from mtf_switch.transformer import layer_stack
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import microbatches
from mtf_switch.transformer import reports
from mtf_switch.transformer import routers
from mtf_switch.transformer import sizes as sizes_lib


@gin.configurable(module="mtf_switch.layers")
class SwitchFeedForward(transformer.TransformerLayer):
  """The Switch layer in the place of a feed-forward layer (section 2.1).

  Attributes:
    dims_of_scope: the dimensions of the layer's last call under each variable
      scope, such as "encoder/block_000/layer_001/SwitchFeedForward"; for plans.
  """

  @values.checked
  def __init__(
      self,
      num_experts: values.Count = gin.REQUIRED,
      num_cores: values.Count | None = None,
      group_size: values.Count | None = None,
      strict_groups: bool = True,
      hidden_size: values.Count | None = gin.REQUIRED,
      activation: experts.Activation = "relu",
      router=routers.SwitchRouter,
      exploration: str | None = None,
      router_jitter: values.Share | None = None,
      router_dropout_rate: values.DropoutRate | None = None,
      router_dtype: str | None = None,
      priority: str | None = None,
      dispatch: Literal[None, *dispatchers.BY_NAME] = None,
      capacity_factor_train: values.Positive = 1.25,
      capacity_factor_eval: values.Positive = 2.0,
      capacity_factor_infer: values.Positive | None = None,
      capacity_rounding: Literal["floor", "round", "ceil"] = "floor",
      min_expert_capacity: values.CountOrZero = 0,
      aux_loss_coefficient: values.NotNegative = 1e-2,
      z_loss_coefficient: values.NotNegative = 0.0,
      loss_scope: str | None = None,
      loss_over_layers: Literal["sum", "mean"] = "sum",
      expert_dropout_rate: values.DropoutRate = 0.0,
      expert_dtype: Literal[None, "float32"] = None,
      initializer_scale: values.Positive = 0.1,
      num_removed_experts: values.CountOrZero = 0,
  ):
    """Records the options; docs/routing.md has where each comes from.

    Args:
      num_experts: the number of experts.
      num_cores: the number of groups in which tokens compete for slots
        (Appendix F). It is a property of the model, not of the mesh: the mesh
        axis that splits the batch must divide it, and any such mesh gives the
        same result.
      group_size: the tokens of a group, in the place of num_cores.
      strict_groups: whether a number of tokens that cannot be dealt out so is
        refused; otherwise the nearest number of groups that fits is taken.
      hidden_size: d_ff of each expert; None for linear experts.
      activation: "relu", or a list of names that are multiplied; ["gelu",
        "linear"] is GEGLU.
      router: @switch_router, @top_2_router, @top_n_router,
        @no_token_left_behind_router or a routing.Router of your own, as a class
        or, with (), as an instance.
      exploration: the router's option of this name, for any router; None here
        and below leaves it to the router.
      router_jitter: the router's option jitter.
      router_dropout_rate: the router's option dropout_rate.
      router_dtype: the router's option dtype.
      priority: the router's option of this name.
      dispatch: "index" copies rows to slots, "ragged" leaves out empty slots
        and needs all experts whole on each core, "einsum" multiplies by
        Appendix F's tensors; the numbers are the same. None for "einsum" on a
        TPU, and elsewhere for the faster of the others.
      capacity_factor_train: equation (3) in training.
      capacity_factor_eval: equation (3) in evaluation.
      capacity_factor_infer: equation (3) in decoding and scoring, of at least
        one slot and in the nearest number of groups that fits; None drops
        nothing.
      capacity_rounding: "floor", "round" or "ceil".
      min_expert_capacity: the least capacity; 0 refuses less than one slot.
      aux_loss_coefficient: alpha of equation (4).
      z_loss_coefficient: of the router z-loss.
      loss_scope: the router's option of this name.
      loss_over_layers: "sum" (the paper) or "mean" (T5X).
      expert_dropout_rate: dropout of the experts' inner activations.
      expert_dtype: "float32" for float32 experts in a bfloat16 model
        (Appendix A); None for the model's.
      initializer_scale: s of section 2.4, of the experts and the router.
      num_removed_experts: the experts that --mode=prune has removed, whose
        columns the router keeps: the gates of the others stay what they were.

    Raises:
      UserError: an option's value is none that it takes, or it is set in two
        ways.
    """
    self.router = routers.router_of(
        router,
        dict(
            exploration=exploration,
            router_jitter=router_jitter,
            router_dropout_rate=router_dropout_rate,
            router_dtype=router_dtype,
            priority=priority,
            loss_scope=loss_scope,
        ),
    )
    self.num_experts = num_experts
    self.num_cores = num_cores
    self.group_size = group_size
    self.strict_groups = strict_groups
    self.hidden_size = hidden_size
    self.activation = activation
    self.dispatch = dispatch
    self.capacity_factor_train = capacity_factor_train
    self.capacity_factor_eval = capacity_factor_eval
    self.capacity_factor_infer = capacity_factor_infer
    self.capacity_rounding = capacity_rounding
    self.min_expert_capacity = min_expert_capacity
    self.aux_loss_coefficient = aux_loss_coefficient
    self.z_loss_coefficient = z_loss_coefficient
    self.loss_over_layers = loss_over_layers
    self.expert_dropout_rate = expert_dropout_rate
    self.expert_dtype = expert_dtype
    self.initializer_scale = initializer_scale
    self.num_removed_experts = num_removed_experts
    # Set by count_switch_layers.
    self.switch_layers_in_model = None
    self.dims_of_scope: dict[str, dims_lib.SwitchDims] = {}

  @property
  def num_choices(self) -> int:
    """The number of experts that a token passes."""
    return self.router.num_choices

  def call(self, context, x):
    """Calls the layer; adds the router's losses in training.

    Args:
      context: a transformer.Context.
      x: `[batch, ..., d_model]`.

    Returns:
      as x.

    Raises:
      UserError: the sizes or options do not fit each other or the mesh.
    """
    return self.switch(
        context, x, contexts.nonpadding(context), x.shape.dims[-1]
    )

  def switch(self, context, x, nonpadding, d_output: mtf.Dimension):
    """The layer with any output dimension and padding (Appendix A).

    Args:
      context: a transformer.Context.
      x: `[batch, ..., d_model]`.
      nonpadding: as Context.nonpadding: a tensor of dimensions of x, 1 where a
        token is real; None or 1 if all are.
      d_output: the output dimension.

    Returns:
      `[batch, ..., d_output]`.

    Raises:
      UserError: the sizes or options do not fit each other or the mesh.
    """
    self._check(context)
    dims = self.dims(context, x)
    self.dims_of_scope[tf.get_variable_scope().name] = dims
    router_weights = self._router_weights(context, dims)
    if isinstance(nonpadding, mtf.Tensor):
      nonpadding = mtf.broadcast(
          mtf.cast(nonpadding, tf.float32), x.shape.dims[:-1]
      )
    else:
      nonpadding = None  # None or 1: every position is a real token.
    expert_dropout_rate = self.expert_dropout_rate if context.train else 0.0
    name = self._name_in_reports(tf.get_variable_scope().name)
    of_batch = microbatches.counts(
        context, name, x, nonpadding is not None, dims
    )
    outputs, routing = switch_layer_lib.switch_layer(
        x,
        functools.partial(
            self.router, router_weights=router_weights, of_batch=of_batch
        ),
        self._experts(context, dims, d_output, expert_dropout_rate),
        dims,
        context.train,
        nonpadding,
        dispatchers.dispatcher_class(
            self.dispatch, context, dims, self.num_choices, self.hidden_size
        ),
    )
    microbatches.report_first_choices(context, name, routing)
    reports.add_layer_routing(context, name, x, routing)
    if context.mode in sizes_lib.EVALUATED_BY_BATCHES:
      self._add_losses(context, name, routing, dims)
    else:
      reports.add_drops(context, routing)
    return outputs

  @property
  def dims_in_reports(self) -> dict[str, dims_lib.SwitchDims]:
    """The dimensions of the layer's last calls, by their names in reports."""
    return {
        self._name_in_reports(scope): dims
        for scope, dims in self.dims_of_scope.items()
    }

  def _name_in_reports(self, scope: str) -> str:
    """The name in reports of the call under a variable scope."""
    return scope.removesuffix(f"/{type(self).__name__}")

  def _router_weights(self, context, dims: dims_lib.SwitchDims) -> mtf.Tensor:
    """The router's variable, `[d_model, num_experts_unsplit]` float32.

    After pruning, the columns of removed experts follow.
    """
    initializer = initializers.truncated_normal(self.initializer_scale)
    columns = dims.num_experts_unsplit
    if self.num_removed_experts:
      columns = mtf.Dimension(
          "experts_and_removed", columns.size + self.num_removed_experts
      )
    with tf.variable_scope("router"):
      return mtf.get_variable(
          context.mesh,
          "kernel",
          mtf.Shape([dims.d_model, columns]),
          initializer=initializer([dims.d_model], [columns]),
          # Never rounded to the activations' bfloat16 (section 2.4).
          dtype=mtf.VariableDType(tf.float32, tf.float32, tf.float32),
      )

  def _experts(self, context, dims, d_output, dropout_rate):
    """The experts, as a function of their inputs and of `multiply`."""
    variable_dtype = context.variable_dtype
    if self.expert_dtype:
      variable_dtype = mtf.VariableDType(
          variable_dtype.master_dtype, tf.float32, tf.float32
      )
    return functools.partial(
        experts.feed_forward,
        num_experts=dims.num_experts,
        d_ff=self.hidden_size and mtf.Dimension("d_ff", self.hidden_size),
        d_output=d_output,
        activation=self.activation,
        dropout_rate=dropout_rate,
        kernel_initializer=initializers.truncated_normal(
            self.initializer_scale
        ),
        variable_dtype=variable_dtype,
    )

  def dims(self, context, x: mtf.Tensor) -> dims_lib.SwitchDims:
    """The layer's dimensions for an input, checked against the mesh."""
    return sizes_lib.layer_dims(context, x, self.sizes)

  @property
  def sizes(self) -> sizes_lib.Sizes:
    """The options that decide the layer's dimensions."""
    return sizes_lib.Sizes(
        **{name: getattr(self, name) for name in sizes_lib.Sizes._fields}
    )

  def _add_losses(
      self,
      context,
      name: str,
      routing: routing_lib.Routing,
      dims: dims_lib.SwitchDims,
  ):
    """Adds the losses to the trained loss, and reports the routing."""
    divisor = 1
    if not microbatches.batch_is_known(context):
      divisor = context.num_microbatches or 1
    if self.loss_over_layers == "mean":
      if not self.switch_layers_in_model:
        raise errors.UserError(
            "SwitchFeedForward.loss_over_layers = 'mean' works with run_switch "
            "only; elsewhere divide aux_loss_coefficient by the number of "
            "Switch layers."
        )
      divisor *= self.switch_layers_in_model
    aux_loss = routing.aux_loss * (self.aux_loss_coefficient / divisor)
    z_loss = routing.z_loss * (self.z_loss_coefficient / divisor)
    # Evaluation reports cross-entropy alone, also under T5's own programs.
    if context.train:
      loss_lib.add_router_loss(context, aux_loss + z_loss)
    reports.add_routing(
        context.model,
        name,
        routing,
        mtf.Shape(dims.groups).size * dims.expert_capacity.size,
        aux_loss,
        z_loss,
    )

  def _check(self, context):
    """Refuses what the layer cannot do, by name.

    Args:
      context: a transformer.Context.

    Raises:
      UserError: an option does not fit the rest of the model.
    """
    if self.router.priority == "gate" and context.read_priority is not None:
      raise errors.UserError(
          "The router's priority = 'gate' compares a token with later ones, "
          "which a decoder must not see; use 'position' or 'causal' there (the "
          "gin scope decoder/ sets an option of the decoder alone)."
      )
    stack = getattr(context.model, "layer_stack", None)
    if not context.train or isinstance(stack, layer_stack.SwitchLayerStack):
      return
    if isinstance(stack, transformer.ReversibleLayerStack):
      raise errors.UserError(
          "SwitchFeedForward does not work in a ReversibleLayerStack, which "
          "loses the auxiliary loss; use SwitchLayerStack with recompute_grads."
      )
    if getattr(stack, "_recompute_grads", False):
      raise errors.UserError(
          "LayerStack.recompute_grads loses the auxiliary loss of Switch "
          "layers; set transformer.make_layer_stack.layer_stack_cls = "
          "@SwitchLayerStack."
      )


def switches(model) -> list[SwitchFeedForward]:
  """The Switch layers of a model, those inside of attention too, in order.

  Args:
    model: a Bitransformer or Unitransformer.
  """
  return [
      switch
      for stack in layer_stack.stacks(model)
      for layer in stack.layers
      for switch in getattr(layer, "switches", [layer])
      if isinstance(switch, SwitchFeedForward)
  ]


def count_switch_layers(model):
  """Tells each Switch layer how many there are, for losses that are averaged.

  Args:
    model: a Bitransformer or Unitransformer.
  """
  all_switches = switches(model)
  for switch in all_switches:
    switch.switch_layers_in_model = len(all_switches)
