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

"""Attention with section 2.4's initial values, and Switch attention.

The classes keep upstream's names where they keep its variables, because the
stack names variables after classes: checkpoints of either fit the other.
"""

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import attention
from mesh_tensorflow.transformer import transformer_layers
import tensorflow.compat.v1 as tf

from mtf_switch import compat
from mtf_switch import initializers


class AttentionParams(attention.AttentionParams):
  """Upstream's, drawn from truncated normals with sigma = sqrt(s / fan-in).

  Upstream draws from normal distributions with s = 1 whatever gin says.
  Queries keep its 1 / sqrt(d_kv) folded in, sigma = sqrt(s / (d_model * d_kv)):
  without it the logits of attention would be sqrt(d_kv) times too large.
  """

  def __init__(self, *args, initializer_scale: float, **kwargs):
    self.initializer_scale = initializer_scale
    super().__init__(*args, **kwargs)

  def init_weights(self):
    """Creates the projections, with upstream's names and shapes."""
    query_fan_in = [self.query_input_dim]
    if self.fold_scaling_into_initializer:
      query_fan_in.append(self.key_dim)
    if not self.no_query:
      self.wq = self._weights("q", self.q_shape, query_fan_in)
    if self.shared_kv:
      self.wkv = self._weights("kv", self.k_shape, [self.memory_input_dim])
    else:
      self.wk = self._weights("k", self.k_shape, [self.memory_input_dim])
      self.wv = self._weights("v", self.v_shape, [self.memory_input_dim])
    self.wo = self._weights("o", self.o_shape, self.o_dims)

  def _weights(self, name, shape, fan_in_dims):
    return mtf.get_variable(
        self.mesh,
        name,
        mtf.Shape(shape),
        initializer=initializers.truncated_normal(self.initializer_scale)(
            fan_in_dims, []
        ),
        dtype=self.variable_dtype,
    )


class SwitchAttentionParams(AttentionParams):
  """Queries, and keys that are the values too, from experts (Appendix A)."""

  def __init__(self, *args, context, query, key_value, **kwargs):
    """Creates the output projection; the experts follow when they are called.

    Args:
      *args: AttentionParams'.
      context: a transformer.Context.
      query: a SwitchFeedForward.
      key_value: a SwitchFeedForward.
      **kwargs: AttentionParams'.
    """
    self.context = context
    self.query = query
    self.key_value = key_value
    super().__init__(*args, **kwargs)

  def init_weights(self):
    """Creates the output projection."""
    self.wo = self._weights("o", self.o_shape, self.o_dims)

  def compute_q(self, query_antecedent):
    """Queries.

    Args:
      query_antecedent: `[batch, ..., d_model]`.

    Returns:
      `[batch, ..., heads, d_kv]`, scaled by 1 / sqrt(d_kv).
    """
    q = self._experts(
        "query",
        self.query,
        query_antecedent,
        self.context.nonpadding,
        self.q_dims,
    )
    return q * self.key_dim.size**-0.5

  def compute_kv(self, memory_antecedent):
    """Keys, which are the values too.

    Args:
      memory_antecedent: `[batch, ..., d_model]`: in encoder-decoder attention
        the encoder's output.

    Returns:
      `[batch, ..., heads, d_kv]`.
    """
    context = self.context
    nonpadding = context.nonpadding
    if memory_antecedent is context.encoder_output:
      nonpadding = context.encoder_sequence_id
      if isinstance(nonpadding, mtf.Tensor):
        nonpadding = mtf.cast(
            mtf.not_equal(nonpadding, 0), context.activation_dtype
        )
    elif isinstance(nonpadding, mtf.Tensor):
      # In self-attention keys have an axis of their own.
      nonpadding = mtf.layers.rename_length_to_memory_length(nonpadding)
    return self._experts(
        "key_value", self.key_value, memory_antecedent, nonpadding, self.k_dims
    )

  def _experts(self, scope, experts, antecedent, nonpadding, dims):
    # Not named "heads" yet: a layout may split heads and d_ff over one axis.
    d_output = mtf.Dimension("d_output", mtf.Shape(dims).size)
    with tf.variable_scope(scope):
      outputs = experts.switch(self.context, antecedent, nonpadding, d_output)
    return mtf.reshape(outputs, outputs.shape.dims[:-1] + dims)


