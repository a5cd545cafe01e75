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

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import json
import re
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from mtf_switch.planning import plan as plan_lib

_PURPOSES = {
    "experts": "tokens to experts and back",
    "model_parallelism": "model parallelism",
    "gradients": "gradients",
    "other": "other",
}
# A layer in the name of an operation.
_LAYER = re.compile(r"\w+/block_\d+/layer_\d+")
# The messages of layers by purpose; gradients of variables belong to none.
_SENT = {"experts": "all-to-all", "model_parallelism": "all-reduce"}


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
  _print(console, _columns(plans))
  if len(plans) > 1:
    console.print(why(plans), highlight=False, markup=False, soft_wrap=True)
    return
  (plan,) = plans
  if plan.switch_layers:
    _print(console, _switch_layers(plan))
  if plan.collectives:
    _print(console, _collectives(plan))
    _print(console, _layers(plan))


def why(plans: Sequence[plan_lib.Plan]) -> str:
  """The reason for a ranking, in a line.

  Args:
    plans: several plans, ranked.

  Returns:
    the rule, and the deciding figure of each plan.
  """
  reasons = [
      f"{plan.name} {seconds(step_seconds(plan))} ({plan.limited_by})"
      if plan.fits
      else f"{plan.name} does not fit, {_memory(plan)}"
      for plan in plans
  ]
  return (
      "Ranked by whether a core's memory is enough, then by the least time of a"
      f" step: {'; '.join(reasons)}."
  )


def _columns(plans: Sequence[plan_lib.Plan]) -> rich.table.Table:
  """Returns a table with a column for each plan."""
  result = rich.table.Table(
      box=rich.box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
  )
  result.add_column("")
  for plan in plans:
    result.add_column(rich.text.Text(plan.name), justify="right")

  def section(title: str, rows: Mapping[str, Callable[[Any], str]]):
    result.add_row(rich.text.Text(title, style="bold"))
    for label, text_of in rows.items():
      texts = map(rich.text.Text, map(text_of, plans))
      result.add_row(f"  {label}", *texts)
    result.add_section()

  section(
      "layout",
      {
          "mesh": lambda plan: plan.mesh_shape or "one core",
          "split": lambda plan: _lines(plan.layout_rules),
          "cores": lambda plan: f"{plan.num_cores:,}",
          "chip": lambda plan: plan.chip.name,
      },
  )
  section(
      "parameters",
      {
          "all": lambda plan: count(plan.parameters),
          "in experts": lambda plan: count(plan.expert_parameters),
          "of a core": lambda plan: count(plan.parameters_per_core),
      },
  )
  section(
      "FLOPs",
      {
          "of a sequence, forward": lambda plan: count(plan.flops_per_sequence),
          "of a step, training": lambda plan: count(plan.train_flops_per_step),
          "executed by a core in a step": lambda plan: count(
              plan.executed_flops_per_core
          ),
      },
  )
  variants = dict.fromkeys(
      name for plan in plans for name in plan.activation_bytes_variants
  )
  section(
      "memory of a core",
      {
          "weights": lambda plan: bytes_(plan.weight_bytes_per_core),
          "optimizer": lambda plan: bytes_(plan.optimizer_bytes_per_core),
          "gradients": lambda plan: bytes_(plan.gradient_bytes_per_core),
          "activations": lambda plan: bytes_(plan.activation_bytes_per_core),
          **{
              f"  if {name}": lambda plan, name=name: _variant(plan, name)
              for name in variants
          },
          "all": lambda plan: bytes_(plan.memory_bytes_per_core),
          "masters on the hosts": lambda plan: bytes_(plan.host_bytes),
          "the chip has": lambda plan: bytes_(plan.chip.memory_bytes),
          "fits": lambda plan: "yes" if plan.fits else "no",
          "smallest mesh that fits": lambda plan: plan.smallest_mesh or "none",
      },
  )
  section(
      "communication of a core in a step",
      {
          "all-to-all": lambda plan: bytes_(plan.all_to_all_bytes_per_step),
          "all-reduce": lambda plan: bytes_(plan.all_reduce_bytes_per_step),
          "other": lambda plan: bytes_(plan.other_bytes_per_step),
      },
  )
  section(
      "time of a step, at least",
      {
          "compute": lambda plan: seconds(plan.compute_seconds),
          "memory": lambda plan: seconds(plan.memory_seconds),
          "network": lambda plan: seconds(plan.network_seconds),
          "limited by": lambda plan: plan.limited_by,
      },
  )
  return result


def _variant(plan: plan_lib.Plan, name: str) -> str:
  """Bytes of activations, if a microbatch fills the groups."""
  size = plan.activation_bytes_variants.get(name)
  return "impossible" if size is None else bytes_(size)


