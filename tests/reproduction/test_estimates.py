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

"""How long runs take, by records made by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import pytest

from mtf_switch.reproduction import estimates
from mtf_switch.reproduction import runs
from tests.reproduction.made_records import made

Run = runs.Run
STEPS = {"dense": 100, "switch": 200, "student": 300}


def by_records(*records):
  return estimates.by_records(records, lambda run: STEPS[run.card])


def of(card, seconds, steps=100, **fields):
  return made(card, seconds=seconds, figures={"steps": steps}, **fields)


def timed(card, seconds):
  return of(card, seconds, steps=50, kind="speed", contest="table1", round=0)


def test_without_records_it_is_what_is_stated():
  estimate = by_records()
  assert estimate(Run("switch", 0)) == 200 * 0.1
  assert estimate(Run("switch", 0, "table1", 0)) == 200 * 0.2


def test_the_same_cards_runs_count_first():
  estimate = by_records(of("dense", 10), of("dense", 14), of("switch", 99))
  assert estimate(Run("dense", 7)) == 12


def test_other_cards_tell_the_seconds_of_a_step():
  estimate = by_records(of("dense", 20), of("switch", 60, steps=200))
  assert estimate(Run("student", 0)) == pytest.approx(300 * 0.25)


def test_runs_for_speed_are_estimated_by_themselves():
  estimate = by_records(of("dense", 20), timed("switch", 5))
  assert estimate(Run("dense", 0)) == 20
  assert estimate(Run("switch", 3, "table1", 3)) == 5
  assert estimate(Run("dense", 0, "table1", 0)) == pytest.approx(100 * 5 / 50)
  assert estimate(Run("switch", 0)) == pytest.approx(200 * 20 / 100)


@pytest.mark.parametrize(
    "record",
    [
        of("dense", 1, failed="no memory"),
        of("dense", 1, diverged=5),
        of("dense", 1, steps=0),
    ],
)
def test_runs_that_ended_early_do_not_count(record):
  assert by_records(record)(Run("dense", 0)) == 100 * 0.1


def test_what_is_left_is_shared_by_cores():
  def left(num_cores, to_make, shares=None):
    return estimates.left(
        to_make, lambda run: float(STEPS[run.card]), num_cores, shares
    )

  runs_ = [Run("dense", 0), Run("switch", 0), Run("student", 0)]
  assert left(1, runs_) == 600
  assert left(2, runs_) == 300
  assert left(3, runs_) == 300  # The longest one.
  assert left(2, runs_, {runs_[2]: 0.5}) == 225
  # One at a time, after the others.
  assert left(2, [*runs_, Run("dense", 0, "table1", 0)]) == 400
  assert left(2, []) == 0
