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

"""Parameters and FLOPs: worked by hand, and against the graphs of gin."""

import mtf_switch  # isort: skip  # noqa: F401
import dataclasses
import math

import pytest

from mtf_switch.planning import accounting
from tests import gin_files

TINY = accounting.ModelSize(
    d_model=8,
    d_ff=16,
    d_kv=2,
    num_heads=3,
    num_layers=2,
    gated=False,
    tied_embeddings=True,
    vocabulary_rows=128,
    relative_attention_buckets=32,
)
TINY_SWITCH = dataclasses.replace(TINY, num_experts=4)


def test_parameters_by_hand():
  attention = 4 * 8 * (3 * 2)  # Queries, keys, values, output: 192.
  feed_forward = 2 * 8 * 16  # 256.
  encoder = 2 * (attention + 8 + feed_forward + 8) + 8  # 936, with scales.
  decoder = 2 * (2 * (attention + 8) + feed_forward + 8) + 8  # 1336.
  biases = 2 * 3 * 32  # 192.
  assert accounting.attention_parameters(TINY) == attention
  assert accounting.feed_forward_parameters(TINY) == feed_forward
  assert accounting.num_parameters(TINY) == 128 * 8 + encoder + decoder + biases
  assert accounting.num_parameters(TINY) == 3488


def test_switch_parameters_by_hand():
  """The second layer of each stack gets 4 experts for its one, and a router."""
  assert accounting.num_sparse_layers(TINY_SWITCH) == 2
  assert accounting.expert_parameters(TINY_SWITCH) == 2 * 4 * 256
  assert accounting.num_parameters(TINY_SWITCH) == 3488 + 2 * (3 * 256 + 8 * 4)
  every_layer = dataclasses.replace(TINY_SWITCH, sparse_every=1)
  assert accounting.num_sparse_layers(every_layer) == 4


def test_dense_model_has_no_expert_parameters():
  assert accounting.expert_parameters(TINY) == 0


def test_gated_and_untied_parameters_by_hand():
  gated = dataclasses.replace(TINY, gated=True)
  assert accounting.num_parameters(gated) == 3488 + 4 * 8 * 16
  untied = dataclasses.replace(TINY, tied_embeddings=False)
  assert accounting.num_parameters(untied) == 3488 + 128 * 8


def test_flops_by_hand():
  """10 inputs and 6 targets.

  Encoder: 10 tokens in 2 layers of 192 + 256 weights, each token's 6 wide
  queries against 10 keys: 2 * 10 * 2 * (448 + 60) = 20320. Decoder: 6 tokens in
  2 layers of 2 * 192 + 256 weights, against 6 and 10 keys:
  2 * 6 * 2 * (640 + 96) = 17664. Logits: 2 * 6 * 8 * 128 = 12288.
  """
  assert accounting.flops_per_sequence(TINY, 10, 6) == 20320 + 17664 + 12288
  assert accounting.flops_per_sequence(TINY_SWITCH, 10, 6) == (
      20320 + 17664 + 12288
  )


def test_language_model_by_hand():
  """One stack of 2 layers, without attention to an encoder."""
  lm = dataclasses.replace(TINY, encoder_decoder=False)
  assert accounting.num_parameters(lm) == 128 * 8 + 936 + 3 * 32
  # 6 tokens: 2 * 6 * 2 * (192 + 256 + 6 * 6), and the logits.
  assert accounting.flops_per_sequence(lm, 0, 6) == 11616 + 12288
  switch_lm = dataclasses.replace(TINY_SWITCH, encoder_decoder=False)
  assert accounting.num_sparse_layers(switch_lm) == 1


def test_top_n_flops_by_hand():
  """The Switch layer of each stack multiplies by one expert more, of 256."""
  top_2 = dataclasses.replace(TINY_SWITCH, num_choices=2)
  assert accounting.flops_per_sequence(top_2, 10, 6) == (
      20320 + 17664 + 12288 + 2 * (10 + 6) * 256
  )
  assert accounting.num_parameters(top_2) == accounting.num_parameters(
      TINY_SWITCH
  )


