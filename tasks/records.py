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

from collections.abc import Iterator, Mapping
import contextlib
import gzip
import io
import json
from typing import Any, BinaryIO
import zlib

import gin
import tensorflow.compat.v1 as tf

from tasks import errors
from tasks import paths
from tasks import waits

_BUFFER_BYTES = 2**20

# Of what is said about a broken record, which may quote any length of it.
_MAX_CHARACTERS = 400

# The records skipped in this process: the problem by its place, "file, line 3".
_skipped: dict[str, str] = {}


# How files that are no text in UTF-8 start, and what they are.
_NO_TEXT = {
    b"\x1f\x8b": "is compressed; let its name end in .gz",
    b"PK\x03\x04": "is a zip archive or a spreadsheet, and no text",
    b"PAR1": "is a Parquet file, and no text",
    b"\xff\xfe": "is in UTF-16 or UTF-32; convert it to UTF-8",
    b"\xfe\xff": "is in UTF-16 or UTF-32; convert it to UTF-8",
}


class RawFile(io.RawIOBase):
  """A GFile's bytes. Its own iterator over lines drops carriage returns."""

  def __init__(self, file: tf.io.gfile.GFile):
    self._file = file

  def readable(self) -> bool:
    """See base class."""
    return True

  def readinto(self, buffer) -> int:
    """See base class."""
    data = self._file.read(len(buffer))
    waits.bytes_read(len(data))
    buffer[: len(data)] = data
    return len(data)

  def seekable(self) -> bool:
    """See base class."""
    return True

  def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
    """See base class."""
    self._file.seek(offset, whence)
    return self._file.tell()

  def tell(self) -> int:
    """See base class."""
    return self._file.tell()


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
  """Opens a file of `numbered_lines`."""
  if paths.is_stream(file):  # TensorFlow reads at places, which a pipe lacks.
    with open(file, "rb") as stream:
      yield stream
    return
  with tf.io.gfile.GFile(file, "rb") as raw:
    stream = io.BufferedReader(RawFile(raw), _BUFFER_BYTES)
    yield gzip.GzipFile(fileobj=stream) if file.endswith(".gz") else stream


def numbered_lines(
    file: str,
    skip_broken: bool = False,
    keep_broken: bool = False,
    or_stream: bool = False,
) -> Iterator[tuple[int, str]]:
  """Yields the lines of a text file with their numbers, from 1.

  A line ends at a line feed, with or without a carriage return before it, and
  not at other characters that str.splitlines takes for the end of one, such as
  U+2028. A byte order mark at the start of the file is dropped.

  Args:
    file: any path that tf.io.gfile can read, local or remote, in UTF-8;
      compressed if its name ends in .gz.
    skip_broken: whether a line that is not UTF-8 is a broken record, instead of
      the end of the reading.
    keep_broken: whether to yield such a line for `is_unicode` to find, because
      it may be a part of a record.
    or_stream: whether it may be a pipe of this process, which is read once.

  Raises:
    DataError: the file cannot be read; names the line.
  """
  if problem := paths.problem(file, or_stream):
    raise errors.DataError(f"{file} {problem}.")
  number = 0
  try:
    with _opened(file) as stream:
      for number, line in enumerate(stream, 1):
        if number == 1:
          _check_start(file, line)
        if line.endswith(b"\n"):
          line = line[:-1].removesuffix(b"\r")
        try:
          text = line.decode(
              "utf-8-sig" if number == 1 else "utf-8",
              "surrogateescape" if keep_broken else "strict",
          )
        except UnicodeDecodeError as error:
          place, problem = f"{file}, line {number}", "this is not UTF-8 text"
          if not skip_broken:
            raise errors.DataError(f"{place}: {problem}.") from error
          skip(place, problem)
        else:
          yield number, text
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise errors.DataError(
        f"{file}, after line {number}: this is not a whole gzip file."
    ) from error
  except tf.errors.OpError as error:
    raise errors.DataError(f"{file} cannot be read: {error.message}") from error


def _check_start(file: str, line: bytes) -> None:
  """Raises a DataError if a file's first line is that of another form."""
  for start, kind in _NO_TEXT.items():
    if line.startswith(start):
      raise errors.DataError(f"{file} {kind}.")
  # Every second byte of Latin letters in UTF-16 without a mark.
  if len(line) > 3 and not (any(line[:4:2]) and any(line[1:4:2])):
    raise errors.DataError(
        f"{file} is in UTF-16 or UTF-32; convert it to UTF-8."
    )


def is_unicode(text: str) -> bool:
  """Returns whether a text has no halves of surrogate pairs.

  JSON can escape them, and they stand for bytes that are not UTF-8.
  """
  try:
    text.encode("utf-8")
  except UnicodeEncodeError:
    return False
  return True


def json_objects(file: str) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields the place and the object of each line of a file of JSON objects.

  Other lines are skipped and counted; empty lines are not counted.

  Args:
    file: as for `numbered_lines`.

  Raises:
    DataError: the file cannot be read, or too many of its lines are broken.
  """
  for number, line in numbered_lines(file, skip_broken=True):
    if line.strip():
      place = f"{file}, line {number}"
      entry = json_object(place, line)
      if entry is not None:
        yield place, entry


def json_object(place: str, text: str) -> dict[str, Any] | None:
  """Returns the JSON object of a text; None for another text, as it is skipped.

  Args:
    place: the record's place.
    text: the record.

  Raises:
    DataError: as `skip`.
  """
  try:
    entry = json.loads(text)
  except (RecursionError, ValueError) as error:
    skip(place, not_json(error))
    return None
  if isinstance(entry, dict):
    return entry
  skip(place, f"a JSON object is needed, not {type(entry).__name__}")
  return None


def not_json(error: RecursionError | ValueError) -> str:
  """Says why json.loads refuses a text."""
  if isinstance(error, json.JSONDecodeError):
    return f"this is not JSON ({error.msg})"
  if isinstance(error, RecursionError):
    return "its brackets are nested too deeply"
  # Python reads numbers of up to 4300 digits, and advises to change that.
  return f"a number is too long ({str(error).partition(';')[0]})"


def text_of(place: str, entry: Mapping[str, Any]) -> str | None:
  """Returns what an object has under "text"; None if the record is skipped.

  Args:
    place: the record's place.
    entry: the object.

  Raises:
    DataError: as `skip`.
  """
  text = entry.get("text")
  if not isinstance(text, str):
    skip(
        place,
        'the object has no string under "text"; its keys are '
        f"{', '.join(sorted(entry)) or 'none'}",
    )
    return None
  if not is_unicode(text):
    skip(place, 'the string under "text" is not Unicode')
    return None
  return text


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
  if len(problem) > _MAX_CHARACTERS:
    problem = f"{problem[:_MAX_CHARACTERS]}..."
  place, problem = _printable(place), _printable(problem)
  _skipped[place] = problem
  limit = _limit_of_broken_records()
  if len(_skipped) > limit:
    raise errors.DataError(
        f"{place}: {problem}; broken_records.limit = {limit} allows no more "
        "broken records."
    )


def _printable(text: str) -> str:
  """Returns a text in which nothing breaks a line, a terminal or UTF-8."""
  if text.isprintable():
    return text
  return "".join(
      char if char.isprintable() else char.encode("unicode_escape").decode()
      for char in text
  )


def skipped() -> dict[str, str]:
  """Returns the problem of each skipped record, by its place."""
  return dict(_skipped)
