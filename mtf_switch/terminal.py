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

"""Lines and tables for people, on terminals of any width and in pipes."""

from collections.abc import Iterable, Sequence
import re
import textwrap

import rich.box
import rich.console
import rich.table
import rich.text

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def visible(text: str) -> str:
  r"""Writes control characters as in Python: "\n", "\x1b"."""
  return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def say(console: rich.console.Console, text: str, indent: str = ""):
  """Writes a line; on a terminal it is folded, but only between words.

  Args:
    console: the console.
    text: one line.
    indent: in front of each line that it is folded into.
  """
  lines = [indent + text]
  if console.is_terminal:
    lines = textwrap.wrap(
        text,
        console.width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
  for line in lines:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def table(
    console: rich.console.Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    num_left: int = 1,
):
  """Writes a table; where it is wider than a terminal, lines for each row.

  Args:
    console: the console.
    columns: the columns' names.
    rows: a text for each column, or one alone, the title of the next rows.
    num_left: how many columns are aligned on the left.
  """
  rows = list(rows)
  made = _table(columns, rows, num_left)
  made.width = _width(console, made)
  if made.width <= console.width or not console.is_terminal:
    console.print(made, highlight=False, crop=False)
  else:
    for row in rows:
      _say_row(console, columns, row)
  console.print()


def fits(
    console: rich.console.Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> bool:
  """Whether a table need not be written as lines; see `table`."""
  made = _table(columns, rows, num_left=1)
  return not console.is_terminal or _width(console, made) <= console.width


def _table(columns, rows, num_left) -> rich.table.Table:
  result = rich.table.Table(
      box=rich.box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
  )
  for number, name in enumerate(columns):
    justify = "left" if number < num_left else "right"
    result.add_column(rich.text.Text(name), justify=justify)
  for row in rows:
    is_title = len(row) == 1
    if is_title:
      result.add_section()
    style = "bold" if is_title else ""
    result.add_row(*(rich.text.Text(cell, style) for cell in row))
  return result


def _width(console, made: rich.table.Table) -> int:
  unlimited = console.options.update(max_width=10**6)
  return console.measure(made, options=unlimited).maximum


def _say_row(console, columns: Sequence[str], row: Sequence[str]):
  """Writes a row as its first cell and, below, the others with their names."""
  title, *cells = (cell.replace("\n", ", ") for cell in row)
  if len(cells) == 1:
    say(console, f"{title}: {cells[0]}")
    return
  say(console, title)
  named = (f"{name}: {cell}" for name, cell in zip(columns[1:], cells) if cell)
  say(console, "; ".join(named), indent="  ")