def _switch_layers(plan: plan_lib.Plan) -> rich.table.Table:
  """Returns a table of Switch layers; equal layers share a row."""
  alike = {}
  for layer in plan.switch_layers:
    alike.setdefault(layer._replace(name=""), []).append(layer.name)
  rows = [
      (
          names[0] + (f" and {len(names) - 1} more" if names[1:] else ""),
          f"{layer.num_groups:,} of {layer.tokens_per_group:,} tokens",
          f"{layer.num_experts:,}",
          f"{layer.expert_capacity:,}",
          f"{layer.capacity_factor:g}",
          f"{layer.capacity_factor_in_force:.4g}",
          bytes_(layer.all_to_all_bytes),
          bytes_(layer.all_reduce_bytes),
      )
      for layer, names in alike.items()
  ]
  return _table(
      (
          "Switch layers",
          "groups",
          "experts",
          "capacity",
          "factor",
          "in force",
          "all-to-all",
          "all-reduce",
      ),
      rows,
  )


def _collectives(plan: plan_lib.Plan) -> rich.table.Table:
  """Returns a table of the messages of a step by purpose and kind."""
  sums = {}
  for collective in plan.collectives:
    key = collective.purpose, collective.kind, collective.mesh_axes
    calls, size = sums.get(key, (0, 0))
    sums[key] = calls + collective.count, size + collective.bytes
  purposes = list(_PURPOSES)
  rows = [
      (
          _PURPOSES[purpose],
          kind.replace("_", "-"),
          ", ".join(mesh_axes),
          f"{calls:,}",
          bytes_(size),
      )
      for (purpose, kind, mesh_axes), (calls, size) in sorted(
          sums.items(), key=lambda item: purposes.index(item[0][0])
      )
  ]
  return _table(
      ("sent by a core in a step", "by", "over", "times", "bytes"), rows
  )


def _layers(plan) -> rich.table.Table:
  """Returns a table of layers' messages; equal layers share a row."""
  sums = {}
  for collective in plan.collectives:
    layer = _LAYER.match(collective.operation)
    if layer and collective.purpose in ("experts", "model_parallelism"):
      sizes = sums.setdefault(layer[0], dict.fromkeys(_SENT, 0))
      sizes[collective.purpose] += collective.bytes
  alike = {}
  for layer, sizes in sums.items():
    stack = layer.split("/")[0]
    alike.setdefault((stack, *sizes.values()), []).append(layer)
  return _table(
      ("layers, forward and backward", *_SENT.values()),
      [
          (
              layers[0]
              + (f" and {len(layers) - 1} more" if layers[1:] else ""),
              *map(bytes_, sizes),
          )
          for (_, *sizes), layers in alike.items()
      ],
  )


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> rich.table.Table:
  result = rich.table.Table(
      box=rich.box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
  )
  for i, column in enumerate(columns):
    result.add_column(column, justify="right" if i else "left", overflow="fold")
  for row in rows:
    result.add_row(*map(rich.text.Text, row))
  return result


def _print(console: rich.console.Console, renderable: rich.table.Table):
  """Prints a table and an empty line, without folding in a pipe."""
  if not console.is_terminal:
    unlimited = console.options.update(max_width=10**6)
    width = console.measure(renderable, options=unlimited).maximum
    console = rich.console.Console(file=console.file, width=width)
  console.print(renderable, highlight=False)
  console.print()


def _lines(layout_rules: str) -> str:
  """Puts each rule on a line, which keeps columns narrow."""
  return layout_rules.replace(";", "\n").replace(",", "\n") or "nothing"


def _memory(plan: plan_lib.Plan) -> str:
  return (
      f"{bytes_(plan.memory_bytes_per_core)} of"
      f" {bytes_(plan.chip.memory_bytes)}"
  )


def count(number: float | None) -> str:
  """Formats a count, for example "7.415B"."""
  if number is None:
    return "unknown"
  return _scaled(number, ("", "K", "M", "B", "T", "P", "E"), 1000, digits=4)


def bytes_(number: float) -> str:
  """Formats bytes, for example "1.2 GiB"."""
  units = (" B", " KiB", " MiB", " GiB", " TiB", " PiB")
  return _scaled(number, units, 1024, digits=4)


def seconds(number: float) -> str:
  """Formats seconds, for example "34 ms"."""
  return _scaled(number * 1e9, (" ns", " µs", " ms", " s"), 1000, digits=3)


def _scaled(number: float, units: Sequence[str], step: int, digits: int) -> str:
  """Formats a number with few digits in the largest unit not above it."""
  for unit in units:
    text = f"{number:.{digits}g}"
    if float(text) < step:
      return text + unit
    number /= step
  return f"{number * step:,.0f}{units[-1]}"
