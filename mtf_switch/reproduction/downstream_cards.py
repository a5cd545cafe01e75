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

"""The cards of fine-tuning and distillation at the paper's scale."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mtf_switch.paper import tables
from mtf_switch.paper import text
from mtf_switch.reproduction import card_parts
from mtf_switch.reproduction import cards
from mtf_switch.reproduction import paper_rows
from mtf_switch.reproduction import pretraining_cards

# A core for each expert, as Appendix D advises.
_CORES = 128
_TEACHER_OF_TABLE_6 = 64
# By a teacher's experts, the cores of its student where those of Table 1 have
# no room for both.
_CORES_OF_STUDENTS = {256: 64}


class _Task(NamedTuple):
  """A column of Tables 4 and 5.

  Attributes:
    name: the task or mixture of seqio.
    targets_length: the longest targets.
    source: where that number comes from.
  """

  name: str
  targets_length: int
  source: str = "as in T5 for this task"


_SHORT_ANSWERS = "as in T5 for SuperGLUE, whose answers are as short"
# By the names of paper_rows.SCORES.
_TASKS = {
    "glue": _Task("glue", 84),
    "cnn_dailymail": _Task("cnn_dailymail", 512),
    "squad": _Task("squad", 97),
    "super_glue": _Task("super_glue", 62),
    "winogrande": _Task("winogrande_xl", 62, _SHORT_ANSWERS),
    "xsum": _Task("xsum", 512, "as in T5 for CNN/DailyMail"),
    "anli": _Task("anli_r3", 62, _SHORT_ANSWERS),
    "arc_easy": _Task("arc_easy", 62, _SHORT_ANSWERS),
    "arc_challenge": _Task("arc_challenge", 62, _SHORT_ANSWERS),
    "web_questions": _Task("web_questions", 62, _SHORT_ANSWERS),
    "natural_questions": _Task("natural_questions", 62, _SHORT_ANSWERS),
    "trivia_qa": _Task("trivia_qa", 62, _SHORT_ANSWERS),
}


class _Model(NamedTuple):
  """A model that is fine-tuned.

  Attributes:
    file: in gin/models.
    title: in names of cards.
    size: a key of card_parts.GROUP_SIZES; None for a dense model.
    experts_choices: where its number of experts comes from.
  """

  file: str
  title: str
  size: str | None = None
  experts_choices: Sequence[cards.Choice] = ()


_MODELS = {
    "T5-Base": _Model("t5_base", "t5_base"),
    "Switch-Base": _Model(
        "switch_base", "switch_base_e128", "base", [card_parts.EXPERTS_CHOICE]
    ),
    "T5-Large": _Model("t5_large", "t5_large"),
    "Switch-Large": _Model("switch_large", "switch_large_e128", "large"),
}


def _fine_tuning(
    name: str,
    rows: Sequence[paper_rows.Row],
    model: _Model,
    score: str,
    pretrained: str,
    bindings: Mapping[str, Any] | None = None,
    choices: Sequence[cards.Choice] = (),
) -> cards.Card:
  """A model that is fine-tuned on a task, as in section 4.1."""
  task = _TASKS[score]
  includes = [
      f"models/{model.file}.gin",
      "layouts/expert_data.gin" if model.size else "layouts/data.gin",
      "experiments/paper_finetune_defaults.gin",
  ]
  of_kind = {"activation_dtype": "bfloat16"}
  if model.size:
    includes.append("precision/selective.gin")
    of_kind = card_parts.groups(card_parts.LONG_BATCH, model.size)
  return cards.Card(
      name,
      rows,
      includes,
      {
          "data_parallelism": _CORES,
          **of_kind,
          "task": task.name,
          "targets_length": task.targets_length,
          **(bindings or {}),
      },
      [
          *choices,
          *model.experts_choices,
          *card_parts.feed_forward_choices(model.file),
          cards.Choice(
              "cores", f"{_CORES}, as many as Switch-Base has experts"
          ),
          cards.Choice(
              "lengths",
              f"512 inputs and {task.targets_length} targets, {task.source}",
          ),
          *(
              [card_parts.PLACES_CHOICE, card_parts.groups_choice(model.size)]
              if model.size
              else []
          ),
          cards.Choice(
              "learning rate",
              "T5's, 0.001; released with a warm-up of 1,000 steps",
          ),
          card_parts.DENSE_PRECISION_CHOICE
          if not model.size
          else card_parts.PRECISION_CHOICE,
      ],
      mode="finetune",
      needs={"pretrained_dir": pretrained},
  )


def _pretraining_of_table_4() -> list[cards.Card]:
  """The two models that Table 4's rows start from."""
  steps = int(tables.TABLE_4_TOKENS / card_parts.LONG_BATCH)
  remark = (
      "The pre-training of Table 4's rows:"
      f" {tables.TABLE_4_TOKENS / 1e9:g}B tokens."
  )
  choices = [
      cards.Choice(
          "tokens of a batch",
          f"2^20, as in section 3, so that there are {steps:,} steps",
      ),
      card_parts.CORES_CHOICE,
  ]
  return [
      card_parts.dense(
          _pretrained_of_table_4("T5-Base"),
          [],
          "t5_base",
          card_parts.LONG_BATCH,
          steps,
          choices,
          remarks=[remark],
      ),
      card_parts.sparse(
          _pretrained_of_table_4("Switch-Base"),
          [],
          tables.TABLE_1_EXPERTS,
          card_parts.LONG_BATCH,
          steps,
          [*choices, card_parts.EXPERTS_CHOICE],
          remarks=[remark],
      ),
  ]


