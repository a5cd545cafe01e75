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

"""Files of a run: text, JSON, CSV and PNG, each written whole or not at all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import csv
import errno
import gzip
import io
import json
import math
import os
import re
import stat
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import values

_UNFINISHED = ".new"
# Where a process finds its streams and the machine's devices.
_OF_SYSTEM = re.compile(r"/(?:dev(?!/shm/)|proc)/")
_LONGEST_NAME = 1000
_REASONS = "|".join(
    sorted(re.escape(os.strerror(code)) for code in errno.errorcode)
)
# TensorFlow's messages about remote files.
_NOT_REACHED = re.compile(
    r"Error executing an HTTP request: (?P<reason>HTTP response code \d+|"
    r"libcurl code \d+ meaning '.*?'(?=, )).*?(?P<path>\w+://\S+)",
    re.DOTALL,
)
_NO_FILE_SYSTEM = re.compile(
    r"(?P<reason>File system scheme '.*?' not implemented) "
    r"\(file: '(?P<path>.*?)'\)"
)
# TensorFlow's messages, on a line of their own or after the kind of error.
_REFUSAL = re.compile(
    rf"^(?:.*\b[A-Z_]+: )?(?P<path>[^;\n]+); (?P<reason>{_REASONS})\b",
    re.MULTILINE,
)
_NO_DIRECTORY = re.compile(
    r"(?:Parent directory of )?(?P<path>.+?) "
    r"(?P<reason>doesn't exist, can't save|is not a directory)\b.*"
)


@contextlib.contextmanager
def _whole(path: str, mode: str) -> Iterator[tf.io.gfile.GFile]:
  """Opens a file that takes its name once it is complete.

  Args:
    path: the file, local or remote; its directory is created.
    mode: "w" or "wb".

  Yields:
    The file to write to.
  """
  directory = os.path.dirname(path)
  if directory:
    tf.io.gfile.makedirs(directory)
  if _is_device(path):  # A file must not replace it.
    # What a shell has redirected to a file may have earlier content.
    with tf.io.gfile.GFile(path, mode.replace("w", "a")) as file:
      yield file
    return
  if "://" not in path:
    path = os.path.realpath(path)  # A file must not replace a link.
  with unfinished(path) as name, tf.io.gfile.GFile(name, mode) as file:
    yield file


@contextlib.contextmanager
def unfinished(path: str) -> Iterator[str]:
  """Names a file to write, which takes its own name once it is complete.

  Args:
    path: its own name, local or remote.

  Yields:
    the name to write to; after an error nothing is left there.
  """
  name = path + _UNFINISHED
  try:
    yield name
    tf.io.gfile.rename(name, path, overwrite=True)
  except BaseException:
    with contextlib.suppress(tf.errors.OpError):
      tf.io.gfile.remove(name)
    raise


def check_readable(path: str, setting: str, or_stream: bool = False):
  """Refuses what is no file to read, before anything waits for it.

  Args:
    path: local or remote.
    setting: the flag or the parameter that names it, with its value.
    or_stream: whether it may be a pipe of the program, which is read once.

  Raises:
    UserError: says what it is instead.
  """
  # Here and not above, where it could be the user's own module of that name.
  from tasks import paths  # pylint: disable=g-import-not-at-top

  if problem := paths.problem(path, or_stream):
    raise errors.UserError(f"{setting} {problem}.")


def check_directory(path: str, setting: str, to_be_made: bool = False):
  """Refuses what is no directory.

  Args:
    path: local or remote.
    setting: as for `check_readable`.
    to_be_made: whether it may be missing.

  Raises:
    UserError: says what it is instead.
  """
  from tasks import paths  # pylint: disable=g-import-not-at-top

  if problem := paths.problem_of_directory(path, to_be_made):
    raise errors.UserError(f"{setting} {problem}.")


def _is_device(path: str) -> bool:
  """Whether a path is a device, a pipe or the like, as /dev/stdout is."""
  if "://" in path or not os.path.exists(path):
    return False
  if _OF_SYSTEM.match(path):  # Even if it leads to a file.
    return True
  return not (os.path.isfile(path) or os.path.isdir(path))


def check_writable(path: str, setting: str):
  """Refuses a file that cannot be written, before the work for it is done.

  Nothing is left behind and nothing changed.

  Args:
    path: the file, local or remote, or a file in a directory to be made.
    setting: the flag that names it.

  Raises:
    UserError: the file cannot be written; the message says why.
  """
  try:
    if _is_device(path):
      _check_device(path, setting)
      return
    is_remote = "://" in path
    if is_remote:
      check_directory(path, setting, to_be_made=True)
    elif os.path.islink(path):
      path = os.path.realpath(path)
      if os.path.islink(path):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    directory = os.path.dirname(path)
    while not is_remote and directory and not os.path.exists(directory):
      directory = os.path.dirname(directory)
    if tf.io.gfile.isdir(path):
      raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not is_remote and os.path.exists(path):
      os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    trial = os.path.join(directory, f".{os.path.basename(path)}{_UNFINISHED}")
    try:
      with tf.io.gfile.GFile(trial, "w") as file:
        file.write("\n")
    except tf.errors.NotFoundError:
      if not is_remote:  # There, directories are made later, or are none.
        raise
    finally:
      if tf.io.gfile.exists(trial):
        tf.io.gfile.remove(trial)
  except errors.UserError:
    raise
  except (OSError, ValueError, tf.errors.OpError) as error:
    raise errors.UserError(
        f"{setting} cannot be written: {explain(error) or error}."
    ) from error


def _check_device(path: str, setting: str):
  """Implements `check_writable` for devices and pipes."""
  is_device = stat.S_ISCHR(os.stat(path).st_mode)
  if not is_device and not _OF_SYSTEM.match(path):
    raise errors.UserError(
        f"{setting} is a named pipe or a socket, which may have no reader; "
        "write to a file or to /dev/stdout."
    )
  if not os.access(path, os.W_OK):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def explain(error: BaseException) -> str | None:
  """Returns one line for an error of the file system, None for any other.

  Args:
    error: Python's or TensorFlow's, also as gin raises it again.

  Returns:
    the file, where it is known, and the reason.
  """
  kind = type(error)
  while kind.__name__ == kind.__base__.__name__ and error.__context__:
    error = error.__context__  # Gin's copy, of a derived class, has no fields.
    kind = type(error)
  if isinstance(error, OSError) and error.errno:
    reason = os.strerror(error.errno)
    # Python knows the file only where it is opened.
    return f"{error.filename}: {reason}" if error.filename else reason
  if isinstance(error, UnicodeEncodeError):  # TensorFlow's, about paths.
    return f"{ascii(error.object)[:_LONGEST_NAME]} is not in UTF-8"
  if isinstance(error, errors.UserError):
    return None
  # Of many types: where TensorFlow writes summaries, it is an IndexError.
  text = str(error)
  found = (
      _REFUSAL.search(text)
      or _NO_DIRECTORY.fullmatch(text)
      or _NOT_REACHED.search(text)
      or _NO_FILE_SYSTEM.search(text)
  )
  return f"{found['path'].strip()}: {found['reason']}" if found else None


def write_lines(path: str, lines: Iterable[Any]):
  """Writes one text a line.

  Args:
    path: the file, local or remote, compressed if its name ends in .gz; its
      directory is created.
    lines: texts, or values to convert to text. What any reader takes for the
      end of a line, such as U+2028, becomes a space.
  """
  _write_text(path, (" ".join(str(x).splitlines()) + "\n" for x in lines))


def _write_text(path: str, parts: Iterable[str]):
  """Writes parts of a text as they are, compressed if the name says so."""
  with _whole(path, "wb") as file:
    file.write(b"")  # Without any write, no file would be created.
    stream = contextlib.nullcontext(file)
    if path.endswith(".gz"):
      # Without name and time: the same bytes for the same text.
      stream = gzip.GzipFile("", "wb", fileobj=file, mtime=0)
    with stream as stream:
      for part in parts:
        # Half a surrogate pair is in no encoding.
        stream.write(part.encode("utf-8", "backslashreplace"))


def write_bytes(path: str, content: bytes):
  """Writes a file.

  Args:
    path: the file, local or remote; its directory is created.
    content: all of it.
  """
  with _whole(path, "wb") as file:
    file.write(content)


def json_text(content: Any, **options) -> str:
  """Returns content as JSON, which has no NaN and no infinity: they are null.

  Args:
    content: in JSON types, or NumPy's numbers and arrays.
    **options: of json.dumps.
  """
  return json.dumps(_in_json_types(content), allow_nan=False, **options)


def _in_json_types(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {key: _in_json_types(x) for key, x in value.items()}
  if isinstance(value, (list, tuple)):
    return [_in_json_types(x) for x in value]
  if isinstance(value, (np.ndarray, np.generic)):
    return _in_json_types(value.tolist())
  if value is None or isinstance(value, (str, int)):
    return value
  number = float(value)
  return number if math.isfinite(number) else None


def write_json(path: str, content: Any, sort_keys: bool = False):
  """Writes an indented JSON file.

  Args:
    path: the file; its directory is created.
    content: of json_text.
    sort_keys: whether to sort the keys or to keep their order.
  """
  text = json_text(content, indent=2, sort_keys=sort_keys)
  write_lines(path, text.splitlines())


def write_csv(path: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]):
  """Writes a CSV file with a header.

  Args:
    path: the file; its directory is created.
    columns: the columns' names.
    rows: one value for each column; None becomes an empty cell.
  """
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(columns)
  writer.writerows(rows)
  _write_text(path, [text.getvalue()])


def write_png(path: str, figure):
  """Writes a picture.

  Args:
    path: the file; its directory is created.
    figure: a matplotlib.figure.Figure, which is not imported here because most
      runs have no use for matplotlib.
  """
  with _whole(path, "wb") as file:
    figure.savefig(file, format="png", dpi=120)


def read_json(path: str, shape: Any = Any) -> Any:
  """Returns the content of a JSON file, or None if there is no such file.

  Args:
    path: the file, local or remote.
    shape: what this program has written, of values.has_shape.

  Raises:
    UserError: the file has been damaged.
  """
  if not tf.io.gfile.exists(path):
    return None
  try:
    with tf.io.gfile.GFile(path) as file:
      content = json.load(file)
  except (ValueError, RecursionError) as error:
    is_json, content = False, error
  else:
    is_json = True
  if is_json and values.has_shape(content, shape):
    return content
  reason = "has other content than this program writes"
  if not is_json:
    reason = f"is not JSON ({content})"
  raise errors.UserError(
      f"{path} {reason}; restore it from a copy, or remove it."
  )


def append_record(path: str, record: Mapping[str, Any]):
  """Appends a line of JSON to a file.

  The file is opened for each line and written at once, so that a run that is
  killed leaves whole lines.

  Args:
    path: the file; its directory exists.
    record: the content of the line, of json_text.
  """
  append_lines(path, [json_text(record).encode()])


def append_lines(path: str, lines: Sequence[bytes]):
  """Appends lines to a file, whose last line may lack its end.

  Args:
    path: the file; its directory exists.
    lines: the lines without their ends.
  """
  content = b"".join(line + b"\n" for line in lines)
  if tf.io.gfile.exists(path):
    with tf.io.gfile.GFile(path, "rb") as file:
      if file.size():
        file.seek(file.size() - 1)
        if file.read(1) != b"\n":
          content = b"\n" + content
  with tf.io.gfile.GFile(path, "ab") as file:
    file.write(content)
