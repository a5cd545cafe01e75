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

"""The tables of results: a row for each card, and one for each claim.

Cells are texts, for a terminal and for a page alike.
"""

from collections.abc import Callable, Mapping, Sequence
import math
import statistics
from typing import Any, NamedTuple

from mtf_switch.reproduction import claims
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import runs as runs_lib
from mtf_switch.reproduction import small_cards
from mtf_switch.reproduction import statistics as statistics_lib
from mtf_switch.reproduction import verdicts as verdicts_lib

Record = records_lib.Record
NONE = "-"
# Columns that are aligned on the left.
NUM_LEFT = 2


class _Card(NamedTuple):
  """What a row of a question's table is made of.

  Attributes:
    name: the card's.
    paper: what the paper prints of it, by column.
    runs: records of its runs.
    finished: those that neither failed nor diverged.
    wanted: how many runs the question asks for.
    speed: tokens a second in the contest; None without one.
  """

  name: str
  paper: Mapping[str, Any]
  runs: Sequence[Record]
  finished: Sequence[Record]
  wanted: int
  speed: float | None


def of_cards(
    question: claims.Question, records: Sequence[Record]
) -> tuple[list[str], list[list[str]]]:
  """The table of a question: what the paper prints, and what was measured.

  Means and deviations are of the runs that came to their end.

  Args:
    question: the question.
    records: of all runs that there are, also of other questions.

  Returns:
    the titles of the columns, without those that no card has anything in, and
    a row for each card.
  """
  cards = _cards(question, records)
  columns = [
      *(_paper_column(x) for x in _keys(card.paper for card in cards)),
      (f"{claims.QUALITY}, here", _quality),
      *(
          _score_column(x)
          for x in _keys(run.scores for card in cards for run in card.finished)
      ),
      ("tokens/s, here", lambda card: _number(card.speed, ",.0f")),
      ("dropped", lambda card: _mean(card, "fraction_dropped", ".1%")),
      ("load variation", lambda card: _mean(card, "load_cv", ".2f")),
      ("parameters", lambda card: _figure(card, "parameters", short)),
      (
          "FLOPs/sequence",
          lambda card: _figure(card, "flops_per_sequence", short),
      ),
      ("steps", lambda card: _figure(card, "steps", "{:,}".format)),
      ("runs", _count),
      ("core-hours", lambda card: f"{core_hours(card.runs):.1f}"),
  ]
  cells = [(title, list(map(cell, cards))) for title, cell in columns]
  cells = [(title, x) for title, x in cells if set(x) != {NONE}]
  titles = ["card", "stands for", *(title for title, _ in cells)]
  rows = [
      [
          card.name,
          small_cards.SMALL_CARDS[card.name].stands_for,
          *(column[number] for _, column in cells),
      ]
      for number, card in enumerate(cards)
  ]
  return titles, rows


def _cards(question: claims.Question, records: Sequence[Record]) -> list[_Card]:
  wanted = [
      run.card for run in runs_lib.of_question(question, runs_lib.Seeds())
  ]
  speeds = verdicts_lib.speeds(question.cards, question.name, records)
  cards = []
  for name in question.cards:
    runs = [x for x in records if x.card == name and x.contest is None]
    finished = [
        x for x in runs if not x.failed and verdicts_lib.diverged(x) is None
    ]
    cards.append(
        _Card(
            name,
            question.paper.get(name, {}),
            runs,
            finished,
            wanted.count(name),
            speeds.get(name),
        )
    )
  return cards


def _keys(mappings) -> list[str]:
  """The keys of mappings, each once, in order."""
  return list(dict.fromkeys(key for x in mappings for key in x))


def _number(value: float | None, form: str) -> str:
  return NONE if value is None else f"{value:{form}}"


def _paper_column(key: str) -> tuple[str, Callable[[_Card], str]]:
  def cell(card):
    value = card.paper.get(key)
    return NONE if value is None else str(value)

  return f"{key}, paper", cell


def _score_column(task: str) -> tuple[str, Callable[[_Card], str]]:
  def cell(card):
    scores = [run.scores[task] for run in card.finished if task in run.scores]
    return with_deviation([x["value"] for x in scores], ".1f")

  return f"{task}, here", cell


def with_deviation(values: Sequence[float], form: str) -> str:
  """The mean of numbers and, of several, their standard deviation."""
  if not values:
    return NONE
  mean = f"{statistics.fmean(values):{form}}"
  if len(values) == 1:
    return mean
  return f"{mean} \u00b1 {statistics.stdev(values):{form}}"


def _quality(card: _Card) -> str:
  runs = [run for run in card.finished if run.evaluations]
  return with_deviation([effects.quality(run) for run in runs], ".3f")


def _mean(card: _Card, name: str, form: str) -> str:
  values = [run.figures.get(name) for run in card.finished]
  values = [value for value in values if value is not None]
  return _number(statistics.fmean(values) if values else None, form)


def _figure(card: _Card, name: str, form: Callable[[float], str]) -> str:
  """A figure that is the same for all runs of a card."""
  values = [run.figures.get(name) for run in card.finished]
  values = [value for value in values if value is not None]
  return form(max(values)) if values else NONE


def short(number: float) -> str:
  """A count in thousands, millions and so on, with three digits."""
  for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
    if number >= size:
      return f"{number / size:.3g}{unit}"
  return f"{number:.0f}"


def _count(card: _Card) -> str:
  """How many runs a row is made of, and what became of the others."""
  text = str(len(card.finished))
  if len(card.runs) < card.wanted:
    text += f" of {card.wanted}"
  failed = sum(bool(run.failed) for run in card.runs)
  diverged = len(card.runs) - len(card.finished) - failed
  for number, what in ((diverged, "diverged"), (failed, "failed")):
    if number:
      text += f", {number} {what}"
  return text


def core_hours(records: Sequence[Record]) -> float:
  """The hours of runs, times the cores that each of them had."""
  seconds = sum(x.seconds * x.machine.get("run_cores", 1) for x in records)
  return seconds / 3600


def effect_text(effect: statistics_lib.Effect) -> str:
  """An effect and its interval, with two digits of the interval's length."""
  form = _form(effect.upper - effect.lower)
  return f"{effect.value:{form}} [{effect.lower:{form}}, {effect.upper:{form}}]"


def _form(length: float) -> str:
  """The format of a number that is known to within a length."""
  if not length:
    return ".3g"
  return f".{max(0, 1 - math.floor(math.log10(length)))}f"


def of_claims(
    question: claims.Question, verdicts: Sequence[verdicts_lib.Verdict]
) -> tuple[list[str], list[list[str]]]:
  """The table of a question's verdicts.

  Args:
    question: the question.
    verdicts: on its claims, in their order.

  Returns:
    the titles of the columns, and a row for each claim.
  """
  titles = [
      "claim",
      "verdict",
      f"effect [{statistics_lib.LEVEL:.0%} interval]",
      "without one",
      "unit",
      "seeds",
      "smallest shown",
      "would matter",
  ]
  rows = []
  for claim, verdict in zip(question.claims, verdicts):
    effect = verdict.effect
    smallest = effect and f"{effect.smallest:{_form(effect.smallest)}}"
    rows.append(
        [
            claim.name,
            verdict.verdict,
            effect_text(effect) if effect else NONE,
            f"{claim.null:g}",
            claim.unit,
            str(effect.count) if effect else NONE,
            smallest or NONE,
            f"{claim.worthwhile:.3g}",
        ]
    )
  return titles, rows
