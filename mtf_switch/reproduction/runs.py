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

"""The runs that questions ask for, in the order in which they are made."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
import os
import re
from typing import NamedTuple

from mtf_switch import errors
from mtf_switch import spelling
from mtf_switch.reproduction import claims
from mtf_switch.reproduction import configurations
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import small_card
from mtf_switch.reproduction import small_cards

# A contest: rounds, and the training steps of each of its short runs.
ROUNDS = 5
STEPS_OF_SPEED = 150

Cards = Mapping[str, small_cards.SmallCard]


class Run(NamedTuple):
  """A run of a small card, which has one record.

  Attributes:
    card: the card's name.
    seed: that of the run; of a run for speed, the number of its round.
    contest: None, or the question for whose contest it is made.
    round: None, or which round of the contest.
  """

  card: str
  seed: int
  contest: str | None = None
  round: int | None = None

  @property
  def is_timed(self) -> bool:
    """Whether it runs alone on the machine."""
    return self.contest is not None

  def __str__(self) -> str:
    if self.is_timed:
      return f"{self.card}, round {self.round} of {self.contest}"
    return f"{self.card}, seed {self.seed}"


class Seeds(NamedTuple):
  """The answer to --seeds.

  Attributes:
    count: how many of a claim's seeds; None for all.
    chosen: these seeds instead of a claim's own; None for its own.
  """

  count: int | None = None
  chosen: Sequence[int] | None = None


def parse_seeds(text: str | None) -> Seeds:
  """Returns what --seeds means.

  Args:
    text: None; a number, how many; or seeds and ranges with commas, "3-7" or
      "0,2", which ones.

  Raises:
    UserError: it is none of these.
  """
  if text is None:
    return Seeds()
  if re.fullmatch(r"[1-9]\d{0,8}", text):
    return Seeds(count=int(text))
  found = [
      re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
      for part in text.split(",")
  ]
  ranges = [range(int(x[1]), int(x[2] or x[1]) + 1) for x in found if x]
  is_one_number = len(found) == 1 and found[0] and found[0][2] is None
  if is_one_number or not all(found) or not all(ranges):
    raise errors.UserError(
        f"--seeds={errors.shown(text)} is neither how many (5) nor which ones "
        "(3-7 or 0,2,5)."
    )
  return Seeds(chosen=sorted(set().union(*ranges)))


def select(
    names: Sequence[str], questions: Mapping[str, claims.Question]
) -> list[claims.Question]:
  """Returns the questions of --experiment, in their order of priority.

  Args:
    names: their names, or "all".
    questions: all of them, by name.

  Raises:
    UserError: there is no such question.
  """
  for name in names:
    if name not in (*questions, "all"):
      raise errors.UserError(
          f"--experiment={errors.shown(name)} is not known; "
          + (
              spelling.did_you_mean(name, (*questions, "all"))
              or f"there are {', '.join(questions)}, and all."
          )
      )
  return [
      question
      for name, question in questions.items()
      if name in names or "all" in names
  ]


def without_published(
    questions: Iterable[claims.Question], names: Sequence[str], cards: Cards
) -> tuple[list[claims.Question], list[str]]:
  """Returns the questions that need no published files, and the others' names.

  Args:
    questions: some questions.
    names: --experiment.
    cards: all small cards, by name.

  Raises:
    UserError: one of the others is asked for by its name.
  """
  kept, left_out = [], []
  for question in questions:
    folders = {
        folder
        for card in question.cards
        for folder in cards[card].published.values()
    }
    if not folders:
      kept.append(question)
      continue
    left_out.append(question.name)
    if question.name in names:
      raise errors.UserError(
          f"--experiment={question.name} reads published files; set the "
          f"environment variable {small_card.PUBLISHED_FILES} to the directory "
          f"with {' and '.join(sorted(folders))} (docs/data.md says which files"
          " these have)."
      )
  return kept, left_out


def check_rows(rows: Sequence[str], questions: Iterable[claims.Question]):
  """Refuses rows that are in no table of some questions.

  Args:
    rows: names of cards.
    questions: the questions.

  Raises:
    UserError: names one that is in none.
  """
  known = dict.fromkeys(card for q in questions for card in _seeds_of(q))
  for row in rows:
    if row not in known:
      raise errors.UserError(
          f"--rows={errors.shown(row)} is no card of --experiment; "
          + spelling.near_or_all(row, known)
      )


def of_question(
    question: claims.Question, seeds: Seeds, rows: Collection[str] = ()
) -> list[Run]:
  """Returns the runs that a question asks for, without its contest.

  Args:
    question: the question.
    seeds: which of its seeds and of its claims', or which others.
    rows: the cards that count; all of them if empty.

  Returns:
    the runs of one seed after those of another, so that what is there at any
    time can be compared.
  """
  runs = []
  for card, own in _seeds_of(question).items():
    if not rows or card in rows:
      chosen = sorted(own)[: seeds.count]
      if seeds.chosen is not None:
        chosen = seeds.chosen
      runs += [(place, Run(card, seed)) for place, seed in enumerate(chosen)]
  return [run for _, run in sorted(runs, key=lambda x: x[0])]


def _seeds_of(question: claims.Question) -> dict[str, set[int]]:
  """The seeds of each card that a question or one of its claims names."""
  seeds = {card: set(question.seeds) for card in question.cards}
  for claim in question.claims:
    for card in claim.rows:
      # A contest has rounds instead.
      own = () if claim.kind == "speed" else claim.seeds
      seeds.setdefault(card, set()).update(own)
  return seeds


def contest_of(
    question: claims.Question, cards: Cards, rows: Collection[str] = ()
) -> list[list[Run]]:
  """Returns the rounds of a question's contest of speed.

  Every second round has the cards in reverse. Cards that start from another
  run's weights are in none: their steps are those of a card that does not.

  Args:
    question: the question.
    cards: all small cards, by name.
    rows: see `of_question`.
  """
  if not question.contest:
    return []
  entrants = [
      card
      for card in question.cards
      if not cards[card].needs and (not rows or card in rows)
  ]
  return [
      [
          Run(card, number, question.name, number)
          for card in (entrants[::-1] if number % 2 else entrants)
      ]
      for number in range(ROUNDS)
  ]


def needs_of(run: Run, cards: Cards) -> list[Run]:
  """Returns the runs whose weights a run starts or learns from."""
  return [Run(card, run.seed) for card in cards[run.card].needs.values()]


def is_needed(card: str, cards: Cards) -> bool:
  """Whether the weights of a card's runs are of use to another card."""
  return any(card in other.needs.values() for other in cards.values())


