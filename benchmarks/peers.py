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

"""Which form of Hugging Face is the fastest here?

The other questions have its eager form, as users run it, beside the fastest of
these. Not part of `make bench`: compiling takes minutes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks import contest
from benchmarks import decode
from benchmarks import layer
from benchmarks import models
from benchmarks import questions
from benchmarks.contenders import forms


class _Trial(NamedTuple):
  """Forms of a work that are compared.

  Attributes:
    work: a work of contenders/hugging_face.py.
    sizes: the changes to its sizes.
    forms: what each adds to the eager form, besides kept memory.
  """

  work: str
  sizes: Mapping[str, int]
  forms: Sequence[str]


_DECODING = (
    forms.ONE_THREAD,
    forms.STATIC_CACHE,
    forms.PACKED_WEIGHTS,
    forms.COMPILED_PARTS,
)
_TRIALS = (
    _Trial("layer", {"num_experts": 32}, (forms.COMPILED_PARTS,)),
    _Trial(
        "step",
        {},
        (
            forms.HUGE_PAGES,
            forms.PYTORCHS_ADAFACTOR,
            forms.COMPILED_PARTS,
            forms.BFLOAT16,
        ),
    ),
    _Trial("decode", {"batch": 1}, _DECODING),
    _Trial("decode", {"batch": 8}, _DECODING),
)


def _sizes(trial: _Trial, quick: bool) -> Mapping[str, Any]:
  if trial.work == "layer":
    sizes = layer.QUICK_SIZES if quick else layer.SIZES
  elif trial.work == "decode":
    sizes = models.sizes(quick, targets=decode.TARGETS)
  else:
    sizes = models.sizes(quick)
  return {**sizes, **trial.sizes}


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Holds a contest for each work."""
  rows = []
  for trial in _TRIALS:
    sizes = _sizes(trial, quick)
    kept = [forms.KEPT_MEMORY]
    tried = [[], kept, *([*kept, name] for name in trial.forms)]
    entrants = [
        contest.Entrant(
            "hugging_face",
            trial.work,
            {**sizes, "form": form},
            {"form": ", ".join(form) or contest.EAGER, "sizes": trial.sizes},
        )
        for form in tried
    ]
    results = session.hold(f"peers, {trial.work}", entrants, rounds)
    for result in results:
      row = result.row(trial.work) | {"work": trial.work}
      row["times_eager"] = result.median(trial.work) / results[0].median(
          trial.work
      )
      rows.append(row)
  return questions.Findings({}, rows, [])


QUESTION = questions.Question("peers", __doc__, 5, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
