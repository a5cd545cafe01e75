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

"""What a run does when its loss or its weights stop being finite numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import datetime
import os
from typing import Any, NamedTuple

import mesh_tensorflow as mtf
import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import checkpoints
from mtf_switch.training import estimators
from mtf_switch.training import model_functions
from mtf_switch.training import numerics
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import skipped_batches

_REPORTS = "not_finite.json"
# Where checkpoints go that must not be resumed from.
_SET_ASIDE = "not_finite"
# Examples of a batch in a report, and characters of each text.
_NUM_EXAMPLES = 16
_NUM_CHARACTERS = 500


class NotFiniteError(Exception):
  """The loss or the weights are not finite.

  Attributes:
    step: the number of updates with the one after which this was seen. It may
      have begun in an earlier one.
    what: "the loss is NaN", for example.
  """

  def __init__(self, step: int, what: str):
    super().__init__(f"step {step}: {what}")
    self.step = step
    self.what = what


class LossHook(tf.train.SessionRunHook):
  """Raises a NotFiniteError when the loss is NaN or infinite.

  To be given to Estimator.train, so that it comes before the Estimator's own
  hook, which stops for NaN only and cannot say where.
  """

  def begin(self):
    """Finds the loss of the Estimator's graph."""
    self._loss = tf.get_collection(tf.GraphKeys.LOSSES)[-1]
    self._global_step = tf.train.get_global_step()

  def before_run(self, run_context):
    """Asks for the loss, which others fetch anyway."""
    del run_context
    return tf.train.SessionRunArgs(self._loss)

  def after_run(self, run_context, run_values):
    """Looks at the loss."""
    loss = run_values.results
    if not np.isfinite(loss):
      raise NotFiniteError(
          int(run_context.session.run(self._global_step)),
          f"the loss is {_name_of(loss)}",
      )


class _Weights:
  """The check of all variables: weights and the optimizer's state."""

  def __init__(self):
    """Adds the check to the graph; all variables must exist."""
    variables = [v for v in tf.global_variables() if v.dtype.is_floating]
    self._names = [variable.op.name for variable in variables]
    self._are_finite = []
    for variable in variables:
      with tf.device(variable.device):
        self._are_finite.append(
            tf.reduce_all(tf.math.is_finite(variable.read_value()))
        )

  def check(self, session, step: int):
    """Raises a NotFiniteError if a variable is not finite."""
    are_finite = session.run(self._are_finite)
    bad = [n for n, is_finite in zip(self._names, are_finite) if not is_finite]
    if bad:
      raise NotFiniteError(step, _not_finite(bad))


class WeightsListener(tf.train.CheckpointSaverListener):
  """Refuses to save weights, or an optimizer's state, that are not finite."""

  def __init__(self):
    """Adds the check to the graph; all variables must exist."""
    self._weights = _Weights()

  def before_save(self, session, global_step_value):
    """Raises a NotFiniteError in place of saving."""
    self._weights.check(session, int(global_step_value))


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
    self._weights = _Weights()
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
      raise NotFiniteError(step, f"the loss is {_name_of(loss)}")
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
    error: NotFiniteError,
    steps: int,
    metrics_every: int,
    input_fn,
    make_hooks: Callable[[model_functions.TrainingGraph], Sequence[Any]],
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
    steps: updates to be made in all, for the learning rate.
    metrics_every: steps between two records in metrics.jsonl.
    input_fn: returns the batches since the last checkpoint.
    make_hooks: makes the hooks that set initial weights.
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
      hook = _ReplayHook(directory, found.step, metrics_every, display)
      seen = _run(run, steps, input_fn, hook, make_hooks)
      if seen is None:
        return Finding(error.step, error.what, None, hook.batch)
      found = seen
    check = numerics.CheckHook()
    starts_there = _is_saved(directory, found.step - 1)
    _run(
        dataclasses.replace(run, model_dir=directory) if starts_there else run,
        steps,
        lambda params: tf.data.Dataset.from_tensors(dict(hook.batch)),
        check,
        make_hooks,
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
    steps: int,
    input_fn,
    hook: _ReplayHook | numerics.CheckHook,
    make_hooks: Callable[[model_functions.TrainingGraph], Sequence[Any]],
    lower: Callable[..., mtf.Lowering] = mtf.Lowering,
) -> NotFiniteError | None:
  """Trains from the latest checkpoint until the hook ends it.

  Args:
    run: the run.
    steps: updates to be made in all, for the learning rate.
    input_fn: returns the batches.
    hook: follows the graph.
    make_hooks: makes the hooks that set initial weights.
    lower: makes the lowering.

  Returns:
    the error that the hook has raised; None if it has not.
  """

  def hooks_of(graph):
    hook.follow(graph)
    return make_hooks(graph)

  estimator = estimators.make(
      run,
      model_functions.training_model_fn(run, steps, hooks_of, lower),
      optimizes_graph=lower is mtf.Lowering,
  )
  try:
    estimator.train(input_fn, hooks=[hook])
  except NotFiniteError as error:
    return error
  except numerics.Done:
    pass
  except tf.errors.OpError:  # For example, there is no memory for the checks.
    tf.logging.exception("the replay ended early")
  return None


