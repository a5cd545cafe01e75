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

"""The runs of cards at the paper's scale: what is run, in which order."""

from collections.abc import Iterable, Mapping, Sequence
import os
from typing import Any, NamedTuple

from mtf_switch import errors
from mtf_switch import spelling
from mtf_switch.reproduction import runs as runs_lib


class PaperRun(NamedTuple):
  """A run at the paper's scale.

  Attributes:
    card: the name of its card.
    seed: that of the run.
    flags: those of run_switch.
  """

  card: str
  seed: int
  flags: Sequence[str]


def experiment(source: str) -> str:
  """Returns the name of a table, figure or appendix, for --experiment."""
  return source.lower().replace(" ", "")


def select(
    names: Sequence[str], rows: Sequence[str], cards: Mapping[str, Any]
) -> list[Any]:
  """Returns the cards that experiments ask for.

  Args:
    names: names of tables and figures, or "all".
    rows: the names of the cards that count; all of them if empty.
    cards: cards.Card by name, those that others need before them.

  Raises:
    UserError: there is no such table or figure, or no such card in one.
  """
  of_card = {
      name: {experiment(row.source) for row in card.rows}
      for name, card in cards.items()
  }
  known = sorted({"all"}.union(*of_card.values()))
  _check("experiment", names, known)
  chosen = {
      name
      for name, experiments in of_card.items()
      if "all" in names or experiments.intersection(names)
  }
  _check("rows", rows, sorted(chosen))
  chosen = chosen.intersection(rows) if rows else chosen
  for name in list(chosen):
    chosen |= set(_needs(name, cards))
  return [card for name, card in cards.items() if name in chosen]


def _needs(name: str, cards: Mapping[str, Any]) -> Iterable[str]:
  for needed in cards[name].needs.values():
    yield needed
    yield from _needs(needed, cards)


def _check(flag: str, names: Sequence[str], known: Sequence[str]):
  for name in names:
    if name not in known:
      raise errors.UserError(
          f"--{flag}={errors.shown(name)} is not known at the paper's scale; "
          + spelling.near_or_all(name, known)
      )


def of_cards(
    cards: Iterable[Any], seeds: runs_lib.Seeds, output_dir: str
) -> list[PaperRun]:
  """Returns the runs of cards, in an order in which each finds what it needs.

  Args:
    cards: cards.Card.
    seeds: which seeds; a card says how many it has.
    output_dir: the directory of all runs, local or remote.
  """
  runs = []
  for card in cards:
    chosen = range(card.seeds)[: seeds.count]
    if seeds.chosen is not None:
      chosen = seeds.chosen
    for seed in chosen:
      params = [
          f"{parameter} = {_model_dir(output_dir, needed, 0)!r}"
          for parameter, needed in card.needs.items()
      ]
      flags = [
          f"--mode={card.mode}",
          f"--gin_file={card.file}",
          f"--model_dir={_model_dir(output_dir, card.name, seed)}",
          f"--seed={seed}",
          *[f"--gin_param={param}" for param in params],
      ]
      runs.append(PaperRun(card.name, seed, flags))
  return runs


def _model_dir(output_dir: str, card: str, seed: int) -> str:
  return os.path.join(output_dir, card, str(seed))
