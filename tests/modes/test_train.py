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

"""When training opens and closes its sessions, by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import pytest

from mtf_switch.modes import train


@pytest.mark.parametrize(
    "first_step, steps, session_lengths, expected",
    [
        (0, 12, [5], [5, 10, 12]),
        (5, 12, [5], [10, 12]),
        (6, 12, [5], [10, 12]),
        (0, 10, [5], [5, 10]),
        (0, 4, [5], [4]),
        # On a TPU, evaluations end sessions too.
        (0, 12, [5, 6], [5, 6, 10, 12]),
        (12, 12, [5], []),
        (13, 12, [5], []),
    ],
)
def test_session_ends(first_step, steps, session_lengths, expected):
  assert train.session_ends(first_step, steps, session_lengths) == expected
