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

"""Switch attention (Appendix A): identities, and where its keys come from."""

import mtf_switch  # isort: skip  # noqa: F401
import functools

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
from mesh_tensorflow.transformer import transformer_layers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.transformer import attention
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import reports
from tests import gin_files
from tests import graphs

BATCH, LENGTH, MEMORY, D_MODEL, HEADS, D_KV = 4, 6, 8, 12, 3, 5
BATCH_DIM = mtf.Dimension("batch", BATCH)
LENGTH_DIM = mtf.Dimension("length", LENGTH)
MEMORY_DIM = mtf.Dimension("memory_length", MEMORY)
D_MODEL_DIM = mtf.Dimension("d_model", D_MODEL)
SIZES = dict(num_heads=HEADS, key_value_size=D_KV)


def tokens(mesh, dims, seed):
  array = np.random.RandomState(seed).randn(*(d.size for d in dims))
  return graphs.constant(mesh, array, dims)


def make_model(mesh_shape=None, layout=None):
  model = graphs.Model(mesh_shape, layout)
  model.model_dim = D_MODEL_DIM
  model.fully_autoregressive = False
  return model


def make_context(mesh, memory_seed=1, model=None, dtype=tf.float32, **kwargs):
  memory = tokens(mesh, [BATCH_DIM, MEMORY_DIM, D_MODEL_DIM], memory_seed)
  return transformer.Context(
      model or make_model(),
      mesh,
      [BATCH_DIM],
      LENGTH_DIM,
      mtf.VariableDType(tf.float32, tf.float32, dtype),
      mode=tf.estimator.ModeKeys.TRAIN,
      position=mtf.range(mesh, LENGTH_DIM, tf.int32),
      sequence_id=mtf.ones(mesh, [BATCH_DIM, LENGTH_DIM], tf.int32),
      encoder_output=mtf.cast(memory, dtype),
      encoder_sequence_id=mtf.ones(mesh, [BATCH_DIM, MEMORY_DIM], tf.int32),
      losses=[],
      **kwargs,
  )


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
    "self": (attention.SwitchSelfAttention, transformer_layers.SelfAttention),
    "encoder-decoder": (
        attention.SwitchEncDecAttention,
        transformer_layers.EncDecAttention,
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_one_linear_expert_is_upstreams_attention_with_shared_keys(kind):
  switch_class, upstream_class = LAYERS[kind]

  def build(mesh):
    x = tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 0)
    target = tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 2)
    switch = switch_class(
        experts(num_experts=1, hidden_size=None, capacity_factor_train=1.0),
        **SIZES,
    )
    upstream = upstream_class(
        shared_kv=True, fold_scaling_into_initializer=False, **SIZES
    )
    results = []
    for name, layer in (("switch", switch), ("upstream", upstream)):
      with tf.variable_scope(name):
        y = layer.call(make_context(mesh), x)
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
    x = tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 0)
    outputs = []
    for memory_seed in (1, 2):
      with tf.variable_scope("", reuse=bool(outputs)):
        context = make_context(mesh, memory_seed, model)
        outputs.append(layer.call(context, x))
    return outputs

  return graphs.evaluate(build)[0]


def test_keys_of_encoder_decoder_attention_come_from_the_encoder():
  one, other = outputs_for_memories(
      attention.SwitchEncDecAttention(experts(), **SIZES)
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
      **SIZES,
  )
  one, other = outputs_for_memories(layer, make_model("data:1", "batch:data"))
  np.testing.assert_array_equal(one, other)


def test_self_attention_does_not_look_at_padding():
  def build(mesh):
    x = tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 0)
    real = np.ones((BATCH, LENGTH), np.int32)
    real[:, 4:] = 0
    sequence_id = graphs.constant(mesh, real, [BATCH_DIM, LENGTH_DIM])
    layer = attention.SwitchSelfAttention(
        experts(capacity_factor_train=1.0), **SIZES
    )
    results = []
    for scale in (0.0, 1.0):
      context = make_context(mesh)
      context.sequence_id = sequence_id
      noise = tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 3) * scale
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
    x = tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 0)
    context = make_context(mesh)
    with (
        reports.collecting(context.model) as collected,
        tf.variable_scope("attention"),
    ):
      y = attention.SwitchEncDecAttention(experts(), **SIZES).call(context, x)
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
  assert (queries, keys) == (BATCH * LENGTH, BATCH * MEMORY)
  # Output, and for each set router, wi and wo.
  assert len(gradients) == 7
  assert all(np.isfinite(g).all() and g.any() for g in gradients)


