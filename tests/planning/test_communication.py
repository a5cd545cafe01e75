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

"""Planned messages against lowered graphs, and against formulas."""

import mtf_switch  # isort: skip  # noqa: F401
import collections

import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import exchange
from mtf_switch.planning import communication
from mtf_switch.planning import step_graph
from tests import lowered
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.


def as_planned(collectives):
  """Returns the number of equal messages in groups of equal size."""
  counts = collections.Counter()
  for c in collectives:
    group_size = None if c.kind == "permute" else c.group_size
    counts[c.kind, c.shape, c.dtype, group_size] += c.count
  return counts


def as_lowered(collectives):
  """Returns the same for a lowered graph; permutations have no groups."""
  counts = collections.Counter()
  for c in collectives:
    kind = lowered.KINDS[c.kind]
    group_size = None if kind == "permute" else len(c.groups[0])
    counts[kind, c.shape, c.dtype, group_size] += 1
  return counts


# Few layers, as in plans.LM.
ENCODER_DECODER = (
    "encoder/transformer.make_layer_stack.layers = ["
    "@TruncatedNormalSelfAttention, @SwitchFeedForward]",
    "decoder/transformer.make_layer_stack.layers = ["
    "@TruncatedNormalSelfAttention, @TruncatedNormalEncDecAttention, "
    "@transformer_layers.DenseReluDense]",
)


def assert_all_messages_are_planned(experiment_):
  assert as_planned(plans.collectives(experiment_)) == as_lowered(
      lowered.collectives(lowered.training_step(experiment_))
  )


@pytest.mark.parametrize(
    "layout, params",
    [
        ("data", ["data_parallelism = 8"]),
        ("model", ["model_parallelism = 4"]),
        ("model_data", ["data_parallelism = 4", "model_parallelism = 2"]),
        ("expert_data", ["data_parallelism = 8"]),
        # Sums of bfloat16 over more than 8 cores are sent as float32.
        ("expert_data", ["data_parallelism = 16", "num_cores = 16"]),
        (
            "expert_data",
            ["data_parallelism = 2", "activation_dtype = 'float32'"],
        ),
        (
            "expert_model_data",
            [
                "data_parallelism = 8",
                "model_parallelism = 4",
                "activation = ['gelu', 'linear']",
                "expert_dropout_rate = 0.1",
                "SwitchFeedForward.router = @top_2_router",
                plans.RECOMPUTE,
            ],
        ),
        (
            "expert_data_replicated",
            ["data_parallelism = 4", "expert_replicas = 2"],
        ),
    ],
)
def test_every_message_of_a_lowered_graph_is_planned(layout, params):
  """All of them: kind, operand, dtype on the wire and size of the groups."""
  experiment_ = plans.toy(
      "switch_lm_tiny", layout, *plans.LM, "num_experts = 16", *params
  )
  assert_all_messages_are_planned(experiment_)


def test_messages_of_encoder_and_decoder_are_planned():
  experiment_ = plans.toy(
      "switch_tiny",
      "expert_model_data",
      *ENCODER_DECODER,
      "data_parallelism = 4",
      "model_parallelism = 2",
  )
  assert_all_messages_are_planned(experiment_)


def test_switch_attention_is_planned_too():
  experiment_ = plans.toy(
      "switch_base_attention",
      "expert_model_data",
      "data_parallelism = 2",
      "model_parallelism = 2",
      "num_blocks = 1",
      "encoder/transformer.make_layer_stack.layers = [@SwitchSelfAttention]",
      "decoder/transformer.make_layer_stack.layers = ["
      "@SwitchSelfAttention, @TruncatedNormalEncDecAttention]",
  )
  assert_all_messages_are_planned(experiment_)


def test_messages_inside_a_loop_count_for_each_microbatch():
  experiment_ = plans.toy(
      "switch_lm_tiny",
      "expert_data",
      *plans.LM,
      "data_parallelism = 2",
      "num_cores = 4",
      # Two sequences of each of two cores.
      f"{plans.MICROBATCHES} = 48",
  )
  collectives = plans.collectives(experiment_)
  once = [c._replace(count=1) for c in collectives]
  # The graph has the loop's body once.
  assert as_planned(once) == as_lowered(
      lowered.collectives(lowered.training_step(experiment_))
  )
  counts = collections.defaultdict(set)
  for c in collectives:
    counts[c.purpose].add(c.count)
  assert counts["experts"] == {4}
  # Gradients are added up first.
  assert counts["gradients"] == {1}


def bytes_by_purpose(experiment_):
  sums = collections.Counter()
  for c in plans.collectives(experiment_):
    sums[c.purpose] += c.bytes
  return sums


def variables(experiment_):
  graph = step_graph.StepGraph(experiment_, on_tpu=True).graph
  return {v.name: v for v in graph.trainable_variables}


