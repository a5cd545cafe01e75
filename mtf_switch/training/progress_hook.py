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

"""The hook that shows and records the progress of a training session."""

import collections
from collections.abc import Mapping, Sequence
import time
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch.training import alarms
from mtf_switch.training import figures as figures_lib
from mtf_switch.training import metrics_file as metrics_file_lib
from mtf_switch.training import progress
from mtf_switch.training import tensorboard
from mtf_switch.transformer import feed_forward

_MAP_OF_LOADS = "load_of_experts"
# Of the last steps, the newer half is compared with the older.
_STEPS_OF_TREND = 100
_LEAST_STEPS_OF_TREND = 20


class ProgressHook(tf.train.SessionRunHook):
  """Follows a training session: the display, metrics.jsonl and TensorBoard.

  Warnings begin and end with the lines of metrics.jsonl; see alarms.py.

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
      display: progress.Display,
      metrics_file: metrics_file_lib.MetricsFile,
      total_steps: int,
      positions_per_batch: int,
      metrics_every: int,
      layers: Mapping[str, alarms.Layer],
  ):
    """Creates the hook.

    Args:
      model_dir: the directory for TensorBoard.
      task: the name of the task or mixture.
      figures: scalar tensors or variables that are shown and recorded.
      layer_figures: figures of layers, which are recorded: scalars and vectors
        of figures.LAYER_FIGURES, as "<layer>/<name>".
      summaries: scalars for TensorBoard only.
      display: the display.
      metrics_file: the file of the records.
      total_steps: updates to be made in all.
      positions_per_batch: inputs and targets, padding included.
      metrics_every: steps between two records.
      layers: what warnings need to know of each Switch layer.
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
    self._layers = layers
    self._losses = collections.deque(maxlen=_STEPS_OF_TREND)

  def begin(self):
    """Finds the global step, before the graph is closed."""
    self._display.status("starting the session", at_once=False)
    self._global_step = tf.train.get_global_step()
    self._writer = tf.summary.FileWriterCache.get(self._model_dir)

  def after_create_session(self, session, coord):
    """Continues from the restored step."""
    del coord
    self._display.status("making the first step", at_once=False)
    self._step = int(session.run(self._global_step))
    self._metrics_file.drop_after(self._step)
    self._alarms = alarms.resumed(self._metrics_file.read(), self._layers)
    # TensorBoard forgets the steps that are made again.
    self._writer.add_session_log(
        tf.SessionLog(status=tf.SessionLog.START), self._step + 1
    )
    # The first call of a session also optimizes the graph; it is not timed.
    self._is_timed = False
    self._steps_timed = self._seconds_timed = 0
    self._all_steps_timed = self._all_seconds_timed = 0

  def before_run(self, run_context):
    """Asks for the figures of the step, recorded or not.

    TensorFlow optimizes the graph anew for each set of fetches.
    """
    del run_context
    self._started_at = time.monotonic()
    return tf.train.SessionRunArgs(
        {
            "figures": self._figures,
            "layer_figures": self._layer_figures,
            "summaries": self._summaries,
        }
    )

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
    is_due = step // self._metrics_every > self._step // self._metrics_every
    self._step = step
    if is_due:
      self._record(
          {**figures, **run_values.results["layer_figures"]},
          run_values.results["summaries"],
      )
    self._losses.append(figures["cross_entropy"])
    speed = None
    if self._all_steps_timed:
      speed = self._all_steps_timed / self._all_seconds_timed
    details = describe(
        {**figures, **run_values.results["layer_figures"]},
        trend(self._losses),
        speed and speed * self._positions_per_batch,
        speed and (self._total_steps - step) / speed,
    )
    self._display.steps("step", step, self._total_steps, details)

  def _record(self, figures, summaries):
    rate = None
    if self._steps_timed:
      steps_per_second = self._steps_timed / self._seconds_timed
      rate = steps_per_second * self._positions_per_batch
      self._steps_timed = self._seconds_timed = 0
    record = self._metrics_file.append(
        self._step, "train", self._task, figures, rate
    )
    self._alarms, changes = alarms.observe(self._alarms, record, self._layers)
    for change in changes:
      self._metrics_file.append_warning(self._step, self._task, change)
      self._display.note(alarms.line(self._step, change))
    scalars = {**summaries, **figures}
    if rate:
      scalars["tokens_per_second"] = rate
    vectors = {name: x for name, x in scalars.items() if np.ndim(x)}
    loads = [x for name, x in vectors.items() if name.endswith("/load")]
    for name in vectors:
      value = scalars.pop(name)
      if name.endswith("/load_histogram"):
        self._writer.add_summary(
            tensorboard.histogram_of(name, figures_lib.LOAD_BINS, value),
            self._step,
        )
    if loads:
      self._writer.add_summary(
          tensorboard.map_of(_MAP_OF_LOADS, loads), self._step
      )
    self._writer.add_summary(tensorboard.summary_of(scalars), self._step)
    self._writer.flush()


