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

"""Head-major attention computes the same as upstream's attention."""

import mtf_switch  # isort: skip  # noqa: F401
import functools

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer_layers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.transformer import attention
from tests import attention_cases as cases
from tests import gin_files
from tests import graphs


def test_memory_heads_that_do_not_divide_are_refused():
  layer = attention.SelfAttention(num_heads=4, num_memory_heads=3)
  with pytest.raises(errors.UserError, match="3 must divide num_heads = 4"):
    graphs.evaluate(
        lambda mesh: [
            layer.call(
                cases.make_context(mesh),
                cases.inputs(mesh, 0),
            )
        ]
    )


@pytest.mark.parametrize("num_memory_heads", [0, 1, 2])
def test_weights_have_upstreams_names_and_shapes(num_memory_heads):
  def shapes(layer_class):
    with tf.Graph().as_default():
      mesh = mtf.Mesh(mtf.Graph(), "mesh")
      layer_class(
          num_heads=4,
          num_memory_heads=num_memory_heads,
          key_value_size=cases.D_KV,
      ).make_params(cases.make_context(mesh))
      return {v.name: v.shape.to_integer_list for v in mesh.graph.all_variables}

  for ours, theirs in (
      (attention.SelfAttention, transformer_layers.SelfAttention),
      (attention.EncDecAttention, transformer_layers.EncDecAttention),
  ):
    assert shapes(ours) == shapes(theirs)
    assert ours.__name__ == theirs.__name__


def upstreams_function(layer_class):
  """The same layer, with upstream's attention and biases."""

  class Upstreams(layer_class):
    attention_fn = transformer_layers.SelfAttention.attention_fn
    compute_bias = transformer_layers.SelfAttention.compute_bias

  return Upstreams


def two_layers(layer_class, model, recompute=False, **options):
  """A function that builds outputs, gradients and one-hots of buckets."""
  # Two sequences, of which half of the batch has both, one padding too.
  ids = np.ones((cases.BATCH, cases.LENGTH), np.int32)
  ids[:2, 3:] = 2
  ids[0, 5:] = 0

  def build(mesh):
    context = cases.make_context(mesh, model=model)
    context.sequence_id = graphs.constant(
        mesh, ids, [cases.BATCH_DIM, cases.LENGTH_DIM]
    )
    # All tokens see something: upstream's softmax over nothing is wrong.
    context.encoder_sequence_id = graphs.constant(
        mesh,
        np.pad(ids, [(0, 0), (2, 0)], "edge"),
        [cases.BATCH_DIM, cases.MEMORY_DIM],
    )
    context.read_priority = context.write_priority = context.position
    x = y = cases.inputs(mesh, 0)
    for i in range(2):
      layer = layer_class(**{**cases.SIZES, **options})
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
          two_layers(a_class, cases.make_model(mesh_shape, layout), **options),
          mesh_shape,
          layout,
          before_run=cases.set_weights,
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
        layer_class,
        cases.make_model("", ""),
        relative_attention_type="bias_shared",
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
  """The outputs of a small dense model."""
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
  ids = (
      np.random.RandomState(0)
      .randint(2, 100, (cases.BATCH, 10))
      .astype(np.int32)
  )
  dims = [cases.BATCH_DIM, mtf.Dimension("length", 10)]
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
        dict(temperature=1.0, sampling_keep_top_k=5),
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
        # Positions decide which tokens are seen.
        before_run=lambda: cases.set_weights(1.0, bias_scale=8.0),
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
        # Projections of the encoder's output.
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


def operations_of_step(num_blocks):
  """The TensorFlow operations of a decoding step of a sparse model."""
  gin_files.parse(
      ["models/switch_tiny.gin"],
      [*gin_files.SHRUNK, f"num_blocks = {num_blocks}"],
  )
  operations = []

  def build(mesh):
    ids = np.ones((cases.BATCH, 10), np.int32)
    dims = [cases.BATCH_DIM, mtf.Dimension("length", 10)]
    model = gin_files.build_model(128, "", "")
    return [model.decode(graphs.constant(mesh, ids, dims))]

  def record():
    graph = tf.get_default_graph().as_graph_def()
    functions = {x.signature.name: x.node_def for x in graph.library.function}

    def record_body(loop):
      for node in functions[loop.attr["body"].func.name]:
        if "While" in node.op:
          record_body(node)
        elif node.op != "Const":
          operations.append(node.op)

    (loop,) = (x for x in graph.node if x.name.endswith("while_loop/while"))
    record_body(loop)
    return []

  graphs.evaluate(build, before_run=record)
  return operations


def test_a_decoding_step_has_few_operations():
  """Each costs a microsecond or more, however little it computes."""
  one, two = (operations_of_step(n) for n in (1, 2))
  block = len(two) - len(one)
  assert block < 400  # Of six layers.
  assert len(one) - block < 80  # Of the embedding, the logits and the loop.
  # Layers share masks and biases, of which a step takes a row.
  for name in ("GreaterEqual", "GatherV2"):
    assert one.count(name) == two.count(name)
