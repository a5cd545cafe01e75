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

"""Sections of what is on record: runs, evaluations, settings, warnings."""

from collections.abc import Callable, Mapping, Sequence
import math

import numpy as np

from mtf_switch import versions as versions_lib
from mtf_switch.pages import curve_sections
from mtf_switch.pages import load_sections
from mtf_switch.pages import page
from mtf_switch.pages import run_files
from mtf_switch.planning import units
from mtf_switch.training import progress

Run = run_files.Run

# Of a line of a <split>_eval, what is no score.
_NO_SCORES = ("step", "task", "num_examples", "sample_seed")
_UNSET = "(not set)"
_WARNING = ("kind", "step", "task", "what", "where", "state", "seconds", "date")


def different_vocabularies(runs: Sequence[Run]) -> bool:
  """Whether runs have other vocabularies for the targets, where it is known."""
  hashes = {
      run.vocabularies["targets"]["sha256"]
      for run in runs
      if "targets" in run.vocabularies
  }
  return len(hashes) > 1


def overview(runs: Sequence[Run]) -> page.Section:
  """The section with a column for each run, and what to mind in reading."""
  notes = []
  if different_vocabularies(runs):
    notes.append(
        "The runs have different vocabularies: a token is not the same to all "
        "of them, so that their perplexities cannot be compared."
    )
  notes += [note for run in runs for note in run.notes]
  notes += [
      f"{run.name}: numbers were not finite at step "
      + ", ".join(f"{step:,}" for step in run.not_finite)
      + "; not_finite.json says where."
      for run in runs
      if run.not_finite
  ]
  columns = ["", *(run.name for run in runs)]
  rows = [[title, *map(of_run, runs)] for title, of_run in _OVERVIEW.items()]
  return page.Section(
      "Runs",
      [
          *map(page.note, notes),
          page.table(columns, rows, len(columns)),
      ],
  )


def _model(run: Run) -> str:
  count = len(run.layer_names)
  return f"Switch layers: {count}" if count else "dense"


def _steps(run: Run) -> str:
  lines = [*run.training[-1:], *run.evaluations[-1:]]
  lines += [x[-1] for x in run.scores.values() if x]
  last = max((line["step"] for line in lines), default=0)
  planned = run_files.number(run.model.get("train_steps"))
  if math.isnan(planned):
    return f"{last:,}"
  return f"{last:,} of {planned:,.0f}"


def _quality(choose: Callable[[np.ndarray], int]) -> Callable[[Run], str]:
  def text(run):
    tasks = run.tasks
    curve = curve_sections.quality_curve(run, tasks)
    if not len(curve.values):
      return ""
    place = choose(curve.values)
    at = f"{curve.values[place]:.4f} at step {curve.steps[place]:,.0f}"
    return at if len(tasks) == 1 else f"{at}, mean of {len(tasks)} tasks"

  return text


def _speed(run: Run) -> str:
  known = run.figures.get("tokens_per_second")
  return "" if known is None else f"{np.nanmedian(known):,.0f}"


def _time(run: Run) -> str:
  seconds = curve_sections.last_second(run)
  return progress.duration(seconds) if seconds else ""


def _dropped(run: Run) -> str:
  shares = run.figures.get("fraction_dropped")
  if shares is None:
    return ""
  share = load_sections.late(shares)
  return "" if np.isnan(share) else f"{share:.2%}"


def _dates(run: Run) -> str:
  lines = [*run.training[:1], *run.evaluations[:1]]
  lines += [*run.training[-1:], *run.evaluations[-1:]]
  dates = [str(line["date"]) for line in lines if line.get("date")]
  return f"{min(dates)} to {max(dates)}" if dates else ""


def _count(name: str) -> Callable[[Run], str]:
  def text(run):
    number = run_files.number(run.model.get(name))
    return units.count(None if math.isnan(number) else number)

  return text


_OVERVIEW: Mapping[str, Callable[[Run], str]] = {
    "directory": lambda run: run.directory,
    "model": _model,
    "parameters": _count("parameters"),
    "FLOPs of a sequence": _count("flops_per_sequence"),
    "steps": _steps,
    "last neg log perplexity": _quality(lambda values: len(values) - 1),
    "best neg log perplexity": _quality(lambda values: int(np.argmax(values))),
    "positions a second, median": _speed,
    "time": _time,
    "dropped, last tenth": _dropped,
    "lines written": _dates,
    "command": lambda run: run.commands[-1] if run.commands else "",
}


