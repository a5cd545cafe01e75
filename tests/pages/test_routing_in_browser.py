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

"""The page of --mode=routing in a real browser."""

import re

import pytest

from mtf_switch.pages import routing_page
from mtf_switch.pages import routing_record as record_lib
from tests import browser as browser_lib
from tests.pages import made_routing

pytestmark = pytest.mark.skipif(
    not browser_lib.find(), reason="no Chromium is installed"
)
SECTIONS = [
    *("What was read", "Sentences", "Specialisation", "Experts"),
    *("Dropped in training", "Changes"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  """The page of made-up routing, with names that would be HTML."""
  routing = made_routing.routing()
  analyses = [record_lib.analyse(routing, x) for x in routing.readings]
  path = tmp_path_factory.mktemp("page") / "routing.html"
  changed = record_lib.changes(routing)
  path.write_text(routing_page.render(routing, analyses, changed))
  return path


def test_names_are_harmless_and_nothing_is_asked_for(browser, page):
  assert browser.titles() == SECTIONS
  browser.check_harmless(page, made_routing.EVIL)


@pytest.mark.parametrize("width", [400, 1600])
def test_the_page_is_no_wider_than_its_window(browser, width):
  browser.check_fits(width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_experts_have_colours_that_can_be_read_on(browser, scheme):
  def colour(expert, of="backgroundColor"):
    found = browser.evaluate(
        f"getComputedStyle(document.querySelector('.e{expert}')).{of}"
    )
    return tuple(map(int, re.findall(r"\d+", found)[:3]))

  browser.show(1600, scheme=scheme)
  paper = [colour(expert) for expert in range(4)]
  assert len(set(paper)) == 4
  contrast = [abs(sum(x) - sum(colour(0, "color"))) for x in paper]
  assert min(contrast) > 300


def test_what_is_dropped_is_struck_through(browser):
  lines = browser.evaluate(
      "[...document.querySelectorAll('.tokens i')].map(x => "
      "[x.className.includes('dropped'), "
      "getComputedStyle(x).textDecorationLine])"
  )
  assert {tuple(x) for x in lines} == {(True, "line-through"), (False, "none")}


def test_probabilities_show_below_the_pointer(browser):
  title = browser.evaluate("document.querySelector('.tokens i[title]').title")
  assert re.match(r"\d: 0\.\d\d; next \d: 0\.\d\d", title)
