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

"""What does a teacher add to a student's training step?

A dense student and a teacher of the same size with 8 experts in every second
feed-forward layer, asked in each step or once for a cache.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

# The goals: what a step may take relative to its parts, and memory likewise.
_ASKED_AT_MOST = 1.1
_CACHED_AT_MOST = 1.05
# Of TensorFlow's allocator; more than any of the steps needs.
_ARENA_BYTES = 6 * 2**30
_QUICK_ARENA_BYTES = 2**28

_ALONE, _SCORES = "student alone", "teacher's scores alone"
_ASKED, _CACHED = "student, teacher asked", "student, teacher cached"
_LESSONS = {_ALONE: None, _ASKED: "asked", _CACHED: "cached"}


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds the contest."""
  # TensorFlow's allocator does not count the smallest tensors.
  sizes = models.sizes(quick, **({"vocabulary": 4096} if quick else {}))
  arena = {"arena_bytes": _QUICK_ARENA_BYTES if quick else _ARENA_BYTES}
  entrants = [
      contest.Entrant(
          "ours",
          "student",
          {**sizes, **arena, "lessons": lessons},
          {"what": what},
      )
      for what, lessons in _LESSONS.items()
  ]
  entrants += [
      contest.Entrant("ours", "score", {**sizes, **arena}, {"what": _SCORES}),
      contest.Entrant("mesh_tensorflow", "distill", sizes, {"what": _ASKED}),
  ]
  results = session.hold("teacher", entrants, rounds)
  rows = []
  for result in results:
    (run,) = result.seconds
    rows.append(
        {**result.row(run), "tensor_bytes": result.facts.get("tensor_bytes")}
    )
  facts = {
      result.entrant.label["what"]: (row["seconds"]["median"], result.facts)
      for result, row in zip(results, rows)
      if result.entrant.contender == "ours"
  }
  seconds = {what: x for what, (x, _) in facts.items()}
  tensors = {what: x["tensor_bytes"] for what, (_, x) in facts.items()}
  # The softmax of the encoder's attention, float32.
  largest = 4 * sizes["batch"] * sizes["num_heads"] * sizes["inputs"] ** 2
  goals = [
      questions.goal(
          "teacher asked: time relative to the student alone and the scores",
          seconds[_ASKED] / (seconds[_ALONE] + seconds[_SCORES]),
          _ASKED_AT_MOST,
      ),
      questions.goal(
          "teacher asked: memory relative to the student alone, the teacher's"
          " weights and its largest activation",
          tensors[_ASKED]
          / (tensors[_ALONE] + facts[_SCORES][1]["weight_bytes"] + largest),
          _ASKED_AT_MOST,
      ),
      questions.goal(
          "teacher cached: time relative to the student alone",
          seconds[_CACHED] / seconds[_ALONE],
          _CACHED_AT_MOST,
      ),
  ]
  return questions.Findings(sizes, rows, goals)


QUESTION = questions.Question("teacher", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
