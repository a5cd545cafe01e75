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

"""Upstream's attention layers, computed head-major.

The variables, their names and, unless told otherwise, their initial values are
upstream's. Logits are [batch, heads, length, memory_length], the order in which
matrix products give and take them (dot_product.py), and so are the keys and
values that decoding keeps.
"""

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import attention
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import values
from mtf_switch.layer import initializers
from mtf_switch.mesh import splits
from mtf_switch.transformer import caches
from mtf_switch.transformer import dot_product
from mtf_switch.transformer import position_biases


def attention_fn(
    q,
    k,
    v,
    memory_length_dim,
    key_dim,
    value_dim,
    bias=None,
    dropout_rate=0.0,
    dropout_broadcast_dims=(),
    context=None,
    **kwargs,
) -> mtf.Tensor:
  """Upstream's attention.attention, without copies of its largest tensors.

  Upstream's own function is called on a TPU, whose compiler avoids the copies,
  where the mesh splits dimensions other than batch and heads, and for options
  that only upstream's function has.

  Args:
    q: the queries; all arguments are as upstream's.
    k: the keys.
    v: the values.
    memory_length_dim: the dimension of the keys' positions.
    key_dim: d_kv of queries and keys.
    value_dim: d_kv of values.
    bias: the addend of the logits, or None.
    dropout_rate: the share of attention weights that are dropped.
    dropout_broadcast_dims: the dimensions along which the noise is shared.
    context: a transformer.Context.
    **kwargs: other options of upstream's.

  Returns:
    the shape of q, with value_dim in the place of key_dim.
  """
  upstreams = (q, k, v, memory_length_dim, key_dim, value_dim, bias)
  shape = q.shape - key_dim + value_dim
  q, k, v, bias = attention.maybe_reshape_attention_input_for_2d_sharding(
      context, q, k, v, bias, [key_dim, value_dim]
  )
  shared = [d for d in q.shape.dims if d in k.shape.dims and d != key_dim]
  whole = {d for x in (q, k, v) for d in x.shape.dims if d not in shared}
  drops = context.train and dropout_rate > 0.0
  queries = set(q.shape.dims) - set(k.shape.dims)
  if (
      not splits.are_whole(context.model, whole)
      or any(option is not None for option in kwargs.values())
      or (drops and not queries <= set(dropout_broadcast_dims))
  ):
    return attention.attention(
        *upstreams,
        dropout_rate=dropout_rate,
        dropout_broadcast_dims=dropout_broadcast_dims,
        context=context,
        **kwargs,
    )
  if drops:
    # All queries lose the same weights, as if those values were 0.
    dropped = mtf.Shape(shared + [memory_length_dim])
    v = mtf.dropout(
        v,
        context.train,
        1.0 - dropout_rate,
        noise_shape=dropped - dropout_broadcast_dims,
    )
  outputs = dot_product.attend(
      q, k, v, memory_length_dim, key_dim, value_dim, bias
  )
  return mtf.reshape(outputs, shape)


def in_order(x: mtf.Tensor) -> mtf.Tensor:
  """Keys or values with positions after heads, as decoding keeps them.

  Args:
    x: [batch, memory_length, heads, d_kv], or [batch, heads, d_kv] in decoding.

  Returns:
    [batch, heads, memory_length, d_kv]; x itself on a TPU and in decoding.
  """
  lengths = [d for d in x.shape.dims if d.name == "memory_length"]
  if splits.is_on_tpu() or not lengths:
    return x
  return dot_product.in_order(x, *lengths)


