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

"""Lookup and softmax against upstream's one-hot products."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.training import figures
from mtf_switch.transformer import embedding
from mtf_switch.transformer import vocabulary
from tests import gin_files
from tests import graphs

BATCH = mtf.Dimension("batch", 4)
LENGTH = mtf.Dimension("length", 6)
VOCAB = mtf.Dimension("vocab", 24)
D_MODEL = mtf.Dimension("d_model", 8)
MESHES = [
    ("", ""),
    ("data:2", "batch:data"),
    ("data:4", "batch:data"),
    ("model:2", "vocab:model"),
    ("model:2", "d_model:model"),
    ("data:2;model:2", "batch:data,vocab:model"),
]


def random(mesh, dims, seed):
  array = np.random.RandomState(seed).randn(*(dim.size for dim in dims))
  return graphs.constant(mesh, array, dims)


def ids(mesh, low=0):
  array = np.random.RandomState(0).randint(low, VOCAB.size, (4, 6))
  array[0, 0] = array[3, 5] = 7  # A row with several copies.
  return graphs.constant(mesh, array.astype(np.int32), [BATCH, LENGTH])


@pytest.mark.parametrize("mesh_shape, layout", MESHES)
def test_lookup_and_its_gradient_are_those_of_one_hot(mesh_shape, layout):
  def build(mesh):
    table = random(mesh, [VOCAB, D_MODEL], 1)
    target = random(mesh, [BATCH, LENGTH, D_MODEL], 2)
    results = []
    for look_up in (
        embedding.lookup,
        lambda table, ids, dim: mtf.gather(table, ids, dim),
    ):
      rows = look_up(table, ids(mesh), VOCAB)
      loss = mtf.reduce_sum(rows * target)
      results += [rows] + mtf.gradients([loss], [table])
    return results

  results, _ = graphs.evaluate(build, mesh_shape, layout)
  for one, other in zip(results[:2], results[2:]):
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_lookup_leaves_the_variable_a_dense_one():
  """A gather from the variable itself makes later reads copy all of it."""
  types = []

  def build(mesh):
    table = mtf.get_variable(mesh, "table", mtf.Shape([VOCAB, D_MODEL]))
    return [embedding.lookup(table, ids(mesh), VOCAB)]

  def record():
    types.extend(op.type for op in tf.get_default_graph().get_operations())
    return []

  graphs.evaluate(build, before_run=record)
  assert "VarHandleOp" in types and "GatherV2" in types
  assert "ResourceGather" not in types


class Model(graphs.Model):
  """What a loss asks of the Unitransformer."""

  loss_on_targets_only = False

  def __init__(self, mesh_shape, layout, label_smoothing, z_loss):
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
        vocabulary.cross_entropy_loss,
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
    scores = figures.log_likelihood(
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
      totals = figures.totals(
          gin_files.build_model(200),
          features(mesh),
          tf.estimator.ModeKeys.TRAIN,
          mtf.VariableDType(tf.float32, tf.float32, dtype),
      )
      weights = [v.value for v in mesh.graph.trainable_variables]
      gradients = mtf.gradients([totals["loss"]], weights)
      shapes.extend(one_hot_dimensions(mesh))
      return [totals["loss"], totals["cross_entropy"]] + [
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
