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

import fractions

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import mesh_tensorflow as mtf
import pytest

from mtf_switch import errors
from mtf_switch.layer import dims


def test_the_number_of_groups_is_the_one_asked_for():
  assert dims.num_groups(2**20, num_cores=128) == 128
  assert dims.num_groups(2**20, group_size=8192) == 128


def test_indivisible_tokens_are_refused_with_the_nearest_sizes():
  with pytest.raises(errors.UserError) as error:
    dims.num_groups(96, num_cores=10)
  assert str(error.value) == (
      "96 tokens (batch size x length) cannot be dealt out evenly to "
      "num_cores = 10 groups; set num_cores to 8 or 12, change the batch "
      "size, or set strict_groups = False."
  )
  with pytest.raises(errors.UserError) as error:
    dims.num_groups(96, group_size=100)
  assert str(error.value) == (
      "96 tokens (batch size x length) cannot be dealt out evenly in groups "
      "of group_size = 100; set group_size to 96, change the batch size, or "
      "set strict_groups = False."
  )


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", ["num_cores", "group_size"])
def test_no_groups_are_refused(name, strict):
  with pytest.raises(errors.UserError, match=f"{name} = 0 must be a whole"):
    dims.num_groups(96, **{name: 0}, strict=strict)


@pytest.mark.parametrize("asked", [{}, {"num_cores": 2, "group_size": 4}])
def test_groups_are_asked_for_in_one_way(asked):
  with pytest.raises(errors.UserError) as error:
    dims.num_groups(8, **asked)
  assert str(error.value) == (
      f"num_cores = {asked.get('num_cores')} and group_size = "
      f"{asked.get('group_size')}: set one of the two, the number of groups or "
      "the tokens of a group."
  )


@pytest.mark.parametrize(
    "tokens, asked, multiple_of, groups",
    [
        (96, {"num_cores": 8}, 1, 8),  # What fits is taken as it is,
        (96, {"num_cores": 8}, 3, 6),  # unless the mesh cannot split it:
        (96, {"num_cores": 9}, 4, 8),  # 9/8 is nearer than 12/9.
        (96, {"num_cores": 1000}, 1, 96),
        (96, {"group_size": 1000}, 1, 1),
        (96, {"group_size": 1000}, 4, 4),
        (1500, {"group_size": 1024}, 1, 2),  # 750, not 1500.
        (2047, {"group_size": 1024}, 1, 1),  # 23 x 89: the other is 89.
        (4106, {"group_size": 1024}, 1, 2),  # 2 x 2053: 2053, not 2.
        (4106, {"group_size": 1024}, 2, 2),  # Not 1.
    ],
)
def test_without_strictness_the_nearest_number_of_groups_is_taken(
    tokens, asked, multiple_of, groups
):
  assert (
      dims.num_groups(tokens, **asked, strict=False, multiple_of=multiple_of)
      == groups
  )


def test_strict_groups_are_those_asked_for_on_any_mesh():
  # A mesh that cannot split them is refused by errors.check_divides.
  assert dims.num_groups(96, num_cores=8, multiple_of=3) == 8


@given(
    st.integers(1, 300),
    st.integers(1, 400),
    st.integers(1, 12),
    st.sampled_from(["num_cores", "group_size"]),
)
@settings(deadline=None, derandomize=True)
def test_no_number_of_groups_that_fits_is_nearer(tokens, wanted, axis, name):
  tokens *= axis
  groups = dims.num_groups(
      tokens, **{name: wanted}, strict=False, multiple_of=axis
  )
  assert tokens % groups == 0
  assert groups % axis == 0
  ratio = fractions.Fraction(wanted)
  if name == "group_size":
    ratio = tokens / ratio

  def distance(n):
    return max(n / ratio, ratio / n)

  for other in range(axis, tokens + 1, axis):
    if tokens % other == 0:
      assert distance(groups) <= distance(other)


@given(st.integers(1, 10**4), st.integers(1, 10**4))
@settings(deadline=None, derandomize=True)
def test_strict_groups_are_exact_or_refused(tokens, wanted):
  if tokens % wanted == 0:
    assert dims.num_groups(tokens, num_cores=wanted) == wanted
    assert dims.num_groups(tokens, group_size=wanted) == tokens // wanted
  else:
    for name in ("num_cores", "group_size"):
      with pytest.raises(errors.UserError, match=f"{name} = {wanted}"):
        dims.num_groups(tokens, **{name: wanted})


@pytest.mark.parametrize(
    "tokens, experts, factor, capacity",
    [
        (6, 3, 1.0, 2),  # Figure 3, left.
        (6, 3, 1.5, 3),  # Figure 3, right.
        (1024, 96, 1.0, 10),  # 10.67 is rounded down.
        (200, 2, 1.15, 115),  # Exactly 115; 100 * 1.15 is 114.99...9.
        (360, 2, 1.15, 207),  # Exactly 207; 180 * 1.15 is 206.99...9.
        (6, 1, 2.0, 6),  # Never more slots than tokens.
    ],
)
def test_expert_capacity_is_equation_3_rounded_down(
    tokens, experts, factor, capacity
):
  assert dims.expert_capacity(tokens, experts, factor) == capacity


