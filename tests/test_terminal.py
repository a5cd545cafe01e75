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

"""Lines and tables at every width."""

import io

import pytest
import rich.console

from mtf_switch import terminal


def console(width: int, is_terminal: bool = True) -> rich.console.Console:
  return rich.console.Console(
      file=io.StringIO(),
      width=width,
      force_terminal=is_terminal,
      color_system=None,
  )


def lines(shown: rich.console.Console) -> list[str]:
  return [line.rstrip() for line in shown.file.getvalue().splitlines()]


LINE = "step 20  a_task  neg_log_perplexity -1.2500  fraction_dropped 0.0323"


def test_a_line_is_folded_between_words_on_a_terminal_only():
  shown = console(50)
  terminal.say(shown, LINE)
  assert lines(shown) == [
      "step 20  a_task  neg_log_perplexity -1.2500",
      "fraction_dropped 0.0323",
  ]
  shown = console(50, is_terminal=False)
  terminal.say(shown, LINE)
  assert lines(shown) == [LINE]


def test_a_word_is_not_folded():
  """The terminal may do it: then a path can be copied as a whole."""
  shown = console(20)
  terminal.say(shown, "written to /a/directory-of/that/is/long [bold]")
  assert lines(shown) == [
      "written to",
      "/a/directory-of/that/is/long",
      "[bold]",
  ]


COLUMNS = ("name", "splits", "metrics")
ROWS = (
    ("squad", "train, validation", "squad"),
    ("a group",),
    ("lm", "train\nvalidation", ""),
)


@pytest.mark.parametrize("width, is_terminal", [(36, True), (10, False)])
def test_a_table_that_fits_is_one(width, is_terminal):
  shown = console(width, is_terminal)
  terminal.table(shown, COLUMNS, ROWS, num_left=2)
  assert lines(shown) == [
      "name     splits             metrics",
      "────────────────────────────────────",
      "squad    train, validation    squad",
      "",
      "a group",
      "lm       train",
      "         validation",
      "",
  ]


def test_a_table_that_does_not_fit_is_lines():
  shown = console(30)
  assert not terminal.fits(shown, COLUMNS, ROWS)
  terminal.table(shown, COLUMNS, ROWS)
  assert lines(shown) == [
      "squad",
      "  splits: train, validation;",
      "  metrics: squad",
      "a group",
      "lm",
      "  splits: train, validation",
      "",
  ]


def test_one_value_stands_beside_its_name():
  shown = console(24)
  terminal.table(shown, ("", "this run"), [("  fits", "yes"), ("x" * 20, "no")])
  assert lines(shown) == ["  fits: yes", "x" * 20 + ": no", ""]


def test_control_characters_are_visible():
  assert terminal.visible("é\t\x1b[31m\x7f\x9b\r\n\u2028漢") == (
      r"é\t\x1b[31m\x7f\x9b\r\n\u2028漢"
  )
