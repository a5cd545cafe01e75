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

"""Biases of relative positions, looked up and laid out as logits are.

Upstream multiplies a one-hot matrix of positions by the table of biases, and
leaves the sum in an order that no matrix product of attention has.
"""

import copy

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer_layers

from mtf_switch.mesh import splits
from mtf_switch.transformer import embedding


class SelfAttention(transformer_layers.SelfAttention):
  """Upstream's, with biases of relative positions that are looked up."""

  def compute_bias(
      self, context, memory_position, x, heads_dims, q, use_prompt_kv=None
  ) -> mtf.Tensor | None:
    """The addend of the logits: masks, and biases of relative positions.

    On a TPU it is upstream's: a one-hot product is faster there.

    Args:
      context: a transformer.Context.
      memory_position: int32, the positions of keys.
      x: [batch, length, d_model], or [batch, d_model] in decoding.
      heads_dims: the dimensions of the table, apart from the buckets.
      q: the queries.
      use_prompt_kv: as upstream's.

    Returns:
      dimensions of [batch, heads, length, memory_length], in that order if
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
    decodes = context.mode in ("first_part", "incremental")
    is_shared = self.relative_attention_type == "bias_shared"
    # What the layers of a step have in common is computed once.
    key = (type(self), *heads_dims, *memory_position.shape.dims)
    if decodes and is_shared and key in context.cache:
      return context.cache[key]
    masking = copy.copy(self)
    masking.relative_attention_type = None
    bias = super(SelfAttention, masking).compute_bias(
        context, memory_position, x, heads_dims, q
    )
    lengths = [context.length_dim] + memory_position.shape.dims
    order = [d for d in x.shape.dims[:-1] if d not in lengths]
    order += heads_dims + lengths
    biases = self._position_biases(context, memory_position, heads_dims)
    biases = mtf.transpose(biases, _sorted(biases.shape.dims, order))
    if bias is None:
      bias = biases
    else:
      bias = mtf.add(
          biases,
          bias,
          output_shape=_sorted(biases.shape.dims + bias.shape.dims, order),
      )
    if decodes and is_shared:
      context.cache[key] = bias
    return bias

  def _position_biases(self, context, memory_position, heads_dims):
    """The bias of each head for each pair of a query and a key.

    Before its loop, decoding computes those of all positions, in which a step
    looks up those of its own.
    """
    length_dim = context.length_dim
    if context.mode == "incremental":
      # Sequences that have ended go on past the end.
      position = mtf.minimum(context.position, length_dim.size - 1)
      return embedding.lookup(
          context.get_constant_state(), position, length_dim
      )
    biases = self._looked_up(context, memory_position, heads_dims)
    if context.mode == "first_part":
      dims = [length_dim, *heads_dims, *memory_position.shape.dims]
      context.record_constant_state(mtf.transpose(biases, mtf.Shape(dims)))
    return biases

  def _looked_up(self, context, memory_position, heads_dims):
    """The biases of all positions in the table."""
    buckets_dim = mtf.Dimension("buckets", self.relative_attention_num_buckets)
    # pylint: disable=protected-access
    buckets = transformer_layers._relative_position_bucket(
        memory_position - context.position,
        bidirectional=not context.model.fully_autoregressive,
        num_buckets=buckets_dim.size,
    )
    # pylint: enable=protected-access
    table = self._table(context, heads_dims + [buckets_dim])
    return embedding.lookup(
        mtf.transpose(table, mtf.Shape([buckets_dim] + heads_dims)),
        buckets,
        buckets_dim,
    )

  def _table(self, context, dims):
    """The variable, one for the whole stack if it is shared."""
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


def _sorted(dims, order) -> mtf.Shape:
  """The distinct dimensions, in an order that has them all."""
  return mtf.Shape(sorted(set(dims), key=order.index))
