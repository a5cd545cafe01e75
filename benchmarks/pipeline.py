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

"""Do examples come faster than the smallest model consumes them?

Span corruption of the text of `make demo`, against the training step of the
demo's dense model, in the sizes of the demo.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

# More than are prepared between two rounds.
_BATCHES = 200
_QUICK_BATCHES = 5


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds a contest between reading and training."""
  bindings = models.QUICK_TEXT if quick else []
  batches = _QUICK_BATCHES if quick else _BATCHES
  entrants = [
      contest.Entrant(
          "ours", "pipeline", {"batches": batches, "bindings": bindings}
      ),
      contest.Entrant("ours", "demo_step", {"bindings": bindings}),
  ]
  results = session.hold("pipeline", entrants, rounds)
  rows = []
  for result, run in zip(results, ("pipeline", "step")):
    row = {"what": run, **result.row(run)}
    for unit in ("examples", "tokens"):
      row[f"{unit}_per_second"] = result.facts[unit] / row["seconds"]["median"]
    rows.append(row)
  pipeline, step = rows
  goals = [
      questions.goal(
          "examples a second of the input pipeline, in those that the smallest"
          " model trains on",
          pipeline["examples_per_second"] / step["examples_per_second"],
          at_least=1.0,
      )
  ]
  return questions.Findings(results[0].facts["shapes"], rows, goals)


QUESTION = questions.Question("pipeline", __doc__, 7, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
