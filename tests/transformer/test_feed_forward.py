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

"""The gin-configurable layer: in a stack, on meshes, under T5's own code."""

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
from mesh_tensorflow.transformer import transformer_layers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import reports
from tests import graphs
from tests import oracle

BATCH, LENGTH, D_MODEL, D_FF, EXPERTS = 8, 16, 12, 20, 4


def make_context(mesh, mode=tf.estimator.ModeKeys.TRAIN, model=None, **kwargs):
  kwargs.setdefault("losses", [])
  return transformer.Context(
      model or graphs.Model(),
      mesh,
      [mtf.Dimension("batch", BATCH)],
      mtf.Dimension("length", LENGTH),
      mtf.VariableDType(tf.float32),
      mode=mode,
      **kwargs,
  )


def make_inputs(mesh, seed=0):
  dims = [
      mtf.Dimension("batch", BATCH),
      mtf.Dimension("length", LENGTH),
      mtf.Dimension("d_model", D_MODEL),
  ]
  array = np.random.RandomState(seed).randn(BATCH, LENGTH, D_MODEL)
  return graphs.constant(mesh, array, dims)


def make_sequence_id(mesh, seed=0):
  array = np.random.RandomState(seed).rand(BATCH, LENGTH) < 0.8
  return graphs.constant(
      mesh,
      array.astype(np.int32),
      [mtf.Dimension("batch", BATCH), mtf.Dimension("length", LENGTH)],
  )


def make_layer(**kwargs):
  options = dict(num_experts=EXPERTS, num_cores=4, hidden_size=D_FF)
  return feed_forward.SwitchFeedForward(**{**options, **kwargs})


def variables(mesh):
  return {v.name: v.value for v in mesh.graph.all_variables}


def outputs_and_gradients(mesh, layer, model=None):
  """The loss of a step and what it teaches the input and every weight."""
  x = make_inputs(mesh)
  context = make_context(mesh, model=model, sequence_id=make_sequence_id(mesh))
  y = layer.call(context, x)
  # A weighted sum, so that no gradient is zero by symmetry.
  target = make_inputs(mesh, seed=1)
  loss = mtf.reduce_sum(y * target) + context.losses[0]
  weights = [v.value for v in mesh.graph.trainable_variables]
  return [loss, context.losses[0], y] + mtf.gradients([loss], [x] + weights)


@pytest.mark.parametrize("activation", ["relu", ["gelu", "linear"]])
@pytest.mark.parametrize(
    "mesh_shape, layout, dispatch",
    [
        ("data:2", "batch:data,experts:data", "index"),
        ("data:4", "batch:data,experts:data", "index"),
        ("data:4", "batch:data", "ragged"),
        ("model:2", "d_ff:model", "index"),
        ("data:2;model:2", "batch:data,experts:data,d_ff:model", "index"),
    ],
)
def test_no_mesh_changes_outputs_or_gradients(
    mesh_shape, layout, dispatch, activation
):
  """Jitter and expert dropout included: draws do not depend on the mesh."""

  def build(mesh, model=None):
    layer = make_layer(
        activation=activation,
        router_jitter=0.1,
        expert_dropout_rate=0.2,
        dispatch=dispatch if model else "index",
    )
    return outputs_and_gradients(mesh, layer, model)

  single, _ = graphs.evaluate(build)
  model = graphs.Model(mesh_shape, layout)
  several, _ = graphs.evaluate(
      lambda mesh: build(mesh, model), mesh_shape, layout
  )
  assert len(single) == (7 if activation == "relu" else 8)
  for one, other in zip(single, several):
    assert np.abs(one).max() > 0
    # Sums over cores come in another order.
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("size", [2, 4])
def test_two_all_to_alls_forward_and_four_with_gradients(size):
  def count(build):
    _, counters = graphs.evaluate(
        build, f"data:{size}", "batch:data,experts:data"
    )
    return [v for k, v in counters.items() if k.startswith("alltoall/")]

  def forward(mesh):
    y = make_layer().call(make_context(mesh), make_inputs(mesh))
    return [mtf.reduce_sum(y)]

  def backward(mesh):
    x = make_inputs(mesh)
    y = make_layer().call(make_context(mesh), x)
    gradients = mtf.gradients([mtf.reduce_sum(y)], [x])
    return [mtf.reduce_sum(g) for g in gradients]

  # Each moves num_experts x expert_capacity x d_model entries a group.
  capacity = BATCH * LENGTH // 4 * 1.25 // EXPERTS
  payload = 4 * EXPERTS * capacity * D_MODEL
  assert count(forward) == [[payload] * 2]
  assert count(backward) == [[payload] * 4]


