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

"""Experts without capacity: equal to slots for all, whoever the neighbours.

By blocks of rows, or by one row for each choice where there are few.
"""

import mtf_switch  # isort: skip  # noqa: F401
import functools

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.layer import router as router_lib
from mtf_switch.layer.dispatch import blocks as blocks_lib
from mtf_switch.mesh import draws
from mtf_switch.mesh import placement_mesh
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import reports
from tests import gin_files
from tests import graphs

BATCH, LENGTH, D_MODEL = 8, 12, 16
PREDICT = tf.estimator.ModeKeys.PREDICT
ROUTERS = {
    "top_1": router_lib.SwitchRouter(),
    "top_2": router_lib.Top2Router(),
    "top_n": router_lib.TopNRouter(num_choices=3),
    "no_token_left_behind": router_lib.NoTokenLeftBehindRouter(),
}


def make_layer(**kwargs):
  options = dict(num_experts=4, num_cores=1, hidden_size=24)
  return feed_forward.SwitchFeedForward(**{**options, **kwargs})


def call(layer, mesh, array, mode, model, nonpadding=None, **kwargs):
  batch = mtf.Dimension("batch", array.shape[0])
  length = mtf.Dimension("length", array.shape[1])
  d_model = mtf.Dimension("d_model", array.shape[2])
  sequence_id = None
  if nonpadding is not None:
    sequence_id = graphs.constant(
        mesh, nonpadding.astype(np.int32), [batch, length]
    )
  context = transformer.Context(
      model,
      mesh,
      [batch],
      length,
      mtf.VariableDType(tf.float32),
      mode=mode,
      sequence_id=sequence_id,
      **kwargs,
  )
  return layer.call(
      context, graphs.constant(mesh, array, [batch, length, d_model])
  )


def inputs(seed=0, tokens=(BATCH, LENGTH)):
  return np.random.RandomState(seed).randn(*tokens, D_MODEL)


MANY, FEW = (BATCH, LENGTH), (1, 5)


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize(
    "activation, tokens, product",
    [
        ("relu", MANY, "block_matmul"),
        (["gelu", "linear"], MANY, "block_matmul"),
        # With three choices 15 products.
        ("relu", FEW, "token_matmul"),
    ],
)
def test_it_equals_a_capacity_that_drops_nothing(
    router, activation, tokens, product
):
  nonpadding = np.random.RandomState(1).rand(*tokens) < 0.7

  def build(mesh):
    layer = make_layer(
        router=ROUTERS[router],
        activation=activation,
        capacity_factor_eval=4.0,
    )
    results = []
    model = graphs.Model("", "")
    for mode in (PREDICT, tf.estimator.ModeKeys.EVAL):
      with (
          tf.variable_scope("", reuse=bool(results)),
          reports.collecting(model) as collected,
      ):
        y = call(layer, mesh, inputs(tokens=tokens), mode, model, nonpadding)
      mode_or_layer = mode if mode == PREDICT else ""
      results += [y, collected[f"{mode_or_layer}/dropped"]]
    products = [op for op in mesh.graph.operations if product in op.name]
    assert len(products) == (2 if activation == "relu" else 3)
    slots = [
        op
        for op in mesh.graph.operations
        for t in op.outputs
        if "expert_capacity" in t.shape.dimension_names
    ]
    assert all(product not in op.name for op in slots)
    return results

  (ours, dropped, padded, padded_dropped), _ = graphs.evaluate(build)
  assert dropped == padded_dropped == 0
  assert not ours[~nonpadding].any() and ours[nonpadding].any()
  # The same products of float32, summed in other blocks.
  np.testing.assert_allclose(ours, padded, atol=1e-6 * np.abs(padded).max())


