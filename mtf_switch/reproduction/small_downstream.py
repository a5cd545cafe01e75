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

"""The cards of fine-tuning at small scale, and of many languages."""

from typing import Any, NamedTuple

from mtf_switch.paper import tables
from mtf_switch.paper import text as paper_text
from mtf_switch.reproduction import small_card

_SWITCH = "experiments/small_switch_encoder_decoder_defaults.gin"
_ENCODER_DECODER = "experiments/small_encoder_decoder_defaults.gin"
_QUESTIONS = "experiments/small_questions_defaults.gin"
_LANGUAGES = "experiments/small_languages_defaults.gin"
_RATE = "learning_rate_schedules.constant_learning_rate.learning_rate"
# The tasks that stand for those of Tables 4, 5 and 8, and their mixture.
TASKS = ("docstring_package", "docstring_kind")
MIXTURE = "offline_understanding"


class _Published(NamedTuple):
  """A task of the paper itself, in its published files.

  Attributes:
    parameter: gin's name of the directory of its files.
    folder: the directory's name among the published files.
    inputs_length: room for most of its examples.
    batch_size: of about as many tokens as the other tasks' batches.
  """

  parameter: str
  folder: str
  inputs_length: int
  batch_size: int

  @property
  def bindings(self) -> dict[str, Any]:
    """What differs from the tasks that need no files."""
    return {
        # That of the models that are fine-tuned; the tasks' own is T5's.
        "vocabulary.name": "embedded",
        "inputs_length": self.inputs_length,
        "targets_length": 16,
        "batch_size": self.batch_size,
    }


PUBLISHED_TASKS = {
    "super_glue_cb": _Published("super_glue.directory", "superglue", 256, 16),
    "super_glue_copa": _Published("super_glue.directory", "superglue", 128, 32),
    "glue_cola": _Published("glue.directory", "glue", 128, 32),
    "glue_mrpc": _Published("glue.directory", "glue", 256, 16),
}
_ALL_TASKS = (*TASKS, *PUBLISHED_TASKS)
# The models of Figure 13 by their experts; None for the dense one.
PRETRAINED_EXPERTS = (None, 4, small_card.EXPERTS, 64)

# Dropout in fine-tuning, and within experts (section 2.4).
_DROPOUT = paper_text.SECTION_2_4_DROPOUT
_EXPERT_DROPOUT = paper_text.SECTION_2_4_EXPERT_DROPOUT


def pretrained(experts: int | None) -> str:
  """The name of the card of a model that is fine-tuned by others."""
  return f"pretrained_{_model(experts)}"


def fine_tuned(
    task: str,
    experts: int | None,
    dropout: float = _DROPOUT,
    expert_dropout: float | None = _EXPERT_DROPOUT,
) -> str:
  """The name of the card of a model that is fine-tuned on a task.

  Args:
    task: one of TASKS or PUBLISHED_TASKS, or MIXTURE.
    experts: of the model; None for the dense one, without expert dropout.
    dropout: outside the experts.
    expert_dropout: within them; None for `dropout`.
  """
  name = f"{task}_{_model(experts)}_d{dropout}"
  if experts and expert_dropout is not None:
    name += f"_ed{expert_dropout}"
  return name


def student(task: str) -> str:
  """The name of the card of a dense model with a fine-tuned teacher."""
  return f"{task}_student"


def languages(experts: int | None) -> str:
  """The name of the card of a model of many languages."""
  return f"languages_{_model(experts)}"


def _files(task: str) -> dict[str, str]:
  """The published files of a task, by gin's name of their directory."""
  published = PUBLISHED_TASKS.get(task)
  return {published.parameter: published.folder} if published else {}


def _of_task(task: str) -> dict[str, Any]:
  """The values of a task, whatever the model."""
  published = PUBLISHED_TASKS.get(task)
  return {"task": task, **(published.bindings if published else {})}


def _model(experts: int | None) -> str:
  return f"e{experts}" if experts else "dense"


def _base(experts: int | None) -> tuple[str, str, str, dict[str, Any]]:
  """The paper's name, the family, the file and the experts of a model."""
  if experts is None:
    return "T5-Base", "dense", small_card.DENSE, {}
  bindings = {"num_experts": experts}
  return "Switch-Base", "switch", _SWITCH, bindings


