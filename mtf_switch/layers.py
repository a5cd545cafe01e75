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

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch import compat
from mtf_switch import dims as dims_lib
from mtf_switch import experts
from mtf_switch import initializers
from mtf_switch import metrics
from mtf_switch import switch_layer as switch_layer_lib


@gin.configurable
class SwitchFeedForward(transformer.TransformerLayer):
  """The Switch layer in the place of a feed-forward layer (section 2.1)."""

  def __init__(
      self,
      num_experts: int = gin.REQUIRED,
      num_cores: int = gin.REQUIRED,
      hidden_size: int = gin.REQUIRED,
      activation="relu",
      capacity_factor_train: float = 1.25,
      capacity_factor_eval: float = 2.0,
      router_jitter: float = 1e-2,
      aux_loss_coefficient: float = 1e-2,
      expert_dropout_rate: float = 0.0,
      initializer_scale: float = 0.1,
  ):
    """Records the options.

    Args:
      num_experts: the number of experts.
      num_cores: the number of groups in which tokens compete for slots
        (Appendix F). It is a property of the model, not of the mesh: the mesh
        axis that splits the batch must divide it, and any such mesh gives the
        same result.
      hidden_size: d_ff of each expert.
      activation: "relu", or a list of names that are multiplied; ["gelu",
        "linear"] is GEGLU.
      capacity_factor_train: equation (3) in training.
      capacity_factor_eval: equation (3) otherwise.
      router_jitter: eps of the router's input jitter in training.
      aux_loss_coefficient: alpha of equation (4).
      expert_dropout_rate: dropout of the experts' inner activations.
      initializer_scale: s of section 2.4, of the experts and the router.
    """
    self.num_experts = num_experts
    self.num_cores = num_cores
    self.hidden_size = hidden_size
    self.activation = activation
    self.capacity_factor_train = capacity_factor_train
    self.capacity_factor_eval = capacity_factor_eval
    self.router_jitter = router_jitter
    self.aux_loss_coefficient = aux_loss_coefficient
    self.expert_dropout_rate = expert_dropout_rate
    self.initializer_scale = initializer_scale

  def call(self, context, x):
    """Calls the layer; adds alpha times the load-balance loss in training.

    Args:
      context: a transformer.Context.
      x: `[batch, ..., d_model]`.

    Returns:
      as x.

    Raises:
      UserError: the sizes do not fit each other or the mesh.
    """
    dims = self.dims(context, x)
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

    def feed_forward(expert_inputs):
      return experts.feed_forward(
          expert_inputs,
          dims.num_experts,
          mtf.Dimension("d_ff", self.hidden_size),
          self.activation,
          self.expert_dropout_rate,
          context.train,
          initializer,
          context.variable_dtype,
      )

    nonpadding = context.nonpadding
    if isinstance(nonpadding, mtf.Tensor):
      nonpadding = mtf.broadcast(
          mtf.cast(nonpadding, tf.float32), x.shape.dims[:-1]
      )
    else:
      nonpadding = None  # None or 1: every position is a real token.
    outputs, routing = switch_layer_lib.switch_layer(
        x,
        router_weights,
        feed_forward,
        dims,
        self.router_jitter,
        context.train,
        nonpadding,
    )
    aux_loss = routing.aux_loss * (
        self.aux_loss_coefficient / (context.num_microbatches or 1)
    )
    # Evaluation reports cross-entropy alone, also under T5's own programs.
    if context.train and context.losses is not None:
      context.losses.append(mtf.cast(aux_loss, context.activation_dtype))
    metrics.add("aux_loss", aux_loss)
    metrics.add("routed_tokens", mtf.reduce_sum(routing.routed))
    metrics.add("dropped_tokens", mtf.reduce_sum(routing.routed - routing.kept))
    return outputs

  def dims(self, context, x) -> dims_lib.SwitchDims:
    """The layer's dimensions for an input, checked against the mesh."""
    d_model = x.shape.dims[-1]
    # Upstream's run() puts an outer batch of 1 before the batch.
    batch_dim = next(d for d in x.shape.dims if d.name == "batch")
    others = x.shape.dims[: x.shape.dims.index(batch_dim)]
    if any(d.size > 1 for d in others):
      raise compat.UserError(
          f"SwitchFeedForward does not support {others[0].name} = "
          f"{others[0].size}; leave ensembles and outer_batch_size off."
      )
    num_tokens = x.shape.size // d_model.size
    num_cores = self.num_cores
    if context.mode not in (
        tf.estimator.ModeKeys.TRAIN,
        tf.estimator.ModeKeys.EVAL,
    ):
      num_cores = dims_lib.num_groups_that_fit(num_tokens, num_cores)
    tokens_per_core = dims_lib.tokens_per_core(num_tokens, num_cores)
    if context.mode == "incremental":
      # One token of each sequence: a slot for every one, so that no sequence
      # loses a token to its neighbours in the batch.
      capacity = tokens_per_core
    else:
      capacity = dims_lib.expert_capacity(
          tokens_per_core,
          self.num_experts,
          self.capacity_factor_train
          if context.train
          else self.capacity_factor_eval,
      )
    dims = dims_lib.switch_dims(
        batch_dim.name,
        num_cores,
        tokens_per_core,
        self.num_experts,
        min(capacity, tokens_per_core),
        d_model,
    )
    model = context.model
    if model.mesh_shape is not None:
      for dim, what in (
          (dims.num_cores, "num_cores"),
          (dims.num_experts, "num_experts"),
          (mtf.Dimension("d_ff", self.hidden_size), "hidden_size"),
      ):
        ways = mtf.tensor_dim_to_mesh_dim_size(
            model.layout, model.mesh_shape, dim
        )
        dims_lib.check_divides(ways, dim.size, what)
        if dim == dims.num_experts and ways == 1:
          # Every core has all experts: the groups stay where they are.
          dims = dims._replace(num_cores_unsplit=dims.num_cores)
    return dims
