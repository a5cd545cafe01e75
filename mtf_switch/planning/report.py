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

"""Plans as tables and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import json
from typing import Any

import rich.console

from mtf_switch import terminal
from mtf_switch.planning import evaluation_graph
from mtf_switch.planning import plan as plan_lib
from mtf_switch.planning import plan_tables
from mtf_switch.planning import units


def step_seconds(plan: plan_lib.Plan) -> float:
  """The least time of a step, if all three resources work at the same time.

  Args:
    plan: a plan.

  Returns:
    seconds: the largest of the three lower bounds.
  """
  return max(plan.compute_seconds, plan.memory_seconds, plan.network_seconds)


def ranked(plans: Iterable[plan_lib.Plan]) -> list[plan_lib.Plan]:
  """Sorts plans: those that fit first, then by the least time of a step.

  Ties are broken by the second-longest of the three times, then by the third.

  Args:
    plans: the plans.

  Returns:
    the plans, the best first.
  """

  def key(plan):
    seconds_ = plan.compute_seconds, plan.memory_seconds, plan.network_seconds
    return not plan.fits, *sorted(seconds_, reverse=True)

  return sorted(plans, key=key)


def as_json(plans: Sequence[plan_lib.Plan]) -> str:
  """Formats plans as JSON.

  Args:
    plans: at least one.

  Returns:
    a JSON object of all fields of a plan; for several plans {"plans": [...]},
    the best first.
  """
  objects = [_object(plan) for plan in ranked(plans)]
  value = objects[0] if len(objects) == 1 else {"plans": objects}
  return json.dumps(value, indent=2, allow_nan=False)


def _object(plan: plan_lib.Plan) -> dict[str, Any]:
  """Returns a plan's fields and properties."""
  fields = _plain(plan)
  for collective, source in zip(fields["collectives"], plan.collectives):
    collective["bytes"] = source.bytes
  fields["memory_bytes_per_core"] = plan.memory_bytes_per_core
  fields["step_seconds"] = step_seconds(plan)
  for mode, evaluation in plan.evaluations.items():
    if evaluation:
      fields["evaluations"][mode]["seconds"] = evaluation.seconds
  return fields


def _plain(value: Any) -> Any:
  """Converts records and types to JSON's types."""
  if dataclasses.is_dataclass(value):
    return {
        field.name: _plain(getattr(value, field.name))
        for field in dataclasses.fields(value)
    }
  if hasattr(value, "_asdict"):  # A NamedTuple.
    return _plain(value._asdict())
  if isinstance(value, Mapping):
    return {key: _plain(x) for key, x in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(x) for x in value]
  if value is None or isinstance(value, (bool, int, float, str)):
    return value
  return value.name  # A tf.DType.


def table(plans: Sequence[plan_lib.Plan], console: rich.console.Console):
  """Prints a plan, or several side by side, the best first.

  Args:
    plans: at least one.
    console: the console; output to a pipe is as wide as it needs to be.
  """
  plans = ranked(plans)
  plan_tables.show_columns(plans, console)
  if len(plans) > 1:
    terminal.say(console, why(plans))
  else:
    _details(plans[0], console)
  for plan in plans:
    for line in too_large(plan):
      terminal.say(console, line)


def _details(plan: plan_lib.Plan, console: rich.console.Console):
  """Prints the tables that only a single plan has."""
  if plan.switch_layers:
    plan_tables.show_switch_layers(plan, console)
  if plan.collectives:
    plan_tables.show_collectives(plan, console)
    plan_tables.show_layers(plan, console)


def too_large(plan: plan_lib.Plan) -> list[str]:
  """A line for each mode without training that does not fit, with the advice.

  Args:
    plan: a plan.
  """
  return [
      f"{plan.name}: --mode={mode} does not fit,"
      f" {_memory(evaluation.memory_bytes_per_core, plan)}; use a smaller"
      " batch_size or more cores"
      + (
          ", or let it drop tokens (SwitchFeedForward.capacity_factor_infer)."
          if plan.switch_layers and mode != evaluation_graph.PERPLEXITY
          else "."
      )
      for mode, evaluation in plan.evaluations.items()
      if evaluation and not evaluation.fits
  ]


def why(plans: Sequence[plan_lib.Plan]) -> str:
  """The reason for a ranking, in a line.

  Args:
    plans: several plans, ranked.

  Returns:
    the rule, and the deciding figure of each plan.
  """
  reasons = [
      f"{plan.name} {units.seconds(step_seconds(plan))} ({plan.limited_by})"
      if plan.fits
      else f"{plan.name} does not fit, "
      + _memory(plan.memory_bytes_per_core, plan)
      for plan in plans
  ]
  return (
      "Ranked by whether a core's memory is enough, then by the least time of a"
      f" step: {'; '.join(reasons)}."
  )


def _memory(needed: int, plan: plan_lib.Plan) -> str:
  return f"{units.bytes_(needed)} of {units.bytes_(plan.chip.memory_bytes)}"
