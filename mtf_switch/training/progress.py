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

"""What a run shows and records while it is under way."""

from collections.abc import Mapping, Sequence
import datetime
import json
import math
import os
import time
from typing import Any

import numpy as np
import rich.console
import rich.progress
import tensorflow.compat.v1 as tf

from mtf_switch import files
from mtf_switch.training import figures as figures_lib

_SECONDS_BETWEEN_LINES = 10


def summary_of(scalars: Mapping[str, Any]) -> tf.Summary:
  """Numbers by name, as TensorBoard wants them."""
  return tf.Summary(
      value=[
          tf.Summary.Value(tag=name, simple_value=float(value))
          for name, value in scalars.items()
      ]
  )


def write_scalars(directory: str, step: int, scalars: Mapping[str, Any]):
  """Adds numbers by name to TensorBoard's events in a directory."""
  with tf.Graph().as_default(), tf.summary.FileWriter(directory) as writer:
    writer.add_summary(summary_of(scalars), step)


def histogram_of(
    name: str, bins: Sequence[float], counts: Sequence[float]
) -> tf.Summary:
  """Counts in bins, as TensorBoard wants them.

  Args:
    name: the histogram's name.
    bins: the lower ends of the bins; the last one has no upper end.
    counts: as many numbers.

  Returns:
    a summary with the histogram.
  """
  # The middle of a bin stands for what is in it.
  ends = [*bins[1:], 2 * bins[-1]]
  middles = [(low + high) / 2 for low, high in zip(bins, ends)]
  histogram = tf.HistogramProto(
      min=bins[0],
      max=ends[-1],
      num=sum(counts),
      sum=sum(n * x for n, x in zip(counts, middles)),
      sum_squares=sum(n * x * x for n, x in zip(counts, middles)),
      bucket_limit=ends,
      bucket=counts,
  )
  return tf.Summary(value=[tf.Summary.Value(tag=name, histo=histogram)])


class MetricsFile:
  """metrics.jsonl: one JSON object a line, with the keys of `append`."""

  def __init__(self, model_dir: str):
    self._path = os.path.join(model_dir, "metrics.jsonl")

  def read(self) -> list[dict[str, Any]]:
    """The records so far; a last line that was cut off does not count."""
    if not tf.io.gfile.exists(self._path):
      return []
    with tf.io.gfile.GFile(self._path) as file:
      text = file.read()
    return [json.loads(line) for line in text.split("\n")[:-1]]

  def has(self, kind: str, step: int, task: str) -> bool:
    """Whether there is such a line."""
    return any(
        (r["kind"], r["step"], r["task"]) == (kind, step, task)
        for r in self.read()
    )

  def append(
      self,
      step: int,
      kind: str,
      task: str,
      figures: dict[str, float],
      tokens_per_second: float | None = None,
  ):
    """Adds a line.

    Args:
      step: updates made; the figures of a training step are those of the
        batch that its update learns from.
      kind: "train" or "eval".
      task: the name of the task or mixture.
      figures: "cross_entropy", "neg_log_perplexity", "packing_efficiency" and,
        for sparse models, "aux_loss", "z_loss", "fraction_dropped" and
        "<layer>/<name>", which become the object "layers"; others are left out.
      tokens_per_second: positions of inputs and targets, padding included.
    """

    def number(value):
      if np.ndim(value):
        return [number(x) for x in value]
      return (
          float(value) if value is not None and math.isfinite(value) else None
      )

    layers = {}
    for path, value in figures.items():
      layer, _, name = path.rpartition("/")
      if layer:
        layers.setdefault(layer, {})[name] = number(value)
    record = {
        "step": int(step),
        "kind": kind,
        "cross_entropy": number(figures["cross_entropy"]),
        "neg_log_perplexity": number(figures["neg_log_perplexity"]),
        "aux_loss": number(figures.get("aux_loss")),
        "z_loss": number(figures.get("z_loss")),
        "fraction_dropped": number(figures.get("fraction_dropped")),
        "packing_efficiency": number(figures["packing_efficiency"]),
        "tokens_per_second": number(tokens_per_second),
        "task": task,
        "layers": layers or None,
    }
    files.append_record(self._path, record)

  def drop_after(self, step: int):
    """Forgets what a run that resumes at a step will do again."""
    if tf.io.gfile.exists(self._path):
      kept = [record for record in self.read() if record["step"] <= step]
      files.write_lines(self._path, map(json.dumps, kept))


class Display:
  """A live bar on a terminal; elsewhere a plain line now and then."""

  def __init__(self, console: rich.console.Console):
    self._console = console
    self._bar = None
    self._last_steps = None
    self._next_line_at = 0.0
    if console.is_terminal:
      self._bar = rich.progress.Progress(
          rich.progress.TextColumn("{task.description}"),
          rich.progress.BarColumn(),
          rich.progress.TextColumn("{task.fields[details]}"),
          console=console,
          # Those of Python go to the log; see run_switch.py.
          redirect_stdout=False,
          redirect_stderr=False,
          transient=True,
      )
      self._task = self._bar.add_task("", total=None, details="")

  def __enter__(self):
    if self._bar:
      self._bar.start()
    return self

  def __exit__(self, *exception):
    if self._bar:
      self._bar.stop()
      if self._last_steps:
        self.note(self._last_steps)

  def note(self, text: str):
    """Writes a line that stays."""
    self._console.print(text, markup=False, highlight=False, soft_wrap=True)

  def status(self, text: str):
    """Says what is being done where there are no steps to count."""
    if self._bar:
      self._bar.update(self._task, description=text, details="")
    else:
      self.note(text)

  def steps(self, text: str, done: int, total: int, details: str = ""):
    """Shows how far a count has come.

    Args:
      text: what is counted.
      done: the count so far.
      total: its end.
      details: the figures beside it.
    """
    self._last_steps = f"{text} {done}/{total}  {details}".rstrip()
    if self._bar:
      self._bar.update(
          self._task,
          description=f"{text} {done}/{total}",
          completed=done,
          total=total,
          details=details,
      )
    elif done == total or time.monotonic() >= self._next_line_at:
      self._next_line_at = time.monotonic() + _SECONDS_BETWEEN_LINES
      self.note(self._last_steps)


