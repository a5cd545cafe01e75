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

"""Figures 1 and 4: more experts, more parameters, the same FLOPs."""

import mtf_switch  # isort: skip  # noqa: F401
import math

import pytest

from mtf_switch.paper import figures
from mtf_switch.planning import accounting
from mtf_switch.planning import table9
from tests import gin_files
from tests.regression import ours


@pytest.mark.filterwarnings("ignore::mtf_switch.errors.UserNotice")
@pytest.mark.parametrize("experts", [1, 256])
def test_gin_builds_the_ends_of_the_curve(experts):
  gin_files.parse(
      ["models/switch_base.gin"], ["num_cores = 1", f"num_experts = {experts}"]
  )
  shapes = gin_files.variable_shapes(32100, 4, 512, 114)
  count = sum(map(math.prod, shapes.values()))
  assert count == ours.parameters("switch_base", num_experts=experts)
  printed = figures.FIGURE_4_ENDS[experts]
  assert table9.rounded_as(count, printed) == printed


def test_one_expert_is_t5_base_and_its_routers():
  size = ours.size("switch_base", num_experts=1)
  routers = accounting.num_sparse_layers(size) * size.d_model
  assert routers == 12 * 768
  assert accounting.num_parameters(size) - routers == ours.parameters("t5_base")


def test_each_doubling_adds_the_same_expert_again():
  sizes = [
      ours.parameters("switch_base", num_experts=experts)
      for experts in figures.FIGURE_1_EXPERTS
  ]
  # 12 Switch layers, each with a GEGLU expert and a column of the router more.
  expert = 12 * (3 * 768 * 2048 + 768)
  for experts, smaller, larger in zip(
      figures.FIGURE_1_EXPERTS, sizes, sizes[1:]
  ):
    assert larger - smaller == experts * expert


@pytest.mark.parametrize("experts", figures.FIGURE_1_EXPERTS)
def test_flops_do_not_depend_on_experts(experts):
  assert ours.flops("switch_base", num_experts=experts) == ours.flops("t5_base")
