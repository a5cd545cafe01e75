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

from mtf_switch.planning import alternatives
from mtf_switch.planning import memory
from mtf_switch.planning import plan as plan_lib
from mtf_switch.planning import slices as slices_lib
from mtf_switch.planning import step_graph
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.


def plan(*options):
  experiment_ = plans.on_one_cpu(
      "t5_tiny", "num_layers = 2", *options, sizes=plans.DENSE_SIZES
  )
  return plan_lib.plan(experiment_, plans.CHIP, "one core")


@pytest.fixture(name="plain", scope="module")
def fixture_plain():
  return plan()


def test_variants_need_less_for_activations(plain):
  variants = plain.activation_bytes_variants
  assert variants["recomputed"] < plain.activation_bytes_per_core
  assert variants["microbatched"] < plain.activation_bytes_per_core / 2


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
    name, options, num_graphs, plain, monkeypatch
):
  expected = plain.activation_bytes_variants[name]
  graphs = []

  class Counted(step_graph.StepGraph):

    def __init__(self, *args, **kwargs):
      graphs.append(args)
      super().__init__(*args, **kwargs)

  monkeypatch.setattr(step_graph, "StepGraph", Counted)
  run = plan(*options)
  assert run.activation_bytes_per_core == expected
  assert run.activation_bytes_variants[name] == expected
  assert len(graphs) == num_graphs


def test_the_smallest_mesh_fits_and_half_of_it_does_not():
  experiment_ = plans.toy("switch_tiny", "expert_data", "data_parallelism = 8")

  def planned(experiment_):
    graph = step_graph.StepGraph(experiment_, on_tpu=True)
    schedule = memory.Schedule(
        graph.graph.operations, graph.gradients, on_tpu=True
    )
    return graph.graph.all_variables, schedule

  def needed(n):
    """The memory of a graph that is built for another mesh."""
    other = dataclasses.replace(experiment_, mesh_shape=f"data:{n}")
    variables, schedule = planned(other)
    slices = slices_lib.Slices(other.mesh, other.layout)
    return slices.bytes_of_variables(variables) + sum(
        schedule.peak(slices.bytes)
    )

  graph = planned(experiment_)
  on_four = needed(4)
  for memory_bytes, mesh in (
      (2**40, "data:1"),
      (on_four, "data:4"),
      (on_four - 1, "data:8"),
      (2**10, None),
  ):
    assert alternatives.smallest_mesh(experiment_, *graph, memory_bytes) == mesh
