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

"""Markdown tables, and places in pages."""

import pytest

from mtf_switch import markdown


def test_a_table_by_hand():
  assert markdown.table(["a", "b"], [["x", "1"], ["y", "2"]]) == (
      "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |"
  )
  left = markdown.table(["a", "b"], [], num_left=2)
  assert left == "| a | b |\n| --- | --- |"


def test_the_text_between_the_marks_is_replaced():
  page = "a\n<!-- step: begin -->\nold\n<!-- step: end -->\nb\n"
  filled = markdown.fill(page, {"step": r"new \1"})
  assert filled == "a\n<!-- step: begin -->\nnew \\1\n<!-- step: end -->\nb\n"
  assert markdown.fill(filled, {"step": r"new \1"}) == filled
  with pytest.raises(ValueError, match="decode: begin"):
    markdown.fill(page, {"decode": "new"})