def test_capacity_below_one_slot_is_refused_with_its_numbers():
  with pytest.raises(errors.UserError) as error:
    dims.expert_capacity(8, 16, 1.25)
  assert str(error.value) == (
      "the expert capacity is 8 tokens_per_core x 1.25 capacity_factor / 16 "
      "num_experts = 0.625, less than one slot; use at least 13 tokens in a "
      "group (fewer num_cores or a larger batch), fewer experts, or "
      "min_expert_capacity = 1."
  )
  assert dims.expert_capacity(13, 16, 1.25) == 1  # The advice is right,
  with pytest.raises(errors.UserError):
    dims.expert_capacity(12, 16, 1.25)  # and not generous.


@pytest.mark.parametrize(
    "tokens, experts, floor, rounded, ceil",
    [
        (1024, 96, 10, 11, 11),  # 10.67
        (1000, 96, 10, 10, 11),  # 10.42
        (21, 2, 10, 10, 11),  # 10.5: half to even, as T5X,
        (23, 2, 11, 12, 12),  # 11.5: in both directions.
        (20, 2, 10, 10, 10),
    ],
)
def test_capacity_is_rounded_as_asked(tokens, experts, floor, rounded, ceil):
  for rounding, capacity in zip(
      ("floor", "round", "ceil"), (floor, rounded, ceil)
  ):
    assert dims.expert_capacity(tokens, experts, 1.0, rounding) == capacity


def test_an_unknown_rounding_is_refused_with_the_legal_ones():
  with pytest.raises(errors.UserError) as error:
    dims.expert_capacity(8, 2, 1.0, "up")
  assert str(error.value) == (
      "capacity_rounding = 'up' is not known; use one of floor, round, ceil."
  )


def test_the_least_capacity_holds_but_not_beyond_the_group():
  assert dims.expert_capacity(1024, 2048, 1.0, min_expert_capacity=4) == 4
  assert dims.expert_capacity(1024, 2, 1.0, min_expert_capacity=4) == 512
  # Upstream's 4 slots for a group of 3 break its top-k.
  assert dims.expert_capacity(3, 16, 1.0, min_expert_capacity=4) == 3
  # Rounding up is another way to at least one slot; down and to even is not.
  assert dims.expert_capacity(8, 16, 1.0, "ceil") == 1
  with pytest.raises(errors.UserError):
    dims.expert_capacity(8, 16, 1.0, "round")


@given(
    st.integers(1, 5000),
    st.integers(1, 300),
    st.integers(1, 400),
    st.sampled_from(["floor", "round", "ceil"]),
    st.integers(1, 20),
)
@settings(deadline=None, derandomize=True)
def test_capacity_is_within_a_slot_of_equation_3(
    tokens, experts, hundredths, rounding, least
):
  capacity = dims.expert_capacity(
      tokens, experts, hundredths / 100, rounding, least
  )
  exact = fractions.Fraction(tokens * hundredths, 100 * experts)
  assert 1 <= capacity <= tokens
  if least < capacity < tokens:
    error = capacity - exact
    assert {
        "floor": -1 < error <= 0,
        "round": abs(error) <= fractions.Fraction(1, 2),
        "ceil": 0 <= error < 1,
    }[rounding]


def test_a_capacity_that_is_not_the_one_asked_for_is_told_with_both_numbers():
  assert dims.capacity_warning(1024, 2048, 1.0, 4) == (
      "the capacity factor in force is 8, not 1.0: of the 1024 tokens of a "
      "group an expert takes 4, with num_experts = 2048."
  )
  assert dims.capacity_warning(20, 16, 1.25, 1).startswith(
      "the capacity factor in force is 0.8, not 1.25:"
  )


@pytest.mark.parametrize(
    "capacity, warns", [(17, True), (19, False), (21, False), (23, True)]
)
def test_a_tenth_more_or_less_capacity_is_no_news(capacity, warns):
  warning = dims.capacity_warning(40, 2, 1.0, capacity)
  assert (warning is not None) == warns


def test_split_dimensions_have_unsplit_twins_of_another_name():
  *named, outer_batch = dims.switch_dims(
      "batch", 2, 3, 4, 5, mtf.Dimension("d_model", 6)
  )
  assert not outer_batch
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


def test_a_mesh_that_does_not_divide_the_tokens_is_refused():
  with pytest.raises(errors.UserError, match="number of tokens = 10 cannot be"):
    dims.num_groups(10, num_cores=3, strict=False, multiple_of=4)


def test_a_tenth_is_not_yet_worth_a_warning():
  # 11 slots of 2 experts for 20 tokens: exactly 1.1, in floats more.
  assert dims.capacity_warning(20, 2, 1.0, 11) is None
