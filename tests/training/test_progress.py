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

"""The display of a run's progress."""

import io
import sys
import time

import pytest
import rich.console

from mtf_switch.training import progress
from tasks import waits


def show(is_terminal):
  """What a display writes in the course of a short run."""
  console = rich.console.Console(
      file=io.StringIO(), force_terminal=is_terminal, width=100
  )
  with progress.Display(console) as display:
    display.status("building the model")
    display.steps("step", 1, 400, "loss 9.1234")
    display.steps("step", 2, 400, "loss 8.1234")  # Too soon for a line.
    display.note("step 2  evaluated")
    display.steps("step", 400, 400, "loss 1.5000  1,234 tokens/s  0:00:00 left")
    if is_terminal:
      display._bar.refresh()
  return console.file.getvalue()


def test_plain_lines_where_there_is_no_terminal():
  assert show(is_terminal=False).splitlines() == [
      "building the model",
      "step 1/400  loss 9.1234",
      "step 2  evaluated",
      "step 400/400  loss 1.5000  1,234 tokens/s  0:00:00 left",
  ]


def test_bar_on_a_terminal():
  shown = show(is_terminal=True)
  assert "━" in shown
  assert "step 400/400" in shown
  assert "step 2  evaluated" in shown
  # The bar goes, its last figures stay.
  last = "step 400/400  loss 1.5000  1,234 tokens/s  0:00:00 left"
  assert shown.splitlines()[-1].endswith(last)


@pytest.fixture
def soon(monkeypatch):
  """Lets works be long that take a tenth of a second."""
  monkeypatch.setattr(progress, "_SECONDS_UNSAID", 0.05)
  monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)


def test_lines_say_what_takes_long_and_how_long_it_took(soon):
  console = rich.console.Console(file=io.StringIO(), width=100)
  with progress.Display(console) as display:
    with display.working("counting words", 2000, "words") as report:
      time.sleep(0.1)  # Long enough for a line that it goes on.
      report(1234, "the first ones")
    display.status("building the model")
    time.sleep(0.1)
    display.status("restoring", at_once=False)  # Too short to be said.
    display.status("saving", at_once=False)
    time.sleep(0.1)
    display.done()
    time.sleep(0.1)
    display.steps("step", 1, 400)
  assert console.file.getvalue().splitlines() == [
      "counting words",
      "counting words: 1,234 of 2,000 words  the first ones",
      "counting words: 0 s",
      "building the model",
      "building the model: 0 s",
      "saving",
      "saving: 0 s",
      "step 1/400",
  ]


def test_short_works_write_no_lines():
  console = rich.console.Console(file=io.StringIO(), width=100)
  with progress.Display(console) as display:
    with display.working("reading", 2) as report:
      report(1)
    with display.working("evaluating", at_once=True):
      pass
  assert console.file.getvalue() == "evaluating\n"


def test_work_within_work_on_a_terminal(soon):
  console = rich.console.Console(
      file=io.StringIO(), force_terminal=True, width=80
  )
  with progress.Display(console) as display:
    display.steps("step", 20, 400, "loss 9.1234")
    with display.working("evaluating a_task", 7, "batches") as report:
      report(3)
      time.sleep(0.1)
      display._bar.refresh()
    during = console.file.getvalue()
    display.status("building the model")
    console.file.truncate(0)
    display._bar.refresh()
    after = console.file.getvalue()
    display.done()
    console.file.truncate(0)
    display._bar.refresh()
    assert "building" not in console.file.getvalue()
  line = during.rpartition("evaluating a_task")[2]
  assert "━" in line
  assert "3 of 7 batches" in line
  assert line.rstrip().endswith("0 s")
  assert "step 20/400" in during
  # Nothing is counted any more: a bar would say how far it is.
  assert "building the model" in after
  assert "━" not in after
  assert "evaluating" not in after


def test_tasks_are_shown_while_the_display_is_open():
  console = rich.console.Console(file=io.StringIO(), force_terminal=True)
  display = progress.Display(console)
  shown = []
  with display:
    with waits.work("training a vocabulary", 5, "pieces") as report:
      report(2)
      display._bar.refresh()
      shown.append(console.file.getvalue())
  assert "training a vocabulary" in shown[0]
  assert "2 of 5 pieces" in shown[0]
  with waits.work("after the end") as report:
    report(1)
  assert "after the end" not in console.file.getvalue()


