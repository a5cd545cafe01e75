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

"""The report in a real browser: what it says, asks for, and fits into."""

import re

import pytest
import rich.console

from mtf_switch.modes import report
from tests import browser as browser_lib
from tests.pages import made_runs

pytestmark = pytest.mark.skipif(
    not browser_lib.find(), reason="no Chromium is installed"
)
SECTIONS = [
    *("Runs", "Quality", "Speed-up to a given quality", "Warnings"),
    *("Training", "Routing", "Load of experts", "Evaluations"),
    *("Configuration", "Versions"),
]
EVIL = "<img src=http://localhost/a onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  """The report of two runs, one with names that would be HTML."""
  directory = tmp_path_factory.mktemp("report")
  paths = []
  for name, task in (("plain", made_runs.TASK), (EVIL.replace("/", ""), EVIL)):
    lines = [
        made_runs.routed(i, [0.0, 1.0, 2.5, 0.5 + i / 100]) for i in range(50)
    ]
    for step in (10, 20, 30):
      lines += [
          made_runs.evaluation(step, -3.0 + step / 20, task),
          made_runs.evaluation(step, -9.0 / step, "shared"),
      ]
    lines.append(
        {
            **{"kind": "warning", "step": 40, "task": task, "state": "began"},
            **{"what": EVIL, "where": EVIL, "numbers": {EVIL: EVIL}},
        }
    )
    gin = f"a.b = {task + 'x' * 300!r}\n"
    path = made_runs.write(
        directory / name, lines, gin, positions_per_batch=64, parameters=10
    )
    paths.append(path)
  report.report(
      None, rich.console.Console(quiet=True), paths, str(directory / "out")
  )
  return directory / "out" / "report.html"


def test_all_sections_are_there(browser):
  assert browser.titles() == SECTIONS
  assert browser.evaluate("document.querySelectorAll('svg').length") >= 8


def test_names_are_harmless_and_nothing_is_asked_for(browser, page):
  browser.check_harmless(page, EVIL)


@pytest.mark.parametrize("width", [400, 1600])
def test_the_page_is_no_wider_than_its_window(browser, width):
  browser.check_fits(width)


def test_colours_follow_the_scheme(browser):
  def brightness(element):
    colour = browser.evaluate(
        f"getComputedStyle(document.querySelector('{element}'))"
        f".{'backgroundColor' if element == 'body' else 'stroke'}"
    )
    return sum(map(int, re.findall(r"\d+", colour)[:3]))

  browser.show(1600, scheme="light")
  light = brightness("body"), brightness(".curve")
  browser.show(1600, scheme="dark")
  dark = brightness("body"), brightness(".curve")
  assert light[0] > 600 and dark[0] < 150
  assert dark[1] > light[1]


def test_values_are_shown_below_the_pointer(browser):
  browser.show(1600)
  x, y = browser.evaluate(
      "{const chart = document.querySelector('svg.chart');"
      "chart.scrollIntoView();"
      "const place = chart.getBoundingClientRect();"
      "[place.left + place.width * (52 + 358) / 420 - 3,"
      " place.top + place.height / 2]}"
  )
  browser.point_at(x, y)
  caption = browser.evaluate(
      "document.querySelector('svg.chart + figcaption').textContent"
  )
  # At the right end is the last evaluation.
  assert caption.startswith("plain: -0.3 at step 30")
