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

"""The steps at which checkpoints are saved, and which of them stay."""

import mtf_switch  # isort: skip  # noqa: F401
import types

import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.training import checkpoint_hook
from mtf_switch.training import checkpoints
from tests.training import checkpoint_runs


def train(*args, **kwargs):
  saved, _ = checkpoint_runs.train(*args, **kwargs)
  return saved


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
    hook = checkpoint_hook.CheckpointHook(
        str(tmp_path), lowering, [200, 250], list, [], steps_per_call=100
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


def test_the_best_survive_restarts_until_they_are_surpassed(tmp_path):
  def train_on(last_step, best):
    train(tmp_path, last_step, [2], 1, lambda steps: best & set(steps))
    return checkpoints.steps(str(tmp_path))

  assert train_on(6, best={2, 4}) == [2, 4, 6]
  assert train_on(10, best={2, 6}) == [2, 6, 10]
  # Found by select, and by the step that a user asks for.
  assert checkpoints.select(str(tmp_path), "all") == [2, 6, 10]
  assert checkpoints.select(str(tmp_path), 2) == [2]
  assert train_on(12, best=set()) == [12]
  assert not list(tmp_path.glob("model.ckpt-2.*"))


def test_a_checkpoint_of_another_model_is_refused_before_the_session(tmp_path):
  train(tmp_path, 2, periods=[2])
  with pytest.raises(errors.UserError, match="w is 1 there and 3 here. Sizes"):
    train(tmp_path, 4, periods=[2], size=3)
  assert checkpoints.steps(str(tmp_path)) == [2]
