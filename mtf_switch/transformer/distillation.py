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
import functools
from typing import Any, NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import cross_entropy
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import soft_cross_entropy

# Features that a cache adds to a batch: the teacher's most probable tokens,
# the most probable first, `[batch, length, choices]` int32; the logarithms of
# their probabilities, as many float32; and that of the label's, at temperature
# 1, `[batch, length]` float32.
CACHED = (
    "targets_teacher_ids",
    "targets_teacher_log_probs",
    "targets_teacher_label_log_probs",
)


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

  def change_loss(
      self, step: tf.Tensor, teach: Callable[..., Any]
  ) -> loss_lib.ChangeLoss:
    """Returns the change of the loss of a step; see `distill`.

    Args:
      step: an integer scalar.
      teach: a Teach that takes the temperature too, by name.
    """
    return functools.partial(
        distill,
        teach=functools.partial(teach, temperature=self.temperature),
        fraction=self.fraction(step),
        temperature=self.temperature,
    )


class Lesson(NamedTuple):
  """What a teacher says of each target.

  Attributes:
    soft: the student's cross-entropy against it, `[batch, length]` float32.
    best_token: its most probable token, `[batch, length]` int32.
    cross_entropy: its own, of the label, `[batch, length]` float32.
  """

  soft: mtf.Tensor
  best_token: mtf.Tensor
  cross_entropy: mtf.Tensor


# From the student, the features and the student's logits.
Teach = Callable[[Any, Mapping[str, mtf.Tensor], mtf.Tensor], Lesson]


def distill(
    model,
    features: Mapping[str, mtf.Tensor],
    logits: mtf.Tensor,
    hard_loss: mtf.Tensor,
    num_microbatches: int,
    *,
    teach: Teach,
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
    teach: gives the lesson at the temperature.
    fraction: the share of the soft term.
    temperature: divides all logits in the soft term.

  Returns:
    the loss, a float32 scalar, and float32 sums over the real targets:
    "soft_cross_entropy" at the temperature, "teacher_cross_entropy" of the
    labels, and "agreement", the number of targets for which student and teacher
    have the same most probable token.
  """
  targets = features["targets"]
  decoder = getattr(model, "decoder", model)
  lesson = teach(decoder, features, logits)
  best_token = mtf.argmax(mtf.stop_gradient(logits), logits.shape.dims[-1])
  agrees = mtf.cast(mtf.equal(best_token, lesson.best_token), tf.float32)
  is_real = loss_lib.is_real(targets)
  sums = {
      "soft_cross_entropy": mtf.reduce_sum(lesson.soft * is_real),
      "teacher_cross_entropy": mtf.reduce_sum(lesson.cross_entropy * is_real),
      "agreement": mtf.reduce_sum(agrees * is_real),
  }
  weights = loss_lib.target_weights(decoder, targets)
  soft_loss = mtf.reduce_sum(lesson.soft * weights) * temperature**2
  soft_loss /= decoder.loss_denominator(targets, num_microbatches)
  return hard_loss * (1 - fraction) + soft_loss * fraction, sums


def lesson_of_logits(
    model,
    features: Mapping[str, mtf.Tensor],
    logits: mtf.Tensor,
    *,
    teacher,
    teacher_logits: Callable[[Mapping[str, mtf.Tensor]], mtf.Tensor],
    temperature: float,
) -> Lesson:
  """The lesson of a teacher that is in the graph.

  Args:
    model: the student, a Unitransformer.
    features: int32 `[batch, length]` by name.
    logits: the student's, `[batch, length, vocab]`.
    teacher: the teacher, a Bitransformer or Unitransformer.
    teacher_logits: from the features to the teacher's logits; no gradient goes
      there.
    temperature: divides all logits in the soft term.
  """
  vocab = logits.shape.dims[-1]
  taught = mtf.stop_gradient(teacher_logits(features))
  return Lesson(
      soft_cross_entropy.against_logits(model, logits, taught, temperature),
      mtf.argmax(taught, vocab),
      label_cross_entropy(teacher, features["targets"], taught),
  )


def lesson_of_cache(
    model,
    features: Mapping[str, mtf.Tensor],
    logits: mtf.Tensor,
    *,
    temperature: float,
) -> Lesson:
  """The lesson that a teacher has left with the examples.

  Args:
    model: the student, a Unitransformer.
    features: int32 `[batch, length]` by name, and CACHED.
    logits: the student's, `[batch, length, vocab]`.
    temperature: that of the cached probabilities.
  """
  ids, log_probs, label_log_probs = (features[name] for name in CACHED)
  return Lesson(
      soft_cross_entropy.against_choices(
          model, logits, ids, log_probs, temperature
      ),
      mtf.reshape(
          mtf.slice(ids, 0, 1, ids.shape.dims[-1].name), ids.shape.dims[:-1]
      ),
      -label_log_probs,
  )


def lesson_to_cache(
    teacher,
    features: Mapping[str, mtf.Tensor],
    logits: mtf.Tensor,
    num_choices: int,
    temperature: float,
) -> dict[str, mtf.Tensor]:
  """What a cache keeps of a teacher's logits, by the names of CACHED.

  Args:
    teacher: a Bitransformer or Unitransformer.
    features: int32 `[batch, length]` by name.
    logits: `[batch, length, vocab]`.
    num_choices: the tokens of each target.
    temperature: divides the logits.
  """
  decoder = getattr(teacher, "decoder", teacher)
  kept = (
      *soft_cross_entropy.choices(decoder, logits, num_choices, temperature),
      -label_cross_entropy(teacher, features["targets"], logits),
  )
  return dict(zip(CACHED, kept))


def label_cross_entropy(
    teacher, targets: mtf.Tensor, logits: mtf.Tensor
) -> mtf.Tensor:
  """A teacher's cross-entropy of each label, `[batch, length]` float32.

  Args:
    teacher: a Bitransformer or Unitransformer.
    targets: `[batch, length]` int32.
    logits: its logits, `[batch, length, vocab]`.
  """
  value, _ = cross_entropy.softmax_cross_entropy(
      getattr(teacher, "decoder", teacher),
      logits,
      mtf.maximum(targets, 0),
      logits.shape.dims[-1],
  )
  return value
