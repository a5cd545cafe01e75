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

"""Helpers for the tests of plans."""

import mtf_switch  # isort: skip  # noqa: F401
from collections.abc import Sequence

from mtf_switch.planning import chips
from mtf_switch.planning import communication
from mtf_switch.planning import step_graph
from mtf_switch.training import experiment as experiment_lib
from tests import gin_files

# Part of the interface: a change needs a line in the changelog.
KEYS = (
    "parameters",
    "parameters_per_core",
    "flops_per_sequence",
    "train_flops_per_step",
    "weight_bytes_per_core",
    "optimizer_bytes_per_core",
    "activation_bytes_per_core",
    "all_to_all_bytes_per_step",
    "all_reduce_bytes_per_step",
    "fits",
)
# A toy with an encoder, and experts for eight cores.
SIZES = (
    "task = 'toy_copy'",
    "batch_size = 16",
    "sequence_length = {'inputs': 24, 'targets': 16}",
    "d_model = 32",
    "d_ff = 64",
    "d_kv = 8",
    "num_heads = 4",
    "num_experts = 8",
    "num_cores = 8",
    "SwitchFeedForward.min_expert_capacity = 2",
)
DENSE_SIZES = [x for x in SIZES if "expert" not in x and "num_cores" not in x]
# Few layers: lowering them takes most of the time.
LM = (
    "task = 'toy_lm'",
    "sequence_length = {'targets': 24}",
    "transformer.make_layer_stack.layers = [@TruncatedNormalSelfAttention, "
    "@transformer_layers.DenseReluDense, @SwitchFeedForward]",
)
RECOMPUTE = "transformer.LayerStack.recompute_grads = True"
MICROBATCHES = "serialize_num_microbatches.tokens_per_microbatch_per_replica"
# Round figures, and little memory.
CHIP = chips.Chip("slow", "cpu", 2e9, 1e9, 2**20, 1e8, 1e7, "none")


def experiment(
    model: str, layout: str, bindings: Sequence[str]
) -> experiment_lib.Experiment:
  """Returns an experiment of gin/models and gin/layouts on a TPU."""
  gin_files.parse(
      [
          f"models/{model}.gin",
          f"layouts/{layout}.gin",
          "schedules/rsqrt_no_ramp_down.gin",
          "runs/pretrain.gin",
      ],
      ["train_steps = 10", *bindings],
  )
  return experiment_lib.Experiment()


def toy(
    model: str, layout: str, *bindings: str, sizes: Sequence[str] = SIZES
) -> experiment_lib.Experiment:
  """Returns a toy's experiment."""
  return experiment(model, layout, [*sizes, *bindings])


def on_one_cpu(
    model: str, *bindings: str, sizes: Sequence[str] = SIZES
) -> experiment_lib.Experiment:
  """Returns a toy's experiment on one core."""
  return toy(model, "single", *bindings, sizes=sizes)


def collectives(
    experiment_: experiment_lib.Experiment,
) -> list[communication.Collective]:
  """Returns the planned collectives of a step on a TPU."""
  graph = step_graph.StepGraph(experiment_, on_tpu=True)
  return graph.collectives(experiment_.mesh, experiment_.layout)