def _pretrained_of_table_4(model: str) -> str:
  return f"table4_{_MODELS[model].title}_pretraining"


def _table_4() -> list[cards.Card]:
  """Table 4: a run for each cell."""
  made = []
  for key in tables.TABLE_4:
    model, dropout, expert_dropout = key
    dropouts = {"dropout_rate": dropout}
    name = f"d{dropout}"
    choices = []
    if _MODELS[model].size:
      dropouts["expert_dropout_rate"] = (
          dropout if expert_dropout is None else expert_dropout
      )
      if expert_dropout is None:
        choices.append(
            cards.Choice("dropout in the experts", "d, as in other layers")
        )
    if expert_dropout is not None:
      name += f"_ed{expert_dropout}"
    for score in tables.Table4Row._fields:
      label = paper_rows.table_4_label(*key, score)
      made.append(
          _fine_tuning(
              f"table4_{_MODELS[model].title}_{name}_{score}",
              card_parts.rows("Table 4", label),
              _MODELS[model],
              score,
              _pretrained_of_table_4(model),
              dropouts,
              choices,
          )
      )
  return made


def _table_5() -> list[cards.Card]:
  """Table 5: a run for each cell; two of them stand in Table 8 too."""
  pretrained = {
      "T5-Base": pretraining_cards.T5_BASE,
      "Switch-Base": pretraining_cards.switch_base(tables.TABLE_1_EXPERTS),
      "T5-Large": pretraining_cards.T5_LARGE,
      "Switch-Large": pretraining_cards.SWITCH_LARGE,
  }
  choice = cards.Choice(
      "pre-training", f"all {text.SECTION_3_STEPS:,} steps of section 3"
  )
  made = []
  for model in tables.TABLE_5:
    for score in tables.Table5Row._fields:
      label = paper_rows.table_5_label(model, score)
      rows = card_parts.rows("Table 5", label)
      if score == "super_glue" and model in tables.TABLE_8:
        rows += card_parts.rows("Table 8", model)
      made.append(
          _fine_tuning(
              _name_of_table_5(model, score),
              rows,
              _MODELS[model],
              score,
              pretrained[model],
              choices=[choice],
          )
      )
  return made


def _name_of_table_5(model: str, score: str) -> str:
  return f"table5_{_MODELS[model].title}_{score}"