def _params(params_class, layer, context, /, **kwargs):
  """Upstream's attention_params, for a class of parameters of our own."""
  num_heads, num_memory_heads = layer.num_heads, layer.num_memory_heads
  if num_memory_heads > 1 and num_heads % num_memory_heads:
    raise compat.UserError(
        f"num_memory_heads = {num_memory_heads} must divide num_heads = "
        f"{num_heads}."
    )
  heads = [mtf.Dimension("heads", num_heads)]
  query_heads_dims = memory_heads_dims = heads
  if num_heads == 1:
    query_heads_dims = memory_heads_dims = None
  elif num_memory_heads == 1:
    memory_heads_dims = None
  elif num_memory_heads:
    memory_heads_dims = [mtf.Dimension("heads", num_memory_heads)]
    query_heads_dims = memory_heads_dims + [
        mtf.Dimension("query_heads", num_heads // num_memory_heads)
    ]
  return params_class(
      context.mesh,
      query_input_dim=context.model.model_dim,
      memory_input_dim=context.model.model_dim,
      output_dim=context.model.model_dim,
      key_dim=layer.kv_dim,
      value_dim=layer.kv_dim,
      query_heads_dims=query_heads_dims,
      memory_heads_dims=memory_heads_dims,
      variable_dtype=context.variable_dtype,
      shared_kv=layer.shared_kv,
      ensemble_dim=context.model.ensemble_dim,
      combine_dims=layer.combine_dims,
      keep_query_heads_dims=layer.keep_query_heads_dims,
      fold_scaling_into_initializer=layer.fold_scaling_into_initializer,
      initializer_scale=layer.initializer_scale,
      **kwargs,
  )


class _Initialized:
  """Attention whose weights are drawn as section 2.4 says."""

  def __init__(self, initializer_scale: float = 0.1, **kwargs):
    """Records the options.

    Args:
      initializer_scale: s of section 2.4.
      **kwargs: upstream's, which its gin name sets too.
    """
    super().__init__(**kwargs)
    self.initializer_scale = initializer_scale

  def make_params(self, context):
    """The layer's weights for a call in a context."""
    return _params(AttentionParams, self, context)


@gin.configurable("TruncatedNormalSelfAttention", module="mtf_switch")
class SelfAttention(_Initialized, transformer_layers.SelfAttention):
  """Upstream's, initialized as section 2.4 says."""


@gin.configurable("TruncatedNormalEncDecAttention", module="mtf_switch")
class EncDecAttention(_Initialized, transformer_layers.EncDecAttention):
  """Upstream's, initialized as section 2.4 says."""


class _SwitchAttention(_Initialized):
  """Queries, and shared keys and values, from Switch layers (Figure 10)."""

  def __init__(
      self, experts=gin.REQUIRED, initializer_scale: float = 0.1, **kwargs
  ):
    """Records the options.

    Args:
      experts: @SwitchFeedForward, with a gin scope for options of its own. A
        hidden_size of None makes the experts linear; expert_dtype = "float32"
        keeps them so in a bfloat16 model, where the paper's diverged.
      initializer_scale: s of section 2.4, of the output projection.
      **kwargs: upstream's, which its gin name sets too.

    Raises:
      UserError: an option of upstream's does not go with experts.
    """
    super().__init__(initializer_scale, shared_kv=True, **kwargs)
    if not self.combine_dims or self.keep_query_heads_dims:
      raise compat.UserError(
          "Switch attention works with combine_dims = True and "
          "keep_query_heads_dims = False only."
      )
    # Two layers with weights of their own.
    self.switches = [experts(), experts()]

  def make_params(self, context):
    """The layer's weights for a call in a context."""
    query, key_value = self.switches
    return _params(
        SwitchAttentionParams,
        self,
        context,
        context=context,
        query=query,
        key_value=key_value,
    )


@gin.configurable(module="mtf_switch")
class SwitchSelfAttention(_SwitchAttention, transformer_layers.SelfAttention):
  """Switch attention of a sequence to itself."""


@gin.configurable(module="mtf_switch")
class SwitchEncDecAttention(
    _SwitchAttention, transformer_layers.EncDecAttention
):
  """Switch attention to the encoder's output, where keys come from."""