def duration(seconds: float) -> str:
  """Seconds as hours:minutes:seconds."""
  return str(datetime.timedelta(seconds=round(seconds)))


class ProgressHook(tf.train.SessionRunHook):
  """Follows a training session: the display, metrics.jsonl and TensorBoard.

  On TPUs a call of the session makes many steps; the figures are then those of
  the last step that has reached the host.
  """

  def __init__(
      self,
      model_dir: str,
      task: str,
      figures: dict[str, Any],
      layer_figures: dict[str, Any],
      summaries: dict[str, tf.Tensor],
      display: Display,
      metrics_file: MetricsFile,
      total_steps: int,
      positions_per_batch: int,
      metrics_every: int,
  ):
    """Creates the hook.

    Args:
      model_dir: the directory for TensorBoard.
      task: the name of the task or mixture.
      figures: what is shown and recorded, scalar tensors or variables.
      layer_figures: what is recorded beside it, scalars or, of the bins of
        figures.LOAD_BINS, vectors; see figures.LAYER_FIGURES.
      summaries: what goes to TensorBoard only.
      display: where it is shown.
      metrics_file: where it is recorded.
      total_steps: updates to be made in all.
      positions_per_batch: inputs and targets, padding included.
      metrics_every: steps between two records.
    """
    self._model_dir = model_dir
    self._task = task
    self._figures = figures
    self._layer_figures = layer_figures
    self._summaries = summaries
    self._display = display
    self._metrics_file = metrics_file
    self._total_steps = total_steps
    self._positions_per_batch = positions_per_batch
    self._metrics_every = metrics_every

  def begin(self):
    """Finds the global step, before the graph is closed."""
    self._global_step = tf.train.get_global_step()
    self._writer = tf.summary.FileWriterCache.get(self._model_dir)

  def after_create_session(self, session, coord):
    """Goes on from the restored step."""
    del coord
    self._step = int(session.run(self._global_step))
    self._metrics_file.drop_after(self._step)
    # TensorBoard forgets the steps that are made again.
    self._writer.add_session_log(
        tf.SessionLog(status=tf.SessionLog.START), self._step + 1
    )
    # The first call of a session also optimizes the graph; it is not timed.
    self._is_timed = False
    self._steps_timed = self._seconds_timed = 0
    self._all_steps_timed = self._all_seconds_timed = 0

  def before_run(self, run_context):
    """Asks for the figures of the step."""
    del run_context
    fetches = {"figures": self._figures}
    if self._is_due(self._step + 1):
      fetches["layer_figures"] = self._layer_figures
      fetches["summaries"] = self._summaries
    self._started_at = time.monotonic()
    return tf.train.SessionRunArgs(fetches)

  def after_run(self, run_context, run_values):
    """Shows and, when it is due, records them."""
    step = int(run_context.session.run(self._global_step))
    if self._is_timed:
      seconds = time.monotonic() - self._started_at
      self._steps_timed += step - self._step
      self._seconds_timed += seconds
      self._all_steps_timed += step - self._step
      self._all_seconds_timed += seconds
    self._is_timed = True
    figures = run_values.results["figures"]
    is_due, self._step = self._is_due(step), step
    if is_due:
      self._record(
          {**figures, **run_values.results.get("layer_figures", {})},
          run_values.results.get("summaries", {}),
      )
    details = f"loss {figures['cross_entropy']:.4f}"
    if self._all_steps_timed:
      steps_per_second = self._all_steps_timed / self._all_seconds_timed
      left = duration((self._total_steps - step) / steps_per_second)
      rate = steps_per_second * self._positions_per_batch
      details += f"  {rate:,.0f} tokens/s  {left} left"
    self._display.steps("step", step, self._total_steps, details)

  def _is_due(self, step: int) -> bool:
    return step // self._metrics_every > self._step // self._metrics_every

  def _record(self, figures, summaries):
    rate = None
    if self._steps_timed:
      steps_per_second = self._steps_timed / self._seconds_timed
      rate = steps_per_second * self._positions_per_batch
      self._steps_timed = self._seconds_timed = 0
    self._metrics_file.append(self._step, "train", self._task, figures, rate)
    scalars = {**summaries, **figures}
    if rate:
      scalars["tokens_per_second"] = rate
    for name in [name for name, x in scalars.items() if np.ndim(x)]:
      self._writer.add_summary(
          histogram_of(name, figures_lib.LOAD_BINS, scalars.pop(name)),
          self._step,
      )
    self._writer.add_summary(summary_of(scalars), self._step)
    self._writer.flush()