@pytest.mark.parametrize(
    "mesh_shape, layout, product",
    [
        ("data:2", "batch:data", "block_matmul"),
        ("data:4", "batch:data", "block_matmul"),
        # The tokens of a core are few, those of the batch are not.
        ("data:4", "batch:data", "token_matmul"),
        ("data:2", "batch:data,experts:data", None),
        ("data:2;model:2", "batch:data,d_ff:model", None),
    ],
)
def test_no_mesh_changes_it(mesh_shape, layout, product):
  """Where experts are split over cores, every token has a slot of its own."""
  array = inputs(tokens=(BATCH, 4) if product == "token_matmul" else MANY)

  def build(mesh, model):
    layer = make_layer(router=ROUTERS["top_2"])
    y = call(layer, mesh, array, PREDICT, model)
    products = {
        name
        for op in mesh.graph.operations
        for name in ("block_matmul", "token_matmul")
        if name in op.name
    }
    expected = product if model.layout else "block_matmul"
    assert products == ({expected} if expected else set())
    return [y]

  (single,), _ = graphs.evaluate(lambda mesh: build(mesh, graphs.Model("", "")))
  (several,), _ = graphs.evaluate(
      lambda mesh: build(mesh, graphs.Model(mesh_shape, layout)),
      mesh_shape,
      layout,
  )
  np.testing.assert_allclose(single, several, atol=1e-6 * np.abs(single).max())


def test_no_block_without_a_token_is_multiplied():
  """All tokens to one expert: as many products as full blocks."""
  array = np.ones((BATCH, LENGTH, D_MODEL))

  def build(mesh):
    return [call(make_layer(), mesh, array, PREDICT, graphs.Model("", ""))]

  (y,), _ = graphs.evaluate(build)
  assert y.any() and (y == y[0, 0]).all()


@pytest.mark.parametrize(
    "requests, experts, rows",
    [
        (1, 8, 1),
        (3, 8, 4),
        (8, 8, 8),
        (96, 4, 32),
        (4096, 8, 64),
        (8192, 8, 128),
        (64, 1, 64),
    ],
)
def test_rows_of_a_block(requests, experts, rows):
  assert blocks_lib.rows_per_block(requests, experts) == rows


@pytest.mark.parametrize("tokens", [MANY, FEW])
def test_gradients_flow(tokens):
  """Nobody trains so, but a score may be differentiated."""

  def build(mesh):
    results = []
    for mode in (PREDICT, tf.estimator.ModeKeys.EVAL):
      with tf.variable_scope("", reuse=bool(results)):
        y = call(
            make_layer(capacity_factor_eval=4.0),
            mesh,
            inputs(tokens=tokens),
            mode,
            graphs.Model("", ""),
        )
      loss = mtf.reduce_sum(mtf.square(y))
      weights = [v.value for v in mesh.graph.trainable_variables]
      results += mtf.gradients([loss], weights)
    return results

  gradients, _ = graphs.evaluate(build)
  for one, other in zip(gradients[:3], gradients[3:]):
    assert one.any()
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


# Whole models.

VOCABULARY = 128
SIZES = (
    "d_model = 32",
    "d_ff = 48",
    "d_kv = 8",
    "num_heads = 4",
    "num_experts = 8",
    "num_cores = 4",
    # Untrained, it says something all the same.
    "initializer_scale = 1.0",
    "Unitransformer.shared_embedding_and_softmax_weights = False",
    # What decoding and scoring must not follow:
    "capacity_factor_eval = 0.5",
)


def ids(seed, batch, length):
  array = np.random.RandomState(seed).randint(2, VOCABULARY, (batch, length))
  array[:, -1] = 1
  return array.astype(np.int32)


