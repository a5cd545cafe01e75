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

"""How long does a training step take?

Forward, backward and Adafactor for an encoder-decoder with 8 experts in every
second feed-forward layer.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

# The goal: our time relative to the contender's.
_AT_MOST = {"mesh_tensorflow": 0.42, "hugging_face": 0.6}
_SELECTIVE_AT_MOST = 0.7


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds the contest."""
  sizes = models.sizes(quick)
  entrants = contest.matmul_entrants(quick)
  for precision in ("float32", "selective"):
    entrants.append(
        contest.Entrant(
            "ours",
            "step",
            {**sizes, "precision": precision},
            {"precision": precision},
        )
    )
  for contender in _AT_MOST:
    entrants.append(
        contest.Entrant(contender, "step", sizes, {"precision": "float32"})
    )
  results = session.hold("step", entrants, rounds)
  peak = contest.peak_of(results)
  steps = [r for r in results if r.entrant.work == "step"]
  # All have the same sizes. Ours reports the FLOPs of the forward pass; the
  # backward pass has twice as many.
  flops = 3 * steps[0].facts["flops"]
  tokens = sizes["batch"] * (sizes["inputs"] + sizes["targets"])
  rows = []
  for result in steps:
    row = result.row("step")
    contest.add_rate(row, flops, peak)
    row["tokens_per_second"] = tokens / row["seconds"]["median"]
    row["weight_bytes"] = result.facts["weight_bytes"]
    rows.append(row)
  seconds = {
      (row["contender"], row["precision"]): row["seconds"]["median"]
      for row in rows
  }
  ours = seconds["ours", "float32"]
  goals = [
      questions.goal(
          f"time of a step relative to {contest.TITLES[contender]}",
          questions.ratio(ours, seconds.get((contender, "float32"))),
          limit,
      )
      for contender, limit in _AT_MOST.items()
  ]
  goals.append(
      questions.goal(
          "bfloat16 with selective precision: time relative to float32",
          seconds["ours", "selective"] / ours,
          _SELECTIVE_AT_MOST,
      )
  )
  return questions.Findings(sizes, rows, goals, peak)


QUESTION = questions.Question("step", __doc__, 7, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