def test_no_all_to_all_and_no_concat_where_there_is_one_core():
  _, counters = graphs.evaluate(
      lambda m: outputs_and_gradients(m, make_layer())
  )
  assert not [k for k in counters if k.startswith(("alltoall", "allconcat"))]


@pytest.mark.parametrize("layout", ["batch:data", "batch:data,experts:data"])
def test_the_layer_needs_no_concat_on_a_mesh(layout):
  model = graphs.Model("data:4", layout)

  def build(mesh):
    results = outputs_and_gradients(mesh, make_layer(), model)
    return [mtf.reduce_sum(x) for x in results]

  _, counters = graphs.evaluate(build, "data:4", layout)
  assert not [k for k in counters if k.startswith("allconcat")]
  has_all_to_all = any(k.startswith("alltoall") for k in counters)
  assert has_all_to_all == ("experts" in layout)
  # No core does another's work.
  assert sum(counters["einsum"]) < 1.01 * sum(counters["einsum_unique"])


def test_alpha_is_applied_once_and_only_in_training():
  def build(mesh):
    x, sequence_id = make_inputs(mesh), make_sequence_id(mesh)
    results = []
    for name, alpha, mode, microbatches in (
        ("a", 1.0, tf.estimator.ModeKeys.TRAIN, 1),
        ("b", 0.01, tf.estimator.ModeKeys.TRAIN, 1),
        ("c", 1.0, tf.estimator.ModeKeys.TRAIN, 4),
    ):
      context = make_context(
          mesh, mode, sequence_id=sequence_id, num_microbatches=microbatches
      )
      with tf.variable_scope(name, initializer=None):
        layer = make_layer(aux_loss_coefficient=alpha, router_jitter=0.0)
        layer.call(context, x)
      results += context.losses
    context = make_context(mesh, tf.estimator.ModeKeys.EVAL)
    with tf.variable_scope("d"):
      make_layer().call(context, x)
    assert not context.losses
    return results + [
        variables(mesh)[f"{name}/router/kernel"] for name in "abc"
    ]

  results, _ = graphs.evaluate(build)
  losses, weights = results[:3], results[3:]
  inputs, nonpadding = inputs_of(0)
  for loss, weight, factor in zip(losses, weights, (1.0, 0.01, 0.25)):
    probs = oracle.softmax(inputs.reshape(4, -1, D_MODEL) @ weight)
    expected = oracle.load_balance_loss(
        probs, probs.argmax(-1), nonpadding.reshape(4, -1)
    )
    np.testing.assert_allclose(loss, factor * expected, rtol=1e-5)


def inputs_of(seed):
  inputs = np.random.RandomState(seed).randn(BATCH, LENGTH, D_MODEL)
  nonpadding = np.random.RandomState(seed).rand(BATCH, LENGTH) < 0.8
  return inputs, nonpadding


@pytest.mark.parametrize(
    "dispatch, mesh_shape", [("index", ""), ("ragged", "data:2")]
)
def test_the_layer_is_the_oracle_with_its_own_weights(dispatch, mesh_shape):
  def build(mesh):
    x = make_inputs(mesh)
    context = make_context(
        mesh,
        tf.estimator.ModeKeys.EVAL,
        model=graphs.Model(mesh_shape, "batch:data"),
        sequence_id=make_sequence_id(mesh),
    )
    layer = make_layer(capacity_factor_eval=1.0, dispatch=dispatch)
    y = layer.call(context, x)
    found = variables(mesh)
    return [y] + [
        found[name]
        for name in ("router/kernel", "experts/wi/kernel", "experts/wo/kernel")
    ]

  (y, router_weights, w_in, w_out), _ = graphs.evaluate(
      build, mesh_shape, "batch:data"
  )
  inputs, nonpadding = inputs_of(0)
  inputs = inputs.reshape(4, -1, D_MODEL)
  expected, _ = oracle.switch_layer(
      inputs,
      oracle.softmax(inputs @ router_weights),
      w_in,
      w_out,
      expert_capacity=LENGTH * BATCH // 4 // EXPERTS,
      nonpadding=nonpadding.reshape(4, -1),
  )
  np.testing.assert_allclose(
      y.reshape(expected.shape), expected, atol=1e-5 * np.abs(expected).max()
  )
  assert w_in.shape == (EXPERTS, D_MODEL, D_FF)
  assert w_out.shape == (EXPERTS, D_FF, D_MODEL)


