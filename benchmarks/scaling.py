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

"""What do more experts cost at the same number of tokens?

The model of the training step, this project only, beside the cost of the
weights alone: their memory with the optimizer's slots, and the time of an
update.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

_EXPERTS = (2, 8, 32, 128)
_QUICK_EXPERTS = (2, 4)
# The goal: the forward pass with most experts relative to that with fewest.
_FORWARD_AT_MOST = 1.3
_RUNS = ("forward", "step", "optimizer")


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds one contest with all numbers of experts."""
  numbers = _QUICK_EXPERTS if quick else _EXPERTS
  entrants = contest.matmul_entrants(quick)
  for number in numbers:
    sizes = models.sizes(quick, num_experts=number)
    entrants += [
        contest.Entrant(
            "ours", work, {**sizes, "precision": "float32"}, {"experts": number}
        )
        for work in ("training", "optimizer")
    ]
  results = session.hold("scaling", entrants, rounds)
  rows = []
  for number in numbers:
    training, optimizer = [
        r for r in results if r.entrant.label.get("experts") == number
    ]
    seconds = {**training.seconds, **optimizer.seconds}
    rows.append(
        {
            "contender": "ours",
            "experts": number,
            **{run: contest.spread(seconds[run]) for run in _RUNS},
            "peak_bytes": training.peak_bytes,
            "weight_bytes": training.facts["weight_bytes"],
            "state_bytes": training.facts["state_bytes"],
        }
    )
  goals = [
      questions.goal(
          f"forward pass with {numbers[-1]} experts relative to {numbers[0]}",
          rows[-1]["forward"]["median"] / rows[0]["forward"]["median"],
          _FORWARD_AT_MOST,
      )
  ]
  shapes = models.sizes(quick) | {"num_experts": list(numbers)}
  return questions.Findings(shapes, rows, goals, contest.peak_of(results))


QUESTION = questions.Question("scaling", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