def test_switch_attention_by_hand():
  """4 experts with ReLU of 16 make queries, 4 others keys that are values.

  An expert is 8 * 16 + 16 * 6 = 224 weights, a router 8 * 4 = 32, the output
  projection 48; what was 192 weights is 48 + 2 * (4 * 224 + 32) = 1904. A token
  passes 48 + 2 * 224 = 496 of them.
  """
  experts = accounting.AttentionExperts(num_experts=4, d_ff=16, gated=False)
  of_self = dataclasses.replace(TINY, self_attention_experts=experts)
  assert accounting.attention_parameters(TINY, experts) == 1904
  # Two layers in each of two stacks.
  assert accounting.num_parameters(of_self) == 3488 + 4 * (1904 - 192)
  assert accounting.expert_parameters(of_self) == 4 * 2 * 4 * 224
  more = 2 * (10 + 6) * 2 * (496 - 192)
  assert accounting.flops_per_sequence(of_self, 10, 6) == 50272 + more
  of_encoder = dataclasses.replace(TINY, enc_dec_attention_experts=experts)
  assert accounting.num_parameters(of_encoder) == 3488 + 2 * (1904 - 192)
  more = 2 * 6 * 2 * (496 - 192)
  assert accounting.flops_per_sequence(of_encoder, 10, 6) == 50272 + more


def test_linear_experts_have_one_matrix():
  linear = dataclasses.replace(TINY, d_ff=None)
  assert accounting.feed_forward_parameters(linear) == 8 * 8


def test_linear_and_gated_attention_experts_by_hand():
  linear = accounting.AttentionExperts(4, d_ff=None, gated=False, num_choices=2)
  assert accounting.attention_parameters(TINY, linear) == 48 + 2 * 4 * (8 + 48)
  gated = accounting.AttentionExperts(4, d_ff=16, gated=True)
  assert accounting.attention_parameters(TINY, gated) == (
      48 + 2 * 4 * (8 + 2 * 8 * 16 + 16 * 6)
  )
  # A token passes two linear experts of each set: 48 + 2 * 2 * 48 weights.
  size = dataclasses.replace(
      TINY, encoder_decoder=False, self_attention_experts=linear
  )
  assert accounting.flops_per_sequence(size, 0, 6) == (
      2 * 6 * 2 * (240 + 256 + 6 * 6) + 12288
  )


@pytest.mark.parametrize(
    "size, inputs_length",
    [(TINY, 0), (dataclasses.replace(TINY, encoder_decoder=False), 10)],
)
def test_flops_need_the_lengths_of_the_stacks(size, inputs_length):
  with pytest.raises(ValueError, match=f"inputs_length = {inputs_length} does"):
    accounting.flops_per_sequence(size, inputs_length, 6)


def test_layers_must_come_in_whole_blocks():
  with pytest.raises(ValueError, match="num_layers = 3 is not a multiple of"):
    dataclasses.replace(TINY_SWITCH, num_layers=3)


