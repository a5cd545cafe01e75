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

"""The learning rates are the best of those that were tried."""

import pathlib
import re

import pytest

from mtf_switch.reproduction import effects
from mtf_switch.reproduction import records
from mtf_switch.reproduction import small_card

RECORDS = (
    pathlib.Path(__file__)
    .parents[2]
    .joinpath("benchmarks", "results", "reproduction")
)
# The mean of the tasks is what the paper reports.
FINE_TUNED = "finetuned"


def tried(family):
  """The quality, or the score, of each rate by what was tuned."""
  found = {}
  for record in records.read_all(str(RECORDS)):
    match = re.fullmatch(rf"tuning_({family}(?:_\w+?)?)_lr(.*)", record.card)
    if match:
      measure = effects.score if family == FINE_TUNED else effects.quality
      found.setdefault(match[1], {})[float(match[2])] = measure(record)
  return found


@pytest.mark.parametrize(
    "family", [x for x in small_card.LEARNING_RATES if x != FINE_TUNED]
)
def test_rate_of_pre_training_is_the_best_that_was_tried(family):
  qualities = tried(family)[family]
  assert set(qualities) == set(small_card.TRIED_LEARNING_RATES)
  best = max(qualities, key=qualities.get)
  assert small_card.LEARNING_RATES[family] == best


def test_rate_of_fine_tuning_is_the_best_for_both_models_together():
  scores = tried(FINE_TUNED)
  sums = {
      rate: sum(x[rate] for x in scores.values())
      for rate in small_card.TRIED_CONSTANT_RATES
  }
  assert small_card.LEARNING_RATES[FINE_TUNED] == max(sums, key=sums.get)