def test_experts_stay_float32_in_a_bfloat16_model():
  def build(mesh):
    x = tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 0)
    context = make_context(mesh, dtype=tf.bfloat16)
    layer = attention.SwitchSelfAttention(
        experts(expert_dtype="float32"), **SIZES
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
    x = tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 0)
    context = make_context(mesh, model=model[0] if model else None)
    y = attention.SwitchEncDecAttention(experts(), **SIZES).call(context, x)
    loss = mtf.reduce_sum(mtf.square(y)) + mtf.add_n(context.losses)
    weights = [v.value for v in mesh.graph.trainable_variables]
    return [y] + mtf.gradients([loss], [x, context.encoder_output] + weights)

  single, _ = graphs.evaluate(build)
  model = make_model(mesh_shape, layout)
  several, _ = graphs.evaluate(
      lambda mesh: build(mesh, model), mesh_shape, layout
  )
  for one, other in zip(single, several):
    assert one.any()
    # Sums over cores come in another order.
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(one).max())


def test_memory_heads_that_do_not_divide_are_refused():
  layer = attention.SelfAttention(num_heads=4, num_memory_heads=3)
  with pytest.raises(errors.UserError, match="3 must divide num_heads = 4"):
    graphs.evaluate(
        lambda mesh: [
            layer.call(
                make_context(mesh),
                tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 0),
            )
        ]
    )


@pytest.mark.parametrize("num_memory_heads", [0, 1, 2])
def test_weights_have_upstreams_names_and_shapes(num_memory_heads):
  def shapes(layer_class):
    with tf.Graph().as_default():
      mesh = mtf.Mesh(mtf.Graph(), "mesh")
      layer_class(
          num_heads=4, num_memory_heads=num_memory_heads, key_value_size=D_KV
      ).make_params(make_context(mesh))
      return {v.name: v.shape.to_integer_list for v in mesh.graph.all_variables}

  for ours, theirs in (
      (attention.SelfAttention, transformer_layers.SelfAttention),
      (attention.EncDecAttention, transformer_layers.EncDecAttention),
  ):
    assert shapes(ours) == shapes(theirs)
    assert ours.__name__ == theirs.__name__


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
  ids = np.random.RandomState(0).randint(2, vocabulary, (BATCH, LENGTH))

  def build(mesh):
    dims = [BATCH_DIM, LENGTH_DIM]
    inputs = graphs.constant(mesh, ids.astype(np.int32), dims)
    model = gin_files.build_model(vocabulary)
    decoded = model.decode(
        inputs,
        variable_dtype=mtf.VariableDType(tf.float32),
        beam_size=1,
        temperature=0.0,
        decode_length_multiplier=0.0,
        decode_length_constant=LENGTH,
    )
    with tf.variable_scope("", reuse=True):
      logits, _ = model.call_simple(
          inputs,
          decoded,
          compute_loss=False,
          mode=tf.estimator.ModeKeys.PREDICT,
          # What comes after the end of a sequence counts here too.
          decoder_sequence_id=mtf.ones(mesh, dims, tf.int32),
      )
    return [decoded, mtf.argmax(logits, logits.shape.dims[-1])]

  (decoded, most_probable), _ = graphs.evaluate(build)
  # The loop ends when all sequences have ended.
  steps = int((decoded != 0).any(axis=0).sum())
  assert steps > 2 and len(np.unique(decoded[:, :steps])) > 2
  np.testing.assert_array_equal(decoded[:, :steps], most_probable[:, :steps])


def upstreams_function(layer_class):
  """The same layer, with upstream's attention and biases."""

  class Upstreams(layer_class):
    attention_fn = transformer_layers.SelfAttention.attention_fn
    compute_bias = transformer_layers.SelfAttention.compute_bias

  return Upstreams


def set_weights(scale=0.1):
  """Assigns to each variable what depends on its name and shape only."""
  return [
      tf.assign(
          variable,
          np.random.RandomState(len(variable.op.name))
          .randn(*variable.shape.as_list())
          .astype(np.float32)
          * scale,
      )
      for variable in tf.trainable_variables()
  ]


