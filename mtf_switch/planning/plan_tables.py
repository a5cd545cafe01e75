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

from collections.abc import Callable, Mapping, Sequence
import functools
import re
from typing import Any

import rich.console

from mtf_switch import terminal
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


def show_columns(plans: Sequence[plan_lib.Plan], console: rich.console.Console):
  """Prints a column for each plan, in as many tables as the width asks for."""
  rest = list(plans)
  while rest:
    count = len(rest)
    while count > 1 and not terminal.fits(console, *_columns(rest[:count])):
      count -= 1
    terminal.table(console, *_columns(rest[:count]))
    rest = rest[count:]


def _columns(
    plans: Sequence[plan_lib.Plan],
) -> tuple[list[str], list[tuple[str, ...]]]:
  """The columns and rows of a table with a column for each plan."""
  rows = []

  def section(title: str, texts: Mapping[str, Callable[[Any], str]]):
    rows.append((title,))
    for label, text_of in texts.items():
      rows.append((f"  {label}", *map(text_of, plans)))

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
          **(
              {
                  "teacher": lambda plan: units.bytes_(
                      plan.teacher_bytes_per_core
                  )
              }
              if any(plan.teacher_bytes_per_core for plan in plans)
              else {}
          ),
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
  return ["", *(plan.name for plan in plans)], rows


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


def show_switch_layers(plan: plan_lib.Plan, console: rich.console.Console):
  """Prints a table of Switch layers; equal layers share a row."""
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
  terminal.table(
      console,
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


def show_collectives(plan: plan_lib.Plan, console: rich.console.Console):
  """Prints a table of the messages of a step by purpose and kind."""
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
  terminal.table(
      console,
      ("sent by a core in a step", "by", "over", "times", "bytes"),
      rows,
  )


def show_layers(plan: plan_lib.Plan, console: rich.console.Console):
  """Prints a table of layers' messages; equal layers share a row."""
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
  terminal.table(
      console,
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


def _lines(layout_rules: str) -> str:
  """Puts each rule on a line, which keeps columns narrow."""
  return layout_rules.replace(";", "\n").replace(",", "\n") or "nothing"
