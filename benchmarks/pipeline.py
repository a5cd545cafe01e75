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

"""Does the input pipeline keep ahead of the smallest model?

Span corruption of the embedded corpus, from its prepared text and from shards
of compressed JSON like C4's, against the training step of models/t5_tiny.gin,
with the sizes of contenders/small_text.gin.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

# More than are prefetched between two rounds.
_BATCHES = 200
_QUICK_BATCHES = 5
# Whether the text is read from shards.
_SOURCES = {"prepared text": False, "JSON shards": True}


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Times reading and training in one contest."""
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
      "ours", "small_step", {"bindings": bindings}, {"what": "step"}
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
          f"{row['what']}: examples per second relative to what the smallest"
          " model consumes",
          row["examples_per_second"] / step["examples_per_second"],
          at_least=5.0,
      )
      for row in pipelines
  ]
  return questions.Findings(results[0].facts["shapes"], rows, goals)


QUESTION = questions.Question("pipeline", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