def two_layers(layer_class, model, recompute=False, **options):
  """A function that builds outputs, gradients and one-hots of buckets."""
  # Two sequences, of which half of the batch has both, one padding too.
  ids = np.ones((BATCH, LENGTH), np.int32)
  ids[:2, 3:] = 2
  ids[0, 5:] = 0

  def build(mesh):
    context = make_context(mesh, model=model)
    context.sequence_id = graphs.constant(mesh, ids, [BATCH_DIM, LENGTH_DIM])
    # All tokens see something: upstream's softmax over nothing is wrong.
    context.encoder_sequence_id = graphs.constant(
        mesh, np.pad(ids, [(0, 0), (2, 0)], "edge"), [BATCH_DIM, MEMORY_DIM]
    )
    context.read_priority = context.write_priority = context.position
    x = y = tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], 0)
    for i in range(2):
      layer = layer_class(**{**SIZES, **options})
      with tf.variable_scope(f"layer_{i}"):
        if recompute:
          y += mtf.recompute_grad(functools.partial(layer.call, context), [y])
        else:
          y += layer.call(context, y)
    loss = mtf.add_n([mtf.reduce_sum(mtf.square(y))] + context.losses)
    weights = [v.value for v in mesh.graph.trainable_variables]
    return [y] + mtf.gradients([loss], [x, *weights])

  return build


@pytest.mark.parametrize(
    "mesh_shape, layout",
    [
        ("", ""),
        ("data:2", "batch:data"),
        ("data:4", "batch:data"),
        ("model:3", "heads:model"),
        ("data:2;model:3", "batch:data,heads:model"),
        # These are for upstream's function.
        ("model:2", "length:model"),
        ("model:5", "d_kv:model"),
    ],
)
def test_self_attention_computes_what_upstreams_does(mesh_shape, layout):
  same_as_upstream(
      attention.SelfAttention,
      mesh_shape,
      layout,
      relative_attention_type="bias_shared",
  )


@pytest.mark.parametrize(
    "options",
    [
        dict(relative_attention_type="bias"),
        dict(relative_attention_type="bias_shared", recompute=True),
        dict(relative_attention_type="bias_shared", num_memory_heads=1),
        dict(relative_attention_type="bias_shared", num_heads=1),
        dict(relative_attention_type="bias_shared", dropout_rate=0.5),
        dict(
            dropout_rate=0.5,
            attention_kwargs={"dropout_broadcast_dims": []},
        ),
        dict(z_loss_coeff=1e-2),
        dict(attention_kwargs={"extra_logit": 1.0}),
    ],
    ids=lambda options: "-".join(f"{k}={v}" for k, v in options.items()),
)
def test_options_of_self_attention_do_what_upstreams_do(options):
  same_as_upstream(attention.SelfAttention, "", "", **options)


@pytest.mark.parametrize("dropout_rate", [0.0, 0.5])
def test_encoder_decoder_attention_computes_what_upstreams_does(dropout_rate):
  same_as_upstream(attention.EncDecAttention, "", "", dropout_rate=dropout_rate)


def same_as_upstream(layer_class, mesh_shape, layout, **options):
  """Asserts that layers and their gradients are as with upstream's function."""
  ours, upstreams = (
      graphs.evaluate(
          two_layers(a_class, make_model(mesh_shape, layout), **options),
          mesh_shape,
          layout,
          before_run=set_weights,
      )[0]
      for a_class in (layer_class, upstreams_function(layer_class))
  )
  assert any(gradient.any() for gradient in ours[1:])
  for one, other in zip(ours, upstreams, strict=True):
    # The same float32 products in another order.
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_position_biases_are_looked_up():
  def one_hots(layer_class):
    build = two_layers(
        layer_class, make_model("", ""), relative_attention_type="bias_shared"
    )
    with tf.Graph().as_default():
      mesh = mtf.Mesh(mtf.Graph(), "mesh")
      build(mesh)
      return [
          op
          for op in mesh.graph.operations
          if isinstance(op, mtf.OneHotOperation)
      ]

  assert not one_hots(attention.SelfAttention)
  assert one_hots(upstreams_function(attention.SelfAttention))


