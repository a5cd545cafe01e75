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

"""Recomputation, microbatches and smaller meshes, against plans of them."""

import mtf_switch  # isort: skip  # noqa: F401
import dataclasses

import pytest

from mtf_switch.planning import plan as plan_lib
from mtf_switch.planning import step_graph
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.


def test_variants_need_less_for_activations():
  experiment_ = plans.on_one_cpu(
      "t5_tiny", "num_layers = 4", sizes=plans.DENSE_SIZES
  )
  plan = plan_lib.plan(experiment_, plans.CHIP, "one core")
  variants = plan.activation_bytes_variants
  assert variants["recomputed"] < plan.activation_bytes_per_core
  assert variants["microbatched"] < plan.activation_bytes_per_core / 2


@pytest.mark.parametrize(
    "name, options, num_graphs",
    [
        ("recomputed", (plans.RECOMPUTE,), 2),
        # 24 positions: a sequence at a time.
        ("microbatched", (f"{plans.MICROBATCHES} = 24",), 2),
        (
            "recomputed and microbatched",
            (plans.RECOMPUTE, f"{plans.MICROBATCHES} = 24"),
            1,
        ),
    ],
)
def test_a_variant_is_the_plan_of_a_run_with_these_options(
    name, options, num_graphs, monkeypatch
):
  def plan(*options):
    experiment_ = plans.on_one_cpu(
        "t5_tiny", "num_layers = 2", *options, sizes=plans.DENSE_SIZES
    )
    return plan_lib.plan(experiment_, plans.CHIP, "one core")

  expected = plan().activation_bytes_variants[name]
  graphs = []

  class Counted(step_graph.StepGraph):

    def __init__(self, *args):
      graphs.append(args)
      super().__init__(*args)

  monkeypatch.setattr(step_graph, "StepGraph", Counted)
  run = plan(*options)
  assert run.activation_bytes_per_core == expected
  assert run.activation_bytes_variants[name] == expected
  assert len(graphs) == num_graphs


def test_the_smallest_mesh_fits_and_half_of_it_does_not():
  experiment_ = plans.toy("switch_tiny", "expert_data", "data_parallelism = 8")
  roomy = plans.CHIP._replace(kind="tpu", memory_bytes=2**40)
  assert plan_lib.plan(experiment_, roomy, "x").smallest_mesh == "data:1"

  def needed(n):
    other = dataclasses.replace(experiment_, mesh_shape=f"data:{n}")
    return plan_lib.plan(other, roomy, "x").memory_bytes_per_core

  chip = roomy._replace(memory_bytes=needed(4))
  plan = plan_lib.plan(experiment_, chip, "x")
  assert plan.smallest_mesh == "data:4" and plan.fits
  chip = roomy._replace(memory_bytes=needed(4) - 1)
  assert plan_lib.plan(experiment_, chip, "x").smallest_mesh == "data:8"
