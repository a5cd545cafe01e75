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

"""The questions, before any run."""

import pytest

from mtf_switch.paper import figures
from mtf_switch.paper import tables
from mtf_switch.reproduction import questions
from mtf_switch.reproduction import small_cards

QUESTIONS = questions.QUESTIONS
CLAIMS = [y for x in QUESTIONS.values() for y in x.claims]


def test_names_are_unique():
  names = [x.name for x in CLAIMS]
  assert len(set(names)) == len(names)
  assert all(name == x.name for name, x in QUESTIONS.items())


def test_rows_are_cards():
  for question in QUESTIONS.values():
    assert set(question.cards) <= set(small_cards.SMALL_CARDS)
    assert set(question.paper) <= set(question.cards)
    for claim in question.claims:
      assert set(claim.rows) <= set(small_cards.SMALL_CARDS)


def test_every_card_answers_a_question():
  asked = {y for x in QUESTIONS.values() for y in x.cards}
  assert asked == set(small_cards.SMALL_CARDS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda x: x.name)
def test_what_is_worthwhile_is_more_than_nothing(claim):
  assert claim.worthwhile > 0
  assert len(claim.seeds) > 1
  assert claim.kind in ("quality", "time", "speed", "spread")


def test_what_is_compared_in_time_has_a_contest():
  for question in QUESTIONS.values():
    timed = [x for x in question.claims if x.kind in ("time", "speed")]
    assert question.contest == bool(timed)
    for claim in timed:
      assert set(claim.rows) <= set(question.cards)


def test_every_row_of_the_papers_tables_is_there():
  rows = {name: len(x.paper) for name, x in QUESTIONS.items()}
  assert rows["table1"] == len(tables.TABLE_1)
  assert rows["table2"] == len(tables.TABLE_2)
  assert rows["table6"] == len(tables.TABLE_6)
  assert rows["table4"] == len(tables.TABLE_4)
  assert rows["table7"] == len(tables.TABLE_7)
  assert rows["table10"] == len(tables.TABLE_10)
  assert rows["table11"] == len(tables.TABLE_11)


def test_worthwhile_differences_are_the_papers_by_hand():
  worthwhile = {x.name: x.worthwhile for x in CLAIMS}
  # Table 1: -1.561 and -1.731; Table 7: -1.427 and -1.505, four doublings.
  assert worthwhile["switch_beats_dense"] == pytest.approx(0.170)
  assert worthwhile["experts_help_at_1500"] == pytest.approx(0.078 / 4)
  # Table 3: -2.72 and -3.60.
  assert worthwhile["small_init_better_lr0.6"] == pytest.approx(0.88)
  # Figure 6.
  assert worthwhile["less_time_than_dense"] == (
      figures.FIGURE_6_SPEED_UPS["T5-Base"] - 1
  )