UPSTREAMS_PARTS = [
    "transformer.get_vocab_embedding_cls.cls = @transformer.VocabEmbedding",
    "encoder/transformer.make_layer_stack.layers = ["
    "@transformer_layers.SelfAttention, @transformer_layers.DenseReluDense]",
    "decoder/transformer.make_layer_stack.layers = ["
    "@transformer_layers.SelfAttention, @transformer_layers.EncDecAttention,"
    "@transformer_layers.DenseReluDense]",
    "transformer.make_layer_stack.layers = ["
    "@transformer_layers.SelfAttention, @transformer_layers.DenseReluDense]",
]
OUR_PARTS = [
    binding.replace("@transformer.Vocab", "@GatheredVocab")
    .replace("@transformer_layers.SelfAtt", "@TruncatedNormalSelfAtt")
    .replace("@transformer_layers.EncDecAtt", "@TruncatedNormalEncDecAtt")
    for binding in UPSTREAMS_PARTS
]


def decode(
    mesh, parts, model_type="bitransformer", mesh_shape="", layout="", **options
):
  """What a small dense model says."""
  gin_files.parse(
      ["models/switch_tiny.gin"],
      [
          *gin_files.SHRUNK,
          *parts,
          f"model_type = '{model_type}'",
          "sample_autoregressive.stop_at_token = -1",
      ],
  )
  model = gin_files.build_model(128, mesh_shape, layout)
  ids = np.random.RandomState(0).randint(2, 100, (BATCH, 10)).astype(np.int32)
  dims = [BATCH_DIM, mtf.Dimension("length", 10)]
  if model_type == "lm":
    # Of each sequence another part is given.
    ids *= np.arange(10) < np.array([[1], [3], [4], [6]])
    ids = graphs.constant(mesh, ids, dims)
    return model.sample_autoregressive(ids, **options)
  return model.decode(
      graphs.constant(mesh, ids, dims),
      decode_length_multiplier=0.0,
      decode_length_constant=8.0,
      max_decode_length=8,
      **options,
  )


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(mesh_shape="data:2", layout="batch:data"),
        dict(mesh_shape="model:2", layout="heads:model,vocab:model"),
        dict(mesh_shape="model:2", layout="memory_length:model"),
        dict(mesh_shape="model:2", layout="d_model:model"),
        dict(beam_size=3),
        dict(temperature=1.0),
        dict(model_type="lm"),
        dict(model_type="lm", temperature=1.0),
    ],
    ids=lambda o: "-".join(f"{k}={v}" for k, v in o.items()) or "greedy",
)
def test_decoding_says_what_upstreams_parts_say(options):
  def ids(parts):
    return graphs.evaluate(
        lambda mesh: [decode(mesh, parts, **options)],
        options.get("mesh_shape", ""),
        options.get("layout", ""),
        before_run=lambda: set_weights(1.0),
    )[0]

  (ours,), (upstreams,) = ids(OUR_PARTS), ids(UPSTREAMS_PARTS)
  assert len(np.unique(ours)) > 4
  np.testing.assert_array_equal(ours, upstreams)


def test_a_decoding_step_does_only_what_is_new():
  def counts(parts):
    with tf.Graph().as_default():
      mesh = mtf.Mesh(mtf.Graph(), "mesh")
      decode(mesh, parts)
      (loop,) = (
          op
          for op in mesh.graph.operations
          if isinstance(op, mtf.WhileLoopOperation)
      )
      body = loop._body_ops  # pylint: disable=protected-access

    def names(tensors):
      return [set(x.shape.dimension_names) for x in tensors]

    return (
        # One-hot vectors of tokens, positions and buckets.
        sum(
            bool({"vocab", "memory_length", "buckets"} & names(op.outputs)[0])
            for op in body
            if isinstance(op, mtf.OneHotOperation)
        ),
        # Projections of what the encoder says.
        sum(
            any({"memory_length", "d_model"} <= x for x in names(op.inputs))
            for op in body
        ),
        # Keys and values in another order.
        sum(
            isinstance(op, mtf.EinsumOperation)
            and len(op.inputs) == 1
            and "memory_length" in names(op.inputs)[0]
            and "d_kv" in names(op.inputs)[0]
            and op.inputs[0].shape != op.outputs[0].shape
            for op in body
        ),
    )

  assert counts(OUR_PARTS) == (0, 0, 0)
  assert counts(UPSTREAMS_PARTS)[0] > 0
