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

"""The display of a run's progress."""

import datetime
import time

import rich.console
import rich.progress

_SECONDS_BETWEEN_LINES = 10


class Display:
  """A live bar on a terminal; elsewhere a plain line now and then."""

  def __init__(self, console: rich.console.Console):
    self._console = console
    self._bar = None
    self._last_steps = None
    self._next_line_at = 0.0
    if console.is_terminal:
      self._bar = rich.progress.Progress(
          rich.progress.TextColumn("{task.description}"),
          rich.progress.BarColumn(),
          rich.progress.TextColumn("{task.fields[details]}"),
          console=console,
          # run_switch.py sends Python's to the log.
          redirect_stdout=False,
          redirect_stderr=False,
          transient=True,
      )
      self._task = self._bar.add_task("", total=None, details="")

  def __enter__(self):
    if self._bar:
      self._bar.start()
    return self

  def __exit__(self, *exception):
    if self._bar:
      self._bar.stop()
      if self._last_steps:
        self.note(self._last_steps)

  def note(self, text: str):
    """Writes a line that stays."""
    self._console.print(text, markup=False, highlight=False, soft_wrap=True)

  def status(self, text: str):
    """Shows the name of a piece of work that has no steps to count."""
    if self._bar:
      self._bar.update(self._task, description=text, details="")
    else:
      self.note(text)

  def steps(self, text: str, done: int, total: int, details: str = ""):
    """Shows the progress of a count.

    Args:
      text: the name of the things counted.
      done: the count so far.
      total: the count at the end.
      details: figures to show beside it.
    """
    self._last_steps = f"{text} {done}/{total}  {details}".rstrip()
    if self._bar:
      self._bar.update(
          self._task,
          description=f"{text} {done}/{total}",
          completed=done,
          total=total,
          details=details,
      )
    elif done == total or time.monotonic() >= self._next_line_at:
      self._next_line_at = time.monotonic() + _SECONDS_BETWEEN_LINES
      self.note(self._last_steps)


def duration(seconds: float) -> str:
  """Returns seconds as hours:minutes:seconds."""
  return str(datetime.timedelta(seconds=round(seconds)))
