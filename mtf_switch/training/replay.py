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

"""The steps since the last checkpoint, made again to find a bad one."""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import os
from typing import Any, NamedTuple

import mesh_tensorflow as mtf
import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch.training import checkpoints
from mtf_switch.training import estimators
from mtf_switch.training import model_functions
from mtf_switch.training import not_finite
from mtf_switch.training import numerics
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib


class Training(NamedTuple):
  """What decides the steps of a training, beside the run.

  Attributes:
    steps: updates to be made in all, for the learning rate.
    metrics_every: steps between two records in metrics.jsonl.
    input_fn: returns the batches since the last checkpoint.
    make_hooks: makes the hooks that set initial weights.
    change_loss_at: changes the loss of the targets; None to leave it.
  """

  steps: int
  metrics_every: int
  input_fn: Callable[[Mapping[str, Any]], tf.data.Dataset]
  make_hooks: model_functions.MakeHooks
  change_loss_at: model_functions.ChangeLossAt | None = None


class Finding(NamedTuple):
  """What a replay has found.

  Attributes:
    step: the step in which it began, counted as in metrics.jsonl: the number of
      updates with this one.
    what: "the loss is NaN", for example.
    place: where in the step; None if that was not found.
    batch: the features of the step's batch, `[batch_size, length]` by name.
  """

  step: int
  what: str
  place: numerics.Place | None
  batch: Mapping[str, np.ndarray]


class _ReplayHook(tf.train.SessionRunHook):
  """Raises a NotFiniteError after the first step that deserves one.

  It keeps the state before the last two steps, of which one is usually that.

  Attributes:
    batch: the features of the last batch.
  """

  def __init__(
      self,
      directory: str,
      last_step: int,
      metrics_every: int,
      display: progress.Display,
  ):
    """Creates the hook; `follow` must be called with the graph.

    Args:
      directory: for the states, as checkpoints.
      last_step: the step after which training saw the fault.
      metrics_every: steps between two calls that ask for all figures.
      display: the display.
    """
    self._directory = directory
    self._last_step = last_step
    self._metrics_every = metrics_every
    self._display = display
    self.batch: Mapping[str, np.ndarray] = {}

  def follow(self, graph: model_functions.TrainingGraph):
    """Takes the graph of training."""
    self._features = graph.features
    self._figures = graph.figures
    self._more_figures = [graph.layer_figures, graph.summaries]
    self._to_masters = graph.lowering.copy_slices_to_masters()
    self._weights = not_finite.Weights()
    self._saver = tf.train.Saver(sharded=True, save_relative_paths=True)
    # The Estimator restores with the saver in this collection.
    tf.add_to_collection(tf.GraphKeys.SAVERS, self._saver)

  def begin(self):
    """Finds the loss of the Estimator's graph."""
    self._loss = tf.get_collection(tf.GraphKeys.LOSSES)[-1]
    self._global_step = tf.train.get_global_step()

  def after_create_session(self, session, coord):
    """Continues from the restored step."""
    del coord
    self._step = int(session.run(self._global_step))

  def before_run(self, run_context):
    """Asks for the loss, the batch, and all that training has asked for.

    What is computed beside a step decides how TensorFlow rounds it.
    """
    del run_context
    fetches = [self._loss, self._features, self._figures]
    if (self._step + 1) % self._metrics_every == 0:
      fetches += self._more_figures
    return tf.train.SessionRunArgs(fetches)

  def after_run(self, run_context, run_values):
    """Looks at the loss and the weights, and saves them."""
    session = run_context.session
    loss, self.batch = run_values.results[:2]
    self._step = step = int(session.run(self._global_step))
    self._display.steps("replaying step", step, self._last_step)
    if not np.isfinite(loss):
      raise not_finite.NotFiniteError(step, not_finite.fault_of_loss(loss))
    session.run(self._to_masters)
    self._weights.check(session, step)
    if step >= self._last_step - 2:
      self._saver.save(
          session,
          checkpoints.path(self._directory, step),
          write_meta_graph=False,
      )
    if step == self._last_step:
      raise numerics.Done


def find(
    run: run_lib.Run,
    error: not_finite.NotFiniteError,
    training: Training,
    display: progress.Display,
) -> Finding:
  """Makes the steps since the last checkpoint again, and checks the bad one.

  Batches and draws are functions of the step, so that they are the same steps;
  the graph is the same too, because TensorFlow would round another one
  otherwise. The state before the bad step then goes to a graph that
  checks all tensors. Nothing is saved in the run's directory.

  Args:
    run: the run.
    error: what training has seen.
    training: as the run has called it.
    display: the display.

  Returns:
    the first step whose loss or new weights are not finite.
  """
  if run.tpu:  # Its tensors are out of reach of the host.
    return Finding(error.step, error.what, None, {})
  with _directory_of_states(run.model_dir) as directory:
    found, hook = error, None
    # Again if it began earlier, and the state before it is not kept.
    first_step = checkpoints.latest_step(run.model_dir)
    while hook is None or not (
        found.step - 1 == first_step or _is_saved(directory, found.step - 1)
    ):
      hook = _ReplayHook(directory, found.step, training.metrics_every, display)
      seen = _run(run, training, hook)
      if seen is None:
        return Finding(error.step, error.what, None, hook.batch)
      found = seen
    check = numerics.CheckHook()
    starts_there = _is_saved(directory, found.step - 1)
    _run(
        dataclasses.replace(run, model_dir=directory) if starts_there else run,
        training._replace(
            input_fn=lambda params: tf.data.Dataset.from_tensors(
                dict(hook.batch)
            )
        ),
        check,
        numerics.Lowering,
    )
  return Finding(found.step, found.what, check.place, hook.batch)


@contextlib.contextmanager
def _directory_of_states(model_dir: str) -> Iterator[str]:
  """A directory for states within a replay; where there is room for them."""
  directory = os.path.join(model_dir, "replay")
  if tf.io.gfile.exists(directory):  # Of a replay that was killed.
    tf.io.gfile.rmtree(directory)
  tf.io.gfile.makedirs(directory)
  try:
    yield directory
  finally:
    tf.io.gfile.rmtree(directory)


def _is_saved(directory: str, step: int) -> bool:
  return tf.train.checkpoint_exists(checkpoints.path(directory, step))


def _run(
    run: run_lib.Run,
    training: Training,
    hook: _ReplayHook | numerics.CheckHook,
    lower: Callable[..., mtf.Lowering] = mtf.Lowering,
) -> not_finite.NotFiniteError | None:
  """Trains from the latest checkpoint until the hook ends it.

  Args:
    run: the run.
    training: what decides the steps.
    hook: follows the graph.
    lower: makes the lowering.

  Returns:
    the error that the hook has raised; None if it has not.
  """

  def hooks_of(graph):
    hook.follow(graph)
    return training.make_hooks(graph)

  estimator = estimators.make(
      run,
      model_functions.training_model_fn(
          run, training.steps, hooks_of, lower, training.change_loss_at
      ),
      optimizes_graph=lower is mtf.Lowering,
  )
  try:
    estimator.train(training.input_fn, hooks=[hook])
  except not_finite.NotFiniteError as error:
    return error
  except numerics.Done:
    pass
  except tf.errors.OpError:  # For example, there is no memory for the checks.
    tf.logging.exception("the replay ended early")
  return None