class AttentionParams(attention.AttentionParams):
  """Upstream's, with head-major keys and values and a choice of initial values.

  Upstream draws from normal distributions with s = 1 whatever gin says. With a
  scale s, the weights come from truncated normals with sigma = sqrt(s / fan-in)
  instead. Queries keep upstream's 1 / sqrt(d_kv) folded in,
  sigma = sqrt(s / (d_model * d_kv)): without it the logits of attention would
  be sqrt(d_kv) times too large.
  """

  def __init__(self, *args, initializer_scale: float | None, **kwargs):
    self.initializer_scale = initializer_scale
    super().__init__(*args, **kwargs)

  def init_weights(self):
    """Creates the projections, with upstream's names and shapes."""
    if self.initializer_scale is None:
      super().init_weights()
      return
    query_fan_in = [self.query_input_dim]
    if self.fold_scaling_into_initializer:
      query_fan_in.append(self.key_dim)
    if not self.no_query:
      self.wq = self.weights("q", self.q_shape, query_fan_in)
    if self.shared_kv:
      self.wkv = self.weights("kv", self.k_shape, [self.memory_input_dim])
    else:
      self.wk = self.weights("k", self.k_shape, [self.memory_input_dim])
      self.wv = self.weights("v", self.v_shape, [self.memory_input_dim])
    self.wo = self.weights("o", self.o_shape, self.o_dims)

  def compute_k(self, memory_antecedent):
    """Upstream's keys, in the order in which attention multiplies them."""
    return in_order(super().compute_k(memory_antecedent))

  def compute_v(self, memory_antecedent):
    """Upstream's values, in the order in which attention multiplies them."""
    return in_order(super().compute_v(memory_antecedent))

  def compute_kv(self, memory_antecedent):
    """Upstream's keys that are values too, in the order of compute_k."""
    return in_order(super().compute_kv(memory_antecedent))

  def weights(self, name: str, shape, fan_in_dims) -> mtf.Tensor:
    """A variable drawn as section 2.4 says, with s = initializer_scale."""
    return mtf.get_variable(
        self.mesh,
        name,
        mtf.Shape(shape),
        initializer=initializers.truncated_normal(self.initializer_scale)(
            fan_in_dims, []
        ),
        dtype=self.variable_dtype,
    )


def make_params(params_class, layer, context, /, **kwargs):
  """Upstream's attention_params, for a class of parameters of our own.

  Args:
    params_class: a subclass of AttentionParams.
    layer: an attention layer with an initializer_scale.
    context: a transformer.Context.
    **kwargs: arguments of params_class that AttentionParams lacks.

  Returns:
    an instance of params_class, whose variables are created.

  Raises:
    UserError: the heads of keys do not divide those of queries.
  """
  num_heads, num_memory_heads = layer.num_heads, layer.num_memory_heads
  if num_memory_heads > 1 and num_heads % num_memory_heads:
    raise errors.UserError(
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


class HeadMajor:
  """A mixin that makes an attention layer of upstream's head-major."""

  @values.checked
  def __init__(
      self, initializer_scale: values.Positive | None = None, **kwargs
  ):
    """Records the options.

    Args:
      initializer_scale: s of section 2.4; None for upstream's initial values.
      **kwargs: upstream's options, which its gin name sets too.
    """
    super().__init__(**kwargs)
    self.initializer_scale = initializer_scale

  def make_params(self, context):
    """The layer's weights for a call in a context."""
    return make_params(AttentionParams, self, context)

  @property
  def attention_fn(self):
    """The function from queries, keys and values to outputs."""
    upstreams = super().attention_fn
    return attention_fn if upstreams is attention.attention else upstreams


class CachedSelfAttention(position_biases.SelfAttention):
  """Upstream's, whose decoding steps write only the new keys and values."""

  def call(self, context, x, losses=None):
    """Calls the layer; a decoding step writes one row of keys and values.

    Upstream writes a token's keys and values by multiplying all that it has
    kept by one-hot vectors, in an order that no product of attention has.

    Args:
      context: a transformer.Context.
      x: [batch, length, d_model], or [batch, d_model] in decoding.
      losses: as upstream's.

    Returns:
      as x.
    """
    memory_length = self.memory_length(context)
    if (
        context.mode != "incremental"
        or self.hyperprompt_length_encoder
        or self.hyperprompt_length_decoder
        or not splits.are_whole(context.model, [memory_length, self.kv_dim])
    ):
      return super().call(context, x, losses)
    params = self.make_params(context)
    q = params.compute_q(x)
    if self.shared_kv:
      new = [params.compute_kv(x)]
    else:
      new = [params.compute_k(x), params.compute_v(x)]
    kept = [
        caches.write(old, row, context.position, memory_length)
        for old, row in zip(context.get_states(len(new)), new)
    ]
    context.record_new_states(kept)
    bias = self.compute_bias(
        context,
        mtf.range(context.mesh, memory_length, tf.int32),
        x,
        params.query_heads_dims,
        q,
    )
    outputs = self.attention_fn(
        q,
        kept[0],
        kept[-1],
        memory_length,
        self.kv_dim,
        self.kv_dim,
        bias,
        context=context,
        z_loss_coeff=self.z_loss_coeff,
        **self.attention_kwargs_from_context(context),
    )
    outputs = params.compute_output(
        outputs, self.expected_attention_output_shape(x, params)
    )
    return self.layer_output_from_attention_output(context, outputs, losses)
