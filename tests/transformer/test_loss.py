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

"""The trained loss and its sums: by hand, and against upstream's."""

import mtf_switch  # isort: skip  # noqa: F401
import math
import types

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import cross_entropy
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import reports
from tests import gin_files
from tests import graphs
from tests.vocabulary_cases import BATCH
from tests.vocabulary_cases import ids
from tests.vocabulary_cases import LENGTH
from tests.vocabulary_cases import random
from tests.vocabulary_cases import VOCAB

MESHES = [
    ("", ""),
    ("data:2", "batch:data"),
    ("data:4", "batch:data"),
    ("model:2", "vocab:model"),
    ("data:2;model:2", "batch:data,vocab:model"),
]


ROWS, POSITIONS = mtf.Dimension("batch", 2), mtf.Dimension("length", 3)
FOUR_TOKENS = mtf.Dimension("vocab", 4)
# Two real tokens in the first sequence, one in the second. 0 is padding, and
# -2 a token that is not to be learnt.
TARGETS = [[1, 3, 0], [-2, 2, 0]]
# Probabilities of the tokens that are counted: 1/2, 1/4, 1/8.
PROBABILITIES = [
    [[1 / 6, 1 / 2, 1 / 6, 1 / 6], [1 / 4] * 4, [1, 0.01, 0.01, 0.01]],
    [[1, 0.01, 0.01, 0.01], [1 / 2, 1 / 4, 1 / 8, 1 / 8], [1, 0.1, 0.1, 0.1]],
]


class ModelWithOtherLosses:
  """Gives logits, and a loss that has little to do with them."""

  mesh_shape = None

  def call_simple(self, inputs, targets, compute_loss, **kwargs):
    del targets, kwargs
    assert compute_loss
    context = types.SimpleNamespace(model=self, losses=[])
    for loss in (0.5, 2.5):
      loss_lib.add_router_loss(context, mtf.constant(inputs.mesh, loss))
    reports.add(self, "a/layer/routed", mtf.constant(inputs.mesh, 8.0))
    # Any constant may be added to logits.
    logits = graphs.constant(
        inputs.mesh, np.log(PROBABILITIES) + 7, [ROWS, POSITIONS, FOUR_TOKENS]
    )
    return logits, mtf.constant(inputs.mesh, 100.0)


def loss_and_sums(model, change_loss=None):
  names = []

  def build(mesh):
    array = np.array(TARGETS, np.int32)
    tokens = graphs.constant(mesh, array, [ROWS, POSITIONS])
    loss, sums = loss_lib.loss_and_sums(
        model,
        {"inputs": tokens, "targets": tokens},
        tf.estimator.ModeKeys.TRAIN,
        mtf.VariableDType(),
        change_loss=change_loss,
    )
    names.extend(["loss", *sums])
    return [loss, *sums.values()]

  values, _ = graphs.evaluate(build)
  return dict(zip(names, values))


def test_cross_entropy_is_of_real_targets_alone():
  assert loss_and_sums(ModelWithOtherLosses()) == pytest.approx(
      {
          # The router's losses are trained and, without a name, not reported.
          "loss": 100 + 0.5 + 2.5,
          "cross_entropy": math.log(2) + math.log(4) + math.log(8),
          "target_tokens": 3,
          # Inputs and targets alike, two and two of three in each row: a token
          # that is not to be learnt is no padding.
          "real_tokens": 2 * (2 + 2),
          "positions": 2 * (3 + 3),
          "a/layer/routed": 8,
      }
  )


def test_a_loss_of_the_users_own_is_changed_too():
  def change_loss(model, features, num_microbatches):
    del model, num_microbatches
    targets = features["targets"]
    term = cross_entropy.against_labels(targets, loss_lib.is_real(targets))
    return loss_lib.Change(
        0.25, [term], lambda values: {"more": mtf.reduce_max(values[0][1])}
    )

  found = loss_and_sums(ModelWithOtherLosses(), change_loss)
  # A quarter of the user's, the term, and the router's.
  term = math.log(2) + math.log(4) + math.log(8)
  assert found["loss"] == pytest.approx(0.25 * 100 + term + 0.5 + 2.5)
  assert found["cross_entropy"] == pytest.approx(term)
  assert found["more"] == pytest.approx(math.log(8))


class ModelOfNothing:
  """Gives logits, all zero."""

  mesh_shape = None

  def call_simple(self, targets, **kwargs):
    del kwargs
    logits = mtf.zeros(targets.mesh, [*targets.shape.dims, FOUR_TOKENS])
    return logits, mtf.constant(targets.mesh, 0.0)


