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
from typing import NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import cross_entropy
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import soft_cross_entropy
from mtf_switch.transformer import token_losses

# Features that a cache adds to a batch: the teacher's most probable tokens,
# the most probable first, `[batch, length, choices]` int32; the logarithms of
# their probabilities, as many float32; and that of the label's, at temperature
# 1, `[batch, length]` float32.
CACHED = (
    "targets_teacher_ids",
    "targets_teacher_log_probs",
    "targets_teacher_label_log_probs",
)

# What a teacher says of each target, as terms of the loss: the student's
# cross-entropy against it; and values that are reported, whether both have the
# same most probable token, and the teacher's own cross-entropy of the label.
Lesson = tuple[token_losses.Term, token_losses.Term]
# From the features and the weights of the soft cross-entropies to a lesson.
Teach = Callable[..., Lesson]


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

  def change_loss(self, step: tf.Tensor, teach: Teach) -> loss_lib.ChangeLoss:
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


def distill(
    model,
    features: Mapping[str, mtf.Tensor],
    num_microbatches: int,
    *,
    teach: Teach,
    fraction: float | tf.Tensor,
    temperature: float,
) -> loss_lib.Change:
  """Mixes the soft term into the loss of a batch or microbatch.

  Args:
    model: the student, a Bitransformer or Unitransformer.
    features: int32 `[batch, length]` by name.
    num_microbatches: microbatches in a batch.
    teach: gives the lesson at the temperature.
    fraction: the share of the soft term.
    temperature: divides all logits in the soft term.

  Returns:
    the change, with sums over the real targets: "soft_cross_entropy" at the
    temperature, "teacher_cross_entropy" of the labels, and "agreement", the
    number of targets for which student and teacher have the same most probable
    token.
  """
  targets = features["targets"]
  decoder = getattr(model, "decoder", model)
  weights = loss_lib.target_weights(decoder, targets) * fraction
  weights *= temperature**2 / decoder.loss_denominator(
      targets, num_microbatches
  )
  lesson = teach(features, weights)

  def sums(values):
    (soft,), (agrees, cross_entropy) = values
    is_real = loss_lib.is_real(targets)
    return {
        "soft_cross_entropy": mtf.reduce_sum(soft * is_real),
        "teacher_cross_entropy": mtf.reduce_sum(cross_entropy * is_real),
        "agreement": mtf.reduce_sum(agrees * is_real),
    }

  return loss_lib.Change(1 - fraction, lesson, sums)


def lesson_of_logits(
    features: Mapping[str, mtf.Tensor],
    weights: mtf.Tensor,
    *,
    teacher_logits: Callable[[Mapping[str, mtf.Tensor]], mtf.Tensor],
    temperature: float,
) -> Lesson:
  """The lesson of a teacher that is in the graph.

  Args:
    features: int32 `[batch, length]` by name.
    weights: of the soft cross-entropies, `[batch, length]` float32.
    teacher_logits: from the features to the teacher's logits; no gradient goes
      there.
    temperature: divides all logits in the soft term.
  """
  taught = teacher_logits(features)
  targets = features["targets"]
  of_labels = cross_entropy.against_labels(targets)

  def of_slice(logits, _, taught, targets):
    best, best_of_teacher = (tf.argmax(x, axis=-1) for x in (logits, taught))
    agrees = tf.cast(tf.equal(best, best_of_teacher), tf.float32)
    _, (_, of_label) = of_labels.of_slice(taught, None, targets)
    return None, [agrees, of_label]

  def of_mesh(logits, taught, targets):
    best_of_teacher = mtf.argmax(taught, taught.shape.dims[-1])
    _, of_label = of_labels.of_mesh(mtf.cast(taught, tf.float32), targets)
    return [_agreement(logits, best_of_teacher), of_label]

  return (
      soft_cross_entropy.against_logits(taught, weights, temperature),
      token_losses.Term([taught, targets], of_slice, of_mesh, 2),
  )


def lesson_of_cache(
    features: Mapping[str, mtf.Tensor],
    weights: mtf.Tensor,
    *,
    temperature: float,
) -> Lesson:
  """The lesson that a teacher has left with the examples.

  Args:
    features: int32 `[batch, length]` by name, and CACHED.
    weights: of the soft cross-entropies, `[batch, length]` float32.
    temperature: that of the cached probabilities.
  """
  ids, log_probs, label_log_probs = (features[name] for name in CACHED)

  def of_slice(logits, _, ids, label_log_probs):
    best = tf.argmax(logits, axis=-1, output_type=tf.int32)
    agrees = tf.cast(tf.equal(best, ids[:, 0]), tf.float32)
    return None, [agrees, -label_log_probs]

  def of_mesh(logits, ids, label_log_probs):
    *tokens, choices = ids.shape.dims
    best = mtf.reshape(mtf.slice(ids, 0, 1, choices.name), tokens)
    return [_agreement(logits, best), -label_log_probs]

  return (
      soft_cross_entropy.against_choices(ids, log_probs, weights, temperature),
      token_losses.Term([ids, label_log_probs], of_slice, of_mesh, 2),
  )


def _agreement(logits: mtf.Tensor, best_token: mtf.Tensor) -> mtf.Tensor:
  """1 where the most probable token is a given one, as float32, otherwise 0."""
  best = mtf.argmax(mtf.stop_gradient(logits), logits.shape.dims[-1])
  return mtf.cast(mtf.equal(best, best_token), tf.float32)


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
  of_labels = cross_entropy.against_labels(features["targets"])
  _, [(_, of_label)] = token_losses.evaluate(decoder, logits, [of_labels])
  kept = (
      *soft_cross_entropy.choices(decoder, logits, num_choices, temperature),
      -of_label,
  )
  return dict(zip(CACHED, kept))