def _student(
    name: str,
    rows: Sequence[paper_rows.Row],
    experts: int,
    soft_fraction: float,
    initialize: bool,
    choices: Sequence[cards.Choice] = (),
) -> cards.Card:
  """T5-Base taught by a Switch-Base of Figure 1."""
  teacher = pretraining_cards.switch_base(experts)
  cores, cores_choice = card_parts.CORES, card_parts.CORES_CHOICE
  if experts in _CORES_OF_STUDENTS:
    cores = _CORES_OF_STUDENTS[experts]
    cores_choice = cards.Choice("cores", f"{cores}, where there is room for it")
  file, sizes = card_parts.layout(experts, cores)
  of_table_9 = tables.TABLE_9["T5-Base"].at_250k
  alone = tables.TABLE_6["T5-Base"].quality
  return cards.Card(
      name,
      rows,
      ["models/t5_base.gin", file, "runs/distill.gin", card_parts.DEFAULTS],
      {
          **sizes,
          **card_parts.batch(card_parts.LONG_BATCH),
          "train_steps": text.SECTION_3_STEPS,
          "activation_dtype": "bfloat16",
          "teacher_gin": cards.file_of(teacher),
          "distill.soft_fraction": soft_fraction,
          "distill.initialize_from_teacher": initialize,
      },
      [
          *choices,
          cards.Choice(
              "steps and tokens of a batch",
              "those of section 3, which its teacher has and T5-Base alone; the"
              f" paper's were fewer, since its T5-Base has {alone:.3f} here and"
              f" {of_table_9:.3f} after 250,000 steps in Table 9",
          ),
          cards.Choice("temperature", "1"),
          cards.Choice(
              "what dense layers start from in the place of experts",
              "their own initial values",
          ),
          cores_choice,
          card_parts.DENSE_PRECISION_CHOICE,
          card_parts.RATE_CHOICE,
          card_parts.DROPOUT_CHOICE,
      ],
      mode="distill",
      needs={"teacher_dir": teacher},
  )


def _table_6() -> list[cards.Card]:
  """Table 6's students; its two models are runs of Figure 1."""
  soft = cards.Choice(
      "the mix before the row of the mix", "the teacher's probabilities alone"
  )
  mixed = text.SECTION_4_2_SOFT_FRACTION
  name = f"table6_student_e{_TEACHER_OF_TABLE_6}"
  made = []
  # The rows that are no models: suffix, soft fraction, start, open questions.
  for label, suffix, fraction, initialize, choices in (
      ("Distillation", "_soft", 1.0, False, [soft]),
      (
          "+ Init. non-expert weights from teacher",
          "_soft_initialized",
          1.0,
          True,
          [soft],
      ),
      ("+ 0.75 mix of hard and soft loss", "", mixed, True, []),
      # A soft fraction of 0 is ordinary training.
      (
          "Init. non-expert weights from teacher",
          "_initialized",
          0.0,
          True,
          [],
      ),
  ):
    rows = card_parts.rows("Table 6", label)
    if not suffix:
      rows += card_parts.rows(
          "Table 7", f"student of {_TEACHER_OF_TABLE_6} experts"
      )
    made.append(
        _student(
            name + suffix,
            rows,
            _TEACHER_OF_TABLE_6,
            fraction,
            initialize,
            choices,
        )
    )
  return made


def _table_7() -> list[cards.Card]:
  """Table 7's students; one is a row of Table 6."""
  return [
      _student(
          f"table7_student_e{experts}",
          card_parts.rows("Table 7", f"student of {experts} experts"),
          experts,
          text.SECTION_4_2_SOFT_FRACTION,
          True,
      )
      for experts in tables.TABLE_7
      if experts != _TEACHER_OF_TABLE_6
  ]


def _table_8() -> list[cards.Card]:
  """Table 8's student; its two models are runs of Table 5."""
  return [
      cards.Card(
          "table8_student_e128_super_glue",
          card_parts.rows("Table 8", "Distilled T5-Base"),
          ["experiments/distill_super_glue_t5_base.gin"],
          {"activation_dtype": "bfloat16"},
          [
              cards.Choice(
                  "batch, steps, dropout and evaluations",
                  "those of fine-tuning in section 4.1",
              ),
              cards.Choice(
                  "what the student starts from",
                  "the teacher's non-expert weights, as in Table 6",
              ),
              cards.Choice("temperature", "1"),
              cards.Choice("cores", "128, as many as the teacher has experts"),
              cards.Choice("learning rate", "0.001, as in T5's fine-tuning"),
              card_parts.DENSE_PRECISION_CHOICE,
          ],
          mode="distill",
          needs={"teacher_dir": _name_of_table_5("Switch-Base", "super_glue")},
      )
  ]


CARDS = [
    *_pretraining_of_table_4(),
    *_table_4(),
    *_table_5(),
    *_table_6(),
    *_table_7(),
    *_table_8(),
]
