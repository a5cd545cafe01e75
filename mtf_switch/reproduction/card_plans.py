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

"""What cards at the paper's scale will need, as plans.json has it."""

from collections.abc import Mapping
import dataclasses
import pathlib
import re
from typing import Any

import gin

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.planning import plan as plan_lib
from mtf_switch.planning import report
from mtf_switch.training import strict_gin

# The name of the file beside the cards, and the version of its format.
FILE = "plans.json"
FORMAT = 1
# What no plan depends on: texts, where checkpoints are, how long it takes.
_NOT_PLANNED = re.compile(
    r"^(?:task|pretrained_dir|teacher_dir|train_steps|initializer_scale) = .*\n"
    r"|^train\.(?:eval_every|metrics_every|save_checkpoints_steps) = .*\n",
    re.MULTILINE,
)
# Nor on the rate of a dropout that is there.
_RATE = re.compile(
    r"^((?:expert_)?dropout_rate = )0\.\d*[1-9].*$", re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class CardPlan:
  """The plan of a card; bytes and seconds are those of a core.

  Attributes:
    configuration: the SHA-256 of gin's configuration that was planned.
    chip: the kind of core, a name in chips.csv.
    chip_memory_bytes: its memory.
    mesh_shape: for example "data:32".
    cores: the cores of the mesh.
    parameters: all trainable parameters.
    steps: the steps of the run.
    sequences: the sequences of a batch.
    step_seconds: the least time of a training step.
    limited_by: "compute", "memory" or "network".
    memory_bytes_per_core: the need of a training step.
    evaluation_mode: the mode of the evaluations on the way.
    evaluation_bytes_per_core: the need of a batch of that mode.
    fits: whether the chip has enough memory for both.
  """

  configuration: str
  chip: str
  chip_memory_bytes: int
  mesh_shape: str
  cores: int
  parameters: int
  steps: int
  sequences: int
  step_seconds: float
  limited_by: str
  memory_bytes_per_core: int
  evaluation_mode: str
  evaluation_bytes_per_core: int
  fits: bool


def configuration() -> str:
  """Gin's configuration as text, all includes resolved."""
  return gin.config_str()


def planned_part(configuration_: str) -> str:
  """What a plan depends on; cards that share it have the same plan.

  Args:
    configuration_: see `configuration`.
  """
  return _RATE.sub(r"\1any", _NOT_PLANNED.sub("", configuration_))


def card_plan(
    digest: str, plan: plan_lib.Plan, mode: str, sequences: int
) -> CardPlan:
  """The record of a plan.

  Args:
    digest: the SHA-256 of the configuration.
    plan: the plan, with the mode of evaluation_graph.MODES.
    mode: that mode.
    sequences: the sequences of a batch.

  Raises:
    UserError: the evaluation cannot work.
  """
  evaluation = plan.evaluations[mode]
  if evaluation is None:
    raise errors.UserError(f"{plan.name}: --mode={mode} cannot work.")
  return CardPlan(
      configuration=digest,
      chip=plan.chip.name,
      chip_memory_bytes=plan.chip.memory_bytes,
      mesh_shape=plan.mesh_shape,
      cores=plan.num_cores,
      parameters=plan.parameters,
      steps=strict_gin.value("train.steps"),
      sequences=sequences,
      step_seconds=round(report.step_seconds(plan), 9),
      limited_by=plan.limited_by,
      memory_bytes_per_core=plan.memory_bytes_per_core,
      evaluation_mode=mode,
      evaluation_bytes_per_core=evaluation.memory_bytes_per_core,
      fits=plan.fits and evaluation.fits,
  )


def read(directory: pathlib.Path) -> dict[str, CardPlan]:
  """Reads the plans of a directory of cards.

  Args:
    directory: the directory.

  Returns:
    plans by the card's name; none without a file.

  Raises:
    UserError: the file is of another format, or damaged.
  """
  fields = {field.name: field.type for field in dataclasses.fields(CardPlan)}
  content: Any = files.read_json(
      str(directory / FILE), {"format": int, "cards": {str: fields}}
  )
  if content is None:
    return {}
  if content["format"] != FORMAT:
    raise errors.UserError(
        f"{directory / FILE} has format {content['format']}, and not {FORMAT};"
        " remove it and plan again."
    )
  return {
      name: CardPlan(**{field: plan[field] for field in fields})
      for name, plan in content["cards"].items()
  }


def write(directory: pathlib.Path, plans: Mapping[str, CardPlan]):
  """Writes the plans of a directory of cards.

  Args:
    directory: the directory.
    plans: plans by the card's name.
  """
  cards = {name: dataclasses.asdict(plan) for name, plan in plans.items()}
  content = {"format": FORMAT, "cards": cards}
  files.write_json(str(directory / FILE), content, sort_keys=True)
