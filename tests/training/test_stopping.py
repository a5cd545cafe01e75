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

"""Signals in training, sent to this process."""

import mtf_switch  # isort: skip  # noqa: F401
import os
import signal

import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.modes import train
from mtf_switch.training import endings
from mtf_switch.training import stopping


def send(number=signal.SIGTERM):
  os.kill(os.getpid(), number)


def test_signals_interrupt_unless_they_are_deferred(received):
  with stopping.Request() as request:
    with request.deferring(True):
      send()
      send(signal.SIGINT)
      assert request.signal == signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):
      request.act()
    assert received == [signal.SIGTERM]
    with pytest.raises(KeyboardInterrupt):
      send(signal.SIGINT)  # The first signal counts.
  send()  # As before.
  assert received == [signal.SIGTERM] * 3


def test_a_signal_that_was_deferred_comes_before_what_is_not(received):
  with stopping.Request() as request, request.deferring(True):
    send()
    with pytest.raises(KeyboardInterrupt):
      with request.deferring(False):
        pytest.fail("The signal is not acted on.")
    assert request.is_deferred
  assert received == [signal.SIGTERM]


def test_signals_that_are_ignored_stay_ignored():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with stopping.Request() as request:
      send(signal.SIGHUP)
      request.act()
      assert not request.signal
  finally:
    signal.signal(signal.SIGHUP, before)


class _Send(tf.train.SessionRunHook):
  """Sends SIGTERM within a step, to a session that goes on."""

  def __init__(self, step):
    self._step = step

  def before_run(self, run_context):
    step = run_context.session.run(tf.train.get_global_step())
    if step + 1 == self._step:
      send()


def test_a_session_ends_after_the_step_and_is_saved(tmp_path, received):
  with tf.Graph().as_default(), stopping.Request() as request:
    train_op = tf.assign_add(tf.train.get_or_create_global_step(), 1)
    with request.deferring(False):
      with tf.train.MonitoredTrainingSession(
          checkpoint_dir=str(tmp_path),
          save_checkpoint_steps=100,
          save_summaries_steps=None,
          hooks=[stopping.StopHook(request), _Send(3)],
      ) as session:
        while not session.should_stop():
          session.run(train_op)
    assert not request.is_deferred
  assert tf.train.latest_checkpoint(str(tmp_path)).endswith("-3")
  assert not received


def test_an_evaluation_ends_at_once_and_so_does_training(received):
  evaluated = []

  def evaluate(step):
    evaluated.append(step)
    send()
    evaluated.append("to its end")

  with stopping.Request() as request, request.deferring(True):
    evaluation = train._PeriodicEvaluation(6, evaluate, request)
    assert not evaluation.after_save(None, 5)
    assert evaluation.after_save(None, 6)
    assert request.is_deferred
    # The next checkpoint, that of the end, is not evaluated.
    assert evaluation.after_save(None, 12)
  assert evaluated == [6]


def save(model_dir, step):
  with tf.Graph().as_default(), tf.Session() as session:
    tf.get_variable("weight", [1])
    session.run(tf.global_variables_initializer())
    tf.train.Saver(sharded=True).save(session, f"{model_dir}/model.ckpt", step)


def test_what_is_said_of_a_signal(tmp_path, received):
  with pytest.raises(KeyboardInterrupt):
    with endings.losing_nothing(str(tmp_path)):
      send()
  save(tmp_path, 37)
  with pytest.raises(errors.Stopped) as stopped:
    with endings.losing_nothing(str(tmp_path)):
      send()
  assert str(stopped.value) == (
      "stopped by SIGTERM at step 37, which is saved; run the same command to "
      "go on."
  )
  assert stopped.value.exit_status == 75
  with pytest.raises(KeyboardInterrupt):  # No signal: a debugger's, say.
    with endings.losing_nothing(str(tmp_path)):
      raise KeyboardInterrupt


def test_what_is_said_of_a_full_disk(tmp_path):
  def fill():
    with endings.losing_nothing(str(tmp_path)):
      with tf.io.gfile.GFile("/dev/full", "w") as file:
        file.write("text")

  with pytest.raises(errors.UserError) as error:
    fill()
  assert str(error.value) == (
      "/dev/full: No space left on device. There is no checkpoint; once that is"
      " mended, run the same command to go on."
  )
  save(tmp_path, 37)
  with pytest.raises(errors.UserError, match="The last checkpoint is of step "):
    fill()
  with pytest.raises(ZeroDivisionError):
    with endings.losing_nothing(str(tmp_path)):
      raise ZeroDivisionError


def test_a_session_that_ends_too_early(tmp_path):
  save(tmp_path, 3)
  endings.check_step(str(tmp_path), 3)
  with pytest.raises(errors.UserError, match="ended at step 3 and not at 5"):
    endings.check_step(str(tmp_path), 5)