def test_drawing_loads_no_module():
  """It is done in a thread, and TFDS replaces Python's import as it loads."""
  console = rich.console.Console(
      file=io.StringIO(), force_terminal=True, width=80
  )
  display = progress.Display(console)
  loaded = set(sys.modules)
  with display, display.working("evaluating", 7, "batches") as report:
    display.steps("step", 20, 400, "loss 9.1234")
    report(3)
    display._bar.refresh()
  assert "evaluating" in console.file.getvalue()
  assert set(sys.modules) - loaded <= {"tasks.waits"}


def test_duration():
  assert progress.duration(3725.4) == "1:02:05"


def test_what_took_long_is_shown_with_its_time_the_next_time(soon):
  console = rich.console.Console(file=io.StringIO(), width=100)
  with progress.Display(console) as display:
    for step in (5, 10):
      display.status(f"saving the checkpoint of step {step}")
      time.sleep(0.1)
      with display.working(f"evaluating at step {step}", at_once=True):
        time.sleep(0.1)
      display.done()
    display.status("reading", at_once=False)  # Too short.
    display.status("reading")
  lines = console.file.getvalue().splitlines()
  assert [x for x in lines if ": 0 s" not in x] == [
      "saving the checkpoint of step 5",
      "evaluating at step 5",
      "saving the checkpoint of step 10  0 s the last time",
      "evaluating at step 10  0 s the last time",
      "reading",
  ]
  console = rich.console.Console(
      file=io.StringIO(), force_terminal=True, width=80
  )
  with progress.Display(console) as display:
    for _ in range(2):
      with display.working("evaluating"):
        display._bar.refresh()
        time.sleep(0.1)
  assert "evaluating  0 s the last time" in console.file.getvalue()


FIGURES = (
    "loss 2.1234 (-0.012)  1,234,567 tokens/s  12.3% dropped  load up to 12.31"
    "  3 days, 10:12:33 left"
)


@pytest.mark.parametrize(
    "width, lines",
    [
        (
            40,
            [
                "step 123456/524288  loss 2.1234 (-0.012)",
                "1,234,567 tokens/s  12.3% dropped",
                "load up to 12.31  3 days, 10:12:33 left",
            ],
        ),
        (
            80,
            [
                "step 123456/524288  loss 2.1234 (-0.012)  1,234,567 tokens/s"
                "  12.3% dropped",
                "load up to 12.31  3 days, 10:12:33 left",
            ],
        ),
        (200, [f"step 123456/524288  {FIGURES}"]),
    ],
)
def test_lines_are_folded_between_figures(width, lines):
  assert progress.folded(f"step 123456/524288  {FIGURES}", width) == lines


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_no_figure_is_cut_on_a_terminal(width):
  console = rich.console.Console(
      file=io.StringIO(), force_terminal=True, width=width, color_system=None
  )
  with progress.Display(console) as display:
    display.steps("step", 123456, 524288, FIGURES)
    display._bar.refresh()
    shown = console.file.getvalue()
  lines = shown.rpartition("step 123456")[2].splitlines()
  for figure in FIGURES.split("  "):
    assert any(figure in line for line in lines)
  assert max(map(len, lines)) <= width
  # There is room for a bar.
  assert ("━" in shown) == (width >= 80)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_word_is_cut_on_a_narrow_terminal(width):
  console = rich.console.Console(
      file=io.StringIO(), force_terminal=True, width=width, color_system=None
  )
  work = "evaluating docstrings_span_corruption at step 524288"
  with progress.Display(console) as display:
    details = "loss 2.1234  1,234,567 tokens/s  3 days, 10:12:33 left"
    display.steps("step", 123456, 524288, details)
    with display.working(work, None, "batches") as report:
      report(100, "building the data pipeline of the model")
      display._bar.refresh()
  shown = console.file.getvalue().split()
  assert {*work.split(), *details.split(), "pipeline"} <= set(shown)