def test_data_parallelism_sends_gradients_only():
  """Section 5.1, by hand: a gradient of every parameter."""
  experiment_ = plans.toy("switch_tiny", "data", "data_parallelism = 8")
  sizes = variables(experiment_)
  routers = sum(v.size for n, v in sizes.items() if n.endswith("router/kernel"))
  # The table of biases of each position; upstream sends its gradient before
  # it is added up to buckets.
  biases = sum(v.size for n, v in sizes.items() if "relative" in n)
  weights = sum(v.size for v in sizes.values()) - routers - biases
  sums = bytes_by_purpose(experiment_)
  assert sums["gradients"] == 2 * weights + 4 * routers
  assert not sums["experts"] and not sums["model_parallelism"]


@pytest.mark.parametrize("n, m", [(8, 1), (4, 2)])
def test_expert_parallelism_sends_every_slot_there_and_back(n, m):
  """Section 5.4 by hand: E x C x d_model each way, and their gradients."""
  layout, params = "expert_data", [f"data_parallelism = {n}"]
  if m > 1:
    layout = "expert_model_data"
    params.append(f"model_parallelism = {m}")
  experiment_ = plans.toy("switch_tiny", layout, *params)
  groups_per_core = 8 // n
  # 16 sequences of 24 and 16 tokens in 8 groups: 48 and 32 tokens.
  capacities = [int(48 * 1.25 / 8), int(32 * 1.25 / 8)]
  slots = 8 * groups_per_core * sum(capacities)
  sums = bytes_by_purpose(experiment_)
  # bfloat16.
  assert sums["experts"] == 4 * slots * 32 * 2


def test_model_parallelism_sends_the_residual_stream():
  """Section 5.2 by hand, for a dense model: [B, d_model] there and back."""
  experiment_ = plans.toy(
      "t5_tiny",
      "model",
      "model_parallelism = 4",
      "num_layers = 1",
      sizes=plans.DENSE_SIZES,
  )
  encoder, decoder = 16 * 24 * 32, 16 * 16 * 32
  messages = (
      # Self-attention and feed-forward layer, forward and backward.
      4 * encoder
      + 4 * decoder
      # Attention to the encoder: queries, and the memory's gradient.
      + 2 * decoder
      + encoder
      # The embedding, forward, and the logits, backward.
      + encoder
      + decoder
      + decoder
  )
  sums = bytes_by_purpose(experiment_)
  assert sums["model_parallelism"] == 2 * messages
  assert not sums["gradients"] and not sums["experts"]


def test_switch_attention_s_experts_are_part_of_model_parallelism():
  """Their outputs are as wide as all heads, in no dimension d_model."""
  experiment_ = plans.toy(
      "switch_base_attention",
      "expert_model_data",
      "data_parallelism = 2",
      "model_parallelism = 2",
      "num_blocks = 1",
      "encoder/transformer.make_layer_stack.layers = [@SwitchSelfAttention]",
      "decoder/transformer.make_layer_stack.layers = ["
      "@TruncatedNormalSelfAttention, @TruncatedNormalEncDecAttention]",
  )
  sums = [
      c
      for c in plans.collectives(experiment_)
      if c.purpose == "model_parallelism" and "/query/" in c.operation
  ]
  # The experts' outputs forward, and the gradient of their inputs backward.
  assert [c.mesh_axes for c in sums] == [("model",), ("model",)]
  assert len({c.shape for c in sums}) == 1


@pytest.mark.parametrize("is_exchange", [True, False])
def test_an_exchange_is_told_by_what_it_is_and_not_by_its_dimensions(
    is_exchange,
):
  dims = dims_lib.switch_dims("batch", 4, 8, 4, 2, mtf.Dimension("width", 6))
  slots = dims.expert_capacity
  if is_exchange:
    slots = mtf.Dimension("places", 2)
    dims = dims._replace(expert_capacity=slots)
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    x = mtf.import_fully_replicated(
        mesh,
        tf.zeros([4, 4, 2, 6]),
        mtf.Shape([dims.num_experts_unsplit, dims.num_cores, slots, dims[6]]),
    )
    send = exchange.to_experts
    if not is_exchange:

      def send(x, dims):
        return mtf.reshape(
            x, [dims.num_experts, dims.num_cores_unsplit, slots, dims.d_model]
        )

    y = send(x, dims)
    # Forward, and the gradient back.
    x_gradient = mtf.gradients([mtf.reduce_sum(mtf.square(y))], [x])
    collectives = communication.collectives(
        mesh.graph,
        mtf.convert_to_shape("data:4"),
        mtf.convert_to_layout_rules("batch:data,experts:data"),
        on_tpu=True,
        exported=x_gradient,
    )
  purposes = [c.purpose for c in collectives if c.kind == "all_to_all"]
  assert purposes == ["experts" if is_exchange else "other"] * 2
