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

"""docs/parallelism.md has the bytes that were counted."""

import json

from tests.regression import messages

ROWS = json.loads(messages.RESULTS.read_text())


def test_page_is_up_to_date():
  page = messages.PAGE.read_text()
  assert page == messages.fill(page), (
      "docs/parallelism.md is out of date; run `python -m"
      " tests.regression.messages`"
  )


def test_plans_have_the_bytes_of_the_graphs():
  assert len(ROWS) == 12
  for row in ROWS:
    assert row["planned"] == row["in_graph"]
    assert sum(row["planned_by_purpose"].values()) == sum(
        row["planned"].values()
    )


def test_what_is_written_is_what_is_counted():
  (row,) = [
      row
      for row in ROWS
      if (row["size"], row["layout"]) == ("tiny", "expert_model_data")
  ]
  assert messages.count("tiny", "expert_model_data") == row
