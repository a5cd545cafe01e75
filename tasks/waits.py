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

"""Work that takes long: a program that has a display shows it there.

Tasks know nothing of the program that reads them; without one that shows their
work, they say nothing.
"""

from collections.abc import Callable, Iterator
import contextlib

# Takes the number of things done.
Report = Callable[[int], None]
# Takes a text, the number of things in all, if it is known, and their name.
Show = Callable[
    [str, int | None, str], contextlib.AbstractContextManager[Report]
]

_shows: list[Show] = []
# Of sources that are opened, and of bytes of files that are read.
_counters: list[Report] = []
_byte_counters: list[Report] = []


@contextlib.contextmanager
def shown_by(show: Show) -> Iterator[None]:
  """Lets a program show the work of tasks.

  Args:
    show: shows a piece of work until its context ends, which yields a function
      to be called with the number of things done.

  Yields:
    nothing.
  """
  _shows.append(show)
  try:
    yield
  finally:
    _shows.remove(show)


def work(
    text: str, total: int | None = None, unit: str = ""
) -> contextlib.AbstractContextManager[Report]:
  """Shows a piece of work until the context ends.

  Args:
    text: what is being done.
    total: the number of things to do; None if it is not known.
    unit: their name, in the plural.

  Returns:
    a context that yields a function, to be called with the number done.
  """
  if _shows:
    return _shows[-1](text, total, unit)
  return contextlib.nullcontext(lambda done: None)


@contextlib.contextmanager
def counting_sources(report: Report) -> Iterator[None]:
  """Reports how many sources of tasks are opened, for mixtures of many.

  Args:
    report: called with their number so far, at each of them.

  Yields:
    nothing.
  """
  with _counting(_counters, report):
    yield


@contextlib.contextmanager
def counting_bytes(report: Report) -> Iterator[None]:
  """Reports how many bytes of files are read, compressed ones as they are.

  Args:
    report: called with their number so far, at each part that is read.

  Yields:
    nothing.
  """
  with _counting(_byte_counters, report):
    yield


@contextlib.contextmanager
def _counting(counters: list[Report], report: Report) -> Iterator[None]:
  """Reports the sum of what one of the lists of counters is called with."""
  done = 0

  def count(more):
    nonlocal done
    done += more
    report(done)

  counters.append(count)
  try:
    yield
  finally:
    counters.remove(count)


def source_opened():
  """Counts a source, for `counting_sources`."""
  for count in _counters:
    count(1)


def bytes_read(number: int):
  """Counts bytes, for `counting_bytes`.

  Args:
    number: of the part that has been read.
  """
  for count in _byte_counters:
    count(number)