def _pretraining(
    name: str, what: str, experts: int | None, file: str
) -> small_card.SmallCard:
  model, family, include, bindings = _base(experts)
  rate = small_card.LEARNING_RATES[family]
  return small_card.SmallCard(
      name,
      f"{model} {what}",
      [include, file],
      {**bindings, "learning_rate_multiplier": rate},
  )


def _fine_tuning(
    name: str,
    task: str,
    experts: int | None,
    dropout: float = _DROPOUT,
    expert_dropout: float | None = _EXPERT_DROPOUT,
    **changes: Any,
) -> small_card.SmallCard:
  model, _, include, bindings = _base(experts)
  title = f"{model} on {task}, d = {dropout}"
  if experts:
    within = dropout if expert_dropout is None else expert_dropout
    bindings["expert_dropout_rate"] = within
    title += f", ed = {within}"
  return small_card.SmallCard(
      name,
      title,
      [include, _ENCODER_DECODER, "runs/finetune.gin", _QUESTIONS],
      {
          **_of_task(task),
          **bindings,
          "dropout_rate": dropout,
          _RATE: small_card.LEARNING_RATES["finetuned"],
          **changes,
      },
      "finetune",
      {"pretrained_dir": pretrained(experts)},
      _files(task),
  )


def table_4_rows() -> list[tuple[int | None, float, float | None]]:
  """Experts, dropout and expert dropout of the rows of Table 4."""
  return [
      (None if model == "T5-Base" else small_card.EXPERTS, dropout, within)
      for model, dropout, within in tables.TABLE_4
  ]


def _tables_4_and_5() -> list[small_card.SmallCard]:
  """Each task by itself; also the other models of Figure 13."""
  rows = table_4_rows()
  rows += [
      (experts, _DROPOUT, _EXPERT_DROPOUT)
      for experts in PRETRAINED_EXPERTS
      if experts not in (None, small_card.EXPERTS)
  ]
  return [
      _fine_tuning(fine_tuned(task, *row), task, *row)
      for task in _ALL_TASKS
      for row in rows
  ]


def _section_5_6() -> list[small_card.SmallCard]:
  """All tasks in one mixture."""
  return [
      _fine_tuning(fine_tuned(MIXTURE, experts), MIXTURE, experts)
      for experts in (None, small_card.EXPERTS)
  ]


def _table_8() -> list[small_card.SmallCard]:
  """Dense students of fine-tuned models."""
  return [
      small_card.SmallCard(
          student(task),
          f"Distilled T5-Base on {task}",
          [small_card.DENSE, _ENCODER_DECODER, "runs/distill.gin", _QUESTIONS],
          {
              **_of_task(task),
              "dropout_rate": _DROPOUT,
              _RATE: small_card.LEARNING_RATES["finetuned"],
              "distill.evaluation": "decoding",
          },
          "distill",
          {"teacher_dir": fine_tuned(task, small_card.EXPERTS)},
          _files(task),
      )
      for task in _ALL_TASKS
  ]


def _tuning() -> list[small_card.SmallCard]:
  """The learning rate of fine-tuning, on the mixture's split "test"."""
  return [
      _fine_tuning(
          f"tuning_finetuned_{_model(experts)}_lr{rate}",
          MIXTURE,
          experts,
          **{_RATE: rate, "train.eval_split": "test"},
      )
      for experts in (None, small_card.EXPERTS)
      for rate in small_card.TRIED_CONSTANT_RATES
  ]


def cards() -> list[small_card.SmallCard]:
  """All cards of fine-tuning and of many languages."""
  return [
      *(
          _pretraining(pretrained(x), "to be fine-tuned", x, _ENCODER_DECODER)
          for x in PRETRAINED_EXPERTS
      ),
      *_tables_4_and_5(),
      *_section_5_6(),
      *_table_8(),
      *(
          _pretraining(languages(x), "of many languages", x, _LANGUAGES)
          for x in (None, small_card.EXPERTS)
      ),
      *_tuning(),
  ]
