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

"""Cross-entropy of a softmax, without one-hot targets."""

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import token_losses


def against_labels(
    targets: mtf.Tensor,
    weights: mtf.Tensor | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> token_losses.Term:
  """The cross-entropy of each target, with upstream's additions.

  The loss of a token, where Z is the denominator of its softmax, is

      (1 - label_smoothing) * cross-entropy
      + label_smoothing * mean cross-entropy of all tokens
      + z_loss * log(Z)^2

  Args:
    targets: `[batch, length]` int32; negative ones are taken for 0.
    weights: of the losses in the loss that is trained, `[batch, length]`
      float32; None for values alone.
    label_smoothing: the part of the target's probability that is spread evenly.
    z_loss: the coefficient of log(Z)^2.

  Returns:
    a term whose values are the loss and the cross-entropy, natural logarithm.
  """

  def values_of(log_z, target_logit, mean_logit):
    cross_entropy = log_z - target_logit
    loss = cross_entropy
    if label_smoothing:
      loss += label_smoothing * (target_logit - mean_logit())
    if z_loss:
      loss += z_loss * (log_z * log_z)
    return [loss, cross_entropy]

  def of_slice(logits, weights, targets):
    targets = tf.maximum(targets, 0)
    softmax, log_z = token_losses.softmax_and_log_z(logits)
    values = values_of(
        log_z,
        tf.gather(logits, targets, batch_dims=1),
        lambda: tf.reduce_mean(logits, axis=-1),
    )
    if weights is None:
      return None, values
    gradient = softmax * (weights * (1 + 2 * z_loss * log_z))[:, tf.newaxis]
    if label_smoothing:
      evenly = weights * (label_smoothing / logits.shape.as_list()[-1])
      gradient -= evenly[:, tf.newaxis]
    places = tf.stack([tf.range(tf.size(targets)), targets], axis=1)
    return (
        tf.tensor_scatter_nd_sub(
            gradient, places, (1 - label_smoothing) * weights
        ),
        values,
    )

  def of_mesh(logits, targets):
    vocab = logits.shape.dims[-1]
    is_target = mtf.one_hot(mtf.maximum(targets, 0), vocab)
    return values_of(
        mtf.reduce_logsumexp(logits, vocab),
        mtf.reduce_sum(logits * is_target, reduced_dim=vocab),
        lambda: mtf.reduce_mean(logits, reduced_dim=vocab),
    )

  return token_losses.Term([targets], of_slice, of_mesh, 2, weights)
