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

"""Records of runs that were never made."""

from typing import Any

from mtf_switch.reproduction import records


def made(
    card: str = "switch", seed: int = 0, quality: float = -4.5, **fields: Any
) -> records.Record:
  """Returns the record of a run with one evaluation.

  Args:
    card: its card.
    seed: its seed.
    quality: the neg log perplexity of its evaluation.
    **fields: those of the record that are others.
  """
  return records.Record(
      **{
          "card": card,
          "seed": seed,
          "kind": records.QUALITY,
          "contest": None,
          "round": None,
          "mode": "train",
          "command": f"run_switch --gin_file=experiments/small/{card}.gin",
          "gin": "train_steps = 10\n",
          "configuration": f"hash of {card}",
          "versions": {"python": "3.11.7"},
          "machine": {"cores": 2},
          "started": "2026-11-29T12:00:00+00:00",
          "seconds": 100.0,
          "evaluations": [
              {
                  "step": 10,
                  "seconds": 90.0,
                  "task": "toy",
                  "neg_log_perplexity": quality,
              }
          ],
          "scores": {},
          "figures": {"tokens_per_second": 1000.0, "fraction_dropped": None},
          "diverged": None,
          "failed": None,
          **fields,
      }
  )
