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

"""Writes the cards, at both scales; run `python -m scripts.cards`.

Plans each card at the paper's scale whose configuration has changed, and writes
gin/experiments/paper after each of them, so that it can be stopped and run
again.
"""

import mtf_switch  # isort: skip  # noqa: F401
import dataclasses
import hashlib
import logging
import pathlib
import time
import warnings

import gin
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.modes import distill
from mtf_switch.planning import chips
from mtf_switch.planning import evaluation_graph
from mtf_switch.planning import plan as plan_lib
from mtf_switch.reproduction import card_plans
from mtf_switch.reproduction import cards
from mtf_switch.reproduction import paper_cards
from mtf_switch.reproduction import small_card
from mtf_switch.reproduction import small_cards
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin

GIN = pathlib.Path(__file__).resolve().parents[1] / "gin"
DIRECTORY = GIN / paper_cards.DIRECTORY
SMALL_DIRECTORY = GIN / "experiments" / "small"
CHIP = "tpu_v3"


def configure(card: cards.Card) -> run_lib.Run:
  """Has gin read a card's file.

  Args:
    card: the card.

  Returns:
    the run.

  Raises:
    UserError: the file is not a whole run of this project.
  """
  gin.clear_config()
  run = run_lib.Run(
      gin_files=[card.file], gin_directories=[str(GIN)], mode=card.mode
  )
  run.configure()
  return run


def planned_configuration(card: cards.Card) -> str:
  """Returns what a card's plan depends on, of its own file and its teacher's.

  Args:
    card: the card.
  """
  parts = []
  if "teacher_dir" in card.needs:
    configure(paper_cards.PAPER_CARDS[card.needs["teacher_dir"]])
    parts.append(card_plans.configuration())
  configure(card)
  return "\n".join([*parts, card_plans.configuration()])


def digest(card: cards.Card) -> str:
  """Returns the SHA-256 of `planned_configuration`.

  Args:
    card: the card.
  """
  return hashlib.sha256(planned_configuration(card).encode()).hexdigest()


def plan(card: cards.Card, chip: chips.Chip) -> card_plans.CardPlan:
  """Plans a card.

  Args:
    card: the card.
    chip: the kind of core.

  Returns:
    its plan.

  Raises:
    UserError: the layout or an evaluation cannot work.
  """
  digest_ = digest(card)
  run = configure(card)
  mode = evaluation_graph.PERPLEXITY
  if card.mode == "finetune" or (
      strict_gin.value("distill.evaluation") == "decoding"
  ):
    mode = evaluation_graph.DECODING
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", errors.UserNotice)
    planned = plan_lib.plan(
        run.experiment,
        chip,
        card.name,
        [mode],
        distill.planned_teacher(run, run.experiment),
    )
  return card_plans.card_plan(
      digest_, planned, mode, run.experiment.sequences_per_batch
  )


def as_planned(
    card: cards.Card, plan_: card_plans.CardPlan
) -> card_plans.CardPlan:
  """Returns the plan of a card that needs what another one needs.

  Args:
    card: the card.
    plan_: the other's plan; see card_plans.planned_part.
  """
  digest_ = digest(card)
  return dataclasses.replace(
      plan_, configuration=digest_, steps=strict_gin.value("train.steps")
  )


def _write_text(name: str, plan_: card_plans.CardPlan | None):
  """Writes a card's gin file."""
  text = cards.text(paper_cards.PAPER_CARDS[name], plan_)
  files.write_bytes(str(DIRECTORY / f"{name}.gin"), text.encode())


def _write_small():
  """Writes the cards at small scale, and removes those that are gone."""
  every = small_cards.SMALL_CARDS
  for path in SMALL_DIRECTORY.glob("*.gin"):
    if path.stem not in every:
      path.unlink()
  for name, card in every.items():
    path = SMALL_DIRECTORY / f"{name}.gin"
    files.write_bytes(str(path), small_card.text(card).encode())


def main():
  """Writes all cards, and plans those whose configuration has changed."""
  # Mesh TensorFlow's notes, and gin's of each place where a file is not.
  tf.logging.set_verbosity(tf.logging.FATAL)
  logging.disable(logging.ERROR)
  _write_small()
  chip = chips.find(CHIP)
  every = paper_cards.PAPER_CARDS
  plans = {
      name: plan_
      for name, plan_ in card_plans.read(DIRECTORY).items()
      if name in every
  }
  for path in DIRECTORY.glob("*.gin"):
    if path.stem not in every:
      path.unlink()
  for name in every:
    _write_text(name, plans.get(name))
  # By what plans depend on, those that are there.
  known, to_be_planned = {}, []
  for name, card in every.items():
    configuration = planned_configuration(card)
    digest_ = hashlib.sha256(configuration.encode()).hexdigest()
    if name in plans and plans[name].configuration == digest_:
      known[card_plans.planned_part(configuration)] = plans[name]
    else:
      to_be_planned.append((card, card_plans.planned_part(configuration)))
  console = rich.console.Console(highlight=False)
  for number, (card, part) in enumerate(to_be_planned, 1):
    start = time.monotonic()
    if part in known:
      plans[card.name] = as_planned(card, known[part])
    else:
      plans[card.name] = known[part] = plan(card, chip)
    card_plans.write(DIRECTORY, plans)
    _write_text(card.name, plans[card.name])
    console.print(
        f"{number} of {len(to_be_planned)}: {card.name},"
        f" {time.monotonic() - start:.0f} s"
        + ("" if plans[card.name].fits else ", does not fit")
    )


if __name__ == "__main__":
  main()
