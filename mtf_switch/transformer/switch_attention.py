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

"""Switch attention (Appendix A): experts that make queries, keys and values."""

from collections.abc import Callable

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer_layers
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import values
from mtf_switch.transformer import contexts
from mtf_switch.transformer import head_major


class SwitchAttentionParams(head_major.AttentionParams):
  """Queries, and keys that are the values too, from experts."""

  def __init__(self, *args, context, query, key_value, **kwargs):
    """Creates the output projection; calls of the experts create theirs.

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
    self.wo = self.weights("o", self.o_shape, self.o_dims)

  def compute_q(self, query_antecedent):
    """Queries.

    Args:
      query_antecedent: [batch, ..., d_model].

    Returns:
      [batch, ..., heads, d_kv], scaled by 1 / sqrt(d_kv).
    """
    q = self._experts(
        "query",
        self.query,
        query_antecedent,
        contexts.nonpadding(self.context),
        self.q_dims,
    )
    return q * self.key_dim.size**-0.5

  def compute_kv(self, memory_antecedent):
    """Keys, which are the values too.

    Args:
      memory_antecedent: [batch, ..., d_model]: in encoder-decoder attention the
        encoder's output.

    Returns:
      [batch, ..., heads, d_kv].
    """
    context = self.context
    nonpadding = contexts.nonpadding(context)
    if memory_antecedent is context.encoder_output:
      nonpadding = context.encoder_sequence_id
      if isinstance(nonpadding, mtf.Tensor):
        nonpadding = mtf.cast(
            mtf.not_equal(nonpadding, 0), context.activation_dtype
        )
    elif isinstance(nonpadding, mtf.Tensor):
      # In self-attention keys have an axis of their own.
      nonpadding = mtf.layers.rename_length_to_memory_length(nonpadding)
    return head_major.in_order(
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


class _SwitchAttention(head_major.HeadMajor):
  """Queries, and shared keys and values, from Switch layers (Figure 10)."""

  @values.checked
  def __init__(
      self,
      experts: Callable = gin.REQUIRED,
      initializer_scale: float = 0.1,
      **kwargs,
  ):
    """Records the options.

    Args:
      experts: @SwitchFeedForward, with a gin scope for options of its own. A
        hidden_size of None makes the experts linear; expert_dtype = "float32"
        keeps them so in a bfloat16 model, where the paper's diverged.
      initializer_scale: s of section 2.4, of the output projection.
      **kwargs: upstream's options, which its gin name sets too.

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
    return head_major.make_params(
        SwitchAttentionParams,
        self,
        context,
        context=context,
        query=query,
        key_value=key_value,
    )


@gin.configurable(module="mtf_switch")
class SwitchSelfAttention(_SwitchAttention, head_major.CachedSelfAttention):
  """Switch attention of a sequence to itself."""


@gin.configurable(module="mtf_switch")
class SwitchEncDecAttention(
    _SwitchAttention, transformer_layers.EncDecAttention
):
  """Switch attention to the encoder's output, the source of its keys."""
