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

"""Questions of distillation."""

from mtf_switch.paper import tables
from mtf_switch.reproduction import claims
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import small_card

_E = small_card.EXPERTS
_SWITCH = f"switch_e{_E}"


def table_6() -> claims.Question:
  """The question of Table 6."""
  rows = tables.TABLE_6
  alone, teacher = rows["T5-Base"].quality, rows["Switch-Base"].quality
  cards = {
      "T5-Base": "dense",
      "Switch-Base": _SWITCH,
      "Distillation": "student_soft",
      "+ Init. non-expert weights from teacher": "student_soft_initialized",
      "+ 0.75 mix of hard and soft loss": f"student_of_e{_E}",
      "Init. non-expert weights from teacher": "student_initialized",
  }
  share = {
      cards[x]: (row.quality - alone) / (teacher - alone)
      for x, row in rows.items()
  }
  soft, initialized, mixed, untaught = list(cards.values())[2:]

  def more(name, statement, first, second):
    return claims.Claim(
        name,
        statement,
        "Table 6",
        [first, second, "dense", _SWITCH],
        effects.more_of_the_gain,
        "share of the gain",
        share[first] - share[second],
        "Table 6",
    )

  return claims.Question(
      "table6",
      "Table 6: distillation",
      list(cards.values()),
      [
          claims.Claim(
              "students_gain",
              "Distilled with all three techniques, the dense model keeps a"
              f" part of the teacher's gain ({share[mixed]:.0%}).",
              "Table 6",
              [mixed, "dense", _SWITCH],
              effects.share_of_gain,
              "share of the gain",
              share[mixed],
              "Table 6",
          ),
          more(
              "initialization_helps",
              "The teacher's non-expert weights help distillation.",
              initialized,
              soft,
          ),
          more(
              "mix_helps",
              "A mix of hard and soft loss is better than the soft loss alone.",
              mixed,
              initialized,
          ),
          more(
              "teaching_helps",
              "The teacher's weights alone give less than distillation.",
              mixed,
              untaught,
          ),
      ],
      {
          cards[x]: {
              claims.QUALITY: row.quality,
              "% of the gain": row.percent_of_gain,
          }
          for x, row in rows.items()
      },
      "What a student keeps when both are trained to the end.",
  )


def table_7() -> claims.Question:
  """The question of Table 7."""
  columns = tables.TABLE_7
  teachers = small_card.SCALING_EXPERTS[1:]
  students = [f"student_of_e{x}" for x in teachers]
  shares = [x.percent_of_gain / 100 for x in columns.values()]
  paper = {
      student: {
          claims.QUALITY: column.distilled,
          "teacher": column.teacher_quality,
          "% of the gain": column.percent_of_gain,
      }
      for student, column in zip(students, columns.values())
  }
  few, many = students[0], students[-1]
  few_teacher, many_teacher = (f"switch_e{teachers[x]}" for x in (0, -1))
  return claims.Question(
      "table7",
      "Table 7: students of larger teachers",
      students,
      [
          claims.Claim(
              "smaller_share_of_larger_teachers",
              "The larger the teacher, the smaller the share of its gain that"
              " is kept.",
              "Table 7",
              [few, few_teacher, many, many_teacher, "dense"],
              effects.share_of_both_gains,
              "share of the gain",
              shares[0] - shares[-1],
              "Table 7",
          ),
          claims.Claim(
              "larger_teachers_better_students",
              "The student of the largest teacher is better than that of the"
              " smallest.",
              "Table 7",
              [many, few],
              effects.better,
              claims.NATS,
              columns[256].distilled - columns[16].distilled,
              "Table 7",
              seeds=claims.FEW_SEEDS,
          ),
      ],
      paper,
      "The compression of models of useful size: with few layers the dense part"
      " is a larger share.",
      seeds=claims.FEW_SEEDS,
  )
