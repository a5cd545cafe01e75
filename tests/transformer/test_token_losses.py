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

"""Losses in blocks of tokens: against NumPy, and what is not in their graph."""

import mtf_switch  # isort: skip  # noqa: F401
import functools

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import draws
from mtf_switch.mesh import placement_mesh
from mtf_switch.planning import cost
from mtf_switch.transformer import cross_entropy
from mtf_switch.transformer import distillation
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import soft_cross_entropy
from mtf_switch.transformer import token_losses
from tests import gin_files
from tests import graphs
from tests import lowered
from tests.vocabulary_cases import BATCH
from tests.vocabulary_cases import LENGTH
from tests.vocabulary_cases import VOCAB

D_MODEL = mtf.Dimension("d_model", 8)
D_TEACHER = mtf.Dimension("d_model", 4)
CHOICES = mtf.Dimension("choices", 3)
TOKENS = [BATCH, LENGTH]
# Of the mesh, the layout and whether logits are computed in blocks.
MESHES = [
    ("", "", True),
    ("data:2", "batch:data", True),
    ("data:4", "batch:data", True),
    ("model:2", "d_model:model", False),
    ("data:2;model:2", "batch:data,vocab:model", False),
]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
  """24 tokens are five blocks of five, one of them not full."""
  monkeypatch.setattr(token_losses, "TOKENS_PER_BLOCK", 5)


def array_of(seed, *dims):
  return np.random.RandomState(seed).randn(*(dim.size for dim in dims))


HIDDEN, TABLE = array_of(0, *TOKENS, D_MODEL), array_of(1, VOCAB, D_MODEL)
TEACHERS = array_of(2, *TOKENS, D_TEACHER), array_of(3, VOCAB, D_TEACHER)
# Some are padding or not to be learnt.
TARGETS = np.random.RandomState(4).randint(-3, VOCAB.size, (4, 6))
WEIGHTS = (TARGETS > 0) * np.random.RandomState(5).rand(4, 6)
SOFT_WEIGHTS = (TARGETS > 0) * np.random.RandomState(6).rand(4, 6)
LABEL_SMOOTHING, Z_LOSS = 0.1, 1e-2


def log_softmax(x):
  x = x - x.max(axis=-1, keepdims=True)
  return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def choices_of(log_probs):
  ids = np.argsort(-log_probs, axis=-1)[..., : CHOICES.size]
  return ids, np.take_along_axis(log_probs, ids, axis=-1)


def expected(lesson, temperature):
  """The loss, its gradients by hidden states and table, and cross-entropies."""
  logits, taught = HIDDEN @ TABLE.T, TEACHERS[0] @ TEACHERS[1].T
  log_p = log_softmax(logits)
  log_z = (logits - log_p)[..., :1]
  is_target = np.eye(VOCAB.size)[np.maximum(TARGETS, 0)]
  smooth = (1 - LABEL_SMOOTHING) * is_target + LABEL_SMOOTHING / VOCAB.size
  cross_entropy_ = -(is_target * log_p).sum(-1)
  loss = -(smooth * log_p).sum(-1) + Z_LOSS * log_z[..., 0] ** 2
  of_logits = np.exp(log_p) * (1 + 2 * Z_LOSS * log_z) - smooth
  total, of_logits = (loss * WEIGHTS).sum(), of_logits * WEIGHTS[..., None]
  if lesson:
    log_q, log_t = (log_softmax(x / temperature) for x in (logits, taught))
    q, t = np.exp(log_q), np.exp(log_t)
    soft, of_soft = -(t * log_q).sum(-1), q - t
    if lesson == "cached":
      is_choice = np.eye(VOCAB.size)[choices_of(log_t)[0]].sum(-2)
      rest, rest_of_student = (
          (x * (1 - is_choice)).sum(-1, keepdims=True) for x in (t, q)
      )
      soft = -(is_choice * t * log_q).sum(-1)
      soft -= (rest * np.log(rest_of_student))[..., 0]
      of_soft = np.where(is_choice, q - t, q * (1 - rest / rest_of_student))
    total += (soft * SOFT_WEIGHTS).sum()
    of_logits += of_soft * SOFT_WEIGHTS[..., None] / temperature
  of_table = np.einsum("blv,bld->vd", of_logits, HIDDEN)
  return total, of_logits @ TABLE, of_table, cross_entropy_


