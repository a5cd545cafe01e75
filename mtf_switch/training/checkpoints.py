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

"""Checkpoints: finding those of a directory, and saving those of a run."""

from collections.abc import Sequence
import os
import re
from typing import Annotated, Literal

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import values

# -1 is the latest too, as in T5's gin files.
Step = Annotated[
    Literal[-1] | values.CountOrZero | None,
    "a whole number of at least 0, or None for the latest",
]
_Steps = Annotated[Sequence[values.CountOrZero], values.NOT_EMPTY]
Selection = Annotated[
    Step | _Steps | Literal["all"],
    "a step, a list of steps, 'all', or None for the latest",
]

_PREFIX = "model.ckpt-"


def steps(model_dir: str) -> list[int]:
  """Returns the steps of the complete checkpoints of a directory, in order."""
  state = tf.train.get_checkpoint_state(model_dir)
  if state is None:
    return []
  paths = state.all_model_checkpoint_paths
  names = [os.path.basename(p) for p in paths if tf.train.checkpoint_exists(p)]
  return sorted(int(name[len(_PREFIX) :]) for name in names)


def latest_step(model_dir: str) -> int:
  """Returns the step at which training would resume; 0 in a new directory."""
  return max(steps(model_dir), default=0)


def path(model_dir: str, step: int | str) -> str:
  """Returns the path of a checkpoint, as tf.train.Saver expects it."""
  return os.path.join(model_dir, f"{_PREFIX}{step}")


def select(
    model_dir: str, checkpoint_step: Selection, setting: str = "--model_dir"
) -> list[int]:
  """Returns the steps of the selected checkpoints.

  Args:
    model_dir: the directory of the checkpoints.
    checkpoint_step: see Selection.
    setting: the flag or gin parameter that names the directory.

  Returns:
    steps, in order.

  Raises:
    UserError: there is no such checkpoint.
  """
  available = steps(model_dir) or _steps_of_files(model_dir)
  if not available:
    raise errors.UserError(
        f"there is no checkpoint in {model_dir!r}; train first, or correct "
        f"{setting}."
    )
  if checkpoint_step == "all":
    return available
  if checkpoint_step in (None, -1):
    return available[-1:]
  if isinstance(checkpoint_step, int):
    checkpoint_step = [checkpoint_step]
  for step in checkpoint_step:
    if step not in available:
      raise errors.UserError(
          f"there is no checkpoint of step {step} in {model_dir!r}, only of "
          f"{', '.join(map(str, available))}."
      )
  return sorted(checkpoint_step)


def _steps_of_files(model_dir: str) -> list[int]:
  """Returns the steps of checkpoints that TensorFlow's list does not name.

  Copies often come without the list.
  """
  names = tf.io.gfile.glob(path(model_dir, "*.index"))
  found = (re.fullmatch(r".*-(\d+)\.index", name) for name in names)
  return sorted(int(match[1]) for match in found if match)


class _MultiplesTimer(tf.train.SecondOrStepTimer):
  """Triggers at the multiples of several numbers of steps.

  Steps count from 0 and not from the step at which a run resumed, so that runs
  with and without an interruption save at the same steps. On TPUs one call of
  the session makes many steps, and a multiple may lie between two calls.
  """

  def __init__(self, periods: Sequence[int]):
    super().__init__(every_steps=min(periods))
    self._periods = periods

  def should_trigger_for_step(self, step):
    last = self.last_triggered_step()
    return any(step // period > last // period for period in self._periods)


class CheckpointHook(tf.train.CheckpointSaverHook):
  """Saves at multiples of the given numbers of steps and at the end.

  TensorFlow's hook also writes the graph as text, twice, which takes longer
  than the first hundred steps of a small model, and saves the checkpoint that
  it has just restored again.
  """

  def __init__(
      self,
      model_dir: str,
      lowering: mtf.Lowering,
      periods: Sequence[int],
      keep_checkpoint_max: int,
      listeners: Sequence[tf.train.CheckpointSaverListener],
  ):
    """Creates the hook; all variables must exist.

    Args:
      model_dir: the directory of the checkpoints.
      lowering: copies the variables' slices to their masters.
      periods: numbers of steps; a checkpoint is saved at their multiples.
      keep_checkpoint_max: the number of latest checkpoints to keep.
      listeners: called before and after each checkpoint.
    """
    saver = tf.train.Saver(
        tf.global_variables(),
        sharded=True,
        max_to_keep=keep_checkpoint_max,
        save_relative_paths=True,
    )
    # The Estimator restores with the saver in this collection.
    tf.add_to_collection(tf.GraphKeys.SAVERS, saver)
    super().__init__(
        model_dir,
        save_steps=min(periods),
        saver=saver,
        listeners=[mtf.MtfCheckpointSaverListener(lowering), *listeners],
        save_graph_def=False,
    )
    self._timer = _MultiplesTimer(periods)

  def after_create_session(self, session, coord):
    """Counts from the restored step, so that it is not saved again."""
    del coord
    step = session.run(self._global_step_tensor)
    self._timer.update_last_triggered_step(step)