def missing(
    wanted: Iterable[Run],
    contests: Iterable[Sequence[Run]],
    cards: Cards,
    is_done: Callable[[Run], bool],
    is_settled: Callable[[Run], bool],
) -> list[Run]:
  """Returns the runs that have to be made, each once.

  Args:
    wanted: the runs that questions ask for, without contests.
    contests: rounds of contests. One that lacks a run is made again as a whole:
      its runs are compared because they are made one after the other.
    cards: all small cards, by name.
    is_done: whether a run has a record that counts.
    is_settled: whether a run that has one need not be made again for another
      one that needs it.

  Returns:
    them in order, what others need before those, contests last.
  """
  to_make: dict[Run, None] = {}

  def add(run):
    if run in to_make:
      return
    for needed in needs_of(run, cards):
      if not (is_done(needed) and is_settled(needed)):
        add(needed)
    to_make[run] = None

  for run in wanted:
    if not is_done(run):
      add(run)
  for contest in contests:
    if not all(map(is_done, contest)):
      to_make.update(dict.fromkeys(contest))
  return list(to_make)


def model_dir(directory: str, run: Run) -> str:
  """Returns the model_dir of a run.

  Args:
    directory: the output_dir; "" for a path that is relative to it.
    run: the run.
  """
  name = str(run.seed)
  if run.is_timed:
    name = f"speed_{run.contest}_{run.round}"
  return os.path.join(directory, "runs", run.card, name)


def flags(
    directory: str,
    run: Run,
    cards: Cards,
    published_files: str = small_card.PUBLISHED_PLACE,
) -> list[str]:
  """Returns the flags with which run_switch makes a run.

  Args:
    directory: see `model_dir`.
    run: the run.
    cards: all small cards, by name.
    published_files: the directory of the published files that cards read.
  """
  card = cards[run.card]
  params = [
      f"{parameter} = {model_dir(directory, Run(needed, run.seed))!r}"
      for parameter, needed in card.needs.items()
  ]
  params += [
      f"{parameter} = {os.path.join(published_files, folder)!r}"
      for parameter, folder in card.published.items()
  ]
  if run.is_timed:
    params += [f"train_steps = {STEPS_OF_SPEED}", "train.eval_every = None"]
  return [
      f"--mode={card.mode}",
      f"--gin_file={configurations.gin_file(card.name)}",
      f"--model_dir={model_dir(directory, run)}",
      f"--seed={run.seed}",
      *[f"--gin_param={param}" for param in params],
  ]


def of_record(record: records_lib.Record) -> Run:
  """Returns the run that a record is of."""
  return Run(record.card, record.seed, record.contest, record.round)
