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

"""Sections about routing: the load of each expert, and what is dropped."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mtf_switch.pages import charts
from mtf_switch.pages import page
from mtf_switch.pages import run_files
from mtf_switch.training import figures

Run = run_files.Run

# Below a tenth of an equal share an expert hardly learns; twice the share is
# more than any capacity factor of the paper's tables has slots for.
DEAD_BELOW = 0.1
HOT_ABOVE = 2.0
# The state of now: means over the last tenth of the lines of training.
_LATE_SHARE = 0.1
_MOST_COLUMNS = 120
_MOST_NAMED = 40
_TABLE = {
    "fraction_dropped": "dropped",
    "load_max": "greatest load",
    "load_min": "smallest load",
    "load_cv": "load variation",
    "entropy": "entropy",
    "gate": "gate",
}


class Loads(NamedTuple):
  """The load of a layer's experts over time.

  Attributes:
    steps: [lines].
    values: [lines, experts], relative to the mean over experts.
  """

  steps: np.ndarray
  values: np.ndarray


def loads(run: Run, layer: str) -> Loads | None:
  """Returns the loads that the lines of training have; None if none has them.

  Args:
    run: the run.
    layer: the layer's name.
  """
  return _lists(run, layer, "load")


def histograms(run: Run, layer: str) -> Loads | None:
  """Returns how many experts lie in each of figures.LOAD_BINS, likewise.

  Args:
    run: the run.
    layer: the layer's name.
  """
  found = _lists(run, layer, "load_histogram")
  if found and found.values.shape[1] != len(figures.LOAD_BINS):
    return None
  return found


def _lists(run: Run, layer: str, name: str) -> Loads | None:
  """The lists of a name that are as long as the last one."""
  steps, rows = [], []
  for record in run.some_training:
    row = run_files.layers(record).get(layer, {}).get(name)
    if isinstance(row, list) and row:
      steps.append(record["step"])
      rows.append(row)
  kept = [x for x in zip(steps, rows) if len(x[1]) == len(rows[-1])]
  if not kept:
    return None
  try:
    values = np.array([row for _, row in kept], float)
  except (OverflowError, TypeError, ValueError):
    values = np.array(
        [[run_files.number(x) for x in row] for _, row in kept], float
    )
  return Loads(np.array([step for step, _ in kept], float), values)


def late(values: np.ndarray) -> np.ndarray:
  """Returns means over the last lines; NaN where there is no number.

  Args:
    values: [lines, ...].
  """
  last = values[-max(1, round(_LATE_SHARE * len(values))) :]
  is_known = np.isfinite(last)
  counts = is_known.sum(axis=0)
  total = np.where(is_known, last, 0.0).sum(axis=0)
  return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def columns_of(found: Loads) -> np.ndarray:
  """Returns [rows, columns], means over equal spans of steps.

  A span without a line has the values of the one before.

  Args:
    found: the values by line.
  """
  first, last = found.steps[0], found.steps[-1]
  count = min(_MOST_COLUMNS, len(found.steps))
  places = np.zeros(len(found.steps), int)
  if last > first:
    places = ((found.steps - first) / (last - first) * count).astype(int)
  places = np.minimum(places, count - 1)
  starts = np.flatnonzero(np.diff(places, prepend=-1))
  sums = np.add.reduceat(found.values, starts, axis=0)
  lines = np.diff([*starts, len(places)])
  means = sums / lines[:, np.newaxis]
  # For each span, the last one up to it that has lines.
  return means[np.searchsorted(places[starts], range(count), "right") - 1].T


def load(runs: Sequence[Run]) -> page.Section:
  """The section of the load of each expert over time."""
  blocks = []
  for run in runs:
    if not run.layer_names:
      blocks.append(page.paragraph(f"{run.name} has no Switch layers."))
      continue
    blocks.append(page.heading(run.name))
    blocks.append(_dead_and_hot(run))
    blocks.append(
        page.side_by_side(_map(run, name) for name in run.layer_names)
    )
  return page.Section("Load of experts", blocks)


def _map(run: Run, layer: str) -> page.Markup:
  """The map of a layer: of experts, or of the bins of their loads."""
  if found := loads(run, layer):
    return charts.heat_map(
        layer,
        "step",
        (found.steps[0], found.steps[-1]),
        np.clip(columns_of(found) / 2, 0, 1),
        [str(expert) for expert in range(found.values.shape[1])],
        "Load of each expert: blue 0, grey the mean, red twice the mean or "
        "more.",
    )
  if found := histograms(run, layer):
    counts = columns_of(found)[::-1]
    return charts.heat_map(
        layer,
        "step",
        (found.steps[0], found.steps[-1]),
        np.clip(counts / np.maximum(counts.sum(axis=0), 1), 0, 1),
        [f"{low:g}+" for low in reversed(figures.LOAD_BINS)],
        "Share of the experts whose load is so large: dark none, bright all. "
        "The run has no load for each expert.",
        "viridis",
    )
  return page.paragraph(f"{layer} has no loads.")


def dead_and_hot(run: Run) -> tuple[list[str], list[str]]:
  """Returns the experts with a late load out of bounds, each by its name.

  Args:
    run: the run.

  Returns:
    those below DEAD_BELOW and those above HOT_ABOVE, with their loads.
  """
  dead, hot = [], []
  for layer in run.layer_names:
    if (found := loads(run, layer)) is None:
      continue
    for expert, value in enumerate(late(found.values)):
      text = f"{layer}, expert {expert}: {value:.2f}"
      if value < DEAD_BELOW:
        dead.append(text)
      elif value > HOT_ABOVE:
        hot.append(text)
  return dead, hot


def _dead_and_hot(run: Run) -> page.Markup:
  """The experts by name, or what is known without their loads."""
  if not any(loads(run, name) for name in run.layer_names):
    return page.paragraph(
        "The lines of this run have no load for each expert; the table of "
        "routing has the smallest and the greatest of each layer."
    )
  blocks = []
  for kind, bound, found in zip(
      ("Dead", "Hot"),
      (f"below {DEAD_BELOW:g}", f"above {HOT_ABOVE:g}"),
      dead_and_hot(run),
  ):
    title = f"{kind} experts (load {bound} of the mean): {len(found)}"
    blocks.append(page.paragraph(title))
    if found:
      more = len(found) - _MOST_NAMED
      shown = found[:_MOST_NAMED] + [f"and {more} more"] * (more > 0)
      blocks.append(page.bullets(shown))
  return page.joined(blocks)


def routing(runs: Sequence[Run]) -> page.Section:
  """The section with each layer's figures at the end."""
  rows = []
  for run in runs:
    last = run.training[-max(1, round(_LATE_SHARE * len(run.training))) :]
    for layer in run.layer_names:
      of_layer = [run_files.layers(x).get(layer, {}) for x in last]
      rows.append([run.name, layer, *_cells(of_layer)])
  if not rows:
    return page.Section(
        "Routing", [page.paragraph("No run has Switch layers.")]
    )
  return page.Section(
      "Routing",
      [
          page.paragraph(
              "Means over the last tenth of the lines of training. Loads are "
              "relative to the mean over experts, before capacity; the entropy "
              "is the router's, in natural logarithms."
          ),
          page.table(["run", "layer", *_TABLE.values()], rows, num_left=2),
      ],
  )


def _cells(of_layer: Sequence[run_files.Record]) -> list[str]:
  cells = []
  for name in _TABLE:
    values = run_files.column(of_layer, name)
    values = values[np.isfinite(values)]
    form = ".2%" if name == "fraction_dropped" else ".3f"
    cells.append(format(values.mean(), form) if len(values) else "")
  return cells
