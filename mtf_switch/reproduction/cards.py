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

"""Cards at the paper's scale: what one is, and the gin file that it makes."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import textwrap
from typing import Any, NamedTuple

from mtf_switch.planning import units
from mtf_switch.reproduction import card_plans
from mtf_switch.reproduction import gin_text
from mtf_switch.reproduction import paper_rows

# Where the commands of headers put runs.
RUNS = "runs/paper"
_WIDTH = 80


class Choice(NamedTuple):
  """A value that the paper does not state, or states in two ways.

  Attributes:
    what: what it is a value of.
    value: the card's, and where it comes from.
  """

  what: str
  value: str


@dataclasses.dataclass(frozen=True)
class Card:
  """A run at the paper's scale.

  Attributes:
    name: its file is gin/experiments/paper/<name>.gin.
    rows: the rows of paper_rows.ROWS that it answers.
    includes: gin files; the first has the model.
    bindings: by name in gin, values that differ from those of `includes`.
    choices: what the paper leaves open.
    mode: of run_switch.
    needs: by gin parameter, the card whose finished run is that directory.
    seeds: how many runs, with seeds from 0.
    remarks: further sentences of the header.
  """

  name: str
  rows: Sequence[paper_rows.Row]
  includes: Sequence[str]
  bindings: Mapping[str, Any]
  choices: Sequence[Choice]
  mode: str = "train"
  needs: Mapping[str, str] = dataclasses.field(default_factory=dict)
  seeds: int = 1
  remarks: Sequence[str] = ()

  @property
  def file(self) -> str:
    """The gin file, as run_switch takes it."""
    return file_of(self.name)


def file_of(name: str) -> str:
  """The gin file of a card, as run_switch takes it.

  Args:
    name: the card's.
  """
  return f"experiments/paper/{name}.gin"


def text(card: Card, plan: card_plans.CardPlan | None) -> str:
  """The gin file of a card.

  Args:
    card: the card.
    plan: its plan; None if it has not been planned yet.
  """
  directories = {
      parameter: f"{RUNS}/{name}" for parameter, name in card.needs.items()
  }
  bindings = {**card.bindings, **directories}
  return (
      "# -*-Python-*-\n"
      + _header(card, plan)
      + "".join(f'include "{file}"\n' for file in card.includes)
      + "\n"
      + "".join(
          f"{name} = {gin_text.value(x)}\n" for name, x in bindings.items()
      )
  )


def _header(card: Card, plan: card_plans.CardPlan | None) -> str:
  """What a card is, as comments."""
  sources = {}
  for row in card.rows:
    sources.setdefault((row.label, row.printed), []).append(row.source)
  lines = []
  for (label, printed), of_row in sources.items():
    parts = [f"{', '.join(of_row)}: {label}", *([printed] if printed else [])]
    lines += _wrapped("; ".join(parts) + ".")
  for remark in card.remarks:
    lines += _wrapped(remark)
  lines += ["", *_command(card), ""]
  lines += _wrapped(_planned(plan) if plan else "Not planned yet.")
  if card.choices:
    lines += ["", "Not stated in the paper, or in two ways:"]
    for choice in card.choices:
      lines += _wrapped(f"{choice.what}: {choice.value}.", "- ", "  ")
  return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _command(card: Card) -> Iterable[str]:
  """The command that makes the run."""
  yield f"  run_switch --mode={card.mode} \\"
  yield f"    --model_dir={RUNS}/{card.name} \\"
  yield f"    --gin_file={card.file}"
  if card.seeds > 1:
    seeds = " and ".join(f"--seed={x}" for x in range(1, card.seeds))
    yield ""
    yield from _wrapped(f"and with {seeds}, each in a directory of its own.")


def _planned(plan: card_plans.CardPlan) -> str:
  """The plan, in a sentence or two."""
  hours = plan.steps * plan.step_seconds / 3600
  return (
      f"Planned for {plan.cores:,} cores of {plan.chip} ({plan.mesh_shape}): a"
      f" step takes at least {units.seconds(plan.step_seconds)}"
      f" ({plan.limited_by}), so that there are at most"
      f" {plan.sequences / plan.step_seconds:,.0f} sequences/s, and"
      f" {plan.steps:,} steps take at least {hours:,.1f} hours. A core needs"
      f" {units.bytes_(plan.memory_bytes_per_core)} to train and"
      f" {units.bytes_(plan.evaluation_bytes_per_core)} to evaluate"
      f" ({plan.evaluation_mode}); it has"
      f" {units.bytes_(plan.chip_memory_bytes)}."
  )


def _wrapped(line: str, first: str = "", rest: str = "  ") -> list[str]:
  """A paragraph as lines that fit behind "# "."""
  return textwrap.wrap(
      line,
      _WIDTH - 2,
      initial_indent=first,
      subsequent_indent=rest,
      break_long_words=False,
      break_on_hyphens=False,
  )
