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

"""Two runs beside each other, language by language: Figures 7 and 8."""

from collections.abc import Mapping, Sequence
import math
import os
from typing import NamedTuple

import matplotlib.figure
import rich.console

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch.training import metrics_file
from mtf_switch.training import run as run_lib

# A quarter of the steps: section 4.3.
_LARGE_SPEED_UP = 4.0

# (step, neg log perplexity) of each evaluation, in order of the steps.
Curve = Sequence[tuple[int, float]]


class Language(NamedTuple):
  """The results of the two runs for one language.

  Attributes:
    name: the language's code.
    dense: neg log perplexity of the dense model at its last evaluation.
    switch: neg log perplexity of the Switch model at its last evaluation.
    dense_steps: the step of the dense model's last evaluation.
    switch_steps: steps after which the Switch model is as good as that; None
      if it never is.
    speed_up: dense_steps / switch_steps.
  """

  name: str
  dense: float
  switch: float
  dense_steps: int
  switch_steps: float | None
  speed_up: float | None


def steps_to_reach(curve: Curve, quality: float) -> float | None:
  """The step at which a learning curve first reaches a quality.

  Args:
    curve: evaluations; between two of them the curve is taken to be straight.
      Before the first one nothing is known, so no earlier step is returned.
    quality: a neg log perplexity.

  Returns:
    the step; None if the curve stays below.
  """
  before = None
  for step, value in curve:
    if value >= quality:
      if before is None or value == before[1]:
        return float(step)
      share = (quality - before[1]) / (value - before[1])
      return before[0] + share * (step - before[0])
    before = step, value
  return None


def compare(
    dense: Mapping[str, Curve], switch: Mapping[str, Curve]
) -> list[Language]:
  """Compares the learning curves of the languages that both runs have.

  Args:
    dense: the dense model's curve of each language.
    switch: the Switch model's.

  Returns:
    the languages, by the dense model's quality as in Figure 7.

  Source: section 4.3, Figures 7 and 8.
  """
  languages = []
  for name in sorted(dense.keys() & switch.keys()):
    dense_steps, quality = dense[name][-1]
    switch_steps = steps_to_reach(switch[name], quality)
    speed_up = None if switch_steps is None else dense_steps / switch_steps
    languages.append(
        Language(
            name,
            quality,
            switch[name][-1][1],
            dense_steps,
            switch_steps,
            speed_up,
        )
    )
  return sorted(languages, key=lambda language: language.dense)


def summary(languages: Sequence[Language]) -> str:
  """Section 4.3's numbers: the mean speed-up and how often it is 4 or more."""
  speed_ups = _speed_ups(languages)
  better = sum(language.switch > language.dense for language in languages)
  lines = [f"Switch is better in {better} of {len(languages)} languages."]
  if speed_ups:
    mean = sum(speed_ups) / len(speed_ups)
    large = sum(speed_up >= _LARGE_SPEED_UP for speed_up in speed_ups)
    lines.append(
        f"To the dense model's final quality it is {mean:.2f} times as fast in "
        f"the mean of {len(speed_ups)} languages, and at least "
        f"{_LARGE_SPEED_UP:g} times in {large / len(languages):.0%} of all."
    )
  if len(speed_ups) < len(languages):
    lines.append(f"It does not get there in {len(languages) - len(speed_ups)}.")
  return " ".join(lines)


def _speed_ups(languages: Sequence[Language]) -> list[float]:
  """The speed-ups of those languages that have one."""
  return [x.speed_up for x in languages if x.speed_up is not None]


def plot_quality(languages: Sequence[Language]) -> matplotlib.figure.Figure:
  """Neg log perplexity of each language, as in Figure 7."""
  width = max(6.0, 0.16 * len(languages))
  figure = matplotlib.figure.Figure(figsize=(width, 4), layout="constrained")
  axes = figure.subplots()
  positions = range(len(languages))
  axes.plot(positions, [x.switch for x in languages], "o", label="Switch")
  axes.plot(positions, [x.dense for x in languages], "o", label="Dense")
  axes.set_xticks(positions, [x.name for x in languages], rotation=90)
  axes.set_xlim(-1, len(languages))
  axes.tick_params(axis="x", labelsize=8)
  axes.set_ylabel("Neg log perplexity")
  axes.grid(axis="y", alpha=0.3)
  axes.legend()
  return figure


