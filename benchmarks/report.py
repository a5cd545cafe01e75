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

"""Turns results into the tables and plots of docs/performance.md."""

import argparse
import json
import pathlib

from benchmarks import contest
from benchmarks import plots
from benchmarks import tables
from mtf_switch import markdown

_PAGE = contest.PROJECT / "docs" / "performance.md"
_IMAGES = contest.PROJECT / "docs" / "images"


def main():
  """Rewrites the page and its plots from the results."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
      "--directory",
      type=pathlib.Path,
      default=contest.RESULTS,
      help="the directory with the results",
  )
  arguments = parser.parse_args()
  records = [
      json.loads(path.read_text())
      for path in (
          arguments.directory / f"{name}.json" for name in tables.COLUMNS
      )
      if path.exists()
  ]
  texts = {record["question"]: tables.render(record) for record in records}
  page = markdown.fill(
      _PAGE.read_text(), {"goals": tables.render_goals(records), **texts}
  )
  _PAGE.write_text(page)
  for record in records:
    if record["question"] in plots.PLOTS:
      plots.draw(record, _IMAGES / f"performance_{record['question']}.png")
  print(f"wrote the results of {', '.join(texts)} to {_PAGE}.")


if __name__ == "__main__":
  main()
