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

"""Suggestions for misspelt names."""

import pytest

from mtf_switch import spelling

KNOWN = ("experts", "num_experts", "expert_capacity")


@pytest.mark.parametrize(
    "name, advice",
    [
        ("expert_capacty", "did you mean expert_capacity?"),
        ("expert", "did you mean experts or num_experts?"),
        ("d_model", ""),
    ],
)
def test_similar_names_are_suggested_the_most_similar_first(name, advice):
  assert spelling.did_you_mean(name, KNOWN) == advice


def test_suggestions_are_as_similar_as_asked_for():
  # Of 6 and 7 letters 6 agree: 2 * 6 / (6 + 7) = 0.923.
  assert spelling.did_you_mean("expert", KNOWN, 0.92) == "did you mean experts?"
  assert not spelling.did_you_mean("expert", KNOWN, 0.93)
