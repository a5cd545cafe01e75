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

"""The display of a run's progress: what is being done, and for how long."""

from collections.abc import Callable, Iterator
import contextlib
import datetime
import sys
import threading
import time

import rich.console
import rich.progress
import rich.table
import rich.text

from mtf_switch import terminal

_SECONDS_BETWEEN_LINES = 10
# What takes less is not said to take long.
_SECONDS_UNSAID = 2

# Takes the count of what is done, and details.
Report = Callable[..., None]


class Display:
  """A live line on a terminal; elsewhere a plain line now and then.

  Inside a `with` it also shows what tasks do that takes long.
  """

  def __init__(self, console: rich.console.Console):
    self._console = console
    self._bar = None
    self._wait = None
    self._last_steps = None
    self._next_line_at = 0.0
    self._open = contextlib.ExitStack()
    if console.is_terminal:
      self._bar = rich.progress.Progress(
          # Names of tasks are no markup. A narrow terminal folds the words.
          rich.progress.TextColumn(
              "{task.description}  {task.fields[details]}",
              markup=False,
              table_column=rich.table.Column(),
          ),
          _Bar(bar_width=12),
          _Seconds(),
          console=console,
          # run_switch.py sends Python's to the log.
          redirect_stdout=False,
          redirect_stderr=False,
          transient=True,
      )
      self._task = self._add("", None, visible=False)

  def __enter__(self):
    if self._bar:
      self._bar.start()
    if waits := _waits_of_tasks():
      self._open.enter_context(waits.shown_by(self.working))
    return self

  def __exit__(self, *exception):
    self._open.close()
    self._end_status()
    if self._bar:
      self._bar.stop()
      if self._last_steps:
        self.note(self._last_steps)

  def note(self, text: str):
    """Writes a line that stays."""
    terminal.say(self._console, text)

  def status(self, text: str, at_once: bool = True):
    """Shows a piece of work that ends with the next status or steps.

    Args:
      text: its name.
      at_once: whether to write a line at once where there is no terminal; if
        not, only when it has taken two seconds.
    """
    self._end_status()
    if self._bar:
      self._update(self._task, text, details="", is_counted=False)
    else:
      self._wait = _Wait(self.note, text, at_once)

  def done(self):
    """Ends the piece of work of the last status."""
    self._end_status()
    if self._bar:
      self._bar.update(self._task, visible=False)

  def steps(self, text: str, done: int, total: int, details: str = ""):
    """Shows the progress of a count.

    Args:
      text: the name of the things counted.
      done: the count so far.
      total: the count at the end.
      details: figures to show beside it.
    """
    self._end_status()
    self._last_steps = f"{text} {done}/{total}  {details}".rstrip()
    if self._bar:
      self._update(
          self._task,
          f"{text} {done}/{total}",
          completed=done,
          total=total,
          details=details,
          is_counted=True,
      )
    elif done == total or self._is_line_due():
      self._next_line_at = time.monotonic() + _SECONDS_BETWEEN_LINES
      self.note(self._last_steps)

  @contextlib.contextmanager
  def working(
      self,
      text: str,
      total: int | None = None,
      unit: str = "",
      at_once: bool = False,
  ) -> Iterator[Report]:
    """Shows a piece of work within another.

    Args:
      text: its name.
      total: the count of things at the end; None if it is not known.
      unit: the name of the things, in the plural.
      at_once: as for `status`.

    Yields:
      a function to be called with the number of things done, and with details
      if there are any.
    """

    def describe(done, details):
      if details and not done:
        return details
      count = f"{done:,}" + (f" of {total:,}" if total else "")
      return "  ".join(x for x in (f"{count} {unit}".rstrip(), details) if x)

    if self._bar:
      task = self._add(text, total)
      try:
        yield lambda done, details="": self._update(
            task, text, completed=done, details=describe(done, details)
        )
      finally:
        self._bar.remove_task(task)
      return
    wait = _Wait(self.note, text, at_once)
    next_line_at = time.monotonic() + _SECONDS_BETWEEN_LINES

    def report(done, details=""):
      nonlocal next_line_at
      if time.monotonic() >= next_line_at:
        next_line_at = time.monotonic() + _SECONDS_BETWEEN_LINES
        self.note(f"{text}: {describe(done, details)}")

    try:
      yield report
    finally:
      wait.end()

  @contextlib.contextmanager
  def opening(self, text: str, total: int, unit: str) -> Iterator[None]:
    """Shows a piece of work that opens the sources of this project's tasks.

    Args:
      text: its name.
      total: the sources.
      unit: their name, in the plural.

    Yields:
      nothing.
    """
    with contextlib.ExitStack() as stack:
      report = stack.enter_context(self.working(text, total, unit))
      if waits := _waits_of_tasks():
        stack.enter_context(waits.counting_sources(report))
      yield

  def _add(self, text, total, visible=True):
    return self._bar.add_task(
        text,
        total=total,
        visible=visible,
        details="",
        is_counted=(total or 0) > 1,
        since=time.monotonic(),
    )

  def _update(self, task, text, **fields):
    self._bar.update(
        task, description=text, visible=True, since=time.monotonic(), **fields
    )

  def _is_line_due(self) -> bool:
    return time.monotonic() >= self._next_line_at

  def _end_status(self):
    if self._wait:
      self._wait.end()
      self._wait = None


def _waits_of_tasks():
  """The module tasks.waits, in a program that has loaded this project's tasks.

  It is not loaded here: it could be the user's own module of that name, and gin
  takes no new names once a configuration is complete.
  """
  return sys.modules.get("tasks.waits")


class _Wait:
  """A piece of work that says in lines that it goes on and how long it took."""

  def __init__(self, note: Callable[[str], None], text: str, at_once: bool):
    self._note = note
    self._text = text
    self._started_at = time.monotonic()
    self._timer = threading.Timer(_SECONDS_UNSAID, note, [text])
    self._timer.daemon = True
    if at_once:
      note(text)
    else:
      self._timer.start()

  def end(self):
    """Says how long it took, if it took long."""
    self._timer.cancel()
    seconds = time.monotonic() - self._started_at
    if seconds >= _SECONDS_UNSAID:
      self._note(f"{self._text}: {_words(seconds)}")


class _Bar(rich.progress.BarColumn):
  """A bar for what is counted, nothing for other work."""

  def render(self, task: rich.progress.Task):
    """See base class."""
    if task.fields["is_counted"]:
      return super().render(task)
    return rich.text.Text()


class _Seconds(rich.progress.ProgressColumn):
  """The time since the last news, which moves on while nothing else does."""

  def render(self, task: rich.progress.Task) -> rich.text.Text:
    """See base class."""
    seconds = time.monotonic() - task.fields["since"]
    return rich.text.Text(_words(seconds) if seconds >= _SECONDS_UNSAID else "")


def _words(seconds: float) -> str:
  return f"{seconds:.0f} s" if seconds < 60 else duration(seconds)


def duration(seconds: float) -> str:
  """Returns seconds as hours:minutes:seconds."""
  return str(datetime.timedelta(seconds=round(seconds)))
