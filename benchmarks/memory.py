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

"""Does a training step take as much memory as --mode=plan says?

One device, float32: the planner's bytes beside the peak of TensorFlow's
allocator during a step. The case of the logits is also compared with version
0.2.0, which kept those of all tokens and their softmax.
"""

from typing import NamedTuple

from benchmarks import contest
from benchmarks import questions

# The largest error of a plan, as a share of the measured bytes.
_OFF_AT_MOST = 0.15
_SIZES = dict(vocabulary=32128, inputs=512, targets=114)
_QUICK_SIZES = dict(vocabulary=4096, inputs=32, targets=16)


class _Case(NamedTuple):
  """A training run.

  Attributes:
    most: what takes most of the memory.
    model: a file of gin/models, without its suffix.
    batch: the number of sequences.
    bindings: further gin bindings.
  """

  most: str
  model: str
  batch: int
  bindings: tuple[str, ...] = ()


_ONE_GROUP = "num_cores = 1"
_LOGITS = "logits in 0.2.0"
# The peak of _LOGITS in version 0.2.0, in bytes; TensorFlow's allocator repeats
# itself.
_LOGITS_BEFORE = 2_756_041_216
_RECOMPUTED = "transformer.LayerStack.recompute_grads = True"
_CASES = (
    _Case("weights", "switch_base", 1, (_ONE_GROUP, "num_experts = 8")),
    _Case("activations", "t5_base", 2),
    _Case("recomputation", "t5_base", 4, (_RECOMPUTED,)),
    _Case(_LOGITS, "switch_tiny", 48, (_ONE_GROUP,)),
)
_QUICK_CASES = (
    _Case("weights", "switch_tiny", 1, (_ONE_GROUP,)),
    _Case("recomputation", "t5_tiny", 2, (_RECOMPUTED,)),
)


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Plans and runs each case in turn."""
  sizes = _QUICK_SIZES if quick else _SIZES
  rows = []
  for case in _QUICK_CASES if quick else _CASES:
    options = {
        "model": case.model,
        "bindings": case.bindings,
        "batch": case.batch,
        **sizes,
    }
    # In a process of its own, so that planning adds nothing to the run's peak.
    (planned,) = session.hold(
        "plan", [contest.Entrant("ours", "plan", options)], rounds
    )
    parts = planned.facts["planned_bytes"]
    options["arena_bytes"] = 2 * sum(parts.values())
    (run,) = session.hold(
        "memory", [contest.Entrant("ours", "tensors", options)], rounds
    )
    tensor_bytes = run.facts["tensor_bytes"]
    rows.append(
        {
            "most": case.most,
            "model": case.model,
            "batch": case.batch,
            "bindings": case.bindings,
            "planned_bytes": parts,
            "tensor_bytes": tensor_bytes,
            "ratio": sum(parts.values()) / tensor_bytes,
            "peak_bytes": run.peak_bytes,
        }
    )
  goals = [
      questions.goal(
          f"{row['most']}: the plan is off by",
          100 * abs(row["ratio"] - 1),
          100 * _OFF_AT_MOST,
          unit="%",
      )
      for row in rows
  ]
  goals += [
      questions.goal(
          f"{_LOGITS}: measured memory relative to that version without two"
          " tensors of all logits",
          row["tensor_bytes"]
          / (_LOGITS_BEFORE - 2 * _logits_bytes(row, sizes)),
          1.0,
      )
      for row in rows
      if row["most"] == _LOGITS
  ]
  return questions.Findings(sizes, rows, goals)


def _logits_bytes(row, sizes) -> int:
  return 4 * row["batch"] * sizes["targets"] * sizes["vocabulary"]


QUESTION = questions.Question("memory", __doc__, 1, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