def layers_of(model) -> dict[str, alarms.Layer]:
  """Returns what warnings need to know of each Switch layer of a model.

  Args:
    model: a Bitransformer or Unitransformer that has been called.
  """
  return {
      name: alarms.Layer(dims.expert_capacity.size, switch.num_choices)
      for switch in feed_forward.switches(model)
      for name, dims in switch.dims_in_reports.items()
  }


def trend(losses: Sequence[float]) -> float | None:
  """Returns how far the mean of the newer half is from that of the older.

  Args:
    losses: of steps, in their order.

  Returns:
    a difference, below 0 if the loss falls; None for too few losses.
  """
  if len(losses) < _LEAST_STEPS_OF_TREND:
    return None
  values = np.array(losses, float)
  half = len(values) // 2
  return float(values[half:].mean() - values[:half].mean())


def describe(
    figures: Mapping[str, Any],
    change: float | None,
    tokens_per_second: float | None,
    seconds_left: float | None,
) -> str:
  """Returns the figures of a step for the display.

  Args:
    figures: of the step, those of layers included.
    change: of the loss; None if it is not known, as below.
    tokens_per_second: positions of inputs and targets.
    seconds_left: until the end of the run.
  """
  parts = [f"loss {figures['cross_entropy']:.4f}"]
  if change is not None:
    parts[0] += f" ({change:+.3f})"
  if tokens_per_second is not None:
    parts.append(f"{tokens_per_second:,.0f} tokens/s")
  if "fraction_dropped" in figures:
    parts.append(f"{figures['fraction_dropped']:.1%} dropped")
  loads = [x for name, x in figures.items() if name.endswith("/load_max")]
  if loads:
    parts.append(f"load up to {max(loads):.2f}")
  if seconds_left is not None:
    parts.append(f"{progress.duration(seconds_left)} left")
  return "  ".join(parts)


class SavingListener(tf.train.CheckpointSaverListener):
  """Says that a checkpoint is being saved."""

  def __init__(self, display: progress.Display):
    """Creates the listener.

    Args:
      display: the display.
    """
    self._display = display

  def before_save(self, session, global_step_value):
    """Says it."""
    del session
    text = f"saving the checkpoint of step {global_step_value}"
    self._display.status(text, at_once=False)

  def after_save(self, session, global_step_value):
    """Ends with the files; other listeners evaluate then."""
    del session, global_step_value
    self._display.done()


class BatchesHook(tf.train.SessionRunHook):
  """Reports what a session is at that evaluates or predicts.

  Attributes:
    done: the number of batches so far.
  """

  def __init__(self, report: progress.Report):
    """Creates the hook.

    Args:
      report: takes the number of batches that are done, and what is being done
        before the first one is.
    """
    self._report = report
    self.done = 0

  def begin(self):
    """Called when the graph is built."""
    self._report(0, "restoring the checkpoint")

  def after_create_session(self, session, coord):
    """Called when all is restored."""
    del session, coord
    self._report(0, "making the first batch")

  def after_run(self, run_context, run_values):
    """Counts a batch."""
    del run_context, run_values
    self.done += 1
    self._report(self.done)
