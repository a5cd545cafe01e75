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

"""The hook that saves the checkpoints of a run."""

from collections.abc import Callable, Sequence

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.training import checkpoint_fit
from mtf_switch.training import checkpoints

# TensorFlow's Saver lists so many and removes none.
_UNLIMITED = 2**31 - 1


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


class _Pruning(tf.train.CheckpointSaverListener):
  """Removes checkpoints after each save, and from the saver's list as well."""

  def __init__(
      self,
      model_dir: str,
      saver: tf.train.Saver,
      prune: Callable[[], Sequence[int]],
  ):
    self._model_dir = model_dir
    self._saver = saver
    self._prune = prune

  def after_save(self, session, global_step_value):
    del session, global_step_value
    remaining = self._prune()
    self._saver.recover_last_checkpoints(
        [checkpoints.path(self._model_dir, step) for step in remaining]
    )


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
      prune: Callable[[], Sequence[int]],
      listeners: Sequence[tf.train.CheckpointSaverListener],
      steps_per_call: int = 1,
  ):
    """Creates the hook; all variables must exist.

    Args:
      model_dir: the directory of the checkpoints.
      lowering: copies the variables' slices to their masters.
      periods: numbers of steps; a checkpoint is saved at their multiples.
      prune: removes checkpoints that need not stay; see checkpoints.prune.
      listeners: called before and after each checkpoint.
      steps_per_call: the most steps that a call of the session makes.
    """
    saver = tf.train.Saver(
        tf.global_variables(),
        sharded=True,
        max_to_keep=_UNLIMITED,
        save_relative_paths=True,
    )
    # The Estimator restores with the saver in this collection.
    tf.add_to_collection(tf.GraphKeys.SAVERS, saver)
    super().__init__(
        model_dir,
        save_steps=min(periods),
        saver=saver,
        listeners=[
            mtf.MtfCheckpointSaverListener(lowering),
            *listeners,
            _Pruning(model_dir, saver, prune),
        ],
        save_graph_def=False,
    )
    self._timer = _MultiplesTimer(periods)
    # The hook looks at the step before a call, and asks whether to look again.
    self._set_steps_per_run(steps_per_call)

  def begin(self):
    """Refuses the checkpoint to be restored if it is of another model."""
    super().begin()
    step = checkpoints.latest_step(self._checkpoint_dir)
    if step:
      checkpoint_fit.check(checkpoints.path(self._checkpoint_dir, step))

  def after_create_session(self, session, coord):
    """Counts from the restored step, so that it is not saved again."""
    del coord
    step = session.run(self._global_step_tensor)
    self._timer.update_last_triggered_step(step)
