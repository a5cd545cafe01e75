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

"""Reading of files line by line; broken records are skipped and counted."""

from collections.abc import Iterator
import gzip
import io
import json
from typing import Any
import zlib

import gin
import tensorflow.compat.v1 as tf

from tasks import errors

_BUFFER_BYTES = 2**20

# The records skipped in this process: the problem by its place, "file, line 3".
_skipped: dict[str, str] = {}


class _RawFile(io.RawIOBase):
  """A GFile's bytes. Its own iterator over lines drops carriage returns."""

  def __init__(self, file: tf.io.gfile.GFile):
    self._file = file

  def readable(self) -> bool:
    """See base class."""
    return True

  def readinto(self, buffer) -> int:
    """See base class."""
    data = self._file.read(len(buffer))
    buffer[: len(data)] = data
    return len(data)


def numbered_lines(file: str) -> Iterator[tuple[int, str]]:
  """Yields the lines of a text file with their numbers, from 1.

  A line ends at a line feed, with or without a carriage return before it, and
  not at other characters that str.splitlines takes for the end of one, such as
  U+2028. A byte order mark at the start of the file is dropped.

  Args:
    file: any path that tf.io.gfile can read, local or remote, in UTF-8;
      compressed if its name ends in .gz.

  Raises:
    DataError: the file cannot be read; names the line.
  """
  number = 0
  try:
    with tf.io.gfile.GFile(file, "rb") as raw:
      stream = io.BufferedReader(_RawFile(raw), _BUFFER_BYTES)
      if file.endswith(".gz"):
        stream = gzip.GzipFile(fileobj=stream)
      for number, line in enumerate(stream, 1):
        if line.endswith(b"\n"):
          line = line[:-1].removesuffix(b"\r")
        yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
  except UnicodeDecodeError as error:
    raise errors.DataError(
        f"{file}, line {number}: this is not UTF-8 text."
    ) from error
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise errors.DataError(
        f"{file}, after line {number}: this is not a whole gzip file."
    ) from error
  except tf.errors.OpError as error:
    raise errors.DataError(f"{file} cannot be read: {error.message}") from error


def json_objects(file: str) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields the place and the object of each line of a file of JSON objects.

  Other lines are skipped and counted; empty lines are not counted.

  Args:
    file: as for `numbered_lines`.

  Raises:
    DataError: the file cannot be read, or too many of its lines are broken.
  """
  for number, line in numbered_lines(file):
    if not line.strip():
      continue
    place = f"{file}, line {number}"
    try:
      entry = json.loads(line)
    except json.JSONDecodeError as error:
      skip(place, f"this is not JSON ({error.msg})")
      continue
    if isinstance(entry, dict):
      yield place, entry
    else:
      skip(place, f"a JSON object is needed, not {type(entry).__name__}")


@gin.configurable("broken_records", module="tasks")
def _limit_of_broken_records(limit: int = 100) -> int:
  """Returns the number of broken records that a run may skip, from gin."""
  return limit


def skip(place: str, problem: str) -> None:
  """Counts a broken record, only once even if it is read again.

  Args:
    place: the record's place, "file, line 3".
    problem: the reason why it is broken.

  Raises:
    DataError: more records are broken than broken_records.limit allows.
  """
  _skipped[place] = problem
  limit = _limit_of_broken_records()
  if len(_skipped) > limit:
    raise errors.DataError(
        f"{place}: {problem}; before it {limit} broken records were skipped, "
        "as many as broken_records.limit allows."
    )


def skipped() -> dict[str, str]:
  """Returns the problem of each skipped record, by its place."""
  return dict(_skipped)
