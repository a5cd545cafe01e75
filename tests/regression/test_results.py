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

"""The pages about results are what the committed records say."""

import pytest

from mtf_switch.reproduction import questions as questions_lib
from mtf_switch.reproduction import results_page
from mtf_switch.reproduction import small_cards
from mtf_switch.reproduction import verdicts as verdicts_lib
from scripts import results

QUESTIONS = questions_lib.QUESTIONS


@pytest.fixture(scope="module")
def committed():
  """The records of the runs and of the pilots, whose digests are checked."""
  return results.read()


@pytest.fixture(scope="module")
def verdicts(committed):
  return verdicts_lib.judge_all(QUESTIONS, *committed)


def test_the_pages_are_up_to_date(verdicts, committed):
  for path, text in results.texts(verdicts, *committed).items():
    assert (
        path.read_text() == text
    ), f"{path.name} is out of date; run `python -m scripts.results`"


def test_every_claim_has_a_verdict_or_a_reason(verdicts):
  for name, question in QUESTIONS.items():
    assert len(verdicts[name]) == len(question.claims)
    for verdict in verdicts[name]:
      assert verdict.verdict in verdicts_lib.RULES
      assert verdict.effect or verdict.detail


def test_every_record_is_of_a_card(committed):
  cards = {record.card for records in committed for record in records}
  assert cards <= set(small_cards.SMALL_CARDS)


def test_pilots_have_other_seeds_than_the_runs_they_are_for(committed):
  runs, pilots = (
      {(x.card, x.seed) for x in records if x.contest is None}
      for records in committed
  )
  assert not runs & pilots
  for question in QUESTIONS.values():
    for claim in question.claims:
      assert not {seed for _, seed in pilots} & set(claim.seeds)


def test_every_question_with_runs_has_its_picture(committed):
  records, _ = committed
  for question in QUESTIONS.values():
    picture = results.IMAGES / results_page.picture(question)
    assert picture.exists() == bool(
        results_page.of_question(question, records)
    ), f"{picture.name}: run `python -m scripts.results`"
