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

"""Plans as tables and as JSON."""

import dataclasses
import io
import json

import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch.planning import chips
from mtf_switch.planning import communication
from mtf_switch.planning import plan as plan_lib
from mtf_switch.planning import report
from mtf_switch.planning import switch_layers
from mtf_switch.planning import units
from tests import plans


def switch_layer(name, expert_capacity=80):
  return switch_layers.SwitchLayer(
      name,
      num_groups=4,
      tokens_per_group=512,
      num_experts=8,
      expert_capacity=expert_capacity,
      capacity_factor=1.25,
      capacity_factor_in_force=1.25,
      all_to_all_bytes=2**20,
      all_reduce_bytes=0,
  )


def collective(kind, purpose, operation, shape, dtype, count):
  return communication.Collective(
      kind, purpose, operation, ("data",), 4, shape, dtype, count
  )


# Made up.
PLAN = plan_lib.Plan(
    name="expert_data",
    mesh_shape="data:4",
    layout_rules="batch:data;experts:data",
    num_cores=4,
    parameters=7_415_000_000,
    expert_parameters=7_000_000_000,
    parameters_per_core=2_165_000_000,
    flops_per_sequence=124_600_000_000,
    train_flops_per_step=47_846_400_000_000,
    executed_flops_per_core=12_000_000_000_000,
    weight_bytes_per_core=8 * 2**30,
    optimizer_bytes_per_core=2**30,
    gradient_bytes_per_core=2**30,
    activation_bytes_per_core=2 * 2**30,
    activation_bytes_variants={"recomputed": 2**29, "microbatched": 2**28},
    host_bytes=32 * 2**30,
    switch_layers=(
        switch_layer("encoder/a"),
        switch_layer("encoder/b"),
        switch_layer("decoder/c", expert_capacity=20),
    ),
    all_to_all_bytes_per_step=3 * 2**20,
    all_reduce_bytes_per_step=5 * 2**20,
    other_bytes_per_step=12,
    collectives=(
        collective("all_reduce", "gradients", "g", (2,), tf.float32, 1),
        collective("all_to_all", "experts", "e", (512, 3), tf.bfloat16, 2),
        collective("all_to_all", "experts", "f", (512, 3), tf.bfloat16, 3),
    ),
    chip=chips.find("tpu_v3"),
    compute_seconds=0.030,
    memory_seconds=0.020,
    network_seconds=0.034,
    limited_by="network",
    fits=True,
    smallest_mesh="data:2",
)
DATA = dataclasses.replace(
    PLAN,
    name="data",
    layout_rules="batch:data",
    network_seconds=0.010,
    limited_by="compute",
)
TOO_LARGE = dataclasses.replace(
    DATA, name="too_large", compute_seconds=1e-6, fits=False, smallest_mesh=None
)


def printed(*plans, **options):
  """Prints plans; returns lines without the space between columns."""
  output = io.StringIO()
  report.table(plans, rich.console.Console(file=output, **options))
  return [" ".join(line.split()) for line in output.getvalue().splitlines()]


@pytest.mark.parametrize(
    "number, text",
    [
        (0, "0"),
        (999, "999"),
        (1000, "1K"),
        (223_000_000, "223M"),
        (7_414_900_000, "7.415B"),
        (999_990_000_000, "1T"),
        (47_846_400_000_000, "47.85T"),
        (4.3e18, "4.3E"),
    ],
)
def test_counts(number, text):
  assert units.count(number) == text


@pytest.mark.parametrize(
    "number, text",
    [
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1.2 * 2**30, "1.2 GiB"),
        (1500 * 2**50, "1,500 PiB"),
    ],
)
def test_bytes(number, text):
  assert units.bytes_(number) == text


@pytest.mark.parametrize(
    "number, text",
    [
        (0, "0 ns"),
        (0.034, "34 ms"),
        (0.9999, "1 s"),
        (3e-7, "300 ns"),
        (250, "250 s"),
        (7200, "7,200 s"),
    ],
)
def test_seconds(number, text):
  assert units.seconds(number) == text


def test_json_of_a_plan_is_one_object():
  fields = json.loads(report.as_json([PLAN]))
  assert {key: fields[key] for key in plans.KEYS} == {
      key: getattr(PLAN, key) for key in plans.KEYS
  }
  names = {field.name for field in dataclasses.fields(PLAN)}
  assert set(fields) == names | {"memory_bytes_per_core", "step_seconds"}
  assert fields["memory_bytes_per_core"] == 12 * 2**30
  assert fields["step_seconds"] == 0.034
  assert fields["chip"]["name"] == "tpu_v3"
  assert fields["switch_layers"][2]["expert_capacity"] == 20
  assert fields["collectives"][1] == {
      "kind": "all_to_all",
      "purpose": "experts",
      "operation": "e",
      "mesh_axes": ["data"],
      "group_size": 4,
      "shape": [512, 3],
      "dtype": "bfloat16",
      "count": 2,
      "bytes": 2 * 512 * 3 * 2,
  }


