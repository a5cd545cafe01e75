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

"""Runs at the paper's scale, of cards made by hand."""

import mtf_switch  # isort: skip  # noqa: F401
from typing import NamedTuple

import pytest

from mtf_switch import errors
from mtf_switch.reproduction import paper_runs
from mtf_switch.reproduction import runs


class Row(NamedTuple):
  source: str


class Card(NamedTuple):
  name: str
  sources: tuple[str, ...]
  mode: str = "train"
  needs: dict[str, str] = {}
  seeds: int = 1

  @property
  def rows(self):
    return [Row(source) for source in self.sources]

  @property
  def file(self):
    return f"experiments/paper/{self.name}.gin"


CARDS = {
    card.name: card
    for card in (
        Card("figure1_switch", ("Figure 1", "Table 6")),
        Card("table3_s0.1", ("Table 3",), seeds=3),
        Card(
            "table6_soft",
            ("Table 6",),
            "distill",
            {"teacher_dir": "figure1_switch"},
        ),
        Card(
            "appendix_b",
            ("Appendix B",),
            "finetune",
            {"pretrained_dir": "table6_soft"},
        ),
    )
}


def names(experiment, *rows):
  return [x.name for x in paper_runs.select(experiment, rows, CARDS)]


def test_cards_are_chosen_by_the_sources_of_their_rows():
  assert names(["table3"]) == ["table3_s0.1"]
  assert names(["table6"]) == ["figure1_switch", "table6_soft"]
  assert names(["all"]) == list(CARDS)
  assert names(["all"], "table3_s0.1") == ["table3_s0.1"]


def test_what_a_card_needs_comes_with_it():
  assert names(["appendixb"]) == ["figure1_switch", "table6_soft", "appendix_b"]


def test_unknown_names_are_answered_with_the_known_ones():
  with pytest.raises(errors.UserError, match="did you mean table3"):
    names(["tabel3"])
  with pytest.raises(errors.UserError, match="--rows=soft is not known"):
    names(["table6"], "soft")


def flags(*cards, seeds=None, output_dir="gs://bucket/out"):
  made = paper_runs.of_cards(
      [CARDS[x] for x in cards], runs.parse_seeds(seeds), output_dir
  )
  return [(run.card, run.seed, *run.flags) for run in made]


def test_the_command_of_a_run():
  assert flags("table6_soft") == [
      (
          "table6_soft",
          0,
          "--mode=distill",
          "--gin_file=experiments/paper/table6_soft.gin",
          "--model_dir=gs://bucket/out/table6_soft/0",
          "--seed=0",
          "--gin_param=teacher_dir = 'gs://bucket/out/figure1_switch/0'",
      )
  ]


@pytest.mark.parametrize(
    "seeds, expected", [(None, [0, 1, 2]), ("2", [0, 1]), ("5-6", [5, 6])]
)
def test_seeds_are_the_cards_or_chosen(seeds, expected):
  assert [x[1] for x in flags("table3_s0.1", seeds=seeds)] == expected
