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

"""The part of docs/experiments.md that lists the claims and their rules."""

from collections.abc import Callable, Mapping, Sequence
import functools
import inspect

from mtf_switch.reproduction import claims
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import statistics
from mtf_switch.reproduction import verdicts

_KINDS = {
    "quality": "of each seed",
    "time": "of each seed, at the speeds of a contest",
    "speed": "of each round of a contest",
    "spread": "of each run; its deviation over seeds is compared",
}


def render(
    questions: Mapping[str, claims.Question],
    pilots: Sequence[records_lib.Record],
) -> str:
  """The section "Questions", without its heading.

  Args:
    questions: all questions.
    pilots: records of runs with other seeds, of which the power is made.

  Returns:
    Markdown.
  """
  rules = "\n".join(
      f"- **{name}**: {rule}." for name, rule in verdicts.RULES.items()
  )
  sections = [
      "\n".join(
          [
              f"### {question.title}",
              "",
              f"`--experiment={question.name}`",
              "",
              *(
                  _claim(claim, question.name, pilots)
                  for claim in question.claims
              ),
          ]
      )
      for question in questions.values()
      if question.claims
  ]
  return "\n\n".join([rules, verdicts.RULES_OF_RUNS, *sections])


def _claim(
    claim: claims.Claim,
    contest: str,
    pilots: Sequence[records_lib.Record],
) -> str:
  """A claim as an item of a list."""
  rows = ", ".join(f"`{row}`" for row in claim.rows)
  numbers = verdicts.numbers(claim)
  of_what = "rounds" if claim.kind == "speed" else "seeds"
  return (
      f"- `{claim.name}`: {claim.statement} ({claim.source})\n"
      f"  - Measure, {_KINDS[claim.kind]}: {_measure(claim.effect)}\n"
      f"  - Rows: {rows}; {of_what} {numbers[0]} to {numbers[-1]}.\n"
      f"  - In {claim.unit}; reproduced above {claim.null:g}, and"
      f" {claim.worthwhile:.3g} more would matter"
      f" ({claim.worthwhile_source}).\n"
      f"  - {_power(claim, contest, pilots)}"
  )


def _measure(effect: Callable[..., float]) -> str:
  """What a function of effects.py says of itself, and its settings."""
  settings = {}
  if isinstance(effect, functools.partial):
    effect, settings = effect.func, effect.keywords
  first, *_ = inspect.getdoc(effect).splitlines()
  if settings:
    values = ", ".join(f"{name} {value}" for name, value in settings.items())
    first = f"{first.rstrip('.')} ({values})."
  return first


def _power(
    claim: claims.Claim,
    contest: str,
    pilots: Sequence[records_lib.Record],
) -> str:
  """What the claim's number of seeds can show."""
  power = verdicts.power(claim, contest, pilots)
  if power is None:
    return "Power: there are no pilots yet."
  text = (
      f"Power: {power.seen:.3g} would be seen with probability"
      f" {statistics.PROBABILITY:g}"
  )
  if power.deviation is None:
    return f"{text}, whatever the deviations are."
  text += (
      f", given a deviation of {power.deviation:.3g} among {power.pilots}"
      f" pilots{' of other cards' if power.pooled else ''};"
  )
  if power.needed is None:
    return f"{text} no number of seeds in reach would see what would matter."
  return f"{text} {power.needed} seeds would see what would matter."
