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

"""Writes docs/results.md and its pictures from the committed records.

`python -m scripts.results` also writes the lines of the README on verdicts, and
the section "Questions" of docs/experiments.md.
"""

from collections.abc import Sequence
import pathlib

from mtf_switch import files
from mtf_switch import markdown
from mtf_switch.reproduction import plots
from mtf_switch.reproduction import questions as questions_lib
from mtf_switch.reproduction import questions_page
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import results_page
from mtf_switch.reproduction import verdicts as verdicts_lib

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
RECORDS = CHECKOUT / "benchmarks" / "results" / "reproduction"
PILOTS = CHECKOUT / "benchmarks" / "results" / "reproduction_pilots"
IMAGES = CHECKOUT / "docs" / "images"


def read() -> tuple[list[records_lib.Record], list[records_lib.Record]]:
  """The committed records of the runs, and those of the pilots."""
  return records_lib.read_all(str(RECORDS)), records_lib.read_all(str(PILOTS))


def texts(
    verdicts: results_page.Verdicts,
    records: Sequence[records_lib.Record],
    pilots: Sequence[records_lib.Record],
) -> dict[pathlib.Path, str]:
  """The pages by their files, as the records have them.

  Args:
    verdicts: on the claims of all questions.
    records: of the runs.
    pilots: of the pilots.
  """
  questions = questions_lib.QUESTIONS
  readme = CHECKOUT / "README.md"
  experiments = CHECKOUT / "docs" / "experiments.md"
  return {
      CHECKOUT
      / "docs"
      / "results.md": results_page.render(
          questions, questions_lib.NOT_TESTED, verdicts, records, pilots
      ),
      readme: markdown.fill(
          readme.read_text(),
          {
              "results": results_page.render_summary(
                  questions, verdicts, records
              )
          },
      ),
      experiments: markdown.fill(
          experiments.read_text(),
          {"questions": questions_page.render(questions, pilots)},
      ),
  }


def main():
  """Writes the pages and the pictures."""
  records, pilots = read()
  found = verdicts_lib.judge_all(questions_lib.QUESTIONS, records, pilots)
  for path, text in texts(found, records, pilots).items():
    path.write_text(text)
    print(f"wrote {path}")
  for name, question in questions_lib.QUESTIONS.items():
    if own := results_page.of_question(question, records):
      path = IMAGES / results_page.picture(question)
      files.write_png(str(path), plots.draw(question, own, found[name]))
      print(f"wrote {path}")


if __name__ == "__main__":
  main()
