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

"""What do empty slots cost, and where are they left out?

A Switch layer of this project, forward and backward: the rows that its experts
get, beside slots up to the capacity, full or empty; on one device, on two that
the groups are split over, and with dropout in the experts.
"""

from benchmarks import contest
from benchmarks import layer
from benchmarks import questions

_CASES = {
    "one device": {},
    "two devices": {"num_devices": 2},
    "expert dropout": {"options": {"expert_dropout_rate": 0.1}},
}
_SLOTS = {"dispatch": "index"}


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds one contest with all cases."""
  sizes = {
      **(layer.QUICK_SIZES if quick else layer.SIZES),
      "num_experts": 2 if quick else 8,
  }
  entrants = []
  for what, changes in _CASES.items():
    options = changes.get("options", {})
    entrants += [
        contest.Entrant(
            "ours",
            "layer",
            {**sizes, **changes, "options": options | more},
            {"what": what, "slots": slots},
        )
        for slots, more in (("left out", {}), ("kept", _SLOTS))
    ]
  results = session.hold("slots", entrants, rounds)
  rows = [result.row("layer") for result in results]
  seconds = {(r["what"], r["slots"]): r["seconds"]["median"] for r in rows}
  goals = [
      questions.goal(
          f"{what}: time relative to a layer that keeps empty slots",
          seconds[what, "left out"] / seconds[what, "kept"],
      )
      for what in _CASES
  ]
  return questions.Findings(sizes, rows, goals)


QUESTION = questions.Question("slots", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