def recover(
    run: run_lib.Run,
    error: NotFiniteError,
    steps: int,
    metrics_every: int,
    input_fn,
    make_hooks: Callable[[model_functions.TrainingGraph], Sequence[Any]],
    skips: bool,
    max_skipped_batches: int,
    display: progress.Display,
):
  """Finds where it began and, if it may, leaves out the batch.

  Training then goes on from the last checkpoint.

  Args:
    run: the run.
    error: what training has seen.
    steps: updates to be made in all, for the learning rate.
    metrics_every: steps between two records in metrics.jsonl.
    input_fn: returns the batches since the last checkpoint.
    make_hooks: makes the hooks that set initial weights.
    skips: whether the batch may be left out.
    max_skipped_batches: how many the run may leave out in all.
    display: the display.

  Raises:
    UserError: the run stops here.
  """
  model_dir = run.model_dir
  for step, names in set_aside(model_dir):
    display.note(
        f"the checkpoint of step {step} is moved to "
        f"{os.path.join(model_dir, _SET_ASIDE)}: {_not_finite(names)}"
    )
  checkpoint = checkpoints.latest_step(model_dir)
  display.status(
      f"step {error.step}: {error.what}; looking for its origin from step "
      f"{checkpoint} on"
  )
  finding = find(
      run, error, steps, metrics_every, input_fn, make_hooks, display
  )
  skipped = skipped_batches.read(model_dir)
  batch = skipped_batches.batch_of(finding.step - 1, skipped)
  _report(run, error, finding, checkpoint, batch)
  line = (
      f"step {finding.step}: {finding.place or finding.what}; see "
      f"{os.path.join(model_dir, _REPORTS)}."
  )
  good = (
      f" The last good checkpoint is of step {checkpoint}."
      if checkpoint
      else " There is no checkpoint before it."
  )
  if not skips or (finding.place and finding.place.phase == "weights"):
    raise errors.UserError(
        f"{line}{good} A lower learning rate or a longer warm-up may help, or "
        "train.on_not_finite = 'skip', which leaves such batches out."
    )
  if len(skipped) >= max_skipped_batches:
    raise errors.UserError(
        f"{line}{good} train.max_skipped_batches = {max_skipped_batches} are "
        "left out already; this is hardly due to single batches. A lower "
        "learning rate or a longer warm-up may help."
    )
  skipped_batches.add(model_dir, batch, finding.step)
  display.note(
      f"{line} Batch {batch} is left out ({len(skipped) + 1} of at most "
      f"{max_skipped_batches}); going on from step {checkpoint}"
  )


def set_aside(model_dir: str) -> Iterator[tuple[int, list[str]]]:
  """Moves the latest checkpoints away whose variables are not finite.

  Such checkpoints are not saved, but older versions did.

  Args:
    model_dir: the directory of the checkpoints.

  Yields:
    The step of each one that is moved, and the names of the variables.
  """
  while step := checkpoints.latest_step(model_dir):
    names = _not_finite_in(checkpoints.path(model_dir, step))
    if not names:
      return
    checkpoints.set_aside(model_dir, step, os.path.join(model_dir, _SET_ASIDE))
    yield step, names


def _not_finite_in(path: str) -> list[str]:
  """The names of a checkpoint's variables that are not finite."""
  reader = tf.train.load_checkpoint(path)
  dtypes = reader.get_variable_to_dtype_map()
  return [
      name
      for name, dtype in sorted(dtypes.items())
      if dtype.is_floating
      and not np.isfinite(reader.get_tensor(name).astype(np.float32)).all()
  ]


def _report(
    run: run_lib.Run,
    error: NotFiniteError,
    finding: Finding,
    checkpoint: int,
    batch: int,
):
  """Adds a finding to the file of reports."""
  path = os.path.join(run.model_dir, _REPORTS)
  report = {
      "step": finding.step,
      "seen_at_step": error.step,
      "seen": error.what,
      "place": finding.place and finding.place._asdict(),
      "last_good_checkpoint": checkpoint or None,
      "batch": batch,
      "examples": examples(finding.batch, run.experiment.vocabularies),
      "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
  }
  files.write_json(path, [*(files.read_json(path) or []), report])


def examples(
    batch: Mapping[str, np.ndarray], vocabularies: Sequence[Any]
) -> list[dict[str, str]]:
  """Returns the first examples of a batch as text.

  Args:
    batch: `[batch_size, length]` ids by name; "<name>_segmentation" numbers the
      examples of a row from 1, where rows have several.
    vocabularies: of inputs and targets.

  Returns:
    texts by feature, cut to a length that can be read.
  """
  named = dict(zip(("inputs", "targets"), vocabularies))
  features = {name: v for name, v in named.items() if name in batch}
  numbers = {
      name: np.asarray(batch.get(f"{name}_segmentation", batch[name] != 0))
      for name in features
  }
  found = []
  for row in range(max((len(x) for x in numbers.values()), default=0)):
    last = max(int(numbers[name][row].max()) for name in features)
    for number in range(1, last + 1):
      texts = {}
      for name, vocabulary in features.items():
        ids = batch[name][row][numbers[name][row] == number]
        text = vocabulary.decode([int(i) for i in ids])
        texts[name] = text[:_NUM_CHARACTERS]
      found.append(texts)
      if len(found) == _NUM_EXAMPLES:
        return found
  return found


def _not_finite(names: Sequence[str]) -> str:
  """For example: a/b and 3 others are not finite."""
  if len(names) == 1:
    return f"{names[0]} is not finite"
  return f"{names[0]} and {len(names) - 1} others are not finite"


def _name_of(value: float) -> str:
  return "NaN" if np.isnan(value) else "infinite"
