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

"""The documents of JSON files: an object in each line, or one array of them."""

from collections.abc import Iterable, Iterator, Sequence
import itertools
import json
import re
from typing import Any

from tasks import errors
from tasks import records

# Strings as a whole, so that brackets in them do not count. Possessive: a
# string without an end is given up at once.
TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},]', re.DOTALL)


def read(file: str, lines: Iterable[tuple[int, str]]) -> Iterator[str]:
  """Yields the text under "text" of each object; skips broken records.

  Args:
    file: the file's name.
    lines: its lines with their numbers.

  Raises:
    DataError: as `objects`.
  """
  for place, entry in objects(file, lines):
    document = records.text_of(place, entry)
    if document is not None:
      yield document


def objects(
    file: str, lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields the place and the object of each record; skips broken ones.

  Args:
    file: the file's name.
    lines: its lines with their numbers.

  Raises:
    DataError: the file is an array without an end, or too many records are
      broken.
  """
  lines = ((number, line) for number, line in lines if line.strip())
  first = list(itertools.islice(lines, 1))
  if first and first[0][1].lstrip().startswith("["):
    entries = _array(file, first + list(lines))
  else:
    entries = _one_a_line(file, itertools.chain(first, lines))
  for place, text in entries:
    entry = records.json_object(place, text)
    if entry is not None:
      yield place, entry


def _one_a_line(
    file: str, lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[str, str]]:
  """Yields lines with their places."""
  for number, line in lines:
    yield f"{file}, line {number}", line


def _array(
    file: str, lines: Sequence[tuple[int, str]]
) -> Iterable[tuple[str, str]]:
  """Returns the entries of an array with their places.

  If there is no array but the first line only looks like one, as a broken
  record can, the entries are the lines.
  """
  whole = "\n".join(line for _, line in lines)
  entries = _split(whole)
  if entries is not None:
    return ((f"{file}, entry {n}", text) for n, text in enumerate(entries, 1))
  if any(_is_object(line) for _, line in lines[1:]):
    return _one_a_line(file, lines)
  problem = "there is more after the array"
  try:
    json.loads(whole)
  except (RecursionError, ValueError) as error:
    problem = records.not_json(error)
  raise errors.DataError(
      f"{file}: {problem}; each line must be an object, or the file one array "
      "of objects."
  )


def _split(array: str) -> list[str] | None:
  """Returns the texts of an array's entries; None if it does not end.

  json.loads would refuse all of them for the sake of one.

  Args:
    array: starts with a bracket, after space.
  """
  entries, depth, start = [], 0, 0
  for token in TOKENS.finditer(array):
    char = array[token.start()]
    if char in "[{":
      depth += 1
      if depth == 1:
        start = token.end()
    elif char in "]}":
      depth -= 1
      if depth == 0:
        last = array[start : token.start()]
        if array[token.end() :].strip():
          return None
        return [*entries, last] if entries or last.strip() else []
    elif char == "," and depth == 1:
      entries.append(array[start : token.start()])
      start = token.end()
  return None


def _is_object(line: str) -> bool:
  try:
    return isinstance(json.loads(line), dict)
  except (RecursionError, ValueError):
    return False
