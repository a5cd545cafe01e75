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

"""Plans against the lowered graph, against formulas, and by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import collections
import dataclasses

import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.planning import chips
from mtf_switch.planning import communication
from mtf_switch.planning import plan as plan_lib
from tests import lowered
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.

DENSE_SIZES = [
    x for x in plans.SIZES if "expert" not in x and "num_cores" not in x
]
RECOMPUTE = "transformer.LayerStack.recompute_grads = True"
MICROBATCHES = "serialize_num_microbatches.tokens_per_microbatch_per_replica"


def experiment(model, layout, *params, sizes=plans.SIZES):
  return plans.experiment(model, layout, [*sizes, *params])


def as_planned(collectives):
  """How often what is sent in which groups."""
  counts = collections.Counter()
  for c in collectives:
    group_size = None if c.kind == "permute" else c.group_size
    counts[c.kind, c.shape, c.dtype, group_size] += c.count
  return counts


def as_lowered(tf_graph):
  """The same of a lowered graph; pairs have no groups."""
  counts = collections.Counter()
  for c in lowered.collectives(tf_graph):
    kind = lowered.KINDS[c.kind]
    group_size = None if kind == "permute" else len(c.groups[0])
    counts[kind, c.shape, c.dtype, group_size] += 1
  return counts


# Few layers: lowering them takes most of the time.
LM = (
    "task = 'toy_lm'",
    "sequence_length = {'targets': 24}",
    "transformer.make_layer_stack.layers = [@TruncatedNormalSelfAttention, "
    "@transformer_layers.DenseReluDense, @SwitchFeedForward]",
)
ENCODER_DECODER = (
    "encoder/transformer.make_layer_stack.layers = ["
    "@TruncatedNormalSelfAttention, @SwitchFeedForward]",
    "decoder/transformer.make_layer_stack.layers = ["
    "@TruncatedNormalSelfAttention, @TruncatedNormalEncDecAttention, "
    "@transformer_layers.DenseReluDense]",
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
                "SwitchFeedForward.router = @top_2_router",
                RECOMPUTE,
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
  experiment_ = experiment(
      "switch_lm_tiny", layout, *LM, "num_experts = 16", *params
  )
  assert as_planned(plans.collectives(experiment_)) == as_lowered(
      lowered.training_step(experiment_)
  )


def test_messages_of_encoder_and_decoder_are_planned():
  experiment_ = experiment(
      "switch_tiny",
      "expert_model_data",
      *ENCODER_DECODER,
      "data_parallelism = 4",
      "model_parallelism = 2",
  )
  assert as_planned(plans.collectives(experiment_)) == as_lowered(
      lowered.training_step(experiment_)
  )


def test_switch_attention_is_planned_too():
  experiment_ = experiment(
      "switch_base_attention",
      "expert_model_data",
      "data_parallelism = 2",
      "model_parallelism = 2",
      "num_blocks = 1",
      "encoder/transformer.make_layer_stack.layers = [@SwitchSelfAttention]",
      "decoder/transformer.make_layer_stack.layers = ["
      "@SwitchSelfAttention, @TruncatedNormalEncDecAttention]",
  )
  assert as_planned(plans.collectives(experiment_)) == as_lowered(
      lowered.training_step(experiment_)
  )


def test_messages_inside_a_loop_count_for_each_microbatch():
  experiment_ = experiment(
      "switch_lm_tiny",
      "expert_data",
      *LM,
      "data_parallelism = 2",
      "num_cores = 4",
      # Two sequences of each of two cores.
      f"{MICROBATCHES} = 48",
  )
  collectives = plans.collectives(experiment_)
  once = [c._replace(count=1) for c in collectives]
  # The graph has the loop's body once.
  assert as_planned(once) == as_lowered(lowered.training_step(experiment_))
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
  graph = plan_lib.StepGraph(experiment_, on_tpu=True).graph
  return {v.name: v for v in graph.trainable_variables}


def test_data_parallelism_sends_gradients_only():
  """Section 5.1, by hand: a gradient of every parameter."""
  experiment_ = experiment("switch_tiny", "data", "data_parallelism = 8")
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
  experiment_ = experiment("switch_tiny", layout, *params)
  groups_per_core = 8 // n
  # 16 sequences of 24 and 16 tokens in 8 groups: 48 and 32 tokens.
  capacities = [int(48 * 1.25 / 8), int(32 * 1.25 / 8)]
  slots = 8 * groups_per_core * sum(capacities)
  sums = bytes_by_purpose(experiment_)
  # bfloat16.
  assert sums["experts"] == 4 * slots * 32 * 2


def test_model_parallelism_sends_the_residual_stream():
  """Section 5.2 by hand, for a dense model: [B, d_model] there and back."""
  experiment_ = experiment(
      "t5_tiny",
      "model",
      "model_parallelism = 4",
      "num_layers = 1",
      sizes=DENSE_SIZES,
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


CHIP = chips.Chip("slow", "cpu", 2e9, 1e9, 2**20, 1e8, 1e7, "none")


def on_one_cpu(model, *params, sizes=plans.SIZES):
  return experiment(model, "single", *params, sizes=sizes)


def test_products_by_hand():
  graph = mtf.Graph()
  mesh = mtf.Mesh(graph, "mesh")
  batch, d_model, d_ff = (
      mtf.Dimension(name, size)
      for name, size in (("batch", 6), ("d_model", 10), ("d_ff", 14))
  )
  with tf.Graph().as_default():
    x = mtf.zeros(mesh, [batch, d_model])
    weights = mtf.zeros(mesh, [d_model, d_ff])
    hidden = mtf.einsum([x, weights], [batch, d_ff])
    # Entries are multiplied one by one here.
    mtf.einsum([hidden, hidden], [])
    mtf.einsum([hidden, mtf.zeros(mesh, [d_ff])], [batch, d_ff])
  slices = plan_lib.Slices(
      mtf.convert_to_shape("data:2;model:7"),
      mtf.convert_to_layout_rules("batch:data,d_ff:model"),
  )
  flops = [plan_lib.products(x, slices.size) for x in graph.operations]
  assert [x for x in flops if x] == [2 * 3 * 10 * 2]


@pytest.mark.parametrize("attention", ["", "TruncatedNormal"])
def test_executed_products_are_those_of_the_formula(attention):
  """A dense model on one core: every weight, forward and twice backward."""
  layers = [f"@{attention}SelfAttention", "@transformer_layers.DenseReluDense"]
  decoder_layers = [layers[0], f"@{attention}EncDecAttention", layers[1]]
  experiment_ = on_one_cpu(
      "t5_tiny",
      "num_layers = 1",
      f"encoder/transformer.make_layer_stack.layers = [{', '.join(layers)}]",
      "decoder/transformer.make_layer_stack.layers = ["
      f"{', '.join(decoder_layers)}]",
      sizes=[*DENSE_SIZES, "batch_size = 3"],
  )
  plan = plan_lib.plan(experiment_, CHIP, "one core")
  d_model, heads, d_ff, vocabulary = 32, 4 * 8, 64, 384
  inputs, targets = 3 * 24, 3 * 16
  projection = d_model * heads

  def weighted(rows, memory):
    return 2 * rows * memory * heads

  forward = (
      inputs * (4 * projection + 2 * d_model * d_ff)
      + weighted(inputs, 24)
      + targets * (6 * projection + 2 * d_model * d_ff)
      + weighted(targets, 16)
      # Keys and values of the memory are made from the inputs.
      + inputs * 2 * projection
      + weighted(targets, 24)
      + targets * d_model * vocabulary
  )
  if not attention:
    # Upstream multiplies the table of biases by a one-hot matrix of positions.
    forward += (24 * 24 + 16 * 16) * 4 * 32
  assert plan.executed_flops_per_core == 3 * 2 * forward


def test_empty_slots_are_executed_unless_rows_are_ragged():
  def executed(dispatch):
    experiment_ = on_one_cpu(
        "switch_lm_tiny",
        "task = 'toy_lm'",
        "sequence_length = {'targets': 24}",
        "capacity_factor_train = 2.0",
        f"SwitchFeedForward.dispatch = '{dispatch}'",
    )
    plan = plan_lib.plan(experiment_, CHIP, dispatch)
    return plan.executed_flops_per_core, len(plan.switch_layers)

  slots, num_layers = executed("index")
  rows, _ = executed("ragged")
  # 8 groups of 48 tokens have 8 x 12 slots each.
  empty = 8 * (8 * 12 - 48)
  assert slots - rows == num_layers * 3 * 2 * empty * 2 * 32 * 64


def test_products_in_a_loop_count_for_each_microbatch():
  def executed(*params):
    experiment_ = on_one_cpu("switch_lm_tiny", *LM[:2], *params)
    return plan_lib.plan(experiment_, CHIP, "x").executed_flops_per_core

  microbatch = "serialize_num_microbatches.tokens_per_microbatch_per_replica"
  # 16 groups of a row, or twice 8.
  assert executed("num_cores = 16") == executed(f"{microbatch} = 192")


def test_a_plan_by_hand():
  experiment_ = on_one_cpu("t5_tiny", "num_layers = 1", sizes=DENSE_SIZES)
  plan = plan_lib.plan(experiment_, CHIP, "one core")
  graph = plan_lib.StepGraph(experiment_, on_tpu=False).graph
  parameters = sum(v.size for v in graph.trainable_variables)
  assert plan.parameters == plan.parameters_per_core == parameters
  assert plan.weight_bytes_per_core == 4 * parameters
  others = [v for v in graph.all_variables if not v.trainable]
  assert plan.optimizer_bytes_per_core == 4 * sum(v.size for v in others)
  # On one core the variables are their own masters, and nothing is sent.
  assert plan.host_bytes == 0 and not plan.collectives
  assert plan.train_flops_per_step == 3 * 16 * plan.flops_per_sequence
  assert plan.compute_seconds == plan.executed_flops_per_core / 1e9
  assert plan.network_seconds == 0
  assert plan.limited_by in ("compute", "memory")
  # A megabyte is not enough, and there is no other mesh without axes.
  assert plan.memory_bytes_per_core > 2**20
  assert not plan.fits and plan.smallest_mesh is None


def test_variants_need_less_for_activations():
  experiment_ = on_one_cpu("t5_tiny", "num_layers = 4", sizes=DENSE_SIZES)
  plan = plan_lib.plan(experiment_, CHIP, "one core")
  variants = plan.activation_bytes_variants
  assert variants["recomputed"] < plan.activation_bytes_per_core
  assert variants["microbatched"] < plan.activation_bytes_per_core / 2


@pytest.mark.parametrize(
    "name, options, num_graphs",
    [
        ("recomputed", (RECOMPUTE,), 2),
        # 24 positions: a sequence at a time.
        ("microbatched", (f"{MICROBATCHES} = 24",), 2),
        (
            "recomputed and microbatched",
            (RECOMPUTE, f"{MICROBATCHES} = 24"),
            1,
        ),
    ],
)
def test_a_variant_is_the_plan_of_a_run_with_these_options(
    name, options, num_graphs, monkeypatch
):
  def plan(*options):
    experiment_ = on_one_cpu(
        "t5_tiny", "num_layers = 2", *options, sizes=DENSE_SIZES
    )
    return plan_lib.plan(experiment_, CHIP, "one core")

  expected = plan().activation_bytes_variants[name]
  graphs = []

  class Counted(plan_lib.StepGraph):

    def __init__(self, *args):
      graphs.append(args)
      super().__init__(*args)

  monkeypatch.setattr(plan, "StepGraph", Counted)
  run = plan(*options)
  assert run.activation_bytes_per_core == expected
  assert run.activation_bytes_variants[name] == expected
  assert len(graphs) == num_graphs


def test_the_smallest_mesh_fits_and_half_of_it_does_not():
  experiment_ = experiment("switch_tiny", "expert_data", "data_parallelism = 8")
  roomy = CHIP._replace(kind="tpu", memory_bytes=2**40)
  assert plan_lib.plan(experiment_, roomy, "x").smallest_mesh == "data:1"

  def needed(n):
    other = dataclasses.replace(experiment_, mesh_shape=f"data:{n}")
    return plan_lib.plan(other, roomy, "x").memory_bytes_per_core

  chip = roomy._replace(memory_bytes=needed(4))
  plan = plan_lib.plan(experiment_, chip, "x")
  assert plan.smallest_mesh == "data:4" and plan.fits
  chip = roomy._replace(memory_bytes=needed(4) - 1)
  assert plan_lib.plan(experiment_, chip, "x").smallest_mesh == "data:8"


def test_switch_layers_by_hand():
  experiment_ = experiment(
      "switch_tiny",
      "expert_data",
      "data_parallelism = 4",
      "capacity_factor_train = 2.0",
  )
  chip = CHIP._replace(kind="tpu", memory_bytes=2**40)
  plan = plan_lib.plan(experiment_, chip, "x")
  encoder, decoder = plan.switch_layers
  assert encoder.name == "encoder/block_000/layer_003/SwitchFeedForward"
  # 16 x 24 and 16 x 16 tokens in 8 groups, 2 of them on each core.
  assert encoder[1:7] == (8, 48, 8, 12, 2.0, 2.0)
  assert decoder[1:7] == (8, 32, 8, 8, 2.0, 2.0)
  assert encoder.all_to_all_bytes == 4 * 2 * 8 * 12 * 32 * 2
  assert (
      plan.all_to_all_bytes_per_step
      == encoder.all_to_all_bytes + decoder.all_to_all_bytes
  )
  assert plan.parameters_per_core == plan.parameters - (
      plan.expert_parameters * 3 // 4
  )
  # Masters of weights and optimizer, float32, on the hosts.
  assert plan.host_bytes > 4 * plan.parameters


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("all_to_all", 96 * 3 / 4),
        ("all_reduce", 96 * 2 * 3 / 4),
        ("all_gather", 96 * 3),
        ("permute", 96),
    ],
)
def test_bytes_over_links_by_hand(kind, expected):
  """An operand of 2 x 6 float32s, twice, among four cores."""
  collective = communication.Collective(
      kind, "other", "op", ("data",), 4, (2, 6), tf.float32, 2
  )
  assert collective.bytes == 96
  assert plan_lib.bytes_over_links(collective) == expected
