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

"""Markdown that programs write: tables, and texts between marks of a page."""

from collections.abc import Iterable, Mapping, Sequence
import re


def table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], num_left: int = 1
) -> str:
  """Returns a table.

  Args:
    titles: of the columns.
    rows: a text for each column.
    num_left: how many columns are aligned on the left, the others on the right.
  """
  lines = [
      titles,
      ["---"] * num_left + ["---:"] * (len(titles) - num_left),
      *rows,
  ]
  return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fill(page: str, texts: Mapping[str, str]) -> str:
  """Replaces the text between the marks of a page.

  Args:
    page: a page with `<!-- name: begin -->` and `<!-- name: end -->` for each
      text.
    texts: the new texts by name.

  Returns:
    the page.

  Raises:
    ValueError: marks are missing.
  """
  for name, text in texts.items():
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page, found = re.subn(
        f"{begin}.*?{end}",
        lambda _: f"{begin}\n{text}\n{end}",  # noqa: B023  Called at once.
        page,
        flags=re.DOTALL,
    )
    if found != 1:
      raise ValueError(f"The page has no place {begin} ... {end}.")
  return page