@pytest.mark.parametrize("mesh_shape", ["", "all:2"])
def test_packing_is_counted_over_inputs_and_targets(mesh_shape):
  rows = mtf.Dimension("batch", 4)
  # 3 + 2 tokens in the first row, 1 + 2 in the second and 4 + 1 in the third,
  # of 4 + 2 positions each. The last row fills up the batch.
  inputs = [[9, 8, 1, 0], [1, 0, 0, 0], [7, 8, 9, 1], [0, 0, 0, 0]]
  targets = [[3, 1], [-2, 1], [1, 0], [0, 0]]

  def build(mesh):
    features = {
        name: graphs.constant(
            mesh, np.array(ids, np.int32), [rows, mtf.Dimension("length", size)]
        )
        for name, ids, size in (("inputs", inputs, 4), ("targets", targets, 2))
    }
    mode = tf.estimator.ModeKeys.EVAL
    dtype = mtf.VariableDType()
    _, sums = loss_lib.loss_and_sums(ModelOfNothing(), features, mode, dtype)
    return [sums["real_tokens"], sums["positions"]]

  (real_tokens, positions), _ = graphs.evaluate(build, mesh_shape, "batch:all")
  assert real_tokens == 5 + 3 + 5
  assert positions == 3 * (4 + 2)


class Model(graphs.Model):
  """The options of a loss that a Unitransformer has."""

  loss_on_targets_only = False

  def __init__(self, mesh_shape="", layout="", label_smoothing=0.0, z_loss=0.0):
    super().__init__(mesh_shape, layout)
    self.label_smoothing = label_smoothing
    self.z_loss = z_loss

  def loss_denominator(self, targets, num_microbatches):
    return float(targets.shape.size) * num_microbatches


@pytest.mark.parametrize("mesh_shape, layout", MESHES)
@pytest.mark.parametrize(
    "label_smoothing, z_loss, train",
    [
        (0.0, 0.0, True),
        (0.0, 1e-2, True),
        (0.1, 1e-2, True),
        (0.1, 1e-2, False),
    ],
)
def test_loss_and_its_gradient_are_upstreams(
    mesh_shape, layout, label_smoothing, z_loss, train
):
  model = Model(mesh_shape, layout, label_smoothing, z_loss)

  def build(mesh):
    logits = 3 * random(mesh, [BATCH, LENGTH, VOCAB], 1)
    targets = ids(mesh, low=-3)  # Some are padding or not to be learnt.
    context = transformer.Context(
        model,
        mesh,
        [BATCH],
        LENGTH,
        mtf.VariableDType(tf.float32),
        mode="train" if train else "eval",
    )
    model._loss_fn = None  # pylint: disable=protected-access
    results = []
    for loss_of in (
        loss_lib.cross_entropy_loss,
        transformer.Unitransformer._compute_loss,  # pylint: disable=protected-access
    ):
      loss = loss_of(model, context, logits, targets, VOCAB)
      results += [loss] + mtf.gradients([loss], [logits])
    return results

  (loss, gradient, upstream, upstream_gradient), _ = graphs.evaluate(
      build, mesh_shape, layout
  )
  np.testing.assert_allclose(loss, upstream, rtol=1e-6)
  np.testing.assert_allclose(
      gradient, upstream_gradient, atol=1e-6 * np.abs(gradient).max()
  )


def features(mesh):
  """Inputs and targets of a model of 200 tokens."""
  return {
      name: graphs.constant(
          mesh,
          np.random.RandomState(seed).randint(1, 200, (4, 6)).astype(np.int32),
          [BATCH, LENGTH],
      )
      for seed, name in enumerate(("inputs", "targets"))
  }


def one_hot_dimensions(mesh):
  """The names of the dimensions of each one-hot tensor."""
  return [
      tensor.shape.dimension_names
      for op in mesh.graph.operations
      if isinstance(op, mtf.OneHotOperation)
      for tensor in op.outputs
  ]


def test_scores_need_no_one_hots_of_the_vocabulary():
  gin_files.parse(["models/switch_tiny.gin"], gin_files.SHRUNK)

  def build(mesh):
    scores = loss_lib.log_likelihood(
        gin_files.build_model(200),
        features(mesh),
        tf.estimator.ModeKeys.PREDICT,
        mtf.VariableDType(tf.float32),
    )
    assert not any("vocab" in names for names in one_hot_dimensions(mesh))
    return [scores]

  (scores,), _ = graphs.evaluate(build)
  assert scores.shape == (4,) and (scores < 0).all()


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_a_models_loss_and_gradients_do_not_change(dtype):
  """Switch-Tiny, with and without the two parts; the loss is float32."""

  def step(*bindings):
    gin_files.parse(
        ["models/switch_tiny.gin"],
        [
            *gin_files.SHRUNK,
            "SwitchFeedForward.router_jitter = 0.0",
            *bindings,
        ],
    )
    shapes = []

    def build(mesh):
      loss, sums = loss_lib.loss_and_sums(
          gin_files.build_model(200),
          features(mesh),
          tf.estimator.ModeKeys.TRAIN,
          mtf.VariableDType(tf.float32, tf.float32, dtype),
      )
      weights = [v.value for v in mesh.graph.trainable_variables]
      gradients = mtf.gradients([loss], weights)
      shapes.extend(one_hot_dimensions(mesh))
      return [loss, sums["cross_entropy"]] + [
          mtf.to_float(g) for g in gradients
      ]

    return graphs.evaluate(build)[0], shapes

  ours, our_one_hots = step()
  upstreams, one_hots = step(
      "transformer.get_vocab_embedding_cls.cls = @transformer.VocabEmbedding",
      "Unitransformer.loss_fn = None",
  )
  assert not any("vocab" in names for names in our_one_hots)
  assert any("vocab" in names for names in one_hots)
  # In bfloat16 upstream rounds the loss, and the sums of embeddings' gradients.
  tolerance = 1e-5 if dtype == tf.float32 else 3e-2
  for one, other in zip(ours, upstreams, strict=True):
    np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


