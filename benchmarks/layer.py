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

from benchmarks import contest
from benchmarks import questions

_SIZES = dict(groups=4, tokens_per_group=1024, d_model=768, d_ff=2048)
_QUICK_SIZES = dict(groups=2, tokens_per_group=16, d_model=16, d_ff=32)
# The goals by number of experts: time relative to a dense layer.
_AT_MOST = {8: 1.3, 32: 1.4, 128: 1.8}
_QUICK_AT_MOST = {4: 1.0}
_MEMORY_AT_MOST = 1.25


def _contest(session, num_experts, sizes, quick, rounds):
  """Measures the rows for one number of experts."""
  entrants = contest.matmul_entrants(quick)
  for contender in contest.TITLES:
    for layer, experts in (("dense", 0), ("switch", num_experts)):
      entrants.append(
          contest.Entrant(
              contender,
              "layer",
              {**sizes, "num_experts": experts},
              {"experts": num_experts, "layer": layer},
          )
      )
  results = session.hold(f"layer, {num_experts} experts", entrants, rounds)
  peak = contest.peak_of(results)
  layers = [r for r in results if r.entrant.work == "layer"]
  dense = {
      r.entrant.contender: r.median("layer")
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
        times_own_dense=seconds / dense[row["contender"]],
        times_fastest_dense=seconds / min(dense.values()),
        times_needed_bytes=row["peak_bytes"] / row["needed_bytes"],
    )
    rows.append(row)
  return rows, peak


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds one contest for each number of experts."""
  sizes = _QUICK_SIZES if quick else _SIZES
  at_most = _QUICK_AT_MOST if quick else _AT_MOST
  rows, goals, peaks = [], [], []
  for num_experts, limit in at_most.items():
    new_rows, peak = _contest(session, num_experts, sizes, quick, rounds)
    rows += new_rows
    peaks.append(peak)
    (ours,) = [
        row
        for row in new_rows
        if (row["contender"], row["layer"]) == ("ours", "switch")
    ]
    for key, what in (
        ("times_own_dense", "time relative to our dense layer"),
        ("times_fastest_dense", "time relative to the fastest dense layer"),
    ):
      goals.append(
          questions.goal(f"{num_experts} experts: {what}", ours[key], limit)
      )
    if num_experts == max(at_most):  # With fewer, activations dominate.
      goals.append(
          questions.goal(
              f"{num_experts} experts: memory relative to weights and"
              " gradients",
              ours["times_needed_bytes"],
              _MEMORY_AT_MOST,
          )
      )
  return questions.Findings(sizes, rows, goals, max(peaks))


QUESTION = questions.Question("layer", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
