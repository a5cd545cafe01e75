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

from mtf_switch import operations
from mtf_switch.mesh import splits


def softmax_cross_entropy(
    model, logits: mtf.Tensor, targets: mtf.Tensor, vocab_dim: mtf.Dimension
) -> tuple[mtf.Tensor, mtf.Tensor]:
  """The cross-entropy of each target, and the logarithm of the denominator.

  Args:
    model: a Unitransformer; it knows how the mesh splits the vocabulary.
    logits: [batch, length, vocab].
    targets: [batch, length] int32, from 0 on.
    vocab_dim: the dimension of the vocabulary.

  Returns:
    two tensors [batch, length] float32.
  """
  if splits.ways(model, vocab_dim) == 1 and not splits.is_on_tpu():
    log_z, target_logit = _log_partition_and_target_logit(
        logits, targets, vocab_dim
    )
  else:
    logits = mtf.cast(logits, tf.float32)
    log_z = mtf.reduce_logsumexp(logits, vocab_dim)
    target_logit = mtf.reduce_sum(
        logits * mtf.one_hot(targets, vocab_dim), reduced_dim=vocab_dim
    )
  return log_z - target_logit, log_z


def _log_partition_and_target_logit(
    logits: mtf.Tensor, targets: mtf.Tensor, vocab_dim: mtf.Dimension
) -> tuple[mtf.Tensor, mtf.Tensor]:
  """The two terms of cross-entropy, which is the first minus the second.

  Forward and backward, the logits are read and written once.

  Args:
    logits: [batch, length, vocab], vocab not split.
    targets: [batch, length] int32, from 0 on.
    vocab_dim: the dimension of the vocabulary.

  Returns:
    the logarithm of the softmax's denominator and the logit of the target,
    [batch, length] float32.
  """

  def forward(logits, targets):
    logits = tf.cast(logits, tf.float32)
    target_logit = tf.gather(logits, targets, batch_dims=targets.shape.ndims)
    # Four times as fast as TensorFlow's sparse cross-entropy on a CPU. The
    # largest probability is 1 / sum(exp(logits - max(logits))).
    softmax = tf.nn.softmax(logits)
    log_z = tf.reduce_max(logits, axis=-1) - tf.math.log(
        tf.reduce_max(softmax, axis=-1)
    )
    return log_z, target_logit, softmax

  def gradient(op, log_z_gradient, target_gradient, _):
    logits, targets = op.inputs
    softmax = op.outputs[2]

    def backward(softmax, targets, log_z_gradient, target_gradient):
      flat = tf.reshape(
          softmax * log_z_gradient[..., tf.newaxis], [-1, softmax.shape[-1]]
      )
      ids = tf.reshape(targets, [-1, 1])
      rows = tf.range(tf.size(targets))[:, tf.newaxis]
      flat = tf.tensor_scatter_nd_add(
          flat,
          tf.concat([rows, ids], axis=1),
          tf.reshape(target_gradient, [-1]),
      )
      return tf.cast(tf.reshape(flat, softmax.shape), logits.dtype)

    return [
        operations.slicewise(
            backward,
            [softmax, targets, log_z_gradient, target_gradient],
            output_shape=logits.shape,
            output_dtype=logits.dtype,
            multiplications=None,
            splittable_dims=targets.shape.dims,
            name="cross_entropy_gradient",
        ),
        None,
    ]

  log_z, target_logit, _ = operations.slicewise(
      forward,
      [logits, targets],
      output_shape=[targets.shape, targets.shape, logits.shape],
      output_dtype=[tf.float32] * 3,
      multiplications=None,
      splittable_dims=targets.shape.dims,
      grad_function=gradient,
      name="cross_entropy",
  )
  assert logits.shape.dims[-1] == vocab_dim
  return log_z, target_logit
