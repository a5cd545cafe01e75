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

"""Which runs questions ask for, and in which order."""

import mtf_switch  # isort: skip  # noqa: F401
import functools
import shlex

import pytest

from mtf_switch import errors
from mtf_switch.reproduction import questions as questions_lib
from mtf_switch.reproduction import runs
from mtf_switch.reproduction import small_cards
from tests.reproduction import made_questions
from tests.reproduction import made_records
from tests.reproduction.made_questions import CARDS
from tests.reproduction.made_questions import claim
from tests.reproduction.made_questions import question
from tests.reproduction.made_questions import QUESTIONS

ALL = runs.Seeds()
Run = runs.Run


@pytest.mark.parametrize(
    "text, seeds",
    [
        (None, runs.Seeds()),
        ("3", runs.Seeds(count=3)),
        ("3-5", runs.Seeds(chosen=[3, 4, 5])),
        ("0,2", runs.Seeds(chosen=[0, 2])),
        ("0-0", runs.Seeds(chosen=[0])),
        ("7,", None),
        ("100-101,3,3", runs.Seeds(chosen=[3, 100, 101])),
        ("0", None),
        ("-1", None),
        ("5-3", None),
        ("a", None),
        ("1.5", None),
        ("1-2-3", None),
        ("1,a", None),
        ("1,5-3", None),
        (" 1", None),
    ],
)
def test_seeds_are_how_many_or_which(text, seeds):
  if seeds:
    assert runs.parse_seeds(text) == seeds
    return
  with pytest.raises(errors.UserError, match=f"--seeds={text} is neither"):
    runs.parse_seeds(text)


def test_questions_come_in_the_order_of_priority():
  chosen = runs.select(["table6", "table1"], QUESTIONS)
  assert [x.name for x in chosen] == ["table1", "table6"]
  assert runs.select(["all"], QUESTIONS) == list(QUESTIONS.values())


@pytest.mark.parametrize(
    "name, words",
    [
        ("tabel6", "did you mean table6"),
        ("figure9", "there are table1, table6, table5, and all."),
    ],
)
def test_an_unknown_question_is_answered_with_the_known_ones(name, words):
  with pytest.raises(errors.UserError) as error:
    runs.select(["table1", name], QUESTIONS)
  assert f"--experiment={name} is not known" in str(error.value)
  assert words in str(error.value)


def test_unknown_rows_are_answered_with_the_known_ones():
  runs.check_rows(["switch"], QUESTIONS.values())
  with pytest.raises(errors.UserError, match="did you mean student"):
    runs.check_rows(["studant"], QUESTIONS.values())
  with pytest.raises(errors.UserError, match="there are dense, switch"):
    runs.check_rows(["tuned"], [QUESTIONS["table1"]])


def test_one_seed_comes_after_another():
  assert runs.of_question(QUESTIONS["table1"], ALL) == [
      Run("dense", 0),
      Run("switch", 0),
      Run("dense", 1),
      Run("switch", 1),
  ]


def test_claims_may_have_more_seeds_and_cards_than_the_table():
  asked = question("a", "dense", claims_=[claim("dense", "switch")], seeds=[7])
  found = runs.of_question(asked, ALL)
  assert sorted(found) == [
      Run("dense", 0),
      Run("dense", 1),
      Run("dense", 7),
      Run("switch", 0),
      Run("switch", 1),
  ]


def test_claims_of_speed_have_rounds_in_the_place_of_seeds():
  speed = claim("dense", "switch")._replace(kind="speed")
  asked = question("a", "dense", claims_=[speed], seeds=[7])
  assert runs.of_question(asked, ALL) == [Run("dense", 7)]


@pytest.mark.parametrize(
    "seeds, expected",
    [
        (runs.Seeds(count=1), [0]),
        (runs.Seeds(count=9), [0, 1]),
        (runs.Seeds(chosen=[1, 100]), [1, 100]),
    ],
)
def test_seeds_and_rows_choose_among_runs(seeds, expected):
  found = runs.of_question(QUESTIONS["table1"], seeds, ["switch"])
  assert found == [Run("switch", seed) for seed in expected]


def test_a_contest_has_rounds_and_every_second_is_in_reverse():
  rounds = runs.contest_of(QUESTIONS["table1"], CARDS)
  assert len(rounds) == runs.ROUNDS
  assert rounds[0] == [
      Run("dense", 0, "table1", 0),
      Run("switch", 0, "table1", 0),
  ]
  assert rounds[1] == [
      Run("switch", 1, "table1", 1),
      Run("dense", 1, "table1", 1),
  ]
  assert all(run.is_timed for of_round in rounds for run in of_round)
  assert not runs.contest_of(QUESTIONS["table6"], CARDS)
  (only,) = runs.contest_of(QUESTIONS["table1"], CARDS, ["dense"])[0]
  assert only.card == "dense"


