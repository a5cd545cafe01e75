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

"""Table 9 of the paper beside the models of gin/models."""

import gin
from mesh_tensorflow.transformer import utils
import rich.console

from mtf_switch import terminal
from mtf_switch.paper import tables
from mtf_switch.planning import accounting
from mtf_switch.training import strict_gin

# Lengths and vocabulary that reproduce the FLOPs: 32000 pieces and 100
# sentinels, which Mesh TensorFlow rounds up to 32128 rows.
INPUTS_LENGTH = 512
TARGETS_LENGTH = 114
VOCABULARY_SIZE = 32100

# The files of gin/models and their rows.
FILES = {
    "t5_base": "T5-Base",
    "t5_large": "T5-Large",
    "t5_large_table9": "T5-Large",
    "t5_xxl": "T5-XXL",
    "switch_base": "Switch-Base",
    "switch_large": "Switch-Large",
    "switch_large_table9": "Switch-Large",
    "switch_xxl": "Switch-XXL",
    "switch_xxl_table9": "Switch-XXL",
    "switch_c": "Switch-C",
}

# Rows that contradict themselves or the released configuration.
_LARGE = "ReLU with d_ff 4096, where the row prints GEGLU with 2816"
_LARGE_AS_PRINTED = (
    "GEGLU with d_ff 2816, as printed; the row's sizes need ReLU with 4096"
)
INCONSISTENCIES = {
    "t5_large": _LARGE,
    "t5_large_table9": _LARGE_AS_PRINTED,
    "switch_large": _LARGE,
    "switch_large_table9": _LARGE_AS_PRINTED,
    "switch_xxl": "128 experts, where the row prints 64",
    "switch_xxl_table9": (
        "64 experts, as printed; the row's parameters need 128"
    ),
    "switch_c": "32 heads, as printed; the released configuration has 30",
}

# Kaplan's rule leaves out smaller terms.
_FLOPS_TOLERANCE = 0.01
_UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}


def number(printed: str) -> float:
  """Parses a printed number such as "3,800M" or "6.3T"."""
  return float(printed[:-1].replace(",", "")) * _UNITS[printed[-1]]


def rounded_as(value: float, printed: str) -> str:
  """Formats a number with the unit and the decimals of a printed one."""
  decimals = len(printed[:-1].partition(".")[2])
  return f"{value / _UNITS[printed[-1]]:.{decimals}f}{printed[-1]}"


def in_unit_of(printed: str, value: float) -> str:
  """Formats a number with the unit of a printed one and four digits."""
  unit = printed[-1]
  return f"{value / _UNITS[unit]:#.4g}".rstrip(".") + unit


def flops_per_sequence(size: accounting.ModelSize) -> int:
  """Returns the FLOPs of a sequence with the lengths of Table 9."""
  return accounting.flops_per_sequence(size, INPUTS_LENGTH, TARGETS_LENGTH)


def agrees(row: tables.Table9Row, size: accounting.ModelSize) -> bool:
  """Returns whether a model has a row's parameters and FLOPs.

  Args:
    row: the printed row.
    size: the model's sizes.

  Returns:
    True if the parameters round to the printed digits and the FLOPs are within
    1%.
  """
  parameters = accounting.num_parameters(size)
  flops_ratio = flops_per_sequence(size) / number(row.flops)
  return (
      rounded_as(parameters, row.parameters) == row.parameters
      and abs(flops_ratio - 1) <= _FLOPS_TOLERANCE
  )


def size_in_gin(file: str) -> accounting.ModelSize:
  """Reads the sizes of a file's model; replaces gin's configuration.

  Args:
    file: a name of FILES.

  Returns:
    its sizes.
  """
  gin.clear_config()
  # Sizes do not depend on the number of groups, which a sparse model asks for.
  params = ["num_cores = 1"] if tables.TABLE_9[FILES[file]].experts else []
  strict_gin.parse([f"models/{file}.gin"], params, [])
  model = utils.build_model(
      strict_gin.value("%model_type"), VOCABULARY_SIZE, VOCABULARY_SIZE, "", ""
  )
  return accounting.size_of(model)


def show(console: rich.console.Console):
  """Prints Table 9's models with the paper's sizes beside those of gin/models.

  Args:
    console: the console.
  """
  rows = []
  for file, model in FILES.items():
    row = tables.TABLE_9[model]
    size = size_in_gin(file)
    rows.append(
        (
            model,
            file,
            row.parameters,
            in_unit_of(row.parameters, accounting.num_parameters(size)),
            row.flops,
            in_unit_of(row.flops, flops_per_sequence(size)),
            "yes" if agrees(row, size) else "no",
        )
    )
  columns = ("Table 9", "gin/models", "parameters", "here", "FLOPs", "here")
  terminal.table(console, (*columns, "agrees"), rows, num_left=2)
  for file, inconsistency in INCONSISTENCIES.items():
    terminal.say(console, f"{file}: {inconsistency}.")
