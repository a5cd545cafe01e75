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

Span corruption of the text of `make demo`, as the demo reads it and from shards
of compressed JSON as C4's, against the training step of the demo's dense model,
in the sizes of the demo.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

# More than are prepared between two rounds.
_BATCHES = 200
_QUICK_BATCHES = 5
# Whether it is read from shards.
_SOURCES = {"prepared text": False, "JSON shards": True}


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds a contest between reading and training."""
  bindings = models.QUICK_TEXT if quick else []
  batches = _QUICK_BATCHES if quick else _BATCHES
  options = {"batches": batches, "bindings": bindings}
  entrants = [
      contest.Entrant(
          "ours",
          "pipeline",
          {**options, "from_shards": from_shards},
          {"what": f"pipeline, {source}"},
      )
      for source, from_shards in _SOURCES.items()
  ]
  step = contest.Entrant(
      "ours", "demo_step", {"bindings": bindings}, {"what": "step"}
  )
  results = session.hold("pipeline", [*entrants, step], rounds)
  rows = []
  for result in results:
    # The step's worker also runs the forward pass.
    row = result.row("pipeline" if "pipeline" in result.seconds else "step")
    for unit in ("examples", "tokens"):
      row[f"{unit}_per_second"] = result.facts[unit] / row["seconds"]["median"]
    rows.append(row)
  *pipelines, step = rows
  goals = [
      questions.goal(
          f"{row['what']}: examples a second, in those that the smallest model"
          " trains on",
          row["examples_per_second"] / step["examples_per_second"],
          at_least=5.0,
      )
      for row in pipelines
  ]
  return questions.Findings(results[0].facts["shapes"], rows, goals)


QUESTION = questions.Question("pipeline", __doc__, 7, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
