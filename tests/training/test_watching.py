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

"""Checkpoints that come while they are waited for."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import os
import types

import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import checkpoints
from mtf_switch.training import progress
from mtf_switch.training import watching


class Training:
  """Saves and removes checkpoints while others sleep.

  Attributes:
    output: what is said meanwhile.
  """

  def __init__(self, model_dir, *turns):
    self._model_dir = model_dir
    self._turns = iter(turns)
    self._variable = tf.get_variable("weight", shape=[1])
    self._saver = tf.train.Saver(max_to_keep=100, save_relative_paths=True)
    self._session = tf.Session()
    self._session.run(self._variable.initializer)
    self.output = io.StringIO()

  def save(self, *steps):
    for step in steps:
      self._saver.save(
          self._session,
          f"{self._model_dir}/model.ckpt",
          step,
          write_meta_graph=False,
      )

  def remove(self, step):
    for path in self._model_dir.glob(f"model.ckpt-{step}.*"):
      path.unlink()

  def watch(self, last_step=None, seconds=None):
    return watching.as_they_come(
        str(self._model_dir),
        lambda: last_step,
        seconds,
        progress.Display(rich.console.Console(file=self.output, width=200)),
        lambda seconds: next(self._turns)(self),
    )


@pytest.fixture(autouse=True)
def graph():
  with tf.Graph().as_default():
    yield


def nothing(training):
  """A look in vain."""


def half(training):
  """A checkpoint without its index, as while it is saved."""
  training.save(30)
  (training._model_dir / "model.ckpt-30.index").rename(
      training._model_dir / "index"
  )


def whole(training):
  (training._model_dir / "index").rename(
      training._model_dir / "model.ckpt-30.index"
  )


def test_each_checkpoint_once_and_in_order(tmp_path):
  training = Training(
      tmp_path, nothing, lambda t: t.save(10, 20), nothing, half, whole
  )
  assert list(training.watch(last_step=30)) == [10, 20, 30]
  assert training.output.getvalue().splitlines() == [
      "waiting for a checkpoint after step 0 of 30",
      "waiting for a checkpoint after step 20 of 30",
      "step 30 was the last one of train.steps = 30",
  ]


def test_a_run_that_is_over(tmp_path):
  training = Training(tmp_path)
  training.save(10, 20)
  assert list(training.watch(last_step=20)) == [10, 20]


def test_waiting_ends(tmp_path):
  training = Training(
      tmp_path, *[nothing] * 23, lambda t: t.save(10), *[nothing] * 24
  )
  assert list(training.watch(seconds=120)) == [10]
  assert training.output.getvalue().splitlines()[-1] == (
      "no new checkpoint for 2 minutes; the latest is of step 10"
  )


def test_checkpoints_that_are_removed_or_saved_again(tmp_path):
  training = Training(tmp_path, lambda t: t.save(20))
  training.save(10, 20, 30)
  found = training.watch(last_step=30)
  assert next(found) == 10
  training.remove(20)
  assert next(found) == 30
  training.remove(30)  # The run goes back and makes its last steps again.
  assert next(found) == 20
  training.save(30)
  os.utime(tmp_path / "model.ckpt-30.index", (1, 1))  # It took its time.
  assert list(found) == [30]


class FakeRun:
  """As much of a run as `evaluate` looks at."""

  def __init__(self, model_dir):
    self.model_dir = str(model_dir)
    self.experiment = types.SimpleNamespace(vocabularies=[])


def evaluate(training, function, checkpoint_step=None):
  watching.evaluate(
      FakeRun(training._model_dir),
      checkpoint_step,
      None,
      function,
      progress.Display(rich.console.Console(file=training.output, width=200)),
  )


def test_a_checkpoint_that_vanishes_is_a_note(tmp_path):
  files.write_json(f"{tmp_path}/model.json", {"train_steps": 20})
  training = Training(tmp_path)
  training.save(10, 20)
  evaluated = []

  def evaluate_step(step):
    if step == 10:
      training.remove(10)
      raise tf.errors.NotFoundError(None, None, "no such file")
    evaluated.append(step)

  evaluate(training, evaluate_step)
  assert evaluated == [20]
  assert "step 10 is not evaluated: its checkpoint was removed" in (
      training.output.getvalue()
  )


def test_a_damaged_checkpoint_is_a_note(tmp_path, monkeypatch):
  files.write_json(f"{tmp_path}/model.json", {"train_steps": 20})
  training = Training(tmp_path)
  training.save(10, 20)

  def select(model_dir, step):
    if step == 10:
      raise errors.UserError("model.ckpt-10 is damaged.")

  monkeypatch.setattr(checkpoints, "select", select)
  evaluated = []
  evaluate(training, evaluated.append)
  assert evaluated == [20]
  assert "step 10 is not evaluated: model.ckpt-10 is damaged." in (
      training.output.getvalue()
  )


def test_other_errors_end_it(tmp_path):
  training = Training(tmp_path)
  training.save(10)

  def evaluate_step(step):
    raise errors.UserError("no target tokens")

  with pytest.raises(errors.UserError, match="no target tokens"):
    evaluate(training, evaluate_step)
  with pytest.raises(errors.UserError, match="leave out checkpoint_step = 10"):
    evaluate(training, evaluate_step, checkpoint_step=10)
  assert checkpoints.steps(str(tmp_path)) == [10]