def plot_speed_ups(speed_ups: Sequence[float]) -> matplotlib.figure.Figure:
  """The histogram of the languages' speed-ups, as in Figure 8."""
  figure = matplotlib.figure.Figure(figsize=(6, 4), layout="constrained")
  axes = figure.subplots()
  # One bar from each whole number to the next.
  bins = range(math.floor(min(speed_ups)), math.floor(max(speed_ups)) + 2)
  axes.hist(speed_ups, bins, edgecolor="white")
  mean = sum(speed_ups) / len(speed_ups)
  axes.axvline(mean, color="black", linestyle="--", label=f"mean {mean:.1f}")
  axes.legend()
  axes.set_xlabel("Switch's speed-up over dense, in steps")
  axes.set_ylabel("Number of languages")
  return figure


def compare_languages(
    run: run_lib.Run,
    console: rich.console.Console,
    compare_dir: Sequence[str],
    output_dir: str,
):
  """Compares a dense and a sparse run; writes a CSV file and two plots.

  Writes languages.csv, languages.png (Figure 7) and, if there are speed-ups,
  speed_ups.png (Figure 8).

  Args:
    run: not used: compare_dir names the runs.
    console: the console for the table.
    compare_dir: the model_dirs of the two runs, in any order.
    output_dir: the directory for the files.

  Raises:
    UserError: the directories are not those of a dense and a sparse run with
      evaluations of the same tasks.
  """
  del run
  if len(compare_dir) != 2:
    raise errors.UserError(
        "--mode=compare_languages needs --compare_dir twice, for a dense and "
        f"for a Switch model (given: {len(compare_dir)})."
    )
  curves = {}
  for model_dir in compare_dir:
    is_sparse, of_tasks = _read_curves(model_dir)
    if is_sparse in curves:
      raise errors.UserError(
          f"{compare_dir[0]} and {compare_dir[1]} are both "
          f"{'Switch' if is_sparse else 'dense'} models; one of each is needed."
      )
    curves[is_sparse] = of_tasks
  languages = compare(curves[False], curves[True])
  if not languages:
    raise errors.UserError(
        f"{compare_dir[0]} and {compare_dir[1]} have no evaluation of the "
        "same task."
    )
  terminal.say(console, "Neg log perplexity, and steps to the dense model's")
  columns = ("dense", "Switch", "dense steps", "Switch steps", "speed-up")
  rows = [_cells(language) for language in languages]
  terminal.table(console, ("language", *columns), rows)
  terminal.say(console, summary(languages))
  table = os.path.join(output_dir, "languages.csv")
  files.write_csv(table, Language._fields, rows)
  files.write_png(
      os.path.join(output_dir, "languages.png"), plot_quality(languages)
  )
  if speed_ups := _speed_ups(languages):
    files.write_png(
        os.path.join(output_dir, "speed_ups.png"), plot_speed_ups(speed_ups)
    )
  else:
    terminal.say(
        console,
        "note: no language has a speed-up to draw; there is no speed_ups.png.",
    )


def _read_curves(model_dir: str) -> tuple[bool, dict[str, list]]:
  """Whether a run is sparse, and the curve of each language."""
  records = metrics_file.evaluations(metrics_file.read(model_dir))
  if not records:
    raise errors.UserError(
        f"{model_dir} has no evaluations in metrics.jsonl; --mode="
        "perplexity_eval or train.eval_every makes them."
    )
  by_task = {}
  for record in records:
    name = record["task"].rpartition(".")[2]
    # A repeated evaluation replaces the earlier one.
    by_task.setdefault(name, {})[record["step"]] = record["neg_log_perplexity"]
  curves = {name: sorted(values.items()) for name, values in by_task.items()}
  return records[-1].get("layers") is not None, curves


def _cells(language: Language) -> list[str]:
  """A row as text; a missing value is empty."""
  return [
      language.name,
      f"{language.dense:.4f}",
      f"{language.switch:.4f}",
      str(language.dense_steps),
      "" if language.switch_steps is None else f"{language.switch_steps:.0f}",
      "" if language.speed_up is None else f"{language.speed_up:.2f}",
  ]
