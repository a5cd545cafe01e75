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
import datetime
import os
from typing import Any, NamedTuple

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


class WeightsListener(tf.train.CheckpointSaverListener):
  """Refuses to save weights, or an optimizer's state, that are not finite."""

  def __init__(self):
    """Adds the check to the graph; all variables must exist."""
    variables = [v for v in tf.global_variables() if v.dtype.is_floating]
    self._names = [variable.op.name for variable in variables]
    are_finite = []
    for variable in variables:
      with tf.device(variable.device):
        are_finite.append(
            tf.reduce_all(tf.math.is_finite(variable.read_value()))
        )
    self._are_finite = are_finite

  def before_save(self, session, global_step_value):
    """Raises a NotFiniteError in place of saving."""
    are_finite = session.run(self._are_finite)
    bad = [n for n, is_finite in zip(self._names, are_finite) if not is_finite]
    if bad:
      raise NotFiniteError(int(global_step_value), _not_finite(bad))


class Finding(NamedTuple):
  """What a replay has found.

  Attributes:
    step: the step in which it began, counted as in metrics.jsonl: the number of
      updates with this one.
    place: where in the step; None if the replay did not show it again.
    batch: the features of the step's batch, `[batch_size, length]` by name.
  """

  step: int
  place: numerics.Place | None
  batch: Mapping[str, np.ndarray]


def find(
    run: run_lib.Run,
    error: NotFiniteError,
    steps: int,
    input_fn,
    make_hooks: Callable[[model_functions.TrainingGraph], Sequence[Any]],
    display: progress.Display,
) -> Finding:
  """Makes the steps since the last checkpoint again, with numerics checks.

  Nothing is saved.

  Args:
    run: the run.
    error: what training has seen.
    steps: updates to be made in all, for the learning rate.
    input_fn: returns the batches since the last checkpoint.
    make_hooks: makes the hooks that set initial weights.
    display: the display.

  Returns:
    the first step whose loss or new weights are not finite.
  """
  if run.tpu:  # Its tensors are out of reach of the host.
    return Finding(error.step, None, {})
  hook = numerics.ReplayHook(error.step, display)

  def hooks_of(graph):
    hook.follow(graph)
    return make_hooks(graph)

  estimator = estimators.make(
      run,
      model_functions.training_model_fn(
          run, steps, hooks_of, numerics.Lowering
      ),
  )
  try:
    estimator.train(input_fn, hooks=[hook], max_steps=error.step)
  except numerics.Found:
    pass
  except (tf.errors.OpError, tf.estimator.NanLossDuringTrainingError):
    tf.logging.exception("the replay ended early")
  return Finding(hook.step or error.step, hook.place, hook.batch)


def recover(
    run: run_lib.Run,
    error: NotFiniteError,
    steps: int,
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
  finding = find(run, error, steps, input_fn, make_hooks, display)
  skipped = skipped_batches.read(model_dir)
  batch = skipped_batches.batch_of(finding.step - 1, skipped)
  _report(run, error, finding, checkpoint, batch)
  line = (
      f"step {finding.step}: {finding.place or error.what}; see "
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
