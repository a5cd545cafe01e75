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

"""Switch attention (Appendix A): identities, and the source of its keys."""

import mtf_switch  # isort: skip  # noqa: F401

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer_layers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import reports
from mtf_switch.transformer import switch_attention
from tests import attention_cases as cases
from tests import gin_files
from tests import graphs


def experts(**kwargs):
  options = dict(
      num_experts=4,
      num_cores=2,
      hidden_size=7,
      capacity_factor_train=4.0,
      router_jitter=0.0,
  )
  return lambda: feed_forward.SwitchFeedForward(**{**options, **kwargs})


LAYERS = {
    "self": (
        switch_attention.SwitchSelfAttention,
        transformer_layers.SelfAttention,
    ),
    "encoder-decoder": (
        switch_attention.SwitchEncDecAttention,
        transformer_layers.EncDecAttention,
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_one_linear_expert_is_upstreams_attention_with_shared_keys(kind):
  switch_class, upstream_class = LAYERS[kind]

  def build(mesh):
    x = cases.inputs(mesh, 0)
    target = cases.inputs(mesh, 2)
    switch = switch_class(
        experts(num_experts=1, hidden_size=None, capacity_factor_train=1.0),
        **cases.SIZES,
    )
    upstream = upstream_class(
        shared_kv=True, fold_scaling_into_initializer=False, **cases.SIZES
    )
    results = []
    for name, layer in (("switch", switch), ("upstream", upstream)):
      with tf.variable_scope(name):
        y = layer.call(cases.make_context(mesh), x)
      results += [y] + mtf.gradients([mtf.reduce_sum(y * target)], [x])
    return results

  def copy_weights():
    named = {v.op.name: v for v in tf.global_variables()}
    return [
        tf.assign(
            named[f"upstream/{theirs}"],
            tf.reshape(
                named[f"switch/{ours}"].read_value(),
                named[f"upstream/{theirs}"].shape,
            ),
        )
        for theirs, ours in (
            ("q", "query/experts/linear/kernel"),
            ("kv", "key_value/experts/linear/kernel"),
            ("o", "o"),
        )
    ]

  (y, dx, upstream_y, upstream_dx), _ = graphs.evaluate(
      build, before_run=copy_weights
  )
  # The same float32 products in another order.
  np.testing.assert_allclose(y, upstream_y, atol=1e-6 * np.abs(y).max())
  np.testing.assert_allclose(dx, upstream_dx, atol=1e-6 * np.abs(dx).max())
  assert dx.any()


def outputs_for_memories(layer, model=None):
  def build(mesh):
    x = cases.inputs(mesh, 0)
    outputs = []
    for memory_seed in (1, 2):
      with tf.variable_scope("", reuse=bool(outputs)):
        context = cases.make_context(mesh, memory_seed, model)
        outputs.append(layer.call(context, x))
    return outputs

  return graphs.evaluate(build)[0]


def test_keys_of_encoder_decoder_attention_come_from_the_encoder():
  one, other = outputs_for_memories(
      switch_attention.SwitchEncDecAttention(experts(), **cases.SIZES)
  )
  assert np.abs(one - other).max() > 0.1 * np.abs(one).max()


def test_upstreams_take_them_from_the_decoder_itself():
  """B14: it computes keys from the queries' input and ignores the encoder."""
  layer = transformer_layers.ExpertsEncDecAttention(
      num_experts=4,
      hidden_size=7,
      shared_kv=True,
      switch_policy_train="argmax",
      expert_computation="kv",
      **cases.SIZES,
  )
  one, other = outputs_for_memories(
      layer, cases.make_model("data:1", "batch:data")
  )
  np.testing.assert_array_equal(one, other)


def test_self_attention_does_not_look_at_padding():
  def build(mesh):
    x = cases.inputs(mesh, 0)
    real = np.ones((cases.BATCH, cases.LENGTH), np.int32)
    real[:, 4:] = 0
    sequence_id = graphs.constant(
        mesh, real, [cases.BATCH_DIM, cases.LENGTH_DIM]
    )
    layer = switch_attention.SwitchSelfAttention(
        experts(capacity_factor_train=1.0), **cases.SIZES
    )
    results = []
    for scale in (0.0, 1.0):
      context = cases.make_context(mesh)
      context.sequence_id = sequence_id
      noise = cases.inputs(mesh, 3) * scale
      noise *= mtf.to_float(mtf.equal(sequence_id, 0))
      with tf.variable_scope("", reuse=bool(results)):
        y = layer.call(context, x + noise)
      results += [y, context.losses[0]]
    return results

  (plain, plain_loss, noisy, noisy_loss), _ = graphs.evaluate(build)
  np.testing.assert_array_equal(plain[:, :4], noisy[:, :4])
  assert plain_loss == noisy_loss


def test_both_sets_of_experts_are_balanced_and_learn():
  def build(mesh):
    x = cases.inputs(mesh, 0)
    context = cases.make_context(mesh)
    with (
        reports.collecting(context.model) as collected,
        tf.variable_scope("attention"),
    ):
      y = switch_attention.SwitchEncDecAttention(experts(), **cases.SIZES).call(
          context, x
      )
    assert {name.rpartition("/")[0] for name in collected} == {
        "",
        "attention/query",
        "attention/key_value",
    }
    loss = mtf.reduce_sum(mtf.square(y)) + collected["router_loss"]
    return [
        collected["attention/query/routed"],
        collected["attention/key_value/routed"],
    ] + mtf.gradients([loss], [v.value for v in mesh.graph.trainable_variables])

  (queries, keys, *gradients), _ = graphs.evaluate(build)
  assert (queries, keys) == (
      cases.BATCH * cases.LENGTH,
      cases.BATCH * cases.MEMORY,
  )
  # Output, and for each set router, wi and wo.
  assert len(gradients) == 7
  assert all(np.isfinite(g).all() and g.any() for g in gradients)


def test_experts_stay_float32_in_a_bfloat16_model():
  def build(mesh):
    x = cases.inputs(mesh, 0)
    context = cases.make_context(mesh, dtype=tf.bfloat16)
    layer = switch_attention.SwitchSelfAttention(
        experts(expert_dtype="float32"), **cases.SIZES
    )
    y = layer.call(context, mtf.cast(x, tf.bfloat16))
    assert y.dtype == tf.bfloat16
    dtypes = {v.name: v.value.dtype for v in mesh.graph.all_variables}
    assert dtypes == {
        "o": tf.bfloat16,
        "query/router/kernel": tf.float32,
        "query/experts/wi/kernel": tf.float32,
        "query/experts/wo/kernel": tf.float32,
        "key_value/router/kernel": tf.float32,
        "key_value/experts/wi/kernel": tf.float32,
        "key_value/experts/wo/kernel": tf.float32,
    }
    products = [
        op
        for op in mesh.graph.operations
        if isinstance(op, mtf.EinsumOperation)
        and any(d.name == "d_ff" for t in op.inputs for d in t.shape.dims)
    ]
    assert products
    assert {op.outputs[0].dtype for op in products} == {tf.float32}
    return [mtf.to_float(y)]

  (y,), _ = graphs.evaluate(build)
  assert np.isfinite(y).all() and y.any()


@pytest.mark.parametrize(
    "mesh_shape, layout",
    [
        ("data:2", "batch:data,experts:data"),
        ("data:2;model:3", "batch:data,experts:data,heads:model"),
        ("model:7", "d_ff:model"),
    ],
)
def test_no_mesh_changes_outputs_or_gradients(mesh_shape, layout):
  def build(mesh, *model):
    x = cases.inputs(mesh, 0)
    context = cases.make_context(mesh, model=model[0] if model else None)
    y = switch_attention.SwitchEncDecAttention(experts(), **cases.SIZES).call(
        context, x
    )
    loss = mtf.reduce_sum(mtf.square(y)) + mtf.add_n(context.losses)
    weights = [v.value for v in mesh.graph.trainable_variables]
    return [y] + mtf.gradients([loss], [x, context.encoder_output] + weights)

  single, _ = graphs.evaluate(build)
  model = cases.make_model(mesh_shape, layout)
  several, _ = graphs.evaluate(
      lambda mesh: build(mesh, model), mesh_shape, layout
  )
  for one, other in zip(single, several):
    assert one.any()
    # Sums over cores come in another order.
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(one).max())


def test_decoding_step_by_step_says_what_scoring_finds_most_probable():
  """Keys and values that are kept from step to step are the right ones."""
  vocabulary = 128
  gin_files.parse(
      ["models/switch_base_attention.gin"],
      [
          *gin_files.SHRUNK,
          "initializer_scale = 1.0",  # Untrained, it says something.
          "Unitransformer.shared_embedding_and_softmax_weights = False",
          "SwitchEncDecAttention.experts = @attention/SwitchFeedForward",
          "decoder/transformer.make_layer_stack.layers = ["
          "@SwitchSelfAttention, @SwitchEncDecAttention, @SwitchFeedForward]",
      ],
  )
  ids = np.random.RandomState(0).randint(
      2, vocabulary, (cases.BATCH, cases.LENGTH)
  )

  def build(mesh):
    dims = [cases.BATCH_DIM, cases.LENGTH_DIM]
    inputs = graphs.constant(mesh, ids.astype(np.int32), dims)
    model = gin_files.build_model(vocabulary)
    decoded = model.decode(
        inputs,
        variable_dtype=mtf.VariableDType(tf.float32),
        beam_size=1,
        temperature=0.0,
        decode_length_multiplier=0.0,
        decode_length_constant=cases.LENGTH,
    )
    with tf.variable_scope("", reuse=True):
      logits, _ = model.call_simple(
          inputs,
          decoded,
          compute_loss=False,
          mode=tf.estimator.ModeKeys.PREDICT,
          # Tokens after the end of a sequence count here too.
          decoder_sequence_id=mtf.ones(mesh, dims, tf.int32),
      )
    return [decoded, mtf.argmax(logits, logits.shape.dims[-1])]

  (decoded, most_probable), _ = graphs.evaluate(build)
  # The loop ends when all sequences have ended.
  steps = int((decoded != 0).any(axis=0).sum())
  assert steps > 2 and len(np.unique(decoded[:, :steps])) > 2
  np.testing.assert_array_equal(decoded[:, :steps], most_probable[:, :steps])
