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

"""The pool: which run is made when, and on which cores.

It knows nothing of programs and files: a run is what `start` makes of it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from mtf_switch.reproduction import runs as runs_lib


class Process(Protocol):
  """A run that has been started."""

  def status(self) -> int | None:
    """Returns the exit status; None while it runs."""

  def stop(self):
    """Asks it to end in order; returns at once."""

  def wait(self):
    """Waits until it has ended."""


def make(
    runs: Sequence[runs_lib.Run],
    cores: Sequence[int],
    needs_of: Callable[[runs_lib.Run], Sequence[runs_lib.Run]],
    is_usable: Callable[[runs_lib.Run], bool],
    start: Callable[[runs_lib.Run, Sequence[int]], Process],
    finish: Callable[[runs_lib.Run, int], None],
    leave_out: Callable[[runs_lib.Run, runs_lib.Run], None],
    look: Callable[[Sequence[runs_lib.Run], Sequence[runs_lib.Run]], None],
):
  """Makes runs, one on each core; those for speed alone, on all of them.

  Whatever ends this, Ctrl-C or an error, stops the runs in order first and
  waits for them.

  Args:
    runs: those to make, in order.
    cores: the numbers of the cores.
    needs_of: the runs that have to be finished before a run.
    is_usable: whether a run that will not be made any more can be what another
      one needs.
    start: starts a run on cores.
    finish: is called when a run has ended, with its exit status.
    leave_out: is called with a run that cannot be made, and the run that it
      needs and that is not usable.
    look: is called again and again with the runs that go on and those that
      wait, and takes its time.
  """
  waiting = list(runs)
  going: dict[runs_lib.Run, tuple[Process, Sequence[int]]] = {}
  free = list(cores)

  def begin(run, on):
    going[run] = (start(run, on), on)
    waiting.remove(run)
    for core in on:
      free.remove(core)

  try:
    while True:
      for run, (process, on) in list(going.items()):
        status = process.status()
        if status is not None:
          del going[run]
          free += on
          finish(run, status)
      for run in list(waiting):
        for needed in needs_of(run):
          if needed in waiting or needed in going or is_usable(needed):
            continue
          waiting.remove(run)
          leave_out(run, needed)
          break
      for run in list(waiting):
        if not free or any(x in waiting or x in going for x in needs_of(run)):
          continue
        if not run.is_timed:
          begin(run, [min(free)])
        elif not going:
          begin(run, sorted(free))
      if not going and not waiting:
        return
      look(list(going), list(waiting))
  finally:
    for process, _ in going.values():
      process.stop()
    for process, _ in going.values():
      process.wait()
