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

"""The rows of tables in files: JSON, CSV and Parquet."""

import ast
from collections.abc import Callable, Iterator
import io
import itertools
import json
import os
import re
import sys
from typing import Any

import tensorflow.compat.v1 as tf

from tasks import errors
from tasks import json_documents
from tasks import json_entries
from tasks import pair_rows
from tasks import paths
from tasks import records

Row = dict[str, Any]

# The names of the arrays that JSON files of records have.
_ARRAYS = ("Data", "data")

# Of a Parquet file, in memory at a time.
_ROWS_A_BATCH = 64

# As in requirements-parquet.in, which the lock of this optional package is of.
PYARROW = "pyarrow<26"

_LFS_POINTER = b"version https://git-lfs"

# Strings as a whole, and what numpy writes between the items of its arrays.
_STRING = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_ARRAY_PARTS = re.compile(
    rf"({_STRING})(?=\s+['\"])|({_STRING})|\barray\(|,\s*dtype=\w+\)"
)


def rows(file: str) -> Iterator[tuple[str, Row]]:
  """Yields the place and the fields of each row; skips broken rows.

  Args:
    file: any path that tf.io.gfile can read, local or remote. The form depends
      on the ending, see READERS; all but Parquet may be compressed (.gz).

  Raises:
    DataError: the file cannot be read, is of another form, or too many of its
      rows are broken.
  """
  return READERS[ending(file)](file)


def ending(file: str) -> str:
  """Returns the ending of a file's name, without ".gz"."""
  return os.path.splitext(file.removesuffix(".gz"))[1]


def json_rows(file: str) -> Iterator[tuple[str, Row]]:
  """Yields the rows of a JSON file.

  They are objects, one in each line, or the entries of one array, which may
  stand under "Data" in an object.
  """
  lines = records.numbered_lines(file, skip_broken=True)
  first = list(itertools.islice((x for x in lines if x[1].strip()), 2))
  lines = itertools.chain(first, lines)
  starts_array = first and first[0][1].lstrip().startswith("[")
  if starts_array or any(_is_row(line) for _, line in first):
    yield from json_documents.objects(file, lines)
    return
  for place, text in json_entries.split(file, lines, _ARRAYS):
    row = records.json_object(place, text)
    if row is not None:
      yield place, row


def _is_row(line: str) -> bool:
  """Whether a line is an object that holds no array of rows."""
  try:
    entry = json.loads(line)
  except (RecursionError, ValueError):
    return False
  return isinstance(entry, dict) and not any(
      isinstance(entry.get(name), list) for name in _ARRAYS
  )


def csv_rows(file: str) -> Iterator[tuple[str, Row]]:
  """Yields the rows of a CSV file (RFC 4180) whose first row has the names."""
  lines = records.numbered_lines(file, keep_broken=True)
  rows_of_file = pair_rows.csv_rows(file, lines, ",")
  _, header = next(rows_of_file, ("", []))
  yield from pair_rows.named(rows_of_file, header, "the header")


def parquet_rows(file: str) -> Iterator[tuple[str, Row]]:
  """Yields the rows of a Parquet file; a DataError without pyarrow."""
  try:
    import pyarrow
    from pyarrow import parquet
  except ImportError as error:
    raise errors.DataError(
        f"{file}: Parquet needs one more package: {sys.executable} -m pip "
        f"install --no-deps {PYARROW!r} ({error})."
    ) from error
  if problem := paths.problem(file):
    raise errors.DataError(f"{file} {problem}.")
  number = 0
  try:
    with tf.io.gfile.GFile(file, "rb") as raw:
      stream = io.BufferedReader(records.RawFile(raw))
      if stream.peek(len(_LFS_POINTER)).startswith(_LFS_POINTER):
        raise errors.DataError(
            f"{file} is a pointer of Git LFS to the data; `git lfs pull` in "
            "its repository gets the data."
        )
      for batch in parquet.ParquetFile(stream).iter_batches(_ROWS_A_BATCH):
        for row in batch.to_pylist():
          number += 1
          yield f"{file}, row {number}", row
  except (OSError, ValueError, pyarrow.ArrowException) as error:
    problem = " ".join(str(error).split())
    raise errors.DataError(
        f"{file}, after row {number}: this is not a whole Parquet file "
        f"({problem})."
    ) from error
  except tf.errors.OpError as error:
    raise errors.DataError(f"{file} cannot be read: {error.message}") from error


def nested(value: Any) -> Any:
  """Returns a list or an object that may be written as a text, as in CSV.

  Args:
    value: the value itself, or its text in JSON, in Python or in numpy's form,
      which has no commas between strings: "['Rome' 'Bonn']".

  Raises:
    ValueError: it is another text.
  """
  if not isinstance(value, str):
    return value
  try:
    return json.loads(value)
  except (RecursionError, ValueError):
    pass
  text = _ARRAY_PARTS.sub(
      lambda part: f"{part[1]}," if part[1] else part[2] or "", value
  )
  try:
    return ast.literal_eval(text)
  except (MemoryError, RecursionError, SyntaxError, ValueError) as error:
    raise ValueError(f"{value[:80]!r} is no list and no object") from error


def texts(value: Any) -> list[str]:
  """Returns a list of texts; see `nested`. A text of its own is such a list.

  Raises:
    ValueError: it is neither.
  """
  if isinstance(value, str):
    if not value.strip().startswith("["):
      return [value]
    value = nested(value)
  if not isinstance(value, (list, tuple)) or not all(
      isinstance(text, str) for text in value
  ):
    raise ValueError(f"{str(value)[:80]} is no list of texts")
  return list(value)


READERS: dict[str, Callable[[str], Iterator[tuple[str, Row]]]] = {
    ".jsonl": records.json_objects,
    ".json": json_rows,
    ".csv": csv_rows,
    ".parquet": parquet_rows,
}