def warnings(runs: Sequence[Run]) -> page.Section:
  """The section of the warnings of training, and when each ended."""
  rows = []
  for run in runs:
    open_rows = {}
    for record in run.warnings:
      what = str(record.get("what", ""))
      where = str(record.get("where") or "")
      if record.get("state") == "ended":
        if row := open_rows.pop((what, where), None):
          row[-1] = f"{record['step']:,}"
          continue
        row = [run.name, what, where, _numbers(record), "", _step(record)]
      else:
        row = [
            run.name,
            what,
            where,
            _numbers(record),
            _step(record),
            "not yet",
        ]
        open_rows[what, where] = row
      rows.append(row)
  if not rows:
    blocks = [page.paragraph("No run has written warnings.")]
  else:
    columns = ["run", "what", "where", "numbers", "began at", "ended at"]
    blocks = [page.table(columns, rows, num_left=4)]
  return page.Section("Warnings", blocks)


def _step(record: run_files.Record) -> str:
  return f"{record['step']:,}"


def _numbers(record: run_files.Record) -> str:
  """What else a warning says, by name."""
  numbers = record.get("numbers")
  if not isinstance(numbers, Mapping):
    numbers = {k: v for k, v in record.items() if k not in _WARNING}
  return ", ".join(
      f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
      for name, value in numbers.items()
      if value is not None
  )


def evaluations(runs: Sequence[Run]) -> page.Section:
  """The section with the evaluations of each task, and the decoded scores."""
  blocks = []
  rows = []
  for task in dict.fromkeys(x for run in runs for x in run.tasks):
    for run in runs:
      curve = curve_sections.quality_curve(run, [task])
      if not len(curve.values):
        continue
      best = int(np.argmax(curve.values))
      rows.append(
          [
              *(task, run.name, str(len(curve.values))),
              f"{curve.values[-1]:.4f}",
              f"{curve.steps[-1]:,.0f}",
              f"{curve.values[best]:.4f}",
              f"{curve.steps[best]:,.0f}",
          ]
      )
  if rows:
    blocks += [
        page.heading("Neg log perplexity"),
        page.table(
            [
                *("task", "run", "evaluations", "last", "at step"),
                *("best", "at step"),
            ],
            rows,
            num_left=2,
        ),
    ]
  if scored := _scores(runs):
    blocks += [
        page.heading("Scores of decoded outputs"),
        page.table(
            [
                *("split", "task", "metric", "run", "evaluations"),
                *("last", "at step", "highest", "at step"),
            ],
            scored,
            num_left=4,
        ),
    ]
  return page.Section(
      "Evaluations", blocks or [page.paragraph("No run has evaluations.")]
  )


def _scores(runs: Sequence[Run]) -> list[list[str]]:
  """A row for each split, task, metric and run."""
  found = {}
  for place, run in enumerate(runs):
    for split, records in run.scores.items():
      for record in records:
        for metric in record.keys() - set(_NO_SCORES):
          value = run_files.number(record[metric])
          if math.isfinite(value):
            key = (split, record["task"], metric, place)
            found.setdefault(key, []).append((value, record["step"]))
  rows = []
  for (split, task, metric, place), points in sorted(found.items()):
    last, step = points[-1]
    highest, at = max(points, key=lambda x: x[0])
    rows.append(
        [
            *(split, task, metric, runs[place].name, str(len(points))),
            *(f"{last:.4g}", f"{step:,}", f"{highest:.4g}", f"{at:,}"),
        ]
    )
  return rows


def configuration(runs: Sequence[Run]) -> page.Section:
  """The section of what differs between the runs, and of each one's gin."""
  blocks = []
  if len(runs) > 1:
    rows = differences([run.configuration for run in runs])
    blocks.append(
        page.table(
            ["parameter", *(run.name for run in runs)], rows, len(runs) + 1
        )
        if rows
        else page.paragraph("All runs have the same parameters.")
    )
  for run in runs:
    content = run.gin or "The run has no operative_config.gin."
    blocks.append(
        page.folded(f"All parameters of {run.name}", [page.code(content)])
    )
  return page.Section("Configuration", blocks)


def differences(settings: Sequence[Mapping[str, str]]) -> list[list[str]]:
  """Returns a row for each name whose values are not all the same.

  Args:
    settings: values by name, of each run.
  """
  names = dict.fromkeys(name for of_run in settings for name in of_run)
  rows = [
      [name, *(of_run.get(name, _UNSET) for of_run in settings)]
      for name in names
  ]
  return [row for row in rows if len(set(row[1:])) > 1]


def versions(runs: Sequence[Run]) -> page.Section:
  """The section of the main libraries, and of all others that differ."""
  main = [
      [name, *(run.versions.get(name, "") for run in runs)]
      for name in versions_lib.MAIN
      if any(name in run.versions for run in runs)
  ]
  known = [row[0] for row in main]
  others = differences([run.versions for run in runs])
  rows = main + [row for row in others if row[0] not in known]
  if not rows:
    return page.Section(
        "Versions", [page.paragraph("No run has a versions.txt.")]
    )
  columns = ["", *(run.name for run in runs)]
  blocks = [page.table(columns, rows, len(columns))]
  if len(runs) > 1:
    blocks.append(page.paragraph("All others are the same."))
  return page.Section("Versions", blocks)
