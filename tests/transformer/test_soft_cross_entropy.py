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

"""Cross-entropy against a teacher: NumPy's, and what a cache leaves of it."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import numpy as np
import pytest

from mtf_switch.transformer import soft_cross_entropy
from mtf_switch.transformer import token_losses
from tests import graphs
from tests.vocabulary_cases import BATCH
from tests.vocabulary_cases import LENGTH
from tests.vocabulary_cases import VOCAB

DIMS = [BATCH, LENGTH, VOCAB]
MESHES = [("", ""), ("data:2", "batch:data"), ("model:2", "vocab:model")]
WEIGHTS = np.random.RandomState(2).rand(BATCH.size, LENGTH.size)


def logits_of(seed):
  return 3 * np.random.RandomState(seed).randn(*(dim.size for dim in DIMS))


STUDENT, TEACHER = logits_of(0), logits_of(1)


def softmax(x):
  e = np.exp(x - x.max(axis=-1, keepdims=True))
  return e / e.sum(axis=-1, keepdims=True)


def value_and_gradient(mesh_shape, layout, term_of):
  """The cross-entropies, and the gradient of their sum times WEIGHTS."""
  model = graphs.Model(mtf.convert_to_shape(mesh_shape), layout)

  def build(mesh):
    x = graphs.constant(mesh, STUDENT, DIMS)
    weights = graphs.constant(mesh, WEIGHTS, [BATCH, LENGTH])
    term = term_of(mesh, model, weights)
    loss, [(soft,)] = token_losses.evaluate(model, x, [term])
    (gradient,) = mtf.gradients([loss], [x])
    return [soft, gradient, loss]

  (soft, gradient, loss), _ = graphs.evaluate(build, mesh_shape, layout)
  assert loss == pytest.approx((soft * WEIGHTS).sum(), rel=1e-6)
  return soft, gradient


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("mesh_shape, layout", MESHES)
def test_against_logits_matches_numpy(mesh_shape, layout, temperature):
  soft, gradient = value_and_gradient(
      mesh_shape,
      layout,
      lambda mesh, _, weights: soft_cross_entropy.against_logits(
          graphs.constant(mesh, TEACHER, DIMS), weights, temperature
      ),
  )
  p, q = softmax(TEACHER / temperature), softmax(STUDENT / temperature)
  # Float32 has 6e-8 of each; sums of 24 terms below 20.
  np.testing.assert_allclose(soft, -(p * np.log(q)).sum(-1), rtol=1e-6)
  np.testing.assert_allclose(
      gradient, (q - p) / temperature * WEIGHTS[..., None], atol=1e-6
  )


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("num_choices", [1, 5, VOCAB.size])
@pytest.mark.parametrize("mesh_shape, layout", MESHES)
def test_against_choices_matches_numpy(
    mesh_shape, layout, num_choices, temperature
):
  def term_of(mesh, model, weights):
    logits = graphs.constant(mesh, TEACHER, DIMS)
    ids, log_probs = soft_cross_entropy.choices(
        model, logits, num_choices, temperature
    )
    return soft_cross_entropy.against_choices(
        ids, log_probs, weights, temperature
    )

  soft, gradient = value_and_gradient(mesh_shape, layout, term_of)
  p, q = softmax(TEACHER / temperature), softmax(STUDENT / temperature)
  chosen = p >= np.sort(p, axis=-1)[..., [-num_choices]]
  expected = -np.where(chosen, p * np.log(q), 0).sum(-1)
  expected_gradient = q - p
  if num_choices < VOCAB.size:
    rest, rest_of_student = (
        np.where(chosen, 0, x).sum(-1, keepdims=True) for x in (p, q)
    )
    expected -= (rest * np.log(rest_of_student))[..., 0]
    expected_gradient = np.where(
        chosen, q - p, q * (1 - rest / rest_of_student)
    )
  # As above; the rest is a difference to 1, exact to 1e-7.
  np.testing.assert_allclose(soft, expected, rtol=3e-6, atol=3e-6)
  np.testing.assert_allclose(
      gradient,
      expected_gradient / temperature * WEIGHTS[..., None],
      atol=2e-6,
  )


def test_what_choices_leave_out_is_bounded_by_the_rest():
  model = graphs.Model(mtf.Shape([]), "")
  numbers = (2, 4, 8, 16, VOCAB.size)

  def build(mesh):
    x = graphs.constant(mesh, STUDENT, DIMS)
    teacher = graphs.constant(mesh, TEACHER, DIMS)
    ones = mtf.ones(mesh, [BATCH, LENGTH])
    softs, gradients = [], []
    for n in numbers:
      term = soft_cross_entropy.against_choices(
          *soft_cross_entropy.choices(model, teacher, n, 1.0), ones, 1.0
      )
      loss, [(soft,)] = token_losses.evaluate(model, x, [term])
      softs.append(soft)
      gradients += mtf.gradients([loss], [x])
    return [*softs, *gradients]

  values, _ = graphs.evaluate(build)
  softs, gradients = values[: len(numbers)], values[len(numbers) :]
  p, q = softmax(TEACHER), softmax(STUDENT)
  for soft, more, gradient, n in zip(softs, softs[1:], gradients, numbers):
    is_rest = p < np.sort(p, axis=-1)[..., [-n]]
    rest, rest_of_student = (np.where(is_rest, x, 0).sum(-1) for x in (p, q))
    # The student's least probable token among the rest.
    least = np.where(is_rest, q, 1).min(-1)
    # Merging events lowers the divergence and raises no entropy (log-sum).
    assert (soft <= more + 1e-5).all()
    left_out = softs[-1] - soft
    assert (left_out <= rest * np.log(rest_of_student / least) + 1e-5).all()
    difference = np.abs(gradients[-1] - gradient).sum(-1)
    assert (difference <= 2 * rest + 1e-5).all()
    # Which is no empty statement.
    assert (left_out > 0.01 * rest).any() and (difference > 0.5 * rest).any()
