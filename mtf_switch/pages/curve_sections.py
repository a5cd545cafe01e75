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

"""Sections about how runs learn: curves, and the speed-up to a quality."""

from collections.abc import Callable, Sequence
import math
from typing import NamedTuple

import numpy as np

from mtf_switch.pages import charts
from mtf_switch.pages import page
from mtf_switch.pages import run_files
from mtf_switch.planning import units
from mtf_switch.reproduction import effects
from mtf_switch.training import progress

Run = run_files.Run

QUALITY = "neg log perplexity"
# Qualities at which runs are compared, evenly along the reference's curve.
_NUM_QUALITIES = 4
# What "train" lines have beside figures that are drawn.
_NO_FIGURES = ("step", "seconds", "neg_log_perplexity")
_CROSS_ENTROPY = "cross_entropy"
_TITLES = {
    _CROSS_ENTROPY: "cross-entropy of the training batch",
    "aux_loss": "load-balance loss, alpha included",
    "z_loss": "router z-loss, coefficient included",
    "fraction_dropped": "share of choices dropped",
    "packing_efficiency": "share of positions that are not padding",
    "tokens_per_second": "positions a second",
}
# Seconds below which a unit of time is used, and its length.
_TIMES = (
    (600, "seconds", 1),
    (36_000, "minutes", 60),
    (math.inf, "hours", 3600),
)


class Axis(NamedTuple):
  """What curves are drawn over.

  Attributes:
    label: its name and unit.
    values: makes [points] numbers of a run's steps and seconds, two arrays.
  """

  label: str
  values: Callable[[Run, np.ndarray, np.ndarray], np.ndarray]


class QualityCurve(NamedTuple):
  """The evaluations of a run: neg log perplexity, the mean of tasks.

  Attributes:
    steps: [points].
    seconds: [points], NaN where they are not known.
    values: [points].
  """

  steps: np.ndarray
  seconds: np.ndarray
  values: np.ndarray


def axes(runs: Sequence[Run]) -> list[Axis]:
  """Returns the axes of Figures 4 and 5: steps, tokens and time.

  Args:
    runs: all runs, which share a unit of time.
  """
  longest = max(map(last_second, runs))
  unit, length = next(x[1:] for x in _TIMES if longest < x[0])
  return [
      Axis("step", lambda run, steps, seconds: steps),
      Axis("tokens", lambda run, steps, seconds: steps * _positions(run)),
      Axis(unit, lambda run, steps, seconds: seconds / length),
  ]


def last_second(run: Run) -> float:
  """Returns the time of a run's last line, 0 if none has one."""
  lines = [*run.training[-1:], *run.evaluations[-1:]]
  seconds = [run_files.number(line.get("seconds")) for line in lines]
  return max((x for x in seconds if math.isfinite(x)), default=0.0)


def _positions(run: Run) -> float:
  """The positions of a batch; NaN for runs of earlier versions."""
  return run_files.number(run.model.get("positions_per_batch"))


def quality_curve(run: Run, tasks: Sequence[str]) -> QualityCurve:
  """Returns the curve of a run over steps at which all tasks were evaluated.

  Args:
    run: the run.
    tasks: names of tasks.
  """
  by_step = {}
  for task in tasks:
    for record in run.evaluations_of_tasks.get(task, ()):
      by_step.setdefault(record["step"], []).append(record)
  whole = [x for _, x in sorted(by_step.items()) if len(x) == len(tasks)]
  values = [run_files.column(x, "neg_log_perplexity").mean() for x in whole]
  seconds = [
      max(run_files.number(x.get("seconds")) for x in records)
      for records in whole
  ]
  steps = [records[0]["step"] for records in whole]
  is_known = np.isfinite(np.array(values, float))
  return QualityCurve(
      np.array(steps, float)[is_known],
      np.array(seconds, float)[is_known],
      np.array(values, float)[is_known],
  )


def shared_tasks(runs: Sequence[Run]) -> list[str]:
  """Returns the tasks that all runs with evaluations have evaluated."""
  of_runs = [run.tasks for run in runs if run.evaluations]
  return [
      task
      for task in (of_runs[0] if of_runs else [])
      if all(task in tasks for tasks in of_runs)
  ]