# As a language model, every file describes its decoder without an encoder.
@pytest.mark.parametrize("model_type", ["bitransformer", "lm"])
@pytest.mark.parametrize("activation", ["relu", "geglu"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "file, num_experts, sparse_every",
    [("t5_tiny", 0, 2), ("switch_tiny", 5, 2), ("switch_c", 5, 1)],
)
def test_counts_the_variables_of_the_graph(
    file, num_experts, sparse_every, tied, activation, model_type
):
  activations = {"relu": '"relu"', "geglu": '["gelu", "linear"]'}
  gin_files.parse(
      [f"models/{file}.gin"],
      [
          # No two sizes are equal, so that none can stand for another.
          "d_model = 24",
          "d_ff = 40",
          "d_kv = 10",
          "num_heads = 3",
          "num_layers = 4",
          f"num_blocks = {4 // sparse_every}",
          "num_experts = 5",
          "num_cores = 2",
          f"activation = {activations[activation]}",
          f"Unitransformer.shared_embedding_and_softmax_weights = {tied}",
          f'model_type = "{model_type}"',
      ],
  )
  size = accounting.ModelSize(
      d_model=24,
      d_ff=40,
      d_kv=10,
      num_heads=3,
      num_layers=4,
      gated=activation == "geglu",
      tied_embeddings=tied,
      num_experts=num_experts,
      sparse_every=sparse_every,
      encoder_decoder=model_type == "bitransformer",
      vocabulary_rows=256,
  )
  # 200 pieces, which Mesh TensorFlow rounds up to 256 rows.
  assert accounting.size_of(gin_files.build_model(200)) == size
  shapes = gin_files.variable_shapes(200, 4, 16, 8)
  assert sum(map(math.prod, shapes.values())) == accounting.num_parameters(size)
  assert accounting.expert_parameters(size) == sum(
      math.prod(shapes[name]) for name in shapes if "/experts/" in name
  )


@pytest.mark.parametrize(
    "binding, message",
    [
        (
            "decoder/SelfAttention.num_heads = 3",
            "the same num_heads: .'4', '3'",
        ),
        ("decoder/Unitransformer.d_model = 64", "the same model_dim"),
        ("SwitchFeedForward.hidden_size = 64", "the same hidden_size"),
        (
            "decoder/transformer.make_layer_stack.num_layers = 2",
            r"\[\(2, 1\), \(4, 2\)\]",
        ),
        (
            "encoder/transformer.make_layer_stack.layers = "
            "[@SelfAttention, @DenseReluDense]",
            r"\[\(1, 0\), \(2, 1\)\]",
        ),
        (
            "encoder/transformer.make_layer_stack.layers = [@SelfAttention]\n"
            "decoder/transformer.make_layer_stack.layers = [@SelfAttention]",
            "A stack has no feed-forward layers",
        ),
        (
            "decoder/SwitchFeedForward.router = @top_2_router",
            "the same num_choices: .'1', '2'",
        ),
        (
            "encoder/transformer.make_layer_stack.layers = [@SelfAttention,"
            " @DenseReluDense, @SwitchSelfAttention, @SwitchFeedForward]\n"
            "SwitchSelfAttention.experts = @SwitchFeedForward",
            "the same experts of attention",
        ),
    ],
)
def test_size_of_refuses_models_whose_layers_differ(binding, message):
  gin_files.parse(["models/switch_tiny.gin"], ["num_cores = 2", binding])
  model = gin_files.build_model(200)
  with pytest.raises(ValueError, match=message):
    accounting.size_of(model)


@pytest.mark.parametrize(
    "router, choices",
    [
        ("@switch_router", 1),
        ("@top_2_router", 2),
        ("@three/top_n_router", 3),
        ("@no_token_left_behind_router", 1),
    ],
)
def test_a_router_says_how_many_experts_a_token_passes(router, choices):
  gin_files.parse(
      ["models/switch_tiny.gin"],
      [
          "num_cores = 2",
          f"SwitchFeedForward.router = {router}",
          "three/top_n_router.num_choices = 3",
      ],
  )
  size = accounting.size_of(gin_files.build_model(200))
  assert size.num_choices == choices


@pytest.mark.parametrize("enc_dec", ["Switch", "TruncatedNormal"])
@pytest.mark.parametrize("d_ff", [12, None])
def test_counts_the_variables_of_switch_attention(d_ff, enc_dec):
  stack = (
      "[@SwitchSelfAttention, @{0}EncDecAttention, @DenseReluDense,"
      " @SwitchSelfAttention, @{0}EncDecAttention, @SwitchFeedForward]"
  )
  gin_files.parse(
      ["models/switch_base_attention.gin"],
      [
          *gin_files.SHRUNK,
          "num_experts = 5",
          "num_cores = 4",
          f"attention/SwitchFeedForward.hidden_size = {d_ff}",
          "attention/SwitchFeedForward.num_experts = 3",
          "attention/SwitchFeedForward.router = @top_2_router",
          "SwitchEncDecAttention.experts = @attention/SwitchFeedForward",
          "decoder/transformer.make_layer_stack.layers = "
          + stack.format(enc_dec),
      ],
  )
  size = accounting.size_of(gin_files.build_model(200))
  experts = accounting.AttentionExperts(3, d_ff, gated=True, num_choices=2)
  assert size.self_attention_experts == experts
  assert size.enc_dec_attention_experts == (
      experts if enc_dec == "Switch" else None
  )
  assert (size.num_experts, size.num_choices) == (5, 1)
  shapes = gin_files.variable_shapes(200, 4, 16, 8)
  assert sum(map(math.prod, shapes.values())) == accounting.num_parameters(size)
  assert accounting.expert_parameters(size) == sum(
      math.prod(shapes[name]) for name in shapes if "/experts/" in name
  )
