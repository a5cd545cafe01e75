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

"""Checkpoints as a run saves them, for evaluation beside the training."""

from collections.abc import Callable, Iterator
import os
import time
from typing import Any

import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import values
from mtf_switch.training import checkpoints
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin
from mtf_switch.training import vocabulary_record

_SECONDS_BETWEEN_LOOKS = 5


def evaluate(
    run: run_lib.Run,
    checkpoint_step: checkpoints.Selection,
    minutes: float | None,
    evaluate_step: Callable[[int], None],
    display: progress.Display,
):
  """Evaluates the checkpoints of a run until it has ended.

  Args:
    run: the run.
    checkpoint_step: must be None or "all".
    minutes: how long to wait for a checkpoint before giving up; None to wait
      without an end.
    evaluate_step: evaluates the checkpoint of a step, unless that is done.
    display: the display.

  Raises:
    UserError: checkpoint_step asks for others, or the checkpoints are of
      another vocabulary.
  """
  if checkpoint_step not in (None, "all"):
    raise errors.UserError(
        "--watch evaluates all checkpoints; leave out checkpoint_step = "
        f"{checkpoint_step!r}."
    )
  model_dir = run.model_dir
  for step in as_they_come(
      model_dir,
      lambda: _last_step(model_dir),
      None if minutes is None else 60 * minutes,
      display,
  ):
    vocabulary_record.check(model_dir, run.experiment.vocabularies)
    try:
      checkpoints.select(model_dir, step)
    except errors.UserError as error:  # It is damaged, or removed already.
      display.note(f"step {step} is not evaluated: {error}")
      continue
    try:
      evaluate_step(step)
    except Exception as error:  # pylint: disable=broad-exception-caught
      # Whatever TensorFlow makes of files that vanish while it reads them.
      if step in checkpoints.steps(model_dir):
        raise
      tf.logging.warning("step %d: %s", step, error)
      display.note(
          f"step {step} is not evaluated: its checkpoint was removed before the"
          " end; train.keep_checkpoint_max keeps more of them"
      )


def as_they_come(
    model_dir: str,
    last_step: Callable[[], int | None],
    seconds: float | None,
    display: progress.Display,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[int]:
  """Waits for checkpoints.

  Args:
    model_dir: the directory of the run.
    last_step: returns the last step of the run; None if it is not known.
    seconds: how long to wait for a checkpoint before giving up; None to wait
      without an end.
    display: the display.
    sleep: waits for seconds.

  Yields:
    The step of each complete checkpoint, once, in order, and once more if it
    is saved again.
  """
  seen = set()
  waited = 0
  while True:
    steps = checkpoints.steps(model_dir)
    for step in steps:
      saved = (step, _saved_at(model_dir, step))
      if saved not in seen:
        break
    else:
      latest = max(steps, default=0)
      last = last_step()
      if last and latest >= last:
        display.note(f"step {latest} was the last one of train.steps = {last}")
        return
      if seconds is not None and waited >= seconds:
        display.note(
            f"no new checkpoint for {waited / 60:g} minutes; the latest is of "
            f"step {latest}"
        )
        return
      if not waited:
        display.status(
            f"waiting for a checkpoint after step {latest}"
            + (f" of {last}" if last else ", until interrupted" * (not seconds))
        )
      sleep(_SECONDS_BETWEEN_LOOKS)
      waited += _SECONDS_BETWEEN_LOOKS
      continue
    seen.add(saved)
    yield step
    waited = 0


def _saved_at(model_dir: str, step: int) -> int | None:
  """When a checkpoint was saved, in nanoseconds; None if it has vanished."""
  try:
    index = checkpoints.path(model_dir, step) + ".index"
    return tf.io.gfile.stat(index).mtime_nsec
  except tf.errors.NotFoundError:
    return None


def _last_step(model_dir: str) -> int | None:
  """The step at which the run ends: as gin says, or as it has recorded."""
  path = os.path.join(model_dir, "model.json")
  # Earlier versions recorded no number of steps.
  recorded = files.read_json(path, dict[str, Any]) or {}
  steps = recorded.get("train_steps")
  values.check(f"train_steps in {path}", steps, int | None)
  return strict_gin.value("train.steps") or steps
