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
update. For the fewest and the most experts, updates of whole tensors, as in
version 0.2.0, are timed too.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

_EXPERTS = (2, 8, 32, 128)
_QUICK_EXPERTS = (2, 4)
# The goal: the forward pass with most experts relative to that with fewest.
_FORWARD_AT_MOST = 1.3
# The goals relative to updates of whole tensors, with fewest and most experts.
_UPDATE_AT_MOST = (1.05, 0.45)
_STEP_AT_MOST = (1.05, 0.8)
_WHOLE = {"optimizer": "WholeTensorAdafactor"}


def _entrants(number: int, quick: bool, options: dict) -> list[contest.Entrant]:
  """A training step and an update for a number of experts."""
  sizes = models.sizes(quick, num_experts=number)
  return [
      contest.Entrant("ours", work, {**sizes, **options}, {"experts": number})
      for work in ("training", "update")
  ]


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds one contest with all numbers of experts."""
  numbers = _QUICK_EXPERTS if quick else _EXPERTS
  ends = numbers[0], numbers[-1]
  entrants = contest.matmul_entrants(quick)
  for number in numbers:
    entrants += _entrants(number, quick, {})
    if number in ends:
      entrants += _entrants(number, quick, _WHOLE)
  results = session.hold("scaling", entrants, rounds)
  rows = []
  for number in numbers:
    training, update, *before = [
        r for r in results if r.entrant.label.get("experts") == number
    ]
    row = {
        "contender": "ours",
        "experts": number,
        "forward": contest.spread(training.seconds["forward"]),
        "step": contest.spread(training.seconds["step"]),
        "optimizer": contest.spread(update.seconds["optimizer"]),
        "peak_bytes": training.peak_bytes,
        "weight_bytes": training.facts["weight_bytes"],
        "state_bytes": training.facts["state_bytes"],
    }
    if before:
      training, update = before
      row["whole_step"] = contest.spread(training.seconds["step"])
      row["whole_optimizer"] = contest.spread(update.seconds["optimizer"])
    rows.append(row)
  goals = [
      questions.goal(
          f"forward pass with {numbers[-1]} experts relative to {numbers[0]}",
          rows[-1]["forward"]["median"] / rows[0]["forward"]["median"],
          _FORWARD_AT_MOST,
      )
  ]
  for run, what, limits in (
      ("optimizer", "optimizer alone", _UPDATE_AT_MOST),
      ("step", "step", _STEP_AT_MOST),
  ):
    goals += [
        questions.goal(
            f"{row['experts']} experts: {what} relative to updates of whole"
            " tensors",
            row[run]["median"] / row[f"whole_{run}"]["median"],
            limit,
        )
        for row, limit in zip((rows[0], rows[-1]), limits)
    ]
  shapes = models.sizes(quick) | {"num_experts": list(numbers)}
  return questions.Findings(shapes, rows, goals, contest.peak_of(results))


QUESTION = questions.Question("scaling", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
