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

"""How many tokens per second does greedy decoding produce?

The model is that of the training step; no sequence ends early.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

_BATCHES = (1, 8, 64)
_QUICK_BATCHES = (2,)
TARGETS = 32
# The goals: our tokens per second relative to the others', by their titles.
_AT_LEAST = {
    "mesh-tensorflow": 2.8,
    f"Hugging Face, {contest.EAGER}": 2.0,
    f"Hugging Face, {contest.FASTEST}": None,
}


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds one contest for each batch size."""
  batches = _QUICK_BATCHES if quick else _BATCHES
  changes = {} if quick else {"targets": TARGETS}
  rows, goals, peaks = [], [], []
  for batch in batches:
    sizes = models.sizes(quick, batch=batch, **changes)
    entrants = contest.matmul_entrants(quick)
    for contender in contest.TITLES:
      entrants += contest.entrants_of(
          contender, "decode", sizes, {"batch": batch}
      )
    results = session.hold(f"decode, batch {batch}", entrants, rounds)
    peaks.append(contest.peak_of(results))
    decoded = [r for r in results if r.entrant.work == "decode"]
    flops = decoded[0].facts["flops"]  # The same for all: equal sizes.
    speeds = {}
    for result in decoded:
      row = result.row("decode")
      contest.add_rate(row, flops, peaks[-1])
      row["tokens_per_second"] = (
          result.facts["tokens"] / row["seconds"]["median"]
      )
      row["different_tokens"] = result.facts["different_tokens"]
      speeds[contest.title(row)] = row["tokens_per_second"]
      rows.append(row)
    ours = speeds[contest.TITLES["ours"]]
    goals += [
        questions.goal(
            f"batch {batch}: tokens per second relative to {title}",
            questions.ratio(ours, speeds.get(title)),
            at_least=limit,
        )
        for title, limit in _AT_LEAST.items()
    ]
  shapes = {**sizes, "batch": list(batches)}
  return questions.Findings(shapes, rows, goals, max(peaks))


QUESTION = questions.Question("decode", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
