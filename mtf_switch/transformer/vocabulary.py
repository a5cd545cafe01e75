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

"""T5's embedding and loss by copying rows, for upstream's transformers."""

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.mesh import splits
from mtf_switch.transformer import embedding
from mtf_switch.transformer import metrics


@gin.configurable(module="mtf_switch")
class GatheredVocabEmbedding(transformer.VocabEmbedding):
  """Upstream's embedding, whose lookup copies rows, and its faster logits.

  On a TPU it is upstream's: a one-hot product is faster there.
  """

  def ids_to_embedding(self, ids, context):
    """The embeddings of tokens.

    Args:
      ids: int32, any shape.
      context: a transformer.Context.

    Returns:
      the shape of ids with d_model at the end.
    """
    weights = self._embedding_weights
    if splits.is_on_tpu() or weights.shape.ndims != 2:
      return super().ids_to_embedding(ids, context)
    x = embedding.lookup(weights, ids, self._vocab_dim)
    if self._scale_variable_like_classifier_weights:
      x *= self._output_dim.size**0.5
    return x

  def hidden_to_logits(self, hidden, context):
    """The logits of the vocabulary.

    Args:
      hidden: `[batch, length, d_model]`, or `[batch, d_model]` in decoding.
      context: a transformer.Context.

    Returns:
      `[batch, length, vocab]`, or `[batch, vocab]` in decoding.
    """
    weights = self._embedding_weights
    if (
        context.mode != "incremental"
        or weights.shape.ndims != 2
        or not splits.are_whole(context.model, [self._output_dim])
    ):
      return super().hidden_to_logits(hidden, context)
    if not self._scale_variable_like_classifier_weights:
      hidden *= self._output_dim.size**-0.5

    def multiply(hidden, weights):
      # Its many rows first: a library reads a matrix that has few the faster.
      rows = tf.reshape(hidden, [-1, hidden.shape[-1]])
      logits = tf.transpose(tf.matmul(weights, rows, transpose_b=True))
      return tf.reshape(logits, hidden.shape[:-1] + logits.shape[1:])

    tokens = hidden.shape - self._output_dim
    return operations.slicewise(
        multiply,
        [hidden, weights],
        output_shape=tokens + self._vocab_dim,
        multiplications=lambda slice_size: slice_size(
            [*hidden.shape.dims, self._vocab_dim]
        ),
        splittable_dims=[*tokens.dims, self._vocab_dim],
        grad_function=0,
        name="logits",
    )


@gin.configurable(module="mtf_switch")
def cross_entropy_loss(
    model,
    context,
    logits: mtf.Tensor,
    targets: mtf.Tensor,
    vocab_dim: mtf.Dimension,
) -> mtf.Tensor:
  """Upstream's training loss in float32, without one-hot targets.

  For Unitransformer.loss_fn. Its options are upstream's: label_smoothing,
  z_loss, loss_on_targets_only and loss_denominator of Unitransformer. Besides,
  it gives the cross-entropy by itself to `metrics`.

  Args:
    model: a Unitransformer.
    context: a transformer.Context.
    logits: `[batch, length, vocab]`.
    targets: `[batch, length]` int32; 0 is padding, and what is negative is not
      to be learnt.
    vocab_dim: the dimension of the vocabulary.

  Returns:
    a scalar, float32 or, under upstream's programs, in the activations' dtype.
  """
  cross_entropy, log_z = embedding.softmax_cross_entropy(
      model, logits, mtf.maximum(targets, 0), vocab_dim
  )
  is_real = mtf.cast(mtf.greater(targets, 0), tf.float32)
  metrics.add("cross_entropy", mtf.reduce_sum(cross_entropy * is_real))
  metrics.add("target_tokens", mtf.reduce_sum(is_real))
  loss = cross_entropy
  if model.label_smoothing:
    # The rest of the target's probability, spread evenly.
    mean = mtf.reduce_mean(
        mtf.cast(logits, tf.float32), output_shape=targets.shape
    )
    loss += model.label_smoothing * (log_z - cross_entropy - mean)
  if model.z_loss and context.train:
    loss += model.z_loss * mtf.square(log_z)
  weights = is_real
  if model.loss_on_targets_only:
    is_input = transformer.delimited_lm_inputs_mask(targets)
    weights *= mtf.cast(mtf.logical_not(is_input), tf.float32)
  loss = mtf.reduce_sum(loss * weights) / model.loss_denominator(
      targets, context.num_microbatches
  )
  return mtf.cast(loss, metrics.loss_dtype(context))
