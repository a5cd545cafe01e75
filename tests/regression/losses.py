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

"""Four models trained for some dozen steps, and the record of their losses.

`python -m scripts.losses` writes losses.json: it runs this module with several
settings, each in a process of its own.
"""

import argparse
from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any

from tests import layout_runs

RECORD = pathlib.Path(__file__).with_suffix(".json")

STEPS = 40
# Few enough to be learnt by heart: of other random bytes nothing can be learnt.
BATCHES = 4

_ATTENTION = "@TruncatedNormalSelfAttention"
_EXPERTS = "@ObservedSwitchFeedForward"
_LAYERS = "transformer.make_layer_stack.layers = [{}, {}]"
_DENSE = "@transformer_layers.DenseReluDense"
CONFIGURATIONS: Mapping[str, tuple[str, ...]] = {
    "dense": (_LAYERS.format(_ATTENTION, _DENSE),),
    "switch": (_LAYERS.format(_ATTENTION, _EXPERTS),),
    "top_2": (
        _LAYERS.format(_ATTENTION, _EXPERTS),
        "SwitchFeedForward.router = @top_2_router",
    ),
    "switch_attention": (
        _LAYERS.format("@SwitchSelfAttention", _EXPERTS),
        "SwitchSelfAttention.experts = @attention/SwitchFeedForward",
        "attention/SwitchFeedForward.hidden_size = 32",
    ),
}


# Layouts with the same model and data, hence with the same losses but for the
# rounding of sums, with the bindings that they need.
LAYOUTS: Mapping[str, tuple[str, ...]] = {
    "single": (),
    "expert_data": ("data_parallelism = 2",),
}
# Of the largest difference between settings on one machine, how much more is
# allowed on another, whose processor may add in another order.
FACTOR = 100


def train(
    name: str, layout: str = "single", num_threads: int = 0
) -> dict[str, float]:
  """Trains a configuration.

  Args:
    name: a key of CONFIGURATIONS.
    layout: a key of LAYOUTS.
    num_threads: see layout_runs.Run.

  Returns:
    the "first" loss, and the "last", the mean over a last pass of the batches.
  """
  with layout_runs.Run(
      layout,
      *CONFIGURATIONS[name],
      *LAYOUTS[layout],
      model=layout_runs.LM,
      num_threads=num_threads,
  ) as run:
    run.set_state(run.initial_state())
    losses = [run.loss(step, step % BATCHES) for step in range(STEPS)]
  return {"first": losses[0], "last": sum(losses[-BATCHES:]) / BATCHES}


def recorded(
    rows: Sequence[Mapping[str, Any]], name: str, which: str
) -> list[float]:
  """The losses of a configuration with all settings.

  Args:
    rows: of RECORD.
    name: a key of CONFIGURATIONS.
    which: "first" or "last".
  """
  return [row["losses"][name][which] for row in rows]


def tolerance(rows: Sequence[Mapping[str, Any]], which: str) -> float:
  """FACTOR times the largest difference between settings, of any configuration.

  Args:
    rows: of RECORD.
    which: "first" or "last".
  """
  values = [recorded(rows, name, which) for name in CONFIGURATIONS]
  return FACTOR * max(max(x) - min(x) for x in values)


def main():
  """Prints a row of losses for each layout, as JSON."""
  parser = argparse.ArgumentParser(description=main.__doc__)
  parser.add_argument("--threads", type=int, default=0)
  num_threads = parser.parse_args().threads
  rows = [
      {
          "layout": layout,
          "losses": {
              name: train(name, layout, num_threads) for name in CONFIGURATIONS
          },
      }
      for layout in LAYOUTS
  ]
  print(json.dumps(rows))


if __name__ == "__main__":
  main()