def quality(runs: Sequence[Run]) -> page.Section:
  """The section of the evaluations' curves, over steps, tokens and time."""
  blocks = [charts.legend([run.name for run in runs])]
  tasks = shared_tasks(runs)
  if not tasks:
    blocks.append(
        page.note("The runs have no evaluated task in common to draw.")
        if any(run.evaluations for run in runs)
        else page.paragraph("No run has evaluations.")
    )
  else:
    blocks.append(
        page.paragraph(
            f"{QUALITY.capitalize()} of "
            + (tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks, the mean")
            + ", without auxiliary losses; higher is better. Tokens are "
            "positions of inputs and targets, padding included. Here and "
            "below, the first tenth of a curve may lie outside of its frame."
        )
    )
    blocks.append(_over_axes(runs, tasks))
  every_task = list(dict.fromkeys(x for run in runs for x in run.tasks))
  if len(every_task) > 1:
    blocks.append(
        page.folded(
            f"Each of {len(every_task)} tasks",
            [
                page.side_by_side(
                    _chart(runs, [task], axes(runs)[0], title=task)
                    for task in every_task
                )
            ],
        )
    )
  return page.Section("Quality", blocks)


def _over_axes(runs: Sequence[Run], tasks: Sequence[str]) -> page.Markup:
  return page.side_by_side(
      _chart(runs, tasks, axis, title=QUALITY) for axis in axes(runs)
  )


def _chart(
    runs: Sequence[Run], tasks: Sequence[str], axis: Axis, title: str
) -> page.Markup:
  drawn = []
  for place, run in enumerate(runs):
    curve = quality_curve(run, tasks)
    x = axis.values(run, curve.steps, curve.seconds)
    drawn.append(_curve(run.name, place, x, curve.values))
  return charts.curves(title, axis.label, drawn)


def _curve(name: str, place: int, x: np.ndarray, y: np.ndarray) -> charts.Curve:
  """A curve of the points whose x is known, in its order."""
  is_known = np.isfinite(x)
  x, y = x[is_known], y[is_known]
  order = np.argsort(x, kind="stable")
  return charts.Curve(name, place, x[order], y[order])


def speed_up(runs: Sequence[Run]) -> page.Section:
  """The section of the speed-ups to given qualities, as in Figures 4 and 5.

  The reference is the run whose last quality is the lowest, so that the others
  get there.
  """
  title = "Speed-up to a given quality"
  tasks = shared_tasks(runs)
  found = [(run, quality_curve(run, tasks)) for run in runs] if tasks else []
  found = [(run, curve) for run, curve in found if len(curve.steps)]
  if len(found) < 2:
    return page.Section(
        title,
        [
            page.paragraph(
                "Two runs with evaluations of the same tasks are needed for it."
            )
        ],
    )
  reference, slowest = min(found, key=lambda x: x[1].values[-1])
  rows = []
  for target in _targets(slowest.values):
    steps = _reach(slowest.steps, slowest.values, target)
    seconds = _reach(slowest.seconds, slowest.values, target)
    for run, curve in found:
      own_steps = _reach(curve.steps, curve.values, target)
      own_seconds = _reach(curve.seconds, curve.values, target)
      # A curve that begins higher may have been as good earlier.
      is_bound = curve.values[0] > target
      most, least = ("at most ", "at least ") if is_bound else ("", "")
      cells = [
          (most, _count(own_steps)),
          (most, _count(own_steps * _positions(run))),
          (most, _time(own_seconds)),
          (least, _times(steps, own_steps)),
          (least, _times(seconds, own_seconds)),
      ]
      known = [(x if y[0].isdigit() else "") + y for x, y in cells]
      rows.append([f"{target:.4f}", run.name, *known])
  return page.Section(
      title,
      [
          page.paragraph(
              f"How soon each run has a quality that {reference.name} has on "
              "its way, with straight lines between evaluations; before a "
              "run's first evaluation nothing is known. The speed-up is "
              f"{reference.name}'s steps, or time, divided by the run's."
          ),
          page.table(
              [
                  *(QUALITY, "run", "steps", "tokens", "time"),
                  *("speed-up in steps", "speed-up in time"),
              ],
              rows,
              num_left=2,
          ),
      ],
  )


def _targets(values: np.ndarray) -> list[float]:
  """Qualities evenly along a curve, up to its last one."""
  shares = np.arange(1, _NUM_QUALITIES + 1) / _NUM_QUALITIES
  places = np.ceil(shares * len(values)).astype(int) - 1
  return sorted({float(values[place]) for place in places})


def _reach(x: np.ndarray, values: np.ndarray, target: float) -> float:
  """The x at which a curve first has a quality; infinite if it never has."""
  if np.isnan(x).any():
    return math.nan
  return effects.steps_to(list(zip(x, values)), target)


def _count(number: float) -> str:
  if math.isnan(number):
    return "unknown"
  if math.isinf(number):
    return "not reached"
  return f"{number:,.0f}" if number < 1e6 else units.count(number)


def _time(seconds: float) -> str:
  return (progress.duration if math.isfinite(seconds) else _count)(seconds)


def _times(reference: float, own: float) -> str:
  """How many times as soon a run is, where both numbers are known."""
  ratio = reference / own if own and math.isfinite(own) else math.nan
  return f"{ratio:.2f} x" if math.isfinite(ratio) else "-"


def training(runs: Sequence[Run]) -> page.Section:
  """The section of the figures of training batches."""
  blocks = [charts.legend([run.name for run in runs])]
  blocks.append(
      page.side_by_side(
          _training_chart(runs, _CROSS_ENTROPY, axis) for axis in axes(runs)
      )
  )
  names = dict.fromkeys(_TITLES)
  names |= dict.fromkeys(name for run in runs for name in run.figures)
  blocks.append(
      page.side_by_side(
          _training_chart(runs, name, axes(runs)[0])
          for name in names
          if name not in (_CROSS_ENTROPY, *_NO_FIGURES)
      )
  )
  return page.Section("Training", blocks)


def _training_chart(runs: Sequence[Run], name: str, axis: Axis) -> page.Markup:
  """The chart of a figure, or nothing if no run has it."""
  drawn = []
  for place, run in enumerate(runs):
    if name in run.figures:
      steps = run.figures["step"]
      unknown = np.full(len(steps), np.nan)
      x = axis.values(run, steps, run.figures.get("seconds", unknown))
      drawn.append(_curve(run.name, place, x, run.figures[name]))
  return charts.curves(
      _TITLES.get(name, name.replace("_", " ")), axis.label, drawn
  )
