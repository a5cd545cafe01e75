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

"""The runs as processes of this program, each on cores of its own."""

from collections.abc import Sequence
import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
from typing import NamedTuple

# Of Linux's prctl: the signal that a process gets when its parent has ended.
_SET_SIGNAL_OF_PARENTS_DEATH = 1
_LONGEST_END = 4096


class Program(NamedTuple):
  """This program, as it starts itself.

  Attributes:
    command: the interpreter and the file of run_switch.
    gin_directories: those of the project's gin files.
    flags: flags that every run gets as well.
    has_tpu: whether they name a TPU.
  """

  command: Sequence[str]
  gin_directories: Sequence[str]
  flags: Sequence[str] = ()
  has_tpu: bool = False


class Process:
  """A run that has been started; see pool.Process."""

  def __init__(
      self,
      command: Sequence[str],
      cores: Sequence[int],
      output: str | None = None,
      kept: Sequence[int] = (),
  ):
    """Starts a run.

    It is in a session of its own, so that Ctrl-C on the terminal does not reach
    it, and is asked to end if this program is killed.

    Args:
      command: the command.
      cores: the numbers of its cores.
      output: the file to which its output is appended; None if it has this
        program's.
      kept: descriptors of files that stay open in it, such as that of a lock.
    """
    prctl = ctypes.CDLL(None).prctl

    def prepare():  # In the new process, before the program.
      prctl(_SET_SIGNAL_OF_PARENTS_DEATH, signal.SIGTERM)
      os.sched_setaffinity(0, cores)

    file = open(output, "ab") if output else contextlib.nullcontext()
    with file as file:
      self._process = subprocess.Popen(
          command,
          stdin=subprocess.DEVNULL,
          stdout=file,
          stderr=file and subprocess.STDOUT,
          start_new_session=True,
          pass_fds=kept,
          preexec_fn=prepare,
      )

  def status(self) -> int | None:
    """Returns the exit status; None while it runs."""
    return self._process.poll()

  def stop(self):
    """Asks it to end after its step, with a checkpoint."""
    if self._process.poll() is None:
      self._process.terminate()

  def wait(self) -> int:
    """Waits until it has ended and returns the exit status."""
    return self._process.wait()


def explain(status: int, output: str) -> str:
  """Returns one line about a run that has failed.

  Args:
    status: the exit status.
    output: the file of its output.

  Returns:
    the last line of the output, without the program's name.
  """
  if status < 0:
    return f"it was ended by {signal.Signals(-status).name}"
  lines = [line for line in last_lines(output) if line.strip()]
  if not lines:
    return f"it ended with status {status} and said nothing"
  return lines[-1].strip().removeprefix("run_switch: ")


def last_lines(path: str) -> list[str]:
  """Returns the last lines of a file of any size; none if it is not there."""
  try:
    with pathlib.Path(path).open("rb") as file:
      file.seek(max(0, os.fstat(file.fileno()).st_size - _LONGEST_END))
      return file.read().decode(errors="replace").split("\n")
  except OSError:
    return []
