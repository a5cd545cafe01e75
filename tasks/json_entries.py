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

"""The entries of an array under a name in an object, one after another.

A file of gigabytes, such as TriviaQA's, is never in memory as a whole.
"""

from collections.abc import Collection, Iterable, Iterator
import re

from tasks import errors
from tasks import json_documents

_BRACKETS = re.compile(r"[\[\]{}]")
_ARRAY_DEPTH = 2


def split(
    file: str, lines: Iterable[tuple[int, str]], names: Collection[str]
) -> Iterator[tuple[str, str]]:
  """Yields the place and the text of each entry.

  json.loads would refuse all entries for the sake of one.

  Args:
    file: the file's name.
    lines: its lines with their numbers.
    names: the names that the array may have.

  Raises:
    DataError: there is no such array, or it has no end.
  """
  quoted = {f'"{name}"' for name in names}
  depth, in_array, count = 0, False, 0
  name, parts = None, []
  for _, line in lines:
    if in_array and depth > _ARRAY_DEPTH and not _BRACKETS.search(line):
      parts.append(line)
      continue
    begin = 0
    for token in json_documents.TOKENS.finditer(line):
      text = token.group()
      if text[0] == '"':
        name = text
        continue
      if text in "[{":
        depth += 1
        if text == "[" and depth == _ARRAY_DEPTH and name in quoted:
          in_array, begin = True, token.end()
        continue
      if text in "]}":
        depth -= 1
      at_end = in_array and depth < _ARRAY_DEPTH
      if at_end or in_array and text == "," and depth == _ARRAY_DEPTH:
        entry = "\n".join([*parts, line[begin : token.start()]])
        if entry.strip() or not at_end:
          count += 1
          yield f"{file}, entry {count}", entry
        parts, begin = [], token.end()
      if at_end:
        return
    if in_array:
      parts.append(line[begin:])
  listed = " or ".join(sorted(quoted))
  raise errors.DataError(
      f"{file}: the array of objects has no end."
      if in_array
      else f"{file}: there is no object in each line, no array of objects, and "
      f"none under {listed} in an object."
  )
