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

"""What is to be done, by records and settings that change."""

import mtf_switch  # isort: skip  # noqa: F401
import dataclasses

import pytest

from mtf_switch import errors
from mtf_switch.reproduction import agenda
from mtf_switch.reproduction import configurations
from mtf_switch.reproduction import records
from mtf_switch.reproduction import runs
from tests.reproduction.made_questions import CARDS
from tests.reproduction.made_questions import QUESTIONS
from tests.reproduction.made_records import made

Run = runs.Run


@pytest.fixture
def gin(tmp_path):
  """A directory with the gin files of the cards."""
  for card in CARDS:
    path = tmp_path / "gin" / configurations.gin_file(card)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"name = '{card}'\ntrain_steps = 10\n")
  return tmp_path / "gin"


def make(gin, *names, seeds=None, rows=(), elsewhere=()):
  return agenda.make(
      [QUESTIONS[name] for name in names],
      runs.parse_seeds(seeds),
      rows,
      CARDS,
      [str(gin)],
      str(gin.parent / "out"),
      elsewhere,
  )


def record(gin, card, seed, **fields):
  """Writes the record of a run with the settings of now."""
  written = dataclasses.replace(
      made(card, seed),
      configuration=configurations.hash_of(card, CARDS, [str(gin)]),
      **fields,
  )
  records.write(str(gin.parent / "out" / "records"), written)


def weights(gin, card, seed, step=10):
  path = gin.parent / "out" / "runs" / card / str(seed)
  path.mkdir(parents=True, exist_ok=True)
  (path / f"model.ckpt-{step}.index").write_text("")


def test_shared_runs_belong_to_the_first_question(gin):
  found = make(gin, "table1", "table6")
  first, second = found.parts
  contest = 2 * runs.ROUNDS
  assert len(first.runs) == len(first.to_make) == 4 + contest
  assert len(second.runs) == 6
  assert second.to_make == [Run("student", 0), Run("student", 1)]
  assert len(found.to_make) == 6 + contest
  # Contests come last.
  assert [run.is_timed for run in found.to_make] == 6 * [False] + contest * [
      True
  ]
  assert set(found.configurations) == {"dense", "switch", "student"}
  assert found.steps_of(Run("dense", 0)) == 10
  assert found.steps_of(Run("dense", 0, "table1", 0)) == runs.STEPS_OF_SPEED
  assert found.seconds(1) > found.seconds(2) > 0


def test_runs_with_a_record_are_not_made_again(gin):
  record(gin, "dense", 0)
  record(gin, "switch", 1)
  found = make(gin, "table6")
  assert set(found.records) == {Run("dense", 0), Run("switch", 1)}
  assert Run("dense", 0) not in found.to_make
  # Its weights are needed.
  assert Run("switch", 1) in found.to_make
  # Made again for them, it was stopped on the way.
  weights(gin, "switch", 1, step=9)
  assert Run("switch", 1) in make(gin, "table6").to_make
  weights(gin, "switch", 1)
  assert Run("switch", 1) not in make(gin, "table6").to_make


def test_a_record_of_other_settings_does_not_count(gin):
  for card in ("dense", "switch", "student"):
    record(gin, card, 0)
  assert make(gin, "table6", seeds="0-0").to_make == []
  file = gin / configurations.gin_file("switch")
  file.write_text("# Why.\n" + file.read_text())
  assert make(gin, "table6", seeds="0-0").to_make == []
  file.write_text(file.read_text().replace("10", "20"))
  # Its student is another one, too.
  changed = make(gin, "table6", seeds="0-0").changed
  assert changed == {Run("switch", 0), Run("student", 0)}
  assert make(gin, "table6", seeds="0-0").to_make == [
      Run("switch", 0),
      Run("student", 0),
  ]


def test_a_run_that_failed_is_made_again_and_one_that_diverged_is_not(gin):
  record(gin, "dense", 0, failed="no memory")
  record(gin, "switch", 0, diverged=5)
  found = make(gin, "table6", seeds="0-0", rows=["dense", "switch"])
  assert found.to_make == [Run("dense", 0)]
  assert set(found.failed) == {Run("dense", 0)}
  assert set(found.records) == {Run("switch", 0)}
  # Nor for the sake of another one, which it has no weights for.
  assert make(gin, "table6", seeds="0-0").to_make == [
      Run("dense", 0),
      Run("student", 0),
  ]


def test_records_of_another_directory_tell_how_long_runs_take(gin):
  assert make(gin, "table6").basis == "as stated, without a finished run"
  other = made("dense", 7, seconds=33.0, figures={"steps": 10})
  found = make(gin, "table6", elsewhere=[other])
  assert found.basis == "by the project's own records"
  assert found.estimate(Run("dense", 0)) == 33
  assert not found.records
  record(gin, "dense", 0, seconds=44.0, figures={"steps": 10})
  found = make(gin, "table6", elsewhere=[other])
  assert found.basis == "by the runs that are finished"
  assert found.estimate(Run("dense", 1)) == 44


def test_records_of_cards_that_are_gone_do_not_count(gin):
  records.write(str(gin.parent / "out" / "records"), made("gone"))
  assert not make(gin, "table6").records


def test_a_damaged_record_ends_it(gin):
  record(gin, "dense", 0)
  file = gin.parent / "out" / "records" / "dense" / "0.json"
  file.write_text(file.read_text().replace("-4.5", "-1.5"))
  with pytest.raises(errors.UserError, match="has been changed since"):
    make(gin, "table6")
