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

"""The tables of a plan."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import functools
import re
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from mtf_switch.planning import evaluation_graph
from mtf_switch.planning import plan as plan_lib
from mtf_switch.planning import units

_PURPOSES = {
    "experts": "tokens to experts and back",
    "model_parallelism": "model parallelism",
    "gradients": "gradients",
    "other": "other",
}
# A layer in the name of an operation.
_LAYER = re.compile(r"\w+/block_\d+/layer_\d+")
# Other modes that are alike.
_MODES = {evaluation_graph.DECODING: "infer, eval"}
_EVALUATION_FIGURES = {
    "memory of a core, ": lambda x: units.bytes_(x.memory_bytes_per_core),
    "fits, ": lambda x: "yes" if x.fits else "no",
    "executed by a core, ": lambda x: units.count(x.executed_flops_per_core),
    "time, at least, ": lambda x: units.seconds(x.seconds),
}
# The messages of layers by purpose; gradients of variables belong to none.
_SENT = {"experts": "all-to-all", "model_parallelism": "all-reduce"}


def columns(plans: Sequence[plan_lib.Plan]) -> rich.table.Table:
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
          "all": lambda plan: units.count(plan.parameters),
          "in experts": lambda plan: units.count(plan.expert_parameters),
          "of a core": lambda plan: units.count(plan.parameters_per_core),
      },
  )
  section(
      "FLOPs",
      {
          "of a sequence, forward": lambda plan: units.count(
              plan.flops_per_sequence
          ),
          "of a step, training": lambda plan: units.count(
              plan.train_flops_per_step
          ),
          "executed by a core in a step": lambda plan: units.count(
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
          "weights": lambda plan: units.bytes_(plan.weight_bytes_per_core),
          "optimizer": lambda plan: units.bytes_(plan.optimizer_bytes_per_core),
          "gradients": lambda plan: units.bytes_(plan.gradient_bytes_per_core),
          "activations": lambda plan: units.bytes_(
              plan.activation_bytes_per_core
          ),
          **{
              f"  if {name}": lambda plan, name=name: _variant(plan, name)
              for name in variants
          },
          "all": lambda plan: units.bytes_(plan.memory_bytes_per_core),
          "masters on the hosts": lambda plan: units.bytes_(plan.host_bytes),
          "the chip has": lambda plan: units.bytes_(plan.chip.memory_bytes),
          "fits": lambda plan: "yes" if plan.fits else "no",
          "smallest mesh that fits": lambda plan: plan.smallest_mesh or "none",
      },
  )
  section(
      "communication of a core in a step",
      {
          "all-to-all": lambda plan: units.bytes_(
              plan.all_to_all_bytes_per_step
          ),
          "all-reduce": lambda plan: units.bytes_(
              plan.all_reduce_bytes_per_step
          ),
          "other": lambda plan: units.bytes_(plan.other_bytes_per_step),
      },
  )
  section(
      "time of a step, at least",
      {
          "compute": lambda plan: units.seconds(plan.compute_seconds),
          "memory": lambda plan: units.seconds(plan.memory_seconds),
          "network": lambda plan: units.seconds(plan.network_seconds),
          "limited by": lambda plan: plan.limited_by,
      },
  )
  modes = dict.fromkeys(mode for plan in plans for mode in plan.evaluations)
  if modes:
    section(
        "without training, a batch",
        {
            f"{figure}{_MODES.get(mode, mode)}": functools.partial(
                _of_evaluation, mode=mode, text_of=text_of
            )
            for figure, text_of in _EVALUATION_FIGURES.items()
            for mode in modes
        },
    )
  return result


def _of_evaluation(
    plan: plan_lib.Plan, mode: str, text_of: Callable[[Any], str]
) -> str:
  """A figure of a mode, if it can work."""
  evaluation = plan.evaluations.get(mode)
  return "impossible" if evaluation is None else text_of(evaluation)


def _variant(plan: plan_lib.Plan, name: str) -> str:
  """Bytes of activations, if a microbatch fills the groups."""
  size = plan.activation_bytes_variants.get(name)
  return "impossible" if size is None else units.bytes_(size)


def switch_layers(plan: plan_lib.Plan) -> rich.table.Table:
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
          units.bytes_(layer.all_to_all_bytes),
          units.bytes_(layer.all_reduce_bytes),
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


def collectives(plan: plan_lib.Plan) -> rich.table.Table:
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
          units.bytes_(size),
      )
      for (purpose, kind, mesh_axes), (calls, size) in sorted(
          sums.items(), key=lambda item: purposes.index(item[0][0])
      )
  ]
  return _table(
      ("sent by a core in a step", "by", "over", "times", "bytes"), rows
  )


def layers(plan) -> rich.table.Table:
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
              *map(units.bytes_, sizes),
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


def show(console: rich.console.Console, renderable: rich.table.Table):
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