def terms_of(mesh, lesson, temperature):
  """Those of labels and perhaps of a teacher."""
  constant = functools.partial(graphs.constant, mesh)
  terms = [
      cross_entropy.against_labels(
          constant(TARGETS.astype(np.int32), TOKENS),
          constant(WEIGHTS, TOKENS),
          LABEL_SMOOTHING,
          Z_LOSS,
      )
  ]
  weights = constant(SOFT_WEIGHTS, TOKENS)
  if lesson == "live":
    hidden, table = TEACHERS
    taught = mtf.einsum(
        [
            constant(hidden, [*TOKENS, D_TEACHER]),
            constant(table, [VOCAB, D_TEACHER]),
        ],
        reduced_dims=[D_TEACHER],
    )
    terms.append(
        soft_cross_entropy.against_logits(taught, weights, temperature)
    )
  elif lesson == "cached":
    taught = TEACHERS[0] @ TEACHERS[1].T
    ids, log_probs = choices_of(log_softmax(taught / temperature))
    dims = [*TOKENS, CHOICES]
    terms.append(
        soft_cross_entropy.against_choices(
            constant(ids.astype(np.int32), dims),
            constant(log_probs, dims),
            weights,
            temperature,
        )
    )
  return terms


def logits_and_factors(mesh, is_tied=True, dtype=tf.float32):
  """Logits that are a product, and its factors."""
  hidden = graphs.constant(mesh, HIDDEN, [*TOKENS, D_MODEL])
  table = graphs.constant(mesh, TABLE, [VOCAB, D_MODEL])
  if not is_tied:
    table = graphs.constant(mesh, TABLE.T, [D_MODEL, VOCAB])
  hidden, table = (mtf.cast(x, dtype) for x in (hidden, table))
  logits = mtf.einsum([hidden, table], output_shape=[*TOKENS, VOCAB])
  return logits, [hidden, table]


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize(
    "lesson, temperature",
    [(None, 1.0), ("live", 1.0), ("live", 2.0), ("cached", 1.0), ("cached", 2)],
)
@pytest.mark.parametrize("mesh_shape, layout, _", MESHES)
def test_loss_and_gradients_are_numpys(
    mesh_shape, layout, _, lesson, temperature, is_tied
):
  model = graphs.Model(mtf.convert_to_shape(mesh_shape), layout)

  def build(mesh):
    logits, factors = logits_and_factors(mesh, is_tied)
    loss, [(_, of_labels), *_] = token_losses.evaluate(
        model, logits, terms_of(mesh, lesson, temperature)
    )
    of_hidden, of_table = mtf.gradients([loss], factors)
    if not is_tied:
      of_table = mtf.transpose(of_table, [VOCAB, D_MODEL])
    return [loss, of_hidden, of_table, of_labels]

  found, _ = graphs.evaluate(build, mesh_shape, layout)
  # Float32 has 6e-8 of each number; sums of 24 products.
  for one, other in zip(found, expected(lesson, temperature), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6 * np.abs(other).max())


def test_bfloat16_factors_have_float32_sums():
  model = graphs.Model(mtf.Shape([]), "")

  def build(mesh):
    logits, factors = logits_and_factors(mesh, dtype=tf.bfloat16)
    loss, _ = token_losses.evaluate(
        model, logits, terms_of(mesh, "live", temperature=1.0)
    )
    gradients = mtf.gradients([loss], factors)
    assert [x.dtype for x in gradients] == [tf.bfloat16] * 2
    assert loss.dtype == tf.float32
    return [loss, *(mtf.cast(x, tf.float32) for x in gradients)]

  found, _ = graphs.evaluate(build)
  # Eight bits of each factor, of the logits and of their gradients.
  for one, other in zip(found, expected("live", 1.0)):
    np.testing.assert_allclose(one, other, atol=2e-2 * np.abs(other).max())