def test_contests_are_of_cards_that_start_from_nothing():
  asked = question("a", "dense", "student", "tuned", contest=True)
  assert {
      x.card for of_round in runs.contest_of(asked, CARDS) for x in of_round
  } == {"dense"}


def missing(wanted, contests=(), done=(), weights=()):
  return runs.missing(
      wanted, contests, CARDS, set(done).__contains__, set(weights).__contains__
  )


def test_what_is_needed_comes_before_what_needs_it():
  assert missing([Run("tuned_student", 3), Run("switch", 3)]) == [
      Run("switch", 3),
      Run("student", 3),
      Run("tuned_student", 3),
  ]


def test_only_what_is_missing_is_made():
  wanted = [Run("dense", 0), Run("switch", 0), Run("student", 0)]
  assert missing(wanted, done=wanted) == []
  assert missing(wanted, done=wanted[:1]) == wanted[1:]
  # The teacher's weights are there.
  done = wanted[:2]
  assert missing(wanted, done=done, weights=done) == [Run("student", 0)]
  # They are gone.
  assert missing(wanted, done=done) == [Run("switch", 0), Run("student", 0)]


def test_each_run_is_made_once():
  wanted = runs.of_question(QUESTIONS["table1"], ALL)
  assert missing([*wanted, *wanted]) == wanted


def test_a_round_that_lacks_a_run_is_made_again_as_a_whole():
  contest = runs.contest_of(QUESTIONS["table1"], CARDS)
  wanted = runs.of_question(QUESTIONS["table1"], ALL)
  assert missing(wanted, contest) == [*wanted, *sum(contest, [])]
  done = [*wanted, *sum(contest, [])]
  assert missing(wanted, contest, done) == []
  done.remove(contest[3][1])
  assert missing(wanted, contest, done) == contest[3]


def test_the_command_of_a_run():
  assert runs.flags("/out", Run("dense", 4), CARDS) == [
      "--mode=train",
      "--gin_file=experiments/small/dense.gin",
      "--model_dir=/out/runs/dense/4",
      "--seed=4",
  ]
  assert runs.flags("it's", Run("student", 4), CARDS)[-1] == (
      '--gin_param=teacher_dir = "it\'s/runs/switch/4"'
  )
  assert "--model_dir=runs/dense/4" in runs.flags("", Run("dense", 4), CARDS)


def test_the_command_of_a_run_on_published_files():
  run = Run("published", 4)
  flags = functools.partial(
      runs.flags, "", run, made_questions.CARDS_WITH_PUBLISHED
  )
  assert flags()[-1] == (
      "--gin_param=glue.directory = '$SWITCH_REAL_DATA/glue'"
  )
  assert flags("/real")[-1] == "--gin_param=glue.directory = '/real/glue'"


def test_questions_on_published_files_may_be_left_out():
  every = made_questions.QUESTIONS_WITH_PUBLISHED
  cards = made_questions.CARDS_WITH_PUBLISHED
  kept, left_out = runs.without_published(every.values(), ["all"], cards)
  assert kept == list(QUESTIONS.values())
  assert left_out == ["table5_published"]
  with pytest.raises(
      errors.UserError, match="table5_published reads .*SWITCH_REAL_DATA to the"
  ):
    runs.without_published(every.values(), ["table5_published"], cards)


def test_the_command_of_a_run_for_speed_is_short():
  flags = runs.flags("/out", Run("dense", 2, "table1", 2), CARDS)
  assert "--model_dir=/out/runs/dense/speed_table1_2" in flags
  assert f"--gin_param=train_steps = {runs.STEPS_OF_SPEED}" in flags
  assert "--gin_param=train.eval_every = None" in flags


def test_weights_are_kept_for_those_who_need_them():
  assert runs.is_needed("switch", CARDS) and runs.is_needed("student", CARDS)
  assert not runs.is_needed("tuned", CARDS)
  assert runs.needs_of(Run("tuned_student", 5), CARDS) == [Run("student", 5)]


def test_a_record_knows_its_run():
  run = Run("switch", 2, "table1", 2)
  record = made_records.made(
      "switch", 2, kind="speed", contest="table1", round=2
  )
  assert runs.of_record(record) == run


def test_names_of_runs_are_for_people():
  assert str(Run("switch", 3)) == "switch, seed 3"
  assert str(Run("switch", 2, "table1", 2)) == "switch, round 2 of table1"


@pytest.mark.parametrize("name", questions_lib.QUESTIONS)
def test_every_question_has_runs_of_cards(name):
  asked = questions_lib.QUESTIONS[name]
  cards = small_cards.SMALL_CARDS
  found = [
      *runs.of_question(asked, ALL),
      *sum(runs.contest_of(asked, cards), []),
  ]
  assert found and len(set(found)) == len(found)
  for run in found:
    assert shlex.join(runs.flags("out", run, cards)).count("--gin_file") == 1
