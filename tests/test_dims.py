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

"""Sizes are integers, checked by hand."""

import math

from hypothesis import given
from hypothesis import strategies as st
import mesh_tensorflow as mtf
import pytest

from mtf_switch import compat
from mtf_switch import dims


def test_tokens_per_core_is_the_share_of_a_core():
  assert dims.tokens_per_core(2**20, 128) == 8192


def test_indivisible_tokens_are_refused_with_the_nearest_sizes():
  with pytest.raises(compat.UserError) as error:
    dims.tokens_per_core(96, 10)
  assert str(error.value) == (
      "96 tokens (batch size x length) cannot be dealt out evenly to "
      "num_cores = 10 groups; set num_cores to 8 or 12, or change the batch "
      "size."
  )


def test_no_groups_are_refused():
  with pytest.raises(compat.UserError, match="at least 1, got 0"):
    dims.tokens_per_core(96, 0)


@pytest.mark.parametrize(
    "tokens, experts, factor, capacity",
    [
        (6, 3, 1.0, 2),  # Figure 3, left.
        (6, 3, 1.5, 3),  # Figure 3, right.
        (1024, 96, 1.0, 10),  # 10.67 is rounded down.
        (100, 1, 1.15, 115),  # Exactly 115; in floats 114.99...9.
        (180, 1, 1.15, 207),  # Exactly 207; in floats 206.99...9.
    ],
)
def test_expert_capacity_is_equation_3_rounded_down(
    tokens, experts, factor, capacity
):
  assert dims.expert_capacity(tokens, experts, factor) == capacity


def test_capacity_below_one_slot_is_refused_with_its_numbers():
  with pytest.raises(compat.UserError) as error:
    dims.expert_capacity(8, 16, 1.25)
  assert str(error.value) == (
      "the expert capacity is 8 tokens_per_core x 1.25 capacity_factor / 16 "
      "num_experts = 0.625, less than one slot; use at least 13 tokens in a "
      "group (fewer num_cores or a larger batch), or fewer experts."
  )
  assert dims.expert_capacity(13, 16, 1.25) == 1  # The advice is right,
  with pytest.raises(compat.UserError):
    dims.expert_capacity(12, 16, 1.25)  # and not generous.


@given(st.integers(1, 10**4), st.integers(1, 64), st.integers(1, 64))
def test_decoding_finds_groups_that_every_mesh_axis_still_divides(
    num_tokens, num_cores, mesh_axis
):
  num_tokens, num_cores = num_tokens * mesh_axis, num_cores * mesh_axis
  groups = dims.num_groups_that_fit(num_tokens, num_cores)
  assert num_tokens % groups == 0
  assert groups % mesh_axis == 0
  assert num_cores % groups == 0
  assert groups == math.gcd(num_tokens, num_cores)


def test_a_mesh_that_does_not_divide_is_refused():
  dims.check_divides(4, 8, "num_experts")
  with pytest.raises(compat.UserError) as error:
    dims.check_divides(4, 6, "num_experts")
  assert str(error.value) == (
      "num_experts = 6 cannot be split over a mesh axis of 4; use a mesh axis "
      "of 3 or make num_experts a multiple of 4."
  )


def test_split_dimensions_have_unsplit_twins_of_another_name():
  named = dims.switch_dims("batch", 2, 3, 4, 5, mtf.Dimension("d_model", 6))
  assert [d.name for d in named] == [
      "batch",
      "batch_unsplit",
      "tokens_per_core",
      "experts",
      "experts_unsplit",
      "expert_capacity",
      "d_model",
  ]
  assert [d.size for d in named] == [2, 2, 3, 4, 4, 5, 6]
