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

"""The sizes of the models in gin/models, and arithmetic on the paper's tables.

The sizes are those of Table 9 with the corrections that the rest of the table
needs; the tests hold the gin files to them.
"""

import dataclasses

from mtf_switch.paper import tables
from mtf_switch.planning import accounting
from mtf_switch.planning import table9

VOCABULARY_ROWS = 32128


def _table_9(model: str, **corrections) -> accounting.ModelSize:
  """The sizes of a row; the table says nothing of embeddings."""
  row = tables.TABLE_9[model]
  sizes = dict(
      d_model=row.d_model,
      d_ff=row.d_ff,
      d_kv=row.d_kv,
      num_heads=row.heads,
      num_layers=row.layers,
      gated=row.geglu,
      tied_embeddings=not model.endswith(("XXL", "-C")),
      num_experts=row.experts or 0,
      vocabulary_rows=VOCABULARY_ROWS,
  )
  if row.expert_frequency:
    sizes["sparse_every"] = round(1 / row.expert_frequency)
  return accounting.ModelSize(**{**sizes, **corrections})


_RELU_LARGE = dict(gated=False, d_ff=4096)

_CORRECTIONS = {
    "t5_large": _RELU_LARGE,
    "switch_large": _RELU_LARGE,
    "switch_xxl": dict(num_experts=128),
}

# Gin file to sizes.
SIZES = {
    file: _table_9(model, **_CORRECTIONS.get(file, {}))
    for file, model in table9.FILES.items()
}


def size(file: str, **changes) -> accounting.ModelSize:
  """The sizes that a file of gin/models has, with changes."""
  return dataclasses.replace(SIZES[file], **changes)


def parameters(file: str, **changes) -> int:
  return accounting.num_parameters(size(file, **changes))


def flops(file: str, **changes) -> int:
  return table9.flops_per_sequence(size(file, **changes))


def printed_flops_ratio(larger: str, smaller: str) -> float:
  """How many times the FLOPs of another model Table 9 prints for a model."""
  table = tables.TABLE_9
  return table9.number(table[larger].flops) / table9.number(
      table[smaller].flops
  )


def percent_of_gain(distilled: float, alone: float, teacher: float) -> float:
  """The share of the teacher's advantage that distillation keeps (4.2)."""
  return 100 * (distilled - alone) / (teacher - alone)


def percent_of_gain_range(
    distilled: float, alone: float, teacher: float
) -> tuple[float, float]:
  """The shares possible, as three decimals leave 0.0005 open each way."""
  shares = [
      percent_of_gain(distilled + a, alone + b, teacher + c)
      for a in (-5e-4, 5e-4)
      for b in (-5e-4, 5e-4)
      for c in (-5e-4, 5e-4)
  ]
  return min(shares), max(shares)


def percent_compressed(student: float, teacher: float) -> float:
  """How much smaller than the teacher the student is (Table 7)."""
  return 100 * (1 - student / teacher)
