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


"""Checks that end in one clear line."""

import pytest

from mtf_switch import errors


def test_a_mesh_that_does_not_divide_is_refused():
  errors.check_divides(4, 8, "num_experts")
  with pytest.raises(errors.UserError) as error:
    errors.check_divides(4, 6, "num_experts")
  assert str(error.value) == (
      "num_experts = 6 cannot be split over a mesh axis of 4; use a mesh axis "
      "of 3 or make num_experts a multiple of 4."
  )


def test_an_unknown_name_is_refused_with_the_known_ones():
  errors.check_one_of("ceil", ("floor", "ceil"), "rounding")
  with pytest.raises(errors.UserError) as error:
    errors.check_one_of("up", ("floor", "ceil"), "rounding")
  assert str(error.value) == (
      "rounding = 'up' is not known; use one of floor, ceil."
  )


def test_some_names_and_how_many_more():
  assert errors.some(["a"]) == "a"
  assert errors.some(["a", "b", "c"]) == "a, b, c"
  assert errors.some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
  assert errors.some(["a\n", "b"], most=1) == "a\\n and 1 more"


def test_the_sizes_of_a_shape():
  assert errors.sizes((3, 4)) == "3 x 4"
