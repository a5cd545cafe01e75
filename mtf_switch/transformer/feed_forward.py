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
import warnings

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import dispatch as dispatch_lib
from mtf_switch.layer import dropless
from mtf_switch.layer import experts
from mtf_switch.layer import initializers
from mtf_switch.layer import router as router_lib
from mtf_switch.layer import routing as routing_lib
from mtf_switch.layer import switch_layer as switch_layer_lib
from mtf_switch.mesh import splits
from mtf_switch.transformer import layer_stack
from mtf_switch.transformer import metrics

# The routers under their gin names.
switch_router = gin.external_configurable(
    router_lib.router, "switch_router", module="mtf_switch"
)
top_2_router = gin.external_configurable(
    router_lib.top_2_router, module="mtf_switch"
)
top_n_router = gin.external_configurable(
    router_lib.top_n_router, module="mtf_switch"
)
no_token_left_behind_router = gin.external_configurable(
    router_lib.no_token_left_behind_router, module="mtf_switch"
)

_DISPATCHERS = {
    "ragged": dispatch_lib.RaggedDispatcher,
    "index": dispatch_lib.IndexDispatcher,
    "einsum": dispatch_lib.EinsumDispatcher,
}
_WITHOUT_EXCHANGE = (dispatch_lib.RaggedDispatcher, dropless.BlockDispatcher)
# For fewer rows on average, one product of all experts' slots is faster than
# one product each without empty slots.
_RAGGED_ROWS_PER_EXPERT = 128
_ROUTER_DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16}
_EVALUATED_BY_BATCHES = (
    tf.estimator.ModeKeys.TRAIN,
    tf.estimator.ModeKeys.EVAL,
)


