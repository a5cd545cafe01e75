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

"""Plans by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import pytest

from mtf_switch.planning import plan as plan_lib
from mtf_switch.planning import step_graph
from mtf_switch.training import teacher as teacher_lib
from mtf_switch.transformer import distillation
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.


def test_a_plan_by_hand():
  experiment_ = plans.on_one_cpu(
      "t5_tiny", "num_layers = 1", sizes=plans.DENSE_SIZES
  )
  plan = plan_lib.plan(experiment_, plans.CHIP, "one core")
  graph = step_graph.StepGraph(experiment_, on_tpu=False).graph
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


@pytest.mark.filterwarnings("ignore:the layout splits the teacher's experts")
def test_a_teacher_by_hand():
  sizes = ["model_type = 'lm'", "d_model = 16", "d_kv = 8", "num_heads = 2"]
  experiment_ = plans.toy(
      "t5_tiny",
      "expert_data",
      *sizes,
      "data_parallelism = 2",
      "num_layers = 1",
      "d_ff = 32",
      sizes=[
          "task = 'toy_lm'",
          "sequence_length = {'targets': 24}",
          "batch_size = 8",
      ],
  )
  teacher = teacher_lib.Teacher(
      experiment_,
      ["models/switch_tiny.gin"],
      [
          *sizes,
          "d_ff = 64",
          "num_blocks = 1",
          "num_experts = 4",
          "num_cores = 2",
          "transformer.make_layer_stack.layers ="
          " [@SelfAttention, @SwitchFeedForward]",
      ],
      ([], []),
      distillation.Mix(),
  )
  alone = plan_lib.plan(experiment_, plans.CHIP, "x")
  both = plan_lib.plan(experiment_, plans.CHIP, "x", teacher=teacher)
  # Embedding, attention with its biases, norms, router, half of the experts.
  parameters = 384 * 16 + 4 * 16**2 + 32 * 2 + 3 * 16 + 16 * 4 + 2 * 2 * 16 * 64
  assert alone.teacher_bytes_per_core == 0
  assert both.teacher_bytes_per_core == 4 * parameters
  for name in (
      "parameters",
      "weight_bytes_per_core",
      "optimizer_bytes_per_core",
  ):
    assert getattr(both, name) == getattr(alone, name)
  # Of 96 tokens: projections, attention, router and softmax; of twice as many
  # slots the experts. Products only: the rest is little.
  of_token = 2 * (4 * 16**2 + 2 * 24 * 16 + 16 * 4 + 384 * 16)
  flops = 96 * (of_token + 2 * 2 * 2 * 16 * 64)
  more = both.executed_flops_per_core - alone.executed_flops_per_core
  assert flops < more < 1.05 * flops
  assert (
      both.memory_bytes_per_core - alone.memory_bytes_per_core > 4 * parameters
  )


def test_switch_layers_by_hand():
  experiment_ = plans.toy(
      "switch_tiny",
      "expert_data",
      "data_parallelism = 4",
      "capacity_factor_train = 2.0",
  )
  chip = plans.CHIP._replace(kind="tpu", memory_bytes=2**40)
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