BFLOAT16 = mtf.VariableDType(tf.float32, tf.float32, tf.bfloat16)


def make_context(model, mesh):
  """In training, with bfloat16 activations."""
  return transformer.Context(
      model, mesh, [BATCH], LENGTH, BFLOAT16, mode="train", losses=[]
  )


@pytest.mark.parametrize(
    "dtype, expected", [(None, tf.bfloat16), (tf.float32, tf.float32)]
)
def test_loss_has_the_activations_dtype_unless_another_is_asked_for(
    dtype, expected
):
  def build(mesh):
    model = Model()
    with reports.collecting(model):  # Which has no say in it.
      loss = loss_lib.cross_entropy_loss(
          model,
          make_context(model, mesh),
          mtf.cast(random(mesh, [BATCH, LENGTH, VOCAB], 1), tf.bfloat16),
          ids(mesh),
          VOCAB,
          dtype=dtype,
      )
    assert loss.dtype == expected
    return [mtf.cast(loss, tf.float32)]

  (loss,), _ = graphs.evaluate(build)
  # A number of bfloat16 is a multiple of 2^-6 between 2 and 4.
  assert 2 < loss < 4
  assert (loss * 2**6 % 1 == 0) == (expected == tf.bfloat16)


def test_a_routers_loss_is_float32_but_in_upstreams_programs():
  def build(mesh):
    model = graphs.Model()
    context = make_context(model, mesh)
    # Not a number of bfloat16.
    loss = mtf.constant(mesh, 1.001)
    with reports.collecting(model) as collected:
      loss_lib.add_router_loss(context, loss)
      loss_lib.add_router_loss(context, loss)
    assert not context.losses
    # Upstream's own programs add up the losses of the context.
    loss_lib.add_router_loss(context, loss)
    (in_context,) = context.losses
    assert in_context.dtype == tf.bfloat16
    context.losses = None  # Of a call that computes no loss.
    loss_lib.add_router_loss(context, loss)
    return [*collected.values(), mtf.cast(in_context, tf.float32)]

  (collected, in_context), _ = graphs.evaluate(build)
  assert collected == pytest.approx(2.002, rel=1e-6)
  assert in_context == 1.0


def test_upstreams_programs_and_ours_train_one_loss_in_two_dtypes():
  """With bfloat16 activations; a model's loss function is its own again."""
  gin_files.parse(
      ["models/switch_tiny.gin"],
      [
          *gin_files.SHRUNK,
          "SwitchFeedForward.router_jitter = 0.0",
          # Float32 anyway, they would hide that cross-entropy is rounded.
          "SwitchFeedForward.aux_loss_coefficient = 0.0",
      ],
  )

  def build(mesh):
    model, batch = gin_files.build_model(200), features(mesh)
    ours, _ = loss_lib.loss_and_sums(
        model, batch, tf.estimator.ModeKeys.TRAIN, BFLOAT16
    )
    _, upstreams = gin_files.build_model(200).call_simple(
        **batch, compute_loss=True, variable_dtype=BFLOAT16
    )
    _, again = model.call_simple(
        **batch, compute_loss=True, variable_dtype=BFLOAT16
    )
    assert ours.dtype == tf.float32
    assert upstreams.dtype == again.dtype == tf.bfloat16
    return [ours, *(mtf.cast(x, tf.float32) for x in (upstreams, again))]

  (ours, upstreams, again), _ = graphs.evaluate(build)
  assert ours * 2**7 % 1
  assert upstreams == again
  # A number of bfloat16 has eight bits.
  assert upstreams == pytest.approx(ours, rel=2**-7)


def test_a_loss_function_of_the_users_own_needs_no_dtype():
  gin_files.parse(["models/switch_tiny.gin"], gin_files.SHRUNK)

  def seven(model, context, logits, targets, vocab_dim):
    del model, context, logits, vocab_dim
    return mtf.constant(targets.mesh, 7.0)

  def build(mesh):
    model = gin_files.build_model(200)
    model.decoder._loss_fn = seven
    loss, sums = loss_lib.loss_and_sums(
        model,
        features(mesh),
        tf.estimator.ModeKeys.EVAL,
        mtf.VariableDType(tf.float32),
    )
    return [loss, sums["cross_entropy"] / sums["target_tokens"]]

  (loss, cross_entropy), _ = graphs.evaluate(build)
  assert loss == 7
  # Untrained: little more than the logarithm of the vocabulary's 256 rows.
  assert 5 < cross_entropy < 7
