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

"""Pages: texts stay texts, and nothing is asked for."""

import base64
import hashlib
import html.parser
import re

from mtf_switch.pages import page

EVIL = "<script>alert(1)</script>\"'&"


class Tags(html.parser.HTMLParser):
  """The tags of a page, and its text outside of style and script."""

  def __init__(self, content):
    super().__init__()
    self.tags, self.text, self._inside = [], "", None
    self.feed(content)

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    self._inside = tag

  def handle_endtag(self, tag):
    self._inside = None

  def handle_data(self, data):
    if self._inside not in ("style", "script"):
      self.text += data


def test_texts_from_anywhere_stay_texts():
  blocks = [
      page.paragraph(EVIL),
      page.note(EVIL),
      page.heading(EVIL),
      page.table([EVIL, "b"], [[EVIL, EVIL]]),
      page.bullets([EVIL]),
      page.folded(EVIL, [page.code(EVIL)]),
      page.figure(page.Markup("<svg></svg>"), EVIL),
  ]
  content = page.render(EVIL, EVIL, [page.Section(EVIL, blocks)])
  found = Tags(content)
  assert [tag for tag, _ in found.tags].count("script") == 1
  # Title twice, subtitle, link, section's title, and the blocks.
  assert found.text.count(EVIL) == 5 + 10
  for _, attributes in found.tags:
    assert not [name for name in attributes if name.startswith("on")]


def test_only_the_pages_own_script_may_run():
  content = page.render("a", "b", [])
  (script,) = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  found = [tag for tag in Tags(content).tags if tag[0] == "meta"]
  policies = [x["content"] for _, x in found if "http-equiv" in x]
  assert "default-src 'none'" in policies[0]
  assert f"script-src 'sha256-{digest}'" in policies[0]


def test_a_page_names_no_other_place():
  assert not re.search(r"https?:|src=|@import|url\(", page.render("a", "b", []))


def test_characters_that_html_has_no_place_for():
  content = page.render("a\0b", "\x1b[1m\ud800", [])
  assert "a\ufffdb" in content and "\x1b" not in content
  content.encode()


def test_a_link_leads_to_each_section():
  sections = [page.Section("Load of experts", []), page.Section("Runs", [])]
  tags = Tags(page.render("a", "b", sections)).tags
  links = [x["href"] for tag, x in tags if tag == "a"]
  places = [f"#{x['id']}" for tag, x in tags if tag == "section"]
  assert links == places == ["#load-of-experts", "#runs"]


def test_numbers_are_aligned_on_the_right():
  table = page.table(["name", "number"], [["a", "1"]])
  assert '<td>a</td><td class="number">1</td>' in table
