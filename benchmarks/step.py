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
second feed-forward layer, and for its dense twin on this project's stack and on
upstream's.
"""

from benchmarks import contest
from benchmarks import models
from benchmarks import questions
from mtf_switch import machine

_SWITCH, _DENSE = "switch", "dense"
# The goals: our time relative to the others', by their titles and models.
_AT_MOST = {
    ("mesh-tensorflow", _SWITCH): 0.42,
    ("mesh-tensorflow", _DENSE): None,
    (f"Hugging Face, {contest.EAGER}", _SWITCH): 0.65,
    (f"Hugging Face, {contest.FASTEST}", _SWITCH): None,
}
_OF_PEAK_AT_LEAST = 65.0
# On processors that multiply bfloat16.
_SELECTIVE_AT_MOST = 0.7


def _entrants(quick: bool, sizes: dict[str, int]) -> list[contest.Entrant]:
  """The entrants, those of ours first."""

  def label(model, precision="float32"):
    return {"model": model, "precision": precision}

  entrants = contest.matmul_entrants(quick)
  for precision in ("float32", "selective"):
    entrants.append(
        contest.Entrant(
            "ours",
            "step",
            {**sizes, "precision": precision},
            label(_SWITCH, precision),
        )
    )
  for contender in ("mesh_tensorflow", "hugging_face"):
    entrants += contest.entrants_of(contender, "step", sizes, label(_SWITCH))
  for contender in ("ours", "mesh_tensorflow"):
    entrants.append(
        contest.Entrant(contender, "dense_step", sizes, label(_DENSE))
    )
  return entrants


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds the contest."""
  sizes = models.sizes(quick)
  results = session.hold("step", _entrants(quick, sizes), rounds)
  peak = contest.peak_of(results)
  steps = [r for r in results if "step" in r.seconds]
  # All have the same sizes. Ours reports the FLOPs of the forward pass; the
  # backward pass has twice as many.
  flops = {
      r.entrant.label["model"]: 3 * r.facts["flops"]
      for r in steps
      if "flops" in r.facts
  }
  tokens = sizes["batch"] * (sizes["inputs"] + sizes["targets"])
  rows = []
  for result in steps:
    row = result.row("step")
    contest.add_rate(row, flops[row["model"]], peak)
    row["tokens_per_second"] = tokens / row["seconds"]["median"]
    row["weight_bytes"] = result.facts["weight_bytes"]
    rows.append(row)
  seconds = {
      (contest.title(row), row["model"], row["precision"]): row["seconds"][
          "median"
      ]
      for row in rows
  }
  ours = contest.TITLES["ours"]
  goals = [
      questions.goal(
          f"time of a {model} step relative to {title}",
          questions.ratio(
              seconds[ours, model, "float32"],
              seconds.get((title, model, "float32")),
          ),
          limit,
      )
      for (title, model), limit in _AT_MOST.items()
  ]
  goals += [
      questions.goal(
          "float32: of the peak of a matrix product",
          100 * rows[0]["share_of_peak"],
          at_least=_OF_PEAK_AT_LEAST,
          unit="%",
      ),
      questions.goal(
          "bfloat16 with selective precision: time relative to float32",
          seconds[ours, _SWITCH, "selective"]
          / seconds[ours, _SWITCH, "float32"],
          _SELECTIVE_AT_MOST if machine.multiplies_bfloat16() else None,
      ),
  ]
  return questions.Findings(sizes, rows, goals, peak)


QUESTION = questions.Question("step", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
