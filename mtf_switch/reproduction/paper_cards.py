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

"""All cards at the paper's scale."""

from collections.abc import Iterable
import pathlib

from mtf_switch.reproduction import cards
from mtf_switch.reproduction import downstream_cards
from mtf_switch.reproduction import paper_rows
from mtf_switch.reproduction import pretraining_cards

# By name, those that others need before them.
PAPER_CARDS = {
    card.name: card
    for card in (*pretraining_cards.CARDS, *downstream_cards.CARDS)
}
# Where they are in a directory of gin files.
DIRECTORY = pathlib.PurePath("experiments", "paper")


def rows_without_a_card(
    cards_: Iterable[cards.Card],
) -> list[paper_rows.Row]:
  """Returns the rows of the paper that none of some cards answers.

  Args:
    cards_: the cards.
  """
  answered = {row for card in cards_ for row in card.rows}
  return [row for row in paper_rows.ROWS.values() if row not in answered]
