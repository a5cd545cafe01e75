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

"""Rows of TSV, CSV and JSON files, as fields by name or number.

*   .csv: RFC 4180, so that a field in quotes may have line breaks, delimiters
    and doubled quotes.
*   .tsv: IANA's text/tab-separated-values, which has no quoting: quotes and
    backslashes are characters like others.
*   .jsonl and .json: an object in each line, or one array of objects.

.gz may follow. Rows that have no place in their file's form are broken records.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import csv
import itertools
import json
import re
from typing import Any

from tasks import errors
from tasks import json_documents
from tasks import records

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json")

# Python's own limit is 128 kB, less than many an article.
_MAX_FIELD_CHARACTERS = 16 * 2**20

# The first line in which Excel takes the delimiter.
_SEP_LINE = re.compile(r'"?sep=(.)"?')

Row = Mapping[str, Any]


def suffix_of(file: str) -> str:
  """Returns the end of a file's name that says its form.

  Raises:
    DataError: there is none of SUFFIXES.
  """
  name = file.removesuffix(".gz").lower()
  for suffix in SUFFIXES:
    if name.endswith(suffix):
      return suffix
  raise errors.DataError(
      f"{file}: the name does not say the form of the file; it must end in "
      f"{', '.join(SUFFIXES)}, and .gz may follow."
  )


def read(
    file: str, names: Sequence[str], optional: str | None, delimiter: str
) -> Iterator[tuple[str, Row]]:
  """Yields the place and the fields of each row.

  Args:
    file: in UTF-8; any path that tf.io.gfile can read, local or remote.
    names: the fields that are needed. If all are numbers, which count columns
      from 1, a table has no header; otherwise its first row is one.
    optional: one of them that the file may lack; it is then in no row.
    delimiter: between the fields of a .csv file, unless its first line is
      Excel's "sep=;".

  Raises:
    DataError: the file cannot be read, is not of its kind or lacks a column, or
      too many of its records are broken.
  """
  suffix = suffix_of(file)
  is_json = suffix in (".jsonl", ".json")
  lines = records.numbered_lines(
      file, skip_broken=is_json, keep_broken=not is_json
  )
  first = list(itertools.islice(lines, 2))
  lines = itertools.chain(first, lines)
  if is_json:
    _check_json(file, first)
    yield from _objects(file, lines, names, optional)
    return
  _check_table(file, suffix, first)
  start = 1
  if suffix == ".tsv":
    delimiter = "\t"
    rows = _tsv_rows(file, lines)
  else:
    if declared := _SEP_LINE.fullmatch(first[0][1] if first else ""):
      delimiter, start = declared[1], 2
      next(lines)
    rows = csv_rows(file, lines, delimiter)
  place, cells = next(rows, ("", []))
  if all(name.isdecimal() for name in names):
    rows = itertools.chain([(place, cells)] if cells else [], rows)
    header = [str(number) for number in range(1, len(cells) + 1)]
    for place, row in named(rows, header, "the first row"):
      if _has_all(place, row, names, optional, "column"):
        yield place, row
  else:
    if not first:
      raise errors.DataError(f"{file} is empty.")
    header_place = f"{file}, line {start}"
    if place != header_place or not all(map(records.is_unicode, cells)):
      raise errors.DataError(
          f"{header_place}: there is no header that can be read here; is this "
          f"a {suffix} file in UTF-8, whose lines end in LF or CRLF?"
      )
    kind = f"columns of a {suffix} file are separated by {delimiter!r}"
    _check_header(place, cells, names, optional, kind)
    yield from named(rows, cells, "the header")


def named(
    rows: Iterable[tuple[str, Sequence[str]]],
    header: Sequence[str],
    owner: str,
) -> Iterator[tuple[str, Row]]:
  """Yields rows as fields by the names in a header; skips others."""
  for place, cells in rows:
    if not all(map(records.is_unicode, cells)):
      records.skip(place, "this is not UTF-8 text")
    elif len(cells) != len(header):
      records.skip(
          place,
          f"{len(cells)} column{'s'[: len(cells) != 1]} where {owner} has "
          f"{len(header)}",
      )
    else:
      yield place, dict(zip(header, cells))


def _tsv_rows(
    file: str, lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[str, list[str]]]:
  """Yields the place and the fields of each line that is not empty."""
  for number, line in lines:
    if line:
      yield f"{file}, line {number}", line.split("\t")


def csv_rows(
    file: str, lines: Iterable[tuple[int, str]], delimiter: str
) -> Iterator[tuple[str, list[str]]]:
  """Yields the place and the fields of each record that is not empty.

  Raises:
    DataError: a quote is not closed, which hides the rest of the file.
  """
  csv.field_size_limit(_MAX_FIELD_CHARACTERS)
  numbers = []  # Of the lines of a record.
  is_at_end = False

  def texts():
    nonlocal is_at_end
    for number, line in lines:
      numbers.append(number)
      yield f"{line}\n"
    is_at_end = True

  reader = csv.reader(texts(), delimiter=delimiter, strict=True)
  while True:
    numbers.clear()
    try:
      cells = next(reader)
    except StopIteration:
      return
    except csv.Error as error:
      place = f"{file}, line {numbers[0]}"
      if is_at_end:
        raise errors.DataError(
            f"{place}: a quote is opened here and not closed before the end of "
            "the file."
        ) from error
      records.skip(place, f"this is not CSV ({error})")
      continue
    if cells:
      yield f"{file}, line {numbers[0]}", cells


def _objects(
    file: str,
    lines: Iterable[tuple[int, str]],
    names: Sequence[str],
    optional: str | None,
) -> Iterator[tuple[str, Row]]:
  """Yields the place and the object of each record that has all fields."""
  for place, entry in json_documents.objects(file, lines):
    if _has_all(place, entry, names, optional, "key"):
      yield place, entry


def _has_all(
    place: str,
    row: Row,
    names: Sequence[str],
    optional: str | None,
    kind: str,
) -> bool:
  """Returns whether a row has the fields that are needed; skips others."""
  for name in names:
    if name not in row and name != optional:
      records.skip(
          place,
          f"there is no {kind} {name!r}, but "
          f"{', '.join(map(repr, row)) or 'nothing'}",
      )
      return False
  return True


def _check_header(
    place: str,
    header: Sequence[str],
    names: Sequence[str],
    optional: str | None,
    kind: str,
):
  """Refuses a header without a name that is needed, or with two of it."""
  for name in names:
    if name not in header and name != optional:
      listed = ", ".join(map(repr, header))
      raise errors.DataError(
          f"{place}: there is no column {name!r}; "
          + (
              f"there are {listed}."
              if len(header) > 1
              else f"there is only {listed}, and {kind}."
          )
          + " pairs_files.inputs and .targets name columns of the header, or "
          "count columns from 1 in files without one."
      )
    if header.count(name) > 1:
      raise errors.DataError(
          f"{place}: the column {name!r} is there {header.count(name)} times."
      )


def _check_table(file: str, suffix: str, first: Sequence[tuple[int, str]]):
  """Refuses a table whose first line is JSON."""
  if first and first[0][1].lstrip().startswith(("{", "[")):
    try:
      json.loads(first[0][1])
    except (RecursionError, ValueError):
      return
    raise errors.DataError(
        f"{file} is a file of JSON; its name must end in .jsonl instead of "
        f"{suffix}."
    )


def _check_json(file: str, first: Sequence[tuple[int, str]]):
  """Refuses a file of objects if no line at its start looks like one."""
  texts = [line.strip() for _, line in first if line.strip()]
  if texts and not any(text.startswith(("{", "[")) for text in texts):
    start = f"{texts[0][:40]}..." if len(texts[0]) > 40 else texts[0]
    raise errors.DataError(
        f"{file} is no file of JSON objects, it starts with {start!r}; the "
        "name of a table must end in .tsv or .csv."
    )