def test_padding_changes_nothing_for_the_others():
  """Only the padded vectors change: real outputs and the loss do not."""

  def build(mesh):
    sequence_id = make_sequence_id(mesh)
    pad = mtf.to_float(mtf.equal(sequence_id, 0))
    results = []
    for seed in (None, 7):
      x = make_inputs(mesh)
      if seed is not None:
        x += make_inputs(mesh, seed) * pad
      context = make_context(mesh, sequence_id=sequence_id)
      with tf.variable_scope("", reuse=seed is not None):
        y = make_layer(router_jitter=0.0).call(context, x)
      results += [y, context.losses[0]]
    return results

  (plain, plain_loss, other, other_loss), _ = graphs.evaluate(build)
  _, nonpadding = inputs_of(0)
  np.testing.assert_array_equal(plain, other)
  assert plain_loss == other_loss
  assert not plain[~nonpadding].any()
  assert plain[nonpadding].any()


@pytest.mark.parametrize("sequence_id", [None, 1])
def test_a_batch_without_a_padding_mask_works(sequence_id):
  def build(mesh):
    context = make_context(mesh, sequence_id=sequence_id)
    with reports.collecting(context.model) as collected:
      y = make_layer().call(context, make_inputs(mesh))
    assert not context.losses
    gradients = mtf.gradients(
        [mtf.reduce_sum(y) + collected["router_loss"]],
        [v.value for v in mesh.graph.trainable_variables],
    )
    return [collected["/routed"], collected["/dropped"]] + gradients

  (routed, dropped, *gradients), _ = graphs.evaluate(build)
  assert routed == BATCH * LENGTH
  assert 0 < dropped < routed
  assert all(np.isfinite(g).all() and g.any() for g in gradients)


def test_metrics_count_real_and_dropped_tokens():
  def build(mesh):
    context = make_context(
        mesh,
        tf.estimator.ModeKeys.EVAL,
        sequence_id=make_sequence_id(mesh),
    )
    with reports.collecting(context.model) as collected:
      for name in "ab":
        with tf.variable_scope(name):
          make_layer(capacity_factor_eval=0.5).call(context, make_inputs(mesh))
    assert "router_loss" not in collected  # In training only.
    found = variables(mesh)
    return [
        collected[f"a/{name}"] + collected[f"b/{name}"]
        for name in ("aux_loss", "dropped", "routed")
    ] + [found[f"{name}/router/kernel"] for name in "ab"]

  (aux_loss, dropped, routed, *weights), _ = graphs.evaluate(build)
  inputs, nonpadding = inputs_of(0)
  nonpadding = nonpadding.reshape(4, -1)
  expected_loss = expected_dropped = 0
  for weight in weights:
    probs = oracle.softmax(inputs.reshape(4, -1, D_MODEL) @ weight)
    index, slot, _ = oracle.router(probs, 4, nonpadding)
    expected_dropped += (nonpadding & (slot < 0)).sum()
    expected_loss += 0.01 * oracle.load_balance_loss(probs, index, nonpadding)
  assert routed == 2 * nonpadding.sum()
  assert dropped == expected_dropped > 0
  np.testing.assert_allclose(aux_loss, expected_loss, rtol=1e-5)


def test_one_expert_equals_the_dense_layer_of_the_stack():
  def build(mesh):
    x = make_inputs(mesh)
    results = []
    switch = make_layer(num_experts=1, capacity_factor_eval=1.0)
    dense = transformer_layers.DenseReluDense(hidden_size=D_FF)
    context = make_context(mesh, tf.estimator.ModeKeys.EVAL)
    target = make_inputs(mesh, seed=1)
    for name, layer in (("switch", switch), ("dense", dense)):
      # The same values in both, whatever their shapes.
      with tf.variable_scope(name, initializer=None):
        y = layer.call(context, x)
      found = variables(mesh)
      prefix = "switch/experts" if name == "switch" else "dense"
      weights = [found[f"{prefix}/{w}/kernel"] for w in ("wi", "wo")]
      loss = mtf.reduce_sum(y * target)
      results += [y, *weights] + mtf.gradients([loss], [x] + weights)
    return results

  def copy_weights():
    """Gives the dense layer the expert's weights before the run."""
    named = {v.op.name: v for v in tf.global_variables()}
    return [
        tf.assign(
            named[f"dense/{w}/kernel"],
            tf.squeeze(named[f"switch/experts/{w}/kernel"].read_value(), 0),
        )
        for w in ("wi", "wo")
    ]

  results, _ = graphs.evaluate(build, before_run=copy_weights)
  for sparse, dense in zip(results[:6], results[6:]):
    np.testing.assert_allclose(
        sparse.reshape(dense.shape), dense, atol=1e-6 * np.abs(dense).max()
    )
    assert dense.any()


