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

"""Four models still learn what they learnt when the record was made."""

import json

import pytest

from scripts import losses as script
from tests.regression import losses

ROWS = json.loads(losses.RECORD.read_text())
RENEW = "if that is meant, run `python -m scripts.losses`"


@pytest.mark.parametrize("name", losses.CONFIGURATIONS)
def test_training_ends_at_the_recorded_losses(name):
  found = losses.train(name)
  for which, loss in found.items():
    values = losses.recorded(ROWS, name, which)
    allowed = losses.tolerance(ROWS, which)
    assert min(values) - allowed <= loss <= max(values) + allowed, RENEW


def test_the_record_has_all_settings():
  settings = [(x["threads"], x["onednn"], x["layout"]) for x in ROWS]
  assert len(set(settings)) == len(settings) == 4 * len(losses.LAYOUTS)
  for row in ROWS:
    assert set(row["losses"]) == set(losses.CONFIGURATIONS)


def test_the_tolerance_tells_models_from_one_another():
  for which in ("first", "last"):
    allowed = losses.tolerance(ROWS, which)
    means = sorted(
        sum(losses.recorded(ROWS, name, which)) / len(ROWS)
        for name in losses.CONFIGURATIONS
    )
    assert 0 < allowed < min(b - a for a, b in zip(means, means[1:])) / 10


def test_training_teaches():
  for name in losses.CONFIGURATIONS:
    first, last = (losses.recorded(ROWS, name, x) for x in ("first", "last"))
    assert max(last) < min(first) - 0.3


def test_old_and_new_stand_beside_each_other():
  higher = [
      {
          "losses": {
              name: {which: loss + 1 for which, loss in row.items()}
              for name, row in x["losses"].items()
          }
      }
      for x in ROWS
  ]
  for title, old, new, difference, _ in script.compare(ROWS, higher):
    assert float(new) - float(old) == pytest.approx(1, abs=2e-7), title
    assert difference == "+1.0e+00"
  assert script.compare([], ROWS)[0][1] == "-"