@functools.cache
def scorer_and_decoder(router, batch, beam_size=1):
  """A model compiled for one batch size.

  Args:
    router: the name of its gin binding.
    batch: the batch size.
    beam_size: for decoding.

  Returns:
    a function from inputs and targets, [batch, LENGTH], to log-probabilities
    [batch, LENGTH, VOCABULARY] and a list of decoded ids, without what follows
    the end of a sequence while others go on.
  """
  gin_files.parse(
      ["models/switch_tiny.gin"],
      [*SIZES, f"SwitchFeedForward.router = @{router}"],
  )
  dims = [mtf.Dimension("batch", batch), mtf.Dimension("length", LENGTH)]
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    graph = mtf.Graph()
    mesh = mtf.Mesh(graph, "mesh")
    feeds = [tf.placeholder(tf.int32, [batch, LENGTH]) for _ in range(2)]
    inputs_, targets = (
        mtf.import_fully_replicated(mesh, x, mtf.Shape(dims)) for x in feeds
    )
    model = gin_files.build_model(VOCABULARY)
    logits, _ = model.call_simple(
        inputs_, targets, compute_loss=False, mode=PREDICT
    )
    log_probs = mtf.log_softmax(logits, logits.shape.dims[-1])
    with tf.variable_scope("", reuse=True):
      decoded = model.decode(
          inputs_,
          variable_dtype=mtf.VariableDType(tf.float32),
          beam_size=beam_size,
          decode_length_multiplier=0.0,
          decode_length_constant=LENGTH,
      )
    assert not [  # No slots: nothing can be dropped.
        t
        for op in graph.operations
        for t in op.outputs
        if "expert_capacity" in t.shape.dimension_names
    ]
    impl = placement_mesh.PlacementMeshImpl("", "", ["cpu:0"], 0, 0)
    draws.seed_loops(graph)
    outputs = [mtf.anonymize(log_probs), mtf.anonymize(decoded)]
    lowering = mtf.Lowering(graph, {mesh: impl}, autostack=False)
    tensors = [lowering.export_to_tf_tensor(x) for x in outputs]
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    session.run(lowering.copy_masters_to_slices())

  def run(*pair):
    log_probs, decoded = session.run(tensors, dict(zip(feeds, pair)))
    return log_probs, [row.tolist()[: (*row, 1).index(1)] for row in decoded]

  return run


ROUTER_NAMES = (
    "switch_router",
    "top_2_router",
    "no_token_left_behind_router",
)


@pytest.mark.parametrize(
    "router, beam_size",
    [(name, 1) for name in ROUTER_NAMES] + [("switch_router", 2)],
)
def test_neighbours_change_no_bit(router, beam_size):
  own = ids(0, 1, LENGTH), ids(1, 1, LENGTH)
  others = ids(2, BATCH, LENGTH), ids(3, BATCH, LENGTH)
  more = ids(4, BATCH, LENGTH), ids(5, BATCH, LENGTH)
  padding = [np.zeros_like(x) for x in others]
  finished = [np.eye(1, LENGTH, dtype=np.int32).repeat(BATCH, 0)] * 2
  run = scorer_and_decoder(router, BATCH, beam_size)
  results = []
  for row, neighbours in (
      (0, others),
      (0, more),  # Other neighbours.
      (5, others),  # Another place.
      (7, more),
      (2, padding),
      (3, finished),  # The end of a sequence and nothing else.
  ):
    pair = [x.copy() for x in neighbours]
    for x, mine in zip(pair, own):
      x[row] = mine[0]
    log_probs, decoded = run(*pair)
    results.append((log_probs[row], decoded[row]))
  for log_probs, decoded in results[1:]:
    np.testing.assert_array_equal(log_probs, results[0][0])
    assert decoded == results[0][1]
  assert len(set(results[0][1])) > 1


@pytest.mark.parametrize("router", ROUTER_NAMES)
def test_alone_is_as_in_a_batch_of_eight(router):
  pair = ids(0, BATCH, LENGTH), ids(1, BATCH, LENGTH)
  log_probs, decoded = scorer_and_decoder(router, BATCH)(*pair)
  run_alone = scorer_and_decoder(router, 1)
  for row in range(BATCH):
    own_log_probs, own_decoded = run_alone(*(x[row : row + 1] for x in pair))
    # Products of other shapes are summed in another order.
    np.testing.assert_allclose(own_log_probs[0], log_probs[row], atol=1e-5)
    assert own_decoded[0] == decoded[row]
