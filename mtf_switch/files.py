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
import gzip
import io
import json
import os
from typing import Any

import tensorflow.compat.v1 as tf


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
  with tf.io.gfile.GFile(path + ".new", mode) as file:
    yield file
  tf.io.gfile.rename(path + ".new", path, overwrite=True)


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
        stream.write(part.encode("utf-8"))


def write_json(path: str, content: Any, sort_keys: bool = False):
  """Writes an indented JSON file.

  Args:
    path: the file; its directory is created.
    content: in JSON types.
    sort_keys: whether to sort the keys or to keep their order.
  """
  text = json.dumps(content, indent=2, sort_keys=sort_keys)
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


def read_json(path: str) -> Any:
  """Returns the content of a JSON file, or None if there is no such file."""
  if not tf.io.gfile.exists(path):
    return None
  with tf.io.gfile.GFile(path) as file:
    return json.load(file)


def append_record(path: str, record: Mapping[str, Any]):
  """Appends a line of JSON to a file.

  The file is opened for each line and written at once, so that a run that is
  killed leaves whole lines.

  Args:
    path: the file; its directory exists.
    record: the content of the line; NumPy numbers become Python's.
  """
  with tf.io.gfile.GFile(path, "a") as file:
    file.write(json.dumps(record, default=float) + "\n")
