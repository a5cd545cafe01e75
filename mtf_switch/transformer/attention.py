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

import copy

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import attention
from mesh_tensorflow.transformer import transformer_layers
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.layer import initializers
from mtf_switch.mesh import splits
from mtf_switch.transformer import dot_product
from mtf_switch.transformer import embedding


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

  It is upstream's itself on a TPU, whose compiler does without them, where the
  mesh splits other dimensions than batch and heads, and with options that are
  only upstream's.

  Args:
    q: as upstream's, and so are the others.
    k: as upstream's.
    v: as upstream's.
    memory_length_dim: as upstream's.
    key_dim: as upstream's.
    value_dim: as upstream's.
    bias: as upstream's.
    dropout_rate: as upstream's.
    dropout_broadcast_dims: as upstream's.
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
    # All queries lose the same weights: those values might as well be 0.
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


def _in_order(x: mtf.Tensor) -> mtf.Tensor:
  """Keys or values with positions after heads, where decoding keeps them."""
  lengths = [d for d in x.shape.dims if d.name == "memory_length"]
  if splits.is_on_tpu() or not lengths:
    return x
  return dot_product.in_order(x, *lengths)


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

  def compute_k(self, memory_antecedent):
    """Upstream's keys, in the order in which attention multiplies them."""
    return _in_order(super().compute_k(memory_antecedent))

  def compute_v(self, memory_antecedent):
    """Upstream's values, in the order in which attention multiplies them."""
    return _in_order(super().compute_v(memory_antecedent))

  def compute_kv(self, memory_antecedent):
    """Upstream's keys that are values too, in the order of compute_k."""
    return _in_order(super().compute_kv(memory_antecedent))

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
    return _in_order(
        self._experts(
            "key_value",
            self.key_value,
            memory_antecedent,
            nonpadding,
            self.k_dims,
        )
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


class _Initialized:
  """Attention by attention_fn, with weights drawn as section 2.4 says."""

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

  @property
  def attention_fn(self):
    """The function from queries, keys and values to outputs."""
    upstreams = super().attention_fn
    return attention_fn if upstreams is attention.attention else upstreams


class _SelfAttention(transformer_layers.SelfAttention):
  """Upstream's, without one-hot matrices of positions."""

  def call(self, context, x, losses=None):
    """Calls the layer; in decoding, only what is new of keys is written.

    Upstream writes a token's keys and values by multiplying all that it has
    kept by one-hot vectors, in an order that no product of attention has.

    Args:
      context: a transformer.Context.
      x: `[batch, length, d_model]`, or `[batch, d_model]` in decoding.
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
        dot_product.write(old, row, context.position, memory_length)
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

  def compute_bias(
      self, context, memory_position, x, heads_dims, q, use_prompt_kv=None
  ):
    """What is added to the logits: masks, and biases of relative positions.

    Upstream multiplies a one-hot matrix of positions by the table of biases,
    and leaves the sum in an order that no product of attention has.

    Args:
      context: a transformer.Context.
      memory_position: int32, the positions of keys.
      x: `[batch, length, d_model]`, or `[batch, d_model]` in decoding.
      heads_dims: the dimensions of the table, apart from the buckets.
      q: the queries.
      use_prompt_kv: as upstream's.

    Returns:
      dimensions of `[batch, heads, length, memory_length]`, in that order if
      there is a table; or None.
    """
    if (
        splits.is_on_tpu()
        or self.relative_attention_type not in ("bias", "bias_shared")
        or use_prompt_kv
        or context.model.ensemble_dims
        or len(heads_dims) != 1
    ):
      return super().compute_bias(
          context, memory_position, x, heads_dims, q, use_prompt_kv
      )
    masking = copy.copy(self)
    masking.relative_attention_type = None
    mask = super(_SelfAttention, masking).compute_bias(
        context, memory_position, x, heads_dims, q
    )
    buckets_dim = mtf.Dimension("buckets", self.relative_attention_num_buckets)
    # pylint: disable=protected-access
    buckets = transformer_layers._relative_position_bucket(
        memory_position - context.position,
        bidirectional=not context.model.fully_autoregressive,
        num_buckets=buckets_dim.size,
    )
    # pylint: enable=protected-access
    table = self._position_table(context, heads_dims + [buckets_dim])
    position = embedding.lookup(
        mtf.transpose(table, mtf.Shape([buckets_dim] + heads_dims)),
        buckets,
        buckets_dim,
    )

    def in_order(dims):
      lengths = [context.length_dim] + memory_position.shape.dims
      batch_dims = [d for d in x.shape.dims[:-1] if d not in lengths]
      order = batch_dims + heads_dims + lengths
      return mtf.Shape(sorted(set(dims), key=order.index))

    position = mtf.transpose(position, in_order(position.shape.dims))
    if mask is None:
      return position
    return mtf.add(
        position,
        mask,
        output_shape=in_order(position.shape.dims + mask.shape.dims),
    )

  def _position_table(self, context, dims):
    """The table of position biases, one for the stack if it is shared."""
    is_shared = self.relative_attention_type == "bias_shared"
    key = ("self_attention_bias", tuple(dims))
    if is_shared and key in context.cache:
      return context.cache[key]
    table = mtf.get_variable(
        context.mesh,
        "relative_attention_bias",
        mtf.Shape(dims),
        dtype=context.variable_dtype,
    )
    if is_shared:
      context.cache[key] = table
    return table


@gin.configurable("TruncatedNormalSelfAttention", module="mtf_switch")
class SelfAttention(_Initialized, _SelfAttention):
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
      raise errors.UserError(
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
class SwitchSelfAttention(_SwitchAttention, _SelfAttention):
  """Switch attention of a sequence to itself."""


@gin.configurable(module="mtf_switch")
class SwitchEncDecAttention(
    _SwitchAttention, transformer_layers.EncDecAttention
):
  """Switch attention to the encoder's output, where keys come from."""
