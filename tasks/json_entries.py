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

"""The entries of one long JSON array, one after another.

The array is the whole file, or stands in an object under a name. A file of
gigabytes is never in memory as a whole.
"""

from collections.abc import Collection, Iterable, Iterator
import re

from tasks import errors

# Strings as a whole, so that brackets in them do not count. Possessive: a
# string without an end is given up at once.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},]')
_BRACKETS = re.compile(r"[\[\]{}]")


def split(
    file: str, lines: Iterable[tuple[int, str]], names: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
  """Yields the place and the text of each entry.

  json.loads would refuse all entries for the sake of one.

  Args:
    file: the file's name.
    lines: its lines with their numbers.
    names: the names that the array may have in an object.

  Raises:
    DataError: there is no such array, or it has no end.
  """
  quoted = {f'"{name}"' for name in names}
  depth, array_depth, count = 0, None, 0
  name, parts = None, []
  for _, line in lines:
    if array_depth and depth > array_depth and not _BRACKETS.search(line):
      parts.append(line)
      continue
    begin = 0
    for token in _TOKENS.finditer(line):
      text = token.group()
      if text[0] == '"':
        name = text
        continue
      if text in "[{":
        depth += 1
        if array_depth is None and text == "[":
          if depth == 1 or depth == 2 and name in quoted:
            array_depth, begin = depth, token.end()
        continue
      if text in "]}":
        depth -= 1
      at_end = array_depth is not None and depth < array_depth
      if at_end or text == "," and depth == array_depth:
        parts.append(line[begin : token.start()])
        entry = "\n".join(parts)
        if entry.strip() or not at_end:
          count += 1
          yield f"{file}, entry {count}", entry
        parts, begin = [], token.end()
      if at_end:
        return
    if array_depth:
      parts.append(line[begin:])
  where = f" under {' or '.join(sorted(quoted))}" if quoted else ""
  raise errors.DataError(
      f"{file}: its array has no end."
      if array_depth
      else f"{file}: there is no array of objects, alone or{where}, and no "
      "object in each line."
  )