def test_an_outer_factor_and_values_without_gradients():
  model = graphs.Model(mtf.Shape([]), "")

  def build(mesh):
    logits, factors = logits_and_factors(mesh)
    terms = terms_of(mesh, None, 1.0)
    loss, [(values, _)] = token_losses.evaluate(model, logits, terms)
    with pytest.raises(NotImplementedError, match="values of tokens"):
      mtf.gradients([mtf.reduce_sum(values)], factors)
    return mtf.gradients([3.0 * loss], factors)

  found, _ = graphs.evaluate(build)
  for one, other in zip(found, expected(None, 1.0)[1:]):
    np.testing.assert_allclose(one, 3 * other, atol=3e-6 * np.abs(other).max())


@pytest.mark.parametrize("lesson, products", [(None, 1), ("live", 2)])
def test_products_are_declared(lesson, products):
  """Of tokens, d_model and vocabulary; the teacher's is half as deep."""
  model = graphs.Model(mtf.Shape([]), "")

  def multiplications(loss):
    return cost.multiplications(
        loss.operation, lambda dims: mtf.Shape(list(dims)).size
    )

  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    logits, factors = logits_and_factors(mesh)
    terms = terms_of(mesh, lesson, 1.0)
    loss, _ = token_losses.evaluate(model, logits, terms)
    one = 24 * VOCAB.size * D_MODEL.size
    of_teacher = (products - 1) * one // 2
    assert multiplications(loss) == one + of_teacher
    mtf.gradients([loss], factors)
    assert multiplications(loss) == 3 * one + of_teacher


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("with_teacher", [False, True])
def test_training_has_no_tensor_of_tokens_times_vocabulary(
    is_tied, with_teacher
):
  gin_files.parse(
      ["models/switch_tiny.gin"],
      [
          *gin_files.SHRUNK,
          f"Unitransformer.shared_embedding_and_softmax_weights = {is_tied}",
      ],
  )

  def build(mesh):
    tokens = np.random.RandomState(0).randint(1, 200, (4, 6)).astype(np.int32)
    features = dict.fromkeys(
        ("inputs", "targets"), graphs.constant(mesh, tokens, TOKENS)
    )
    dtype = mtf.VariableDType(tf.float32)

    def teacher_logits(features):
      with tf.variable_scope("teacher"):
        return loss_lib.logits_of(
            gin_files.build_model(200),
            features,
            tf.estimator.ModeKeys.PREDICT,
            dtype,
        )

    loss, sums = loss_lib.loss_and_sums(
        gin_files.build_model(200),
        features,
        tf.estimator.ModeKeys.TRAIN,
        dtype,
        change_loss=functools.partial(
            distillation.distill,
            teach=functools.partial(
                distillation.lesson_of_logits,
                teacher_logits=teacher_logits,
                temperature=2.0,
            ),
            fraction=0.5,
            temperature=2.0,
        )
        if with_teacher
        else None,
    )
    weights = [v.value for v in mesh.graph.trainable_variables]
    gradients = [x for x in mtf.gradients([loss], weights) if x is not None]
    return [loss, *sums.values(), *gradients]

  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    results = build(mesh)
    impl = placement_mesh.PlacementMeshImpl("", "", ["cpu:0"])
    draws.seed_loops(mesh.graph)
    lowering = mtf.Lowering(mesh.graph, {mesh: impl})
    needed = lowered.needed([lowering.export_to_tf_tensor(x) for x in results])
  shapes = [x.shape for operation in needed for x in operation.outputs]
  vocab = [x for x in shapes if x.rank and x[-1] == 256]
  assert tf.TensorShape([5, 256]) in vocab
  assert not [x for x in vocab if x.num_elements() >= 24 * 256]
