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

"""What does watching a training cost?

Ten training steps, one of which is recorded: alone, and with all that
--mode=train shows and records of them, on a terminal, in metrics.jsonl and for
TensorBoard, warnings and norms included.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

# Of gin's train.metrics_every.
_STEPS = 10
_AT_MOST = 1.02
_CASES = {"steps alone": False, "watched": True}


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds the contest."""
  sizes = models.sizes(quick)
  entrants = [
      contest.Entrant(
          "ours",
          "steps",
          {**sizes, "count": _STEPS, "are_watched": are_watched},
          {"what": what},
      )
      for what, are_watched in _CASES.items()
  ]
  results = session.hold("watching", entrants, rounds)
  rows = [result.row("steps") for result in results]
  alone, watched = (row["seconds"]["median"] for row in rows)
  goals = [
      questions.goal(
          "steps that are watched: time relative to the same alone",
          watched / alone,
          _AT_MOST,
      )
  ]
  return questions.Findings(sizes, rows, goals)


QUESTION = questions.Question("watching", __doc__, 9, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