@gin.configurable(module="mtf_switch.layers")
class SwitchFeedForward(transformer.TransformerLayer):
  """The Switch layer in the place of a feed-forward layer (section 2.1).

  Attributes:
    dims_of_scope: the dimensions of the layer's last call under each variable
      scope, such as "encoder/block_000/layer_001/SwitchFeedForward"; for plans.
  """

  def __init__(
      self,
      num_experts: int = gin.REQUIRED,
      num_cores: int | None = None,
      group_size: int | None = None,
      strict_groups: bool = True,
      hidden_size: int | None = gin.REQUIRED,
      activation="relu",
      router=switch_router,
      exploration: str = "input_jitter",
      router_jitter: float = 1e-2,
      router_dropout_rate: float = 0.1,
      router_dtype: str = "float32",
      priority: str = "position",
      dispatch: str | None = None,
      capacity_factor_train: float = 1.25,
      capacity_factor_eval: float = 2.0,
      capacity_rounding: str = "floor",
      min_expert_capacity: int = 0,
      aux_loss_coefficient: float = 1e-2,
      z_loss_coefficient: float = 0.0,
      loss_scope: str = "group",
      loss_over_layers: str = "sum",
      expert_dropout_rate: float = 0.0,
      expert_dtype: str | None = None,
      initializer_scale: float = 0.1,
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
      router: @switch_router, @top_2_router, @top_n_router or
        @no_token_left_behind_router.
      exploration: one of routing.EXPLORATIONS, in training.
      router_jitter: eps of "input_jitter" and "logits_jitter".
      router_dropout_rate: of "input_dropout".
      router_dtype: "float32", or "bfloat16" for Table 2's comparison.
      priority: one of slots.PRIORITIES, the order in which slots are given.
      dispatch: "index" copies rows to slots, "ragged" leaves out empty slots
        and needs all tokens and experts on one core, "einsum" multiplies by
        Appendix F's tensors; the numbers are the same. None for "einsum" on a
        TPU, and elsewhere for the faster of the others.
      capacity_factor_train: equation (3) in training.
      capacity_factor_eval: equation (3) in evaluation. Decoding and scoring
        drop nothing.
      capacity_rounding: "floor", "round" or "ceil".
      min_expert_capacity: the least capacity; 0 refuses less than one slot.
      aux_loss_coefficient: alpha of equation (4).
      z_loss_coefficient: of the router z-loss.
      loss_scope: one of losses.SCOPES, over which f and P are taken.
      loss_over_layers: "sum" (the paper) or "mean" (T5X).
      expert_dropout_rate: dropout of the experts' inner activations.
      expert_dtype: "float32" for float32 experts in a bfloat16 model
        (Appendix A); None for the model's.
      initializer_scale: s of section 2.4, of the experts and the router.

    Raises:
      UserError: a name is not known.
    """
    for value, legal, what in (
        (router_dtype, _ROUTER_DTYPES, "router_dtype"),
        (expert_dtype, (None, "float32"), "expert_dtype"),
        (dispatch, (None, *_DISPATCHERS), "dispatch"),
        (loss_over_layers, ("sum", "mean"), "loss_over_layers"),
    ):
      dims_lib.check_one_of(value, legal, f"SwitchFeedForward.{what}")
    if not callable(router):
      raise errors.UserError(
          f"SwitchFeedForward.router = {router!r} is not known; use "
          "@switch_router, @top_2_router, @top_n_router or "
          "@no_token_left_behind_router."
      )
    self.num_experts = num_experts
    self.num_cores = num_cores
    self.group_size = group_size
    self.strict_groups = strict_groups
    self.hidden_size = hidden_size
    self.activation = activation
    self.router = router
    self.router_options = routing_lib.Options(
        exploration,
        router_jitter,
        router_dropout_rate,
        priority,
        loss_scope,
        _ROUTER_DTYPES[router_dtype],
    )
    routing_lib.check(self.router_options)
    self.dispatch = dispatch
    self.capacity_factor_train = capacity_factor_train
    self.capacity_factor_eval = capacity_factor_eval
    self.capacity_rounding = capacity_rounding
    self.min_expert_capacity = min_expert_capacity
    self.aux_loss_coefficient = aux_loss_coefficient
    self.z_loss_coefficient = z_loss_coefficient
    self.loss_over_layers = loss_over_layers
    self.expert_dropout_rate = expert_dropout_rate
    self.expert_dtype = expert_dtype
    self.initializer_scale = initializer_scale
    # Set by count_switch_layers.
    self.switch_layers_in_model = None
    self.dims_of_scope: dict[str, dims_lib.SwitchDims] = {}

  @functools.cached_property
  def num_choices(self) -> int:
    """How many experts a token passes: n of a top-n router, else 1.

    The router itself is asked, with one token and nothing computed: gin may
    have its options, and it may be the user's own.
    """
    dims = dims_lib.switch_dims(
        "batch", 1, 1, self.num_experts, 1, mtf.Dimension("d_model", 1)
    )
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    # The caller's graph stays as it is, and may be finalized.
    with tf.Graph().as_default():
      token = mtf.zeros(
          mesh, [dims.num_cores, dims.tokens_per_core, dims.d_model]
      )
      weights = mtf.zeros(mesh, [dims.d_model, dims.num_experts_unsplit])
      routing = self.router(token, weights, dims=dims)
    return routing.expert_index.shape.dims[-1].size

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
    return self.switch(context, x, context.nonpadding, x.shape.dims[-1])

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
    initializer = initializers.truncated_normal(self.initializer_scale)
    with tf.variable_scope("router"):
      router_weights = mtf.get_variable(
          context.mesh,
          "kernel",
          mtf.Shape([dims.d_model, dims.num_experts_unsplit]),
          initializer=initializer([dims.d_model], [dims.num_experts_unsplit]),
          # Never rounded to the activations' bfloat16 (section 2.4).
          dtype=mtf.VariableDType(tf.float32, tf.float32, tf.float32),
      )
    expert_variable_dtype = context.variable_dtype
    if self.expert_dtype:
      expert_variable_dtype = mtf.VariableDType(
          context.variable_dtype.master_dtype, tf.float32, tf.float32
      )

    def router(inputs, **kwargs):
      return self.router(
          inputs, router_weights, options=self.router_options, **kwargs
      )

    def feed_forward(expert_inputs, **kwargs):
      return experts.feed_forward(
          expert_inputs,
          dims.num_experts,
          self.hidden_size and mtf.Dimension("d_ff", self.hidden_size),
          d_output,
          self.activation,
          self.expert_dropout_rate,
          context.train,
          initializer,
          expert_variable_dtype,
          **kwargs,
      )

    if isinstance(nonpadding, mtf.Tensor):
      nonpadding = mtf.broadcast(
          mtf.cast(nonpadding, tf.float32), x.shape.dims[:-1]
      )
    else:
      nonpadding = None  # None or 1: every position is a real token.
    dispatcher_class = self._dispatcher_class(context, dims)
    call = (
        switch_layer_lib.local_switch_layer
        if dispatcher_class in _WITHOUT_EXCHANGE
        else switch_layer_lib.switch_layer
    )
    outputs, routing = call(
        x,
        router,
        feed_forward,
        dims,
        context.train,
        nonpadding,
        dispatcher_class,
    )
    self._add_losses(context, routing)
    return outputs

  def _add_losses(self, context, routing: routing_lib.Routing):
    """Gives the losses to training, and what the router did to metrics."""
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
    if context.train and context.losses is not None:
      metrics.add_loss(context, aux_loss + z_loss)
    scope = tf.get_variable_scope().name
    metrics.add_routing(
        scope.removesuffix(f"/{type(self).__name__}"), routing, aux_loss, z_loss
    )

  def _check(self, context):
    """Refuses what the layer cannot do, by name.

    Args:
      context: a transformer.Context.

    Raises:
      UserError: an option does not fit the rest of the model.
    """
    if (
        self.router_options.priority == "gate"
        and context.read_priority is not None
    ):
      raise errors.UserError(
          "SwitchFeedForward.priority = 'gate' compares a token with later "
          "ones, which a decoder must not see; use 'position' or 'causal' "
          "there, for example decoder/SwitchFeedForward.priority = 'causal'."
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

  def _dispatcher_class(self, context, dims: dims_lib.SwitchDims):
    """How tokens get to their experts.

    Args:
      context: a transformer.Context.
      dims: the layer's dimensions.

    Returns:
      a class of dispatch or dropless.

    Raises:
      UserError: the option does not fit the mesh or other options.
    """
    on_one_slice = self._is_on_one_slice(context.model)
    if (
        context.mode not in _EVALUATED_BY_BATCHES
        and on_one_slice
        and not dims.outer_batch
    ):
      return dropless.BlockDispatcher
    can_be_ragged = (
        on_one_slice
        and all(splits.ways(context.model, d) == 1 for d in dims.groups)
        # Expert dropout draws for slots, the same on every mesh.
        and not (context.train and self.expert_dropout_rate)
    )
    if self.dispatch == "ragged" and not can_be_ragged:
      raise errors.UserError(
          "SwitchFeedForward.dispatch = 'ragged' needs a mesh that splits "
          "neither tokens nor experts, no TPU, and expert_dropout_rate = 0; "
          "use 'index'."
      )
    if self.dispatch:
      return _DISPATCHERS[self.dispatch]
    if splits.is_on_tpu():
      return dispatch_lib.EinsumDispatcher
    num_tokens = mtf.Shape(dims.groups + [dims.tokens_per_core]).size
    rows_per_expert = num_tokens / self.num_experts
    if can_be_ragged and rows_per_expert >= _RAGGED_ROWS_PER_EXPERT:
      return dispatch_lib.RaggedDispatcher
    return dispatch_lib.IndexDispatcher

  def _is_on_one_slice(self, model) -> bool:
    """Whether each core is known to hold all experts; never on a TPU.

    A TPU's shapes are static, and the number of blocks is not.
    """
    return splits.are_whole(
        model,
        [mtf.Dimension(name, 1) for name in ("experts", "d_ff", "d_model")],
    )

  def dims(self, context, x) -> dims_lib.SwitchDims:
    """The layer's dimensions for an input, checked against the mesh."""
    model = context.model
    d_model = x.shape.dims[-1]
    batch_dim = next(d for d in x.shape.dims if d.name == "batch")
    # Upstream's run() puts an outer batch of 1 before the batch.
    others = x.shape.dims[: x.shape.dims.index(batch_dim)]
    others = [d for d in others if d.size > 1]
    if any(d.name != "outer_batch" for d in others):
      raise errors.UserError(
          f"SwitchFeedForward does not support {others[0].name} = "
          f"{others[0].size}; leave ensembles off."
      )
    outer_batch_size = mtf.Shape(others).size
    num_tokens = x.shape.size // d_model.size
    batch_ways = splits.ways(model, batch_dim)
    parts = outer_batch_size * batch_ways
    if context.mode in _EVALUATED_BY_BATCHES:
      num_cores = dims_lib.num_groups(
          num_tokens,
          self.num_cores,
          self.group_size,
          self.strict_groups,
          parts,
      )
      tokens_per_core = num_tokens // num_cores
      expert_capacity = self._expert_capacity(tokens_per_core, context.train)
    else:
      # A slot for every token, so that no sequence loses one to its neighbours
      # in the batch.
      dims_lib.check_divides(parts, num_tokens, "the batch size")
      num_cores = parts
      expert_capacity = tokens_per_core = num_tokens // num_cores
    if num_cores % outer_batch_size:
      raise errors.UserError(
          f"num_cores = {num_cores} groups cannot be dealt out to "
          f"outer_batch_size = {outer_batch_size} outer batches; make it a "
          f"multiple of {parts}."
      )
    dims = dims_lib.switch_dims(
        batch_dim.name,
        num_cores // outer_batch_size,
        tokens_per_core,
        self.num_experts,
        expert_capacity,
        d_model,
        others,
    )
    for dim, what in (
        (dims.num_cores, "num_cores"),
        (dims.num_experts, "num_experts"),
        (mtf.Dimension("d_ff", self.hidden_size or 0), "hidden_size"),
    ):
      ways = splits.ways(model, dim)
      dims_lib.check_divides(ways, dim.size, what)
      if dim == dims.num_experts and ways == 1 and model.mesh_shape is not None:
        # Every core has all experts: the groups stay where they are.
        dims = dims._replace(num_cores_unsplit=dims.num_cores)
    return dims

  def _expert_capacity(self, tokens_per_core: int, is_training: bool) -> int:
    """The slots of an expert; warns if they are not what was asked for."""
    capacity_factor = (
        self.capacity_factor_train if is_training else self.capacity_factor_eval
    )
    expert_capacity = dims_lib.expert_capacity(
        tokens_per_core,
        self.num_experts,
        capacity_factor,
        self.capacity_rounding,
        self.min_expert_capacity,
    )
    warning = dims_lib.capacity_warning(
        tokens_per_core, self.num_experts, capacity_factor, expert_capacity
    )
    if warning:
      warnings.warn(warning, errors.UserNotice, stacklevel=2)
    return expert_capacity


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
