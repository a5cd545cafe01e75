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

"""Counts the messages of layouts, in lowered graphs and in plans.

`python -m tests.regression.messages` writes messages.json, in some minutes, and
the tables of docs/parallelism.md from it.
"""

import mtf_switch  # isort: skip  # noqa: F401
import collections
import json
import math
import pathlib

from mtf_switch import markdown
from mtf_switch.training import experiment as experiment_lib
import tasks  # noqa: F401  Registers them.
from tests import lowered
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/parallelism.md"
RESULTS = pathlib.Path(__file__).with_suffix(".json")

PURPOSES = ("experts", "model_parallelism", "gradients", "other")

# Two sizes: a toy, and the width of Switch-Base with Figure 9's 16 cores and
# as many heads, so that 16 cores can share them.
SIZES = {
    "tiny": (
        "switch_tiny",
        8,
        [*plans.SIZES, "num_heads = 8"],
    ),
    "base": (
        "switch_base",
        16,
        [
            "task = 'c4_span_corruption'",
            "batch_size = 128",
            "sequence_length = {'inputs': 512, 'targets': 114}",
            "num_blocks = 1",
            "num_heads = 16",
            "num_experts = 16",
            "num_cores = 16",
        ],
    ),
}


def layouts(num_cores: int) -> dict[str, dict[str, int]]:
  """Returns the layouts of a number of cores, and their sizes."""
  m = {8: 2, 16: 4}[num_cores]
  both = {"data_parallelism": num_cores // m, "model_parallelism": m}
  copies = {"data_parallelism": num_cores // 2, "expert_replicas": 2}
  return {
      "data": {"data_parallelism": num_cores},
      "model": {"model_parallelism": num_cores},
      "model_data": both,
      "expert_data": {"data_parallelism": num_cores},
      "expert_model_data": both,
      "expert_data_replicated": copies,
  }


def experiment(size: str, layout: str) -> experiment_lib.Experiment:
  """Returns the run whose messages are counted."""
  model, num_cores, params = SIZES[size]
  sizes = layouts(num_cores)[layout]
  bindings = [f"{name} = {value}" for name, value in sizes.items()]
  return plans.experiment(model, layout, [*params, *bindings])


def count(size: str, layout: str) -> dict:
  """Counts bytes by kind, planned and in the graph.

  Args:
    size: a key of SIZES.
    layout: a key of `layouts`.

  Returns:
    a row of RESULTS.
  """
  experiment_ = experiment(size, layout)
  planned = plans.collectives(experiment_)
  by_kind, by_purpose = collections.Counter(), collections.Counter()
  for collective in planned:
    by_kind[collective.kind] += collective.bytes
    by_purpose[collective.purpose] += collective.bytes
  in_graph = collections.Counter()
  for collective in lowered.collectives(lowered.training_step(experiment_)):
    size_in_bytes = math.prod(collective.shape) * collective.dtype.size
    in_graph[lowered.KINDS[collective.kind]] += size_in_bytes
  kinds = lowered.KINDS.values()
  return {
      "size": size,
      "layout": layout,
      "mesh": ";".join(f"{d.name}:{d.size}" for d in experiment_.mesh),
      "planned": {kind: by_kind[kind] for kind in kinds},
      "in_graph": {kind: in_graph[kind] for kind in kinds},
      "planned_by_purpose": {p: by_purpose[p] for p in PURPOSES},
  }


def kinds(rows: list[dict]) -> str:
  """Returns a table of bytes by kind, in the graph and in the plan."""
  header = ["layout", "mesh"]
  for kind in ("all-to-all", "all-reduce", "permute"):
    header += [f"{kind}: graph", "plan"]
  return markdown.table(
      header,
      [
          [
              f"`{row['layout']}`",
              f"`{row['mesh']}`",
              *(
                  f"{row[where][kind]:,}"
                  for kind in lowered.KINDS.values()
                  for where in ("in_graph", "planned")
              ),
          ]
          for row in rows
      ],
      num_left=2,
  )


def purposes(rows: list[dict]) -> str:
  """Returns a table of planned bytes by purpose."""
  return markdown.table(
      ["layout", "mesh", "experts", "model parallelism", "gradients", "other"],
      [
          [
              f"`{row['layout']}`",
              f"`{row['mesh']}`",
              *(f"{row['planned_by_purpose'][p]:,}" for p in PURPOSES),
          ]
          for row in rows
      ],
      num_left=2,
  )


def fill(page: str) -> str:
  """Returns the page with the tables of RESULTS."""
  rows = json.loads(RESULTS.read_text())
  tiny, base = (
      [row for row in rows if row["size"] == size] for size in ("tiny", "base")
  )
  return markdown.fill(
      page, {"tiny": kinds(tiny), "base": kinds(base), "costs": purposes(base)}
  )


def main():
  rows = [
      count(size, layout)
      for size, (_, num_cores, _) in SIZES.items()
      for layout in layouts(num_cores)
  ]
  RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
  PAGE.write_text(fill(PAGE.read_text()))


if __name__ == "__main__":
  main()
