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

"""How training ends early: what is saved, and what the user is told."""

from collections.abc import Iterator
import contextlib

import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import checkpoints
from mtf_switch.training import lock
from mtf_switch.training import stopping


@contextlib.contextmanager
def losing_nothing(model_dir: str) -> Iterator[stopping.Request]:
  """Holds the directory, and says what is saved when training ends early.

  Args:
    model_dir: the directory of the checkpoints.

  Yields:
    what receives the signals that ask training to stop.

  Raises:
    Stopped: there was such a signal, and all is saved.
    UserError: the directory is in use, or cannot be written.
  """
  with stopping.Request() as request, lock.hold(model_dir):
    try:
      yield request
    except KeyboardInterrupt:
      # Outside of sessions and in evaluations, a checkpoint has all.
      step = checkpoints.latest_step(model_dir)
      if not request.signal or not step:
        raise
      raise errors.Stopped(
          f"stopped by {request.signal.name} at step {step}, which is saved; "
          "run the same command to go on."
      ) from None
    except Exception as error:  # pylint: disable=broad-exception-caught
      reason = files.explain(error)
      if not reason:
        raise
      raise errors.UserError(
          f"{reason}. {_saved(model_dir)}; once that is mended, run the same "
          "command to go on."
      ) from error


def check_step(model_dir: str, step: int):
  """Refuses to go on after a session that ended too early.

  TensorFlow ends a session without an error where examples end, and for files
  that are too large.

  Args:
    model_dir: the directory of the checkpoints.
    step: the step at which the session should have ended.

  Raises:
    UserError: the last checkpoint is of an earlier step.
  """
  saved = checkpoints.latest_step(model_dir)
  if saved < step:
    raise errors.UserError(
        f"training ended at step {saved} and not at {step}: the examples "
        "ended, or a file could not be written; the log says which."
    )


def _saved(model_dir: str) -> str:
  """Which checkpoint is the last, in a directory that may be gone."""
  try:
    step = checkpoints.latest_step(model_dir)
  except (OSError, tf.errors.OpError):
    step = 0
  if not step:
    return "There is no checkpoint"
  return f"The last checkpoint is of step {step}"
