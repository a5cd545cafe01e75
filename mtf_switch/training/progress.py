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
import re
import sys
import threading
import time

import rich.console
import rich.measure
import rich.progress
import rich.table
import rich.text

from mtf_switch import terminal

_MEGABYTE = 10**6
_SECONDS_BETWEEN_LINES = 10
# What takes less is not said to take long.
_SECONDS_UNSAID = 2
# Narrower terminals have no room for a bar beside the figures.
_LEAST_WIDTH_OF_BAR = 60
# Between figures of a line, which is folded there.
_GAP = "  "

# Takes the count of what is done, and details.
Report = Callable[..., None]


class Display:
  """A live line on a terminal; elsewhere a plain line now and then.

  Inside a `with` it also shows what tasks do that takes long. A piece of work
  that took long once is shown with its time when it is done again.
  """

  def __init__(self, console: rich.console.Console):
    self._console = console
    self._bar = None
    self._wait = None
    self._last_steps = None
    self._next_line_at = 0.0
    self._times = _Times()
    self._open = contextlib.ExitStack()
    if console.is_terminal:
      self._bar = rich.progress.Progress(
          _Figures(),
          _Bar(console),
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
    details = self._times.begin(text)
    if self._bar:
      self._update(self._task, text, details=details, is_counted=False)
    else:
      self._wait = _Wait(self.note, _joined(text, details), at_once)

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
      return _joined(f"{count} {unit}".rstrip(), details)

    times = _Times(self._times)
    took = times.begin(text)
    if self._bar:
      task = self._add(text, total, details=took)
      try:
        yield lambda done, details="": self._update(
            task, text, completed=done, details=describe(done, details)
        )
      finally:
        self._bar.remove_task(task)
        times.end()
      return
    wait = _Wait(self.note, _joined(text, took), at_once)
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
      times.end()

  @contextlib.contextmanager
  def working_through(
      self, text: str, num_bytes: int
  ) -> Iterator[Callable[[int], None]]:
    """Shows a piece of work that goes through bytes, in megabytes.

    Args:
      text: its name.
      num_bytes: all of them.

    Yields:
      a function to be called with the number of bytes done.
    """
    total = -(-num_bytes // _MEGABYTE)
    with self.working(text, total, "MB") as report:
      yield lambda done: report(-(-done // _MEGABYTE))

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

  def _add(self, text, total, visible=True, details=""):
    return self._bar.add_task(
        text,
        total=total,
        visible=visible,
        details=details,
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
    self._times.end()
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


class _Times:
  """How long pieces of work took that took long, by their names."""

  def __init__(self, others: "_Times | None" = None):
    """Starts with none, or with those of others, and adds to them."""
    self._seconds = others._seconds if others else {}
    self._text = None

  def begin(self, text: str) -> str:
    """Ends the last piece of work; says how long this one took the last time.

    Args:
      text: its name; numbers in it, such as steps, do not matter.
    """
    self.end()
    self._text = re.sub(r"\d+", "0", text)
    self._started_at = time.monotonic()
    seconds = self._seconds.get(self._text)
    return "" if seconds is None else f"{_words(seconds)} the last time"

  def end(self):
    """Ends the piece of work, if there is one."""
    if self._text is None:
      return
    seconds = time.monotonic() - self._started_at
    if seconds >= _SECONDS_UNSAID:
      self._seconds[self._text] = seconds
    self._text = None


class _Figures(rich.progress.ProgressColumn):
  """A name and figures, folded where they do not fit beside each other."""

  def render(self, task: rich.progress.Task) -> "_Folded":
    """See base class."""
    return _Folded(_joined(task.description, task.fields["details"]))


class _Folded:
  """Figures that rich folds to the width that it has for them."""

  def __init__(self, text: str):
    self._text = text

  def __rich_measure__(self, console, options) -> rich.measure.Measurement:
    del console
    least = max(map(len, self._text.split(_GAP)))
    return rich.measure.Measurement(least, len(self._text)).with_maximum(
        options.max_width
    )

  def __rich_console__(self, console, options):
    del console
    # Names of tasks are no markup.
    yield rich.text.Text("\n".join(folded(self._text, options.max_width)))


def folded(text: str, width: int) -> list[str]:
  """Returns lines of figures, none of which is cut where a line has room.

  Args:
    text: figures with two spaces between them.
    width: of the lines.

  Returns:
    lines, which are longer only if one figure is.
  """
  first, *others = text.split(_GAP)
  lines = [first]
  for figure in others:
    longer = _joined(lines[-1], figure)
    if len(longer) <= width:
      lines[-1] = longer
    else:
      lines.append(figure)
  return lines


def _joined(*figures: str) -> str:
  return _GAP.join(x for x in figures if x)


class _Bar(rich.progress.BarColumn):
  """A bar for what is counted, where there is room; otherwise nothing."""

  def __init__(self, console: rich.console.Console):
    super().__init__(bar_width=12)
    self._console = console

  def render(self, task: rich.progress.Task):
    """See base class."""
    has_room = self._console.width >= _LEAST_WIDTH_OF_BAR
    if task.fields["is_counted"] and has_room:
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
