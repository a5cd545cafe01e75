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

"""How much more does a Switch layer cost than a dense feed-forward layer?

Forward and backward, with the gradients of inputs and weights. All contenders
get the same tokens and router weights.
"""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import contest
from benchmarks import questions

SIZES = dict(groups=4, tokens_per_group=1024, d_model=768, d_ff=2048)
QUICK_SIZES = dict(groups=2, tokens_per_group=16, d_model=16, d_ff=32)


class _Goals(NamedTuple):
  """The goals for a number of experts.

  Attributes:
    time: relative to a dense layer; several are steps towards the last one.
    memory: relative to weights and gradients.
  """

  time: Sequence[float]
  memory: float


_GOALS = {
    8: _Goals([1.3], 1.9),
    32: _Goals([1.4], 1.3),
    128: _Goals([2.0, 1.8], 1.25),
}
_QUICK_GOALS = {4: _Goals([1.0], 1.0)}


def _contest(session, num_experts, sizes, quick, rounds):
  """Measures the rows for one number of experts."""
  entrants = contest.matmul_entrants(quick)
  for contender in contest.TITLES:
    for layer, experts in (("dense", 0), ("switch", num_experts)):
      entrants += contest.entrants_of(
          contender,
          "layer",
          {**sizes, "num_experts": experts},
          {"experts": num_experts, "layer": layer},
      )
  results = session.hold(f"layer, {num_experts} experts", entrants, rounds)
  peak = contest.peak_of(results)
  layers = [r for r in results if r.entrant.work == "layer"]
  dense = {
      contest.title(r.row("layer")): r.median("layer")
      for r in layers
      if r.entrant.label["layer"] == "dense"
  }
  tokens = sizes["groups"] * sizes["tokens_per_group"]
  rows = []
  for result in layers:
    row = result.row("layer")
    processed = result.facts.get("processed", 1.0)
    weights = tokens * processed * 4 * sizes["d_model"] * sizes["d_ff"]
    experts = result.entrant.options["num_experts"]
    routers = tokens * 2 * sizes["d_model"] * experts
    # The backward pass has two products for each one in the forward pass.
    contest.add_rate(row, 3 * (weights + routers), peak)
    seconds = row["seconds"]["median"]
    # Weights and their gradients.
    row["needed_bytes"] = 2 * result.facts["weight_bytes"]
    row.update(
        processed=processed,
        times_own_dense=seconds / dense[contest.title(row)],
        times_fastest_dense=seconds / min(dense.values()),
        times_needed_bytes=row["peak_bytes"] / row["needed_bytes"],
    )
    rows.append(row)
  return rows, peak


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds one contest for each number of experts."""
  sizes = QUICK_SIZES if quick else SIZES
  rows, goals, peaks = [], [], []
  for num_experts, wanted in (_QUICK_GOALS if quick else _GOALS).items():
    new_rows, peak = _contest(session, num_experts, sizes, quick, rounds)
    rows += new_rows
    peaks.append(peak)
    (ours,) = [
        row
        for row in new_rows
        if (row["contender"], row["layer"]) == ("ours", "switch")
    ]
    *interim, _ = wanted.time
    for key, what in (
        ("times_own_dense", "time relative to our dense layer"),
        ("times_fastest_dense", "time relative to the fastest dense layer"),
    ):
      goals += [
          questions.goal(
              f"{num_experts} experts: {what}{', interim' * (x in interim)}",
              ours[key],
              x,
          )
          for x in wanted.time
      ]
    goals.append(
        questions.goal(
            f"{num_experts} experts: memory relative to weights and gradients",
            ours["times_needed_bytes"],
            wanted.memory,
        )
    )
  return questions.Findings(sizes, rows, goals, max(peaks))


QUESTION = questions.Question("layer", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
