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

"""Finding checkpoints, and the steps at which they are written."""

import mtf_switch  # isort: skip  # noqa: F401
import types

import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.training import checkpoints


class Recorder(tf.train.CheckpointSaverListener):
  """Records the steps of the checkpoints after which it is called."""

  def __init__(self):
    self.steps = []

  def after_save(self, session, global_step_value):
    self.steps.append(global_step_value)


def train(model_dir, last_step, periods, keep=100):
  """Counts from the latest checkpoint; returns the saved steps."""
  recorder = Recorder()
  with tf.Graph().as_default():
    train_op = tf.assign_add(tf.train.get_or_create_global_step(), 1)
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    lowering = mtf.Lowering(
        mesh.graph,
        {mesh: mtf.placement_mesh_impl.PlacementMeshImpl("", "", [""])},
    )
    hooks = [
        checkpoints.CheckpointHook(
            str(model_dir), lowering, periods, keep, [recorder]
        ),
        tf.train.StopAtStepHook(last_step=last_step),
    ]
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=str(model_dir),
        hooks=hooks,
        save_checkpoint_secs=None,
        save_summaries_secs=None,
        log_step_count_steps=None,
    ) as session:
      while not session.should_stop():
        session.run(train_op)
  return recorder.steps


def test_saves_at_multiples_and_at_the_end(tmp_path):
  assert train(tmp_path, 10, periods=[3, 5]) == [3, 5, 6, 9, 10]
  assert checkpoints.steps(str(tmp_path)) == [3, 5, 6, 9, 10]
  assert not list(tmp_path.glob("*.meta")) + list(tmp_path.glob("*.pbtxt"))


def test_interruption_does_not_shift_the_steps(tmp_path):
  assert train(tmp_path, 7, periods=[4]) == [4, 7]
  assert train(tmp_path, 13, periods=[4]) == [8, 12, 13]


def test_last_step_is_saved_once(tmp_path):
  assert train(tmp_path, 8, periods=[4]) == [4, 8]


def test_loops_on_a_tpu_delay_no_checkpoint(tmp_path, monkeypatch):
  """There the step that a call fetches is that before its loop."""
  with tf.Graph().as_default():
    tf.train.get_or_create_global_step()
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    lowering = mtf.Lowering(
        mesh.graph,
        {mesh: mtf.placement_mesh_impl.PlacementMeshImpl("", "", [""])},
    )
    hook = checkpoints.CheckpointHook(
        str(tmp_path), lowering, [200, 250], 5, [], steps_per_call=100
    )
    hook.begin()
  saved = []
  monkeypatch.setattr(hook, "_save", lambda session, step: saved.append(step))
  for step in range(0, 1000, 100):
    session = types.SimpleNamespace(run=lambda fetch, step=step: step + 100)
    if not step:
      first = types.SimpleNamespace(run=lambda fetch: 0)
      hook.after_create_session(first, None)
    hook.after_run(
        tf.train.SessionRunContext(None, session),
        tf.train.SessionRunValues(step, None, None),
    )
  assert saved == [200, 300, 400, 500, 600, 800, 1000]


def test_keeps_the_latest(tmp_path):
  train(tmp_path, 8, periods=[2], keep=2)
  assert checkpoints.steps(str(tmp_path)) == [6, 8]
  train(tmp_path, 10, periods=[2], keep=2)
  assert checkpoints.steps(str(tmp_path)) == [8, 10]


def test_selection(tmp_path):
  model_dir = str(tmp_path)
  assert checkpoints.latest_step(model_dir) == 0
  train(tmp_path, 6, periods=[2])
  assert checkpoints.latest_step(model_dir) == 6
  assert checkpoints.select(model_dir, None) == [6]
  assert checkpoints.select(model_dir, -1) == [6]
  assert checkpoints.select(model_dir, 4) == [4]
  assert checkpoints.select(model_dir, [6, 2]) == [2, 6]
  assert checkpoints.select(model_dir, "all") == [2, 4, 6]
  assert tf.train.checkpoint_exists(checkpoints.path(model_dir, 4))


def test_missing_checkpoints_are_named(tmp_path):
  model_dir = str(tmp_path)
  with pytest.raises(errors.UserError) as error:
    checkpoints.select(model_dir, None)
  assert str(error.value) == (
      f"there is no checkpoint in {model_dir!r}; train first, or correct "
      "--model_dir."
  )
  train(tmp_path, 4, periods=[2])
  with pytest.raises(errors.UserError) as error:
    checkpoints.select(model_dir, [2, 3])
  assert str(error.value) == (
      f"there is no checkpoint of step 3 in {model_dir!r}, only of 2, 4."
  )
  # The files are deleted, but the file "checkpoint" still names them.
  for path in tmp_path.glob("model.ckpt-4*"):
    path.unlink()
  assert checkpoints.steps(model_dir) == [2]


def test_a_copy_without_the_list_is_found(tmp_path):
  train(tmp_path, 10, periods=[4])
  (tmp_path / "checkpoint").unlink()
  assert checkpoints.latest_step(str(tmp_path)) == 0  # As in a new directory.
  assert checkpoints.select(str(tmp_path), None) == [10]
  assert checkpoints.select(str(tmp_path), "all") == [4, 8, 10]
  with pytest.raises(errors.UserError, match="or correct the_setting."):
    checkpoints.select(str(tmp_path / "empty"), None, "the_setting")