def test_noise_acts_in_training_only():
  def build(mesh):
    results = []
    for mode in (tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.EVAL):
      context = make_context(mesh, mode)
      layer = make_layer(
          router_jitter=0.5, expert_dropout_rate=0.5, capacity_factor_eval=1.25
      )
      with tf.variable_scope("", reuse=bool(results)):
        results.append(layer.call(context, make_inputs(mesh)))
    return results

  (train, evaluation), _ = graphs.evaluate(build)
  (next_train, next_evaluation), _ = graphs.evaluate(build, step=1)
  assert (train != next_train).any()
  np.testing.assert_array_equal(evaluation, next_evaluation)


def test_a_bfloat16_model_reads_the_routers_weights_in_float32():
  def build(mesh):
    context = make_context(mesh)
    context.variable_dtype = mtf.VariableDType(
        tf.bfloat16, tf.float32, tf.bfloat16
    )
    x = mtf.cast(make_inputs(mesh), tf.bfloat16)
    y = make_layer().call(context, x)
    assert y.dtype == tf.bfloat16
    dtypes = {v.name: v.value.dtype for v in mesh.graph.all_variables}
    assert dtypes["router/kernel"] == tf.float32
    assert dtypes["experts/wi/kernel"] == tf.bfloat16
    masters = {v.name: v.master_dtype for v in mesh.graph.all_variables}
    assert masters["router/kernel"] == tf.float32
    return [mtf.to_float(y)]

  (y,), _ = graphs.evaluate(build)
  assert y.any()


def test_decoding_gives_every_sequence_a_slot():
  """All sequences choose one expert and none is dropped."""

  def build(mesh):
    batch, d_model = mtf.Dimension("batch", 6), mtf.Dimension(
        "d_model", D_MODEL
    )
    x = graphs.constant(mesh, np.ones((6, D_MODEL)), [batch, d_model])
    context = make_context(mesh, "incremental", losses=None, sequence_id=1)
    return [make_layer().call(context, x)]

  (y,), _ = graphs.evaluate(build)
  assert y[0].any()
  np.testing.assert_array_equal(y, np.tile(y[:1], (6, 1)))


@pytest.mark.parametrize(
    "options, mesh_shape, message",
    [
        (
            dict(num_cores=5),
            None,
            "128 tokens (batch size x length) cannot be dealt out evenly to "
            "num_cores = 5 groups; set num_cores to 4 or 8, change the batch "
            "size, or set strict_groups = False.",
        ),
        (
            dict(num_experts=6),
            "data:4",
            "num_experts = 6 cannot be split over a mesh axis of 4; use a mesh "
            "axis of 3 or make num_experts a multiple of 4.",
        ),
        (
            dict(num_cores=2),
            "data:4",
            "num_cores = 2 cannot be split over a mesh axis of 4; use a mesh "
            "axis of 2 or make num_cores a multiple of 4.",
        ),
        (
            dict(num_experts=64),
            None,
            "the expert capacity is 32 tokens_per_core x 1.25 capacity_factor "
            "/ 64 num_experts = 0.625, less than one slot; use at least 52 "
            "tokens in a group (fewer num_cores or a larger batch), fewer "
            "experts, or min_expert_capacity = 1.",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, mesh_shape, message):
  def build(mesh):
    model = graphs.Model(mesh_shape, "batch:data,experts:data")
    context = make_context(mesh, model=model)
    return [make_layer(**options).call(context, make_inputs(mesh))]

  with pytest.raises(errors.UserError) as error:
    graphs.evaluate(build)
  assert str(error.value) == message


def test_the_layer_records_its_dimensions_by_scope():
  layer = make_layer(capacity_factor_eval=1.0)
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    for mode in (tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.EVAL):
      context = make_context(mesh, mode)
      with tf.variable_scope(f"{mode}/SwitchFeedForward"):
        layer.call(context, make_inputs(mesh))
  # 32 tokens of a group for 4 experts, with the factors 1.25 and 1.0.
  assert {
      scope: dims.expert_capacity.size
      for scope, dims in layer.dims_of_scope.items()
  } == {"train/SwitchFeedForward": 10, "eval/SwitchFeedForward": 8}


def test_an_ensemble_may_have_one_member_and_no_more():
  def build(mesh, size):
    ensemble = mtf.Dimension("ensemble", size)
    x = make_inputs(mesh)
    x = mtf.broadcast(x, [ensemble] + x.shape.dims)
    return [make_layer().call(make_context(mesh), x)]

  (y,), _ = graphs.evaluate(lambda mesh: build(mesh, 1))
  assert y.shape == (1, BATCH, LENGTH, D_MODEL)
  with pytest.raises(errors.UserError) as error:
    graphs.evaluate(lambda mesh: build(mesh, 2))
  assert str(error.value) == (
      "SwitchFeedForward does not support ensemble = 2; leave ensembles off."
  )
