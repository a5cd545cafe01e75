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

"""What of warnings and other messages reaches a terminal."""

import io
import sys
import warnings

import rich.console

from mtf_switch import errors
from mtf_switch.modes import launch
from mtf_switch.training import progress


def test_a_notice_is_shown_once_and_nothing_raw(monkeypatch):
  """Also while a live display is on the terminal."""
  monkeypatch.setattr(
      warnings,
      "showwarning",
      lambda message, *_, **__: print(message, file=sys.stderr),
  )
  monkeypatch.setattr(sys, "stderr", io.StringIO())
  console = rich.console.Console(
      file=io.StringIO(), force_terminal=True, width=200
  )
  launch._show_notices(console)
  with (
      progress.Display(console) as display,
      display.working("planning this run"),
      warnings.catch_warnings(),
  ):
    warnings.simplefilter("always")
    for _ in range(2):
      warnings.warn("four of five", errors.UserNotice, stacklevel=1)
    warnings.warn("for the log", stacklevel=1)
    print("of TensorFlow", file=sys.stderr)
  shown = console.file.getvalue()
  assert shown.count("note: four of five") == shown.count("four of five") == 1
  assert "for the log" not in shown and "of TensorFlow" not in shown
  assert sys.stderr.getvalue().splitlines() == [
      "four of five",
      "four of five",
      "for the log",
      "of TensorFlow",
  ]
