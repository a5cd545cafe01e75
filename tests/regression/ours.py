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

from mtf_switch import accounting
from tests.regression import paper_tables

# Lengths and rows with which Table 9's FLOPs come out.
INPUTS_LENGTH = 512
TARGETS_LENGTH = 114
VOCABULARY_ROWS = 32128

_UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}


def _table_9(model: str, **corrections) -> accounting.ModelSize:
  """The sizes of a row; the table says nothing of embeddings."""
  row = paper_tables.TABLE_9[model]
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

# Gin file to the model's name in Table 9 and its sizes.
MODELS = {
    "t5_base": ("T5-Base", _table_9("T5-Base")),
    "t5_large": ("T5-Large", _table_9("T5-Large", **_RELU_LARGE)),
    "t5_large_table9": ("T5-Large", _table_9("T5-Large")),
    "t5_xxl": ("T5-XXL", _table_9("T5-XXL")),
    "switch_base": ("Switch-Base", _table_9("Switch-Base")),
    "switch_large": ("Switch-Large", _table_9("Switch-Large", **_RELU_LARGE)),
    "switch_large_table9": ("Switch-Large", _table_9("Switch-Large")),
    "switch_xxl": ("Switch-XXL", _table_9("Switch-XXL", num_experts=128)),
    "switch_xxl_table9": ("Switch-XXL", _table_9("Switch-XXL")),
    "switch_c": ("Switch-C", _table_9("Switch-C")),
}


def size(file: str, **changes) -> accounting.ModelSize:
  """The sizes that a file of gin/models has, with changes."""
  return dataclasses.replace(MODELS[file][1], **changes)


def parameters(file: str, **changes) -> int:
  return accounting.num_parameters(size(file, **changes))


def flops(file: str, **changes) -> int:
  return accounting.flops_per_sequence(
      size(file, **changes), INPUTS_LENGTH, TARGETS_LENGTH
  )


def number(printed: str) -> float:
  """The number that a text such as "3,800M" or "6.3T" stands for."""
  return float(printed[:-1].replace(",", "")) * _UNITS[printed[-1]]


def printed_flops_ratio(larger: str, smaller: str) -> float:
  """How many times the FLOPs of another model Table 9 prints for a model."""
  table = paper_tables.TABLE_9
  return number(table[larger].flops) / number(table[smaller].flops)


def rounded_as(value: float, printed: str) -> str:
  """A number with the unit and the digits of a printed one."""
  decimals = len(printed[:-1].partition(".")[2])
  return f"{value / _UNITS[printed[-1]]:.{decimals}f}{printed[-1]}"


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
