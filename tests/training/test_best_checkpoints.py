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

"""The best checkpoints, by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import pytest

from mtf_switch.training import best_checkpoints


@pytest.mark.parametrize(
    "number, available, expected",
    [
        (0, range(10), set()),
        (1, range(10), {4, 2}),
        (2, range(10), {4, 6, 2}),
        # A checkpoint that is gone leaves its place to the next.
        (1, [2, 6, 8], {6, 2}),
        (9, [2, 8], {2}),
    ],
)
def test_best_steps(number, available, expected):
  # Of equal ones the earlier.
  scores = {"a": {2: 0.1, 4: 0.7, 6: 0.7}, "b": {2: 5.0, 4: 4.0, 6: 3.0}}
  assert best_checkpoints.best_steps(scores, number, available) == expected


def test_mean_perplexities():
  metrics = [
      dict(step=step, kind=kind, task=task, neg_log_perplexity=value)
      for step, kind, task, value in [
          (2, "train", "a", -9.0),
          (2, "eval", "a", -3.0),
          (2, "eval", "b", -4.0),
          (2, "eval", "other", -1.0),
          (4, "eval", "a", -2.0),
          (4, "eval", "b", -2.5),
          # Evaluated again, on another split.
          (4, "eval", "b", -9.0),
          # Interrupted, and not a number.
          (6, "eval", "a", -1.0),
          (8, "eval", "a", None),
          (8, "eval", "b", -1.0),
      ]
  ]
  scores = best_checkpoints.mean_perplexities(metrics, ["a", "b", "c"])
  assert scores == {"mean": {2: -3.5, 4: -2.25}}