def test_plans_that_fit_come_first_then_the_fastest():
  plans = [TOO_LARGE, PLAN, DATA]
  assert report.ranked(plans) == [DATA, PLAN, TOO_LARGE]
  fields = json.loads(report.as_json(plans))
  assert set(fields) == {"plans"}
  names = [plan["name"] for plan in fields["plans"]]
  assert names == ["data", "expert_data", "too_large"]
  assert report.why([DATA, PLAN, TOO_LARGE]) == (
      "Ranked by whether a core's memory is enough, then by the least time of a"
      " step: data 30 ms (compute); expert_data 34 ms (network); too_large does"
      " not fit, 12 GiB of 16 GiB."
  )


def test_the_table_of_a_plan():
  lines = printed(PLAN)
  for line in (
      "mesh data:4",
      "split batch:data",
      "experts:data",
      "all 7.415B",
      "of a core 2.165B",
      "of a sequence, forward 124.6B",
      "of a step, training 47.85T",
      "weights 8 GiB",
      "if recomputed 512 MiB",
      "if microbatched 256 MiB",
      "all 12 GiB",
      "masters on the hosts 32 GiB",
      "the chip has 16 GiB",
      "fits yes",
      "smallest mesh that fits data:2",
      "all-to-all 3 MiB",
      "other 12 B",
      "network 34 ms",
      "limited by network",
      # Layers that are alike are one line.
      "encoder/a and 1 more 4 of 512 tokens 8 80 1.25 1.25 1 MiB 0 B",
      "decoder/c 4 of 512 tokens 8 20 1.25 1.25 1 MiB 0 B",
      # The sum of two collectives.
      "tokens to experts and back all-to-all data 5 15 KiB",
      "gradients all-reduce data 1 8 B",
  ):
    assert line in lines


def test_the_table_of_a_dense_plan_has_no_switch_layers():
  lines = printed(dataclasses.replace(PLAN, switch_layers=(), collectives=()))
  assert not any("Switch" in line or "times" in line for line in lines)


def test_what_cannot_be_counted_is_unknown():
  plan = dataclasses.replace(
      PLAN, flops_per_sequence=None, train_flops_per_step=None
  )
  assert "of a sequence, forward unknown" in printed(plan)
  assert json.loads(report.as_json([plan]))["flops_per_sequence"] is None


def test_several_plans_are_columns_that_a_pipe_does_not_fold():
  plans = [dataclasses.replace(DATA, name=f"layout_{i}") for i in range(6)]
  lines = printed(*plans, TOO_LARGE, width=40)
  assert lines[0] == " ".join([plan.name for plan in [*plans, TOO_LARGE]])
  assert "fits" + 6 * " yes" + " no" in lines
  assert "smallest mesh that fits" + 6 * " data:2" + " none" in lines
  assert lines[-1].startswith("Ranked by")
  assert lines[-1].endswith("too_large does not fit, 12 GiB of 16 GiB.")
  # A terminal does.
  folded = printed(*plans, TOO_LARGE, width=40, force_terminal=True)
  assert len(folded) > len(lines)


def test_names_are_no_markup():
  assert "layout[red]" in printed(dataclasses.replace(DATA, name="layout[red]"))


def test_what_a_layer_sends_and_a_variant_that_is_impossible():
  operations = [f"decoder/block_00{i}/layer_000/Self/einsum" for i in (0, 1)]
  plan = dataclasses.replace(
      PLAN,
      collectives=(
          *(
              collective(
                  "all_reduce", "model_parallelism", o, (256,), tf.float32, 2
              )
              for o in operations
          ),
          collective(
              "all_to_all",
              "experts",
              "decoder/block_001/layer_001/Switch/reshape/gradients/reshape",
              (512,),
              tf.bfloat16,
              1,
          ),
          collective(
              "all_reduce", "gradients", operations[0], (9,), tf.float32, 1
          ),
      ),
  )
  lines = printed(plan)
  start = lines.index("layers, forward and backward all-to-all all-reduce")
  assert lines[start + 2 : start + 4] == [
      "decoder/block_000/layer_000 and 1 more 0 B 2 KiB",
      "decoder/block_001/layer_001 1 KiB 0 B",
  ]
  other = dataclasses.replace(plan, activation_bytes_variants={})
  assert "if recomputed 512 MiB impossible" in printed(plan, other)
