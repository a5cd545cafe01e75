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

"""Fine-tuned scores over the quality of pre-trained models: Figure 13."""

from collections.abc import Iterable, Mapping, Sequence
import os
from typing import Any

import matplotlib.figure
import rich.console

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch.training import run as run_lib

# The two panels of Figure 13.
_PANELS = {"super_glue": "SuperGLUE score", "trivia_qa": "TriviaQA score"}
_COLUMNS = (
    "series",
    "pretrained_dir",
    "step",
    "neg_log_perplexity",
    *_PANELS,
)
_COLORS = {"Dense": "tab:gray", "Switch": "tab:blue"}


# What fine-tuning writes, as files.read_json takes it.
_PRETRAINED = {
    "pretrained_dir": str,
    "step": int,
    "neg_log_perplexity": float | None,
    "sparse": bool,
}
_BEST = [{"task": str, "value": float}]


def compare_downstream(
    run: run_lib.Run,
    console: rich.console.Console,
    compare_dir: Sequence[str],
    output_dir: str,
):
  """Compares fine-tuned runs; writes a CSV file and a plot.

  Writes downstream.csv, a point a line, and downstream.png, unless there is
  nothing to draw.

  Args:
    run: not used: compare_dir names the runs.
    console: the console for notes.
    compare_dir: the model_dirs of fine-tuned runs.
    output_dir: the directory for the files.

  Raises:
    UserError: one of them is not the directory of a fine-tuned run.

  Source: Figure 13.
  """
  del run
  found = points(
      [
          (
              _read_json(path, "pretrained.json", _PRETRAINED),
              _read_json(path, "best.json", _BEST),
          )
          for path in compare_dir
      ]
  )
  table = os.path.join(output_dir, "downstream.csv")
  files.write_csv(table, _COLUMNS, [point.values() for point in found])
  for point in found:
    if point["neg_log_perplexity"] is None:
      terminal.say(
          console,
          f"note: {point['pretrained_dir']} has no evaluation until step "
          f"{point['step']}; its point is in the table only.",
      )
  written = f"{len(found)} points: {table}"
  figure = plot(found)
  if figure:
    picture = os.path.join(output_dir, "downstream.png")
    files.write_png(picture, figure)
    written += f" and {picture}"
    if lacking := _lacking(found):
      terminal.say(console, f"note: no points to draw for {lacking}.")
  else:
    written += "; none has a score and a perplexity, so there is no picture"
  terminal.say(console, written)


def _lines(
    found: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, list[tuple[float, float]]]]:
  """The (perplexity, score) pairs of each panel and series, sorted."""
  return {
      task: {
          series: sorted(
              (point["neg_log_perplexity"], point[task])
              for point in found
              if point["series"] == series
              and None not in (point["neg_log_perplexity"], point[task])
          )
          for series in _COLORS
      }
      for task in _PANELS
  }


def _lacking(found: Sequence[Mapping[str, Any]]) -> str:
  """The series of the panels that have no points, in words."""
  return ", ".join(
      f"the {_PANELS[task]} of {series} models"
      for task, lines in _lines(found).items()
      for series, line in lines.items()
      if not line
  )


def points(
    runs: Iterable[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]],
) -> list[dict[str, Any]]:
  """The points of Figure 13, one for each pre-trained checkpoint.

  Args:
    runs: the contents of pretrained.json and best.json of each fine-tuned run.

  Returns:
    objects with "series" ("Dense" or "Switch"), "pretrained_dir", "step",
    "neg_log_perplexity", "super_glue" and "trivia_qa": the best score of all
    runs from that checkpoint, None without one.
  """
  found = {}
  for pretrained, best in runs:
    point = found.setdefault(
        (pretrained["pretrained_dir"], pretrained["step"]),
        {
            "series": "Switch" if pretrained["sparse"] else "Dense",
            "pretrained_dir": pretrained["pretrained_dir"],
            "step": pretrained["step"],
            "neg_log_perplexity": pretrained["neg_log_perplexity"],
            **dict.fromkeys(_PANELS),
        },
    )
    for entry in best:
      task, value = entry["task"], entry["value"]
      if task in _PANELS and (point[task] is None or value > point[task]):
        point[task] = value
  return list(found.values())


def plot(
    found: Sequence[Mapping[str, Any]],
) -> matplotlib.figure.Figure | None:
  """Scores over neg log perplexity, as in Figure 13.

  Args:
    found: the result of `points`; points without a score or a perplexity are
      left out.

  Returns:
    a figure with a panel for each score that has points; None if none has.
  """
  panels = {
      task: lines
      for task, lines in _lines(found).items()
      if any(lines.values())
  }
  if not panels:
    return None
  figure = matplotlib.figure.Figure(
      figsize=(5 * len(panels), 3.6), layout="constrained"
  )
  all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
  for axes, (task, lines) in zip(all_axes, panels.items()):
    for series, line in lines.items():
      if line:
        axes.plot(*zip(*line), "o-", color=_COLORS[series], label=series)
    axes.set_xlabel("Neg log perplexity of the pre-trained model")
    axes.set_ylabel(_PANELS[task])
    axes.grid(alpha=0.3)
    axes.legend()
  return figure


def _read_json(model_dir: str, name: str, shape: Any) -> Any:
  path = os.path.join(model_dir, name)
  content = files.read_json(path, shape)
  if content is None:
    raise errors.UserError(
        f"{path} does not exist; --compare_dir takes the model_dir of a run of "
        "--mode=finetune that has been evaluated."
    )
  return content
