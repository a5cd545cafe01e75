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

"""The loss of a student: against NumPy, by hand, and as identities."""

import mtf_switch  # isort: skip  # noqa: F401
import functools
import math
import types

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import distillation
from mtf_switch.transformer import token_losses
from tests import graphs
from tests.vocabulary_cases import BATCH
from tests.vocabulary_cases import LENGTH
from tests.vocabulary_cases import VOCAB

DIMS = [BATCH, LENGTH, VOCAB]


def logits_of(seed):
  return 3 * np.random.RandomState(seed).randn(*(dim.size for dim in DIMS))


def softmax(x):
  e = np.exp(x - x.max(axis=-1, keepdims=True))
  return e / e.sum(axis=-1, keepdims=True)


class Student(graphs.Model):
  """What the loss reads of a Unitransformer."""

  loss_on_targets_only = False

  def loss_denominator(self, targets, num_microbatches):
    return float(targets.shape.size) * num_microbatches


def distilled(student, teacher, targets, fraction, temperature=1.0):
  """The loss by a hard loss of 5, and the sums."""
  model = Student()
  names = []

  def build(mesh):
    x = graphs.constant(mesh, student, DIMS)
    features = {"targets": graphs.constant(mesh, targets, [BATCH, LENGTH])}
    change = distillation.distill(
        model,
        features,
        1,
        teach=functools.partial(
            distillation.lesson_of_logits,
            teacher_logits=lambda _: graphs.constant(mesh, teacher, DIMS),
            temperature=temperature,
        ),
        fraction=fraction,
        temperature=temperature,
    )
    loss, values = token_losses.evaluate(model, x, change.terms)
    loss += mtf.constant(mesh, 5.0) * change.share
    sums = change.sums(values)
    (gradient,) = mtf.gradients([loss], [x])
    names.extend(["loss", "gradient", *sums])
    return [loss, gradient, *sums.values()]

  values, _ = graphs.evaluate(build)
  return types.SimpleNamespace(**dict(zip(names, values)))


# Two real targets; padding, and one that is not to be learnt.
TARGETS = np.zeros([BATCH.size, LENGTH.size], np.int32)
TARGETS[0, :3] = [3, 1, -2]


def test_both_terms_are_of_real_targets_with_one_denominator():
  student, teacher = logits_of(0), logits_of(1)
  teacher[0, 1] = student[0, 1]  # One of the two agrees.
  found = distilled(student, teacher, TARGETS, 0.25, temperature=2.0)
  p, q = softmax(teacher[0, :2] / 2), softmax(student[0, :2] / 2)
  soft = -(p * np.log(q)).sum()
  assert found.soft_cross_entropy == pytest.approx(soft, rel=1e-6)
  positions = BATCH.size * LENGTH.size
  assert found.loss == pytest.approx(
      0.75 * 5 + 0.25 * 2**2 * soft / positions, rel=1e-6
  )
  of_labels = -np.log(softmax(teacher)[0, [0, 1], [3, 1]]).sum()
  assert found.teacher_cross_entropy == pytest.approx(of_labels, rel=1e-6)
  assert student[0, 0].argmax() != teacher[0, 0].argmax()
  assert found.agreement == 1
  assert not found.gradient[0, 2:].any() and not found.gradient[1:].any()


def test_by_hand():
  # The teacher is sure of 1/2, 1/4, 1/4; the student of none of 24.
  teacher = np.full([d.size for d in DIMS], -100.0)
  teacher[..., :3] = np.log([1 / 2, 1 / 4, 1 / 4])
  found = distilled(np.zeros_like(teacher), teacher, TARGETS, 1.0)
  assert found.soft_cross_entropy == pytest.approx(2 * math.log(24), rel=1e-6)
  assert found.loss == pytest.approx(2 * math.log(24) / 24, rel=1e-6)


def test_a_teacher_that_is_the_student_leaves_its_entropy_and_no_gradient():
  logits = logits_of(0)
  targets = np.ones_like(TARGETS)
  found = distilled(logits, logits, targets, 1.0)
  p = softmax(logits)
  entropy = -(p * np.log(p)).sum(-1).mean()
  assert found.loss == pytest.approx(entropy, rel=1e-6)
  assert found.agreement == BATCH.size * LENGTH.size
  np.testing.assert_allclose(found.gradient, 0, atol=1e-7)


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [1, 1, 1, 1, 1]),
        ({"start_step": 2}, [0, 0, 1, 1, 1]),
        ({"end_step": 2}, [1, 1, 0, 0, 0]),
        ({"start_step": 1, "end_step": 4}, [0, 1, 1, 1, 0]),
    ],
)
def test_the_soft_term_has_a_first_and_a_last_step(options, expected):
  mix = distillation.Mix(soft_fraction=0.3, **options)
  with tf.Graph().as_default(), tf.Session() as session:
    fractions = [tf.convert_to_tensor(mix.fraction(i)) for i in range(5)]
    found = session.run(fractions)
  assert found == pytest.approx([0.3 * x for x in expected])
