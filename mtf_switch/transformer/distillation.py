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

"""The loss of a student that learns from a teacher's probabilities.

The loss is

    (1 - f) * loss of the labels + f * T^2 * soft cross-entropy

where the loss of the labels is that of training without a teacher, f is the
soft fraction, T the temperature, and the soft cross-entropy of a target token
is that of the student's softmax against the teacher's, both with logits divided
by T. T^2 keeps the size of the soft gradient when T changes (Hinton et al.,
arXiv 1503.02531). Both terms are over the real targets and have the same
denominator, Unitransformer.loss_denominator. Section 4.2.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.mesh import splits
from mtf_switch.transformer import cross_entropy
from mtf_switch.transformer import loss as loss_lib


class Mix(NamedTuple):
  """The mix of the two terms of the loss.

  Attributes:
    soft_fraction: the share of the soft term, from 0 to 1.
    temperature: divides all logits in the soft term, above 0.
    start_step: the first step with the soft term.
    end_step: the first step without it again; None if it stays.

  Source: Table 6, the mix of 0.75 hard and 0.25 soft.
  """

  soft_fraction: float = 0.25
  temperature: float = 1.0
  start_step: int = 0
  end_step: int | None = None

  def fraction(self, step: tf.Tensor) -> float | tf.Tensor:
    """The share of the soft term at a step, a number or a float32 scalar.

    Args:
      step: an integer scalar.
    """
    if not self.start_step and self.end_step is None:
      return self.soft_fraction
    is_soft = step >= self.start_step
    if self.end_step is not None:
      is_soft &= step < self.end_step
    return self.soft_fraction * tf.cast(is_soft, tf.float32)


def distill(
    model,
    features: Mapping[str, mtf.Tensor],
    logits: mtf.Tensor,
    hard_loss: mtf.Tensor,
    num_microbatches: int,
    *,
    teacher,
    teacher_logits: Callable[[Mapping[str, mtf.Tensor]], mtf.Tensor],
    fraction: float | tf.Tensor,
    temperature: float,
) -> tuple[mtf.Tensor, dict[str, mtf.Tensor]]:
  """Mixes the soft term into the loss of a batch or microbatch.

  Args:
    model: the student, a Bitransformer or Unitransformer.
    features: int32 `[batch, length]` by name.
    logits: the student's, `[batch, length, vocab]`.
    hard_loss: the loss of the labels, a float32 scalar.
    num_microbatches: microbatches in a batch.
    teacher: the teacher, a Bitransformer or Unitransformer.
    teacher_logits: from the features to the teacher's logits; no gradient goes
      there.
    fraction: the share of the soft term.
    temperature: divides all logits in the soft term.

  Returns:
    the loss, a float32 scalar, and float32 sums over the real targets:
    "soft_cross_entropy" at the temperature, "teacher_cross_entropy" of the
    labels, and "agreement", the number of targets for which student and teacher
    have the same most probable token.
  """
  targets = features["targets"]
  vocab = logits.shape.dims[-1]
  taught = mtf.stop_gradient(teacher_logits(features))
  decoder = getattr(model, "decoder", model)
  soft = soft_cross_entropy(decoder, logits, taught, temperature)
  of_labels, _ = cross_entropy.softmax_cross_entropy(
      getattr(teacher, "decoder", teacher),
      taught,
      mtf.maximum(targets, 0),
      vocab,
  )
  agrees = mtf.cast(
      mtf.equal(mtf.argmax(logits, vocab), mtf.argmax(taught, vocab)),
      tf.float32,
  )
  is_real = loss_lib.is_real(targets)
  sums = {
      "soft_cross_entropy": mtf.reduce_sum(soft * is_real),
      "teacher_cross_entropy": mtf.reduce_sum(of_labels * is_real),
      "agreement": mtf.reduce_sum(agrees * is_real),
  }
  weights = loss_lib.target_weights(decoder, targets)
  soft_loss = mtf.reduce_sum(soft * weights) * temperature**2
  soft_loss /= decoder.loss_denominator(targets, num_microbatches)
  return hard_loss * (1 - fraction) + soft_loss * fraction, sums


def soft_cross_entropy(
    model, logits: mtf.Tensor, teacher_logits: mtf.Tensor, temperature: float
) -> mtf.Tensor:
  """The cross-entropy of a softmax against another one.

  Args:
    model: a Unitransformer; it knows how the mesh splits the vocabulary.
    logits: `[batch, length, vocab]`.
    teacher_logits: as logits; gets no gradient.
    temperature: divides both.

  Returns:
    `[batch, length]` float32, natural logarithm.
  """
  vocab = logits.shape.dims[-1]
  if splits.are_whole(model, [vocab]):
    return _of_whole_vocabulary(logits, teacher_logits, temperature)
  student, teacher = (
      mtf.cast(x, tf.float32) / temperature for x in (logits, teacher_logits)
  )
  log_probs = student - mtf.reduce_logsumexp(student, vocab)
  return -mtf.reduce_sum(
      mtf.stop_gradient(mtf.softmax(teacher, vocab)) * log_probs,
      reduced_dim=vocab,
  )


def _of_whole_vocabulary(
    logits: mtf.Tensor, teacher_logits: mtf.Tensor, temperature: float
) -> mtf.Tensor:
  """As soft_cross_entropy, with few passes over the logits.

  The gradient is the difference of the probabilities, which is kept.
  """
  shape = mtf.Shape(logits.shape.dims[:-1])

  def forward(logits, teacher_logits):
    student, teacher = (
        tf.cast(x, tf.float32) / temperature for x in (logits, teacher_logits)
    )
    probs = tf.nn.softmax(teacher)
    soft = -tf.reduce_sum(probs * tf.nn.log_softmax(student), axis=-1)
    return soft, tf.nn.softmax(student) - probs

  def gradient(op, soft_gradient, _):
    def backward(difference, soft_gradient):
      scale = soft_gradient[..., tf.newaxis] / temperature
      return tf.cast(difference * scale, logits.dtype)

    return [
        operations.slicewise(
            backward,
            [op.outputs[1], soft_gradient],
            output_shape=logits.shape,
            output_dtype=logits.dtype,
            multiplications=None,
            splittable_dims=shape.dims,
            name="soft_cross_entropy_gradient",
        ),
        None,
    ]

  soft, _ = operations.slicewise(
      forward,
      [logits, teacher_logits],
      output_shape=[shape, logits.shape],
      output_dtype=[tf.float32] * 2,
      multiplications=None,
      splittable_dims=shape.dims,
      grad_function=gradient,
      name="soft_cross_entropy",
  )
  return soft
