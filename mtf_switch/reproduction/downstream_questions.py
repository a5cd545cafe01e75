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

"""Questions of fine-tuning, of many tasks and of many languages."""

from collections.abc import Sequence
import functools
from typing import NamedTuple

from mtf_switch.paper import figures
from mtf_switch.paper import tables
from mtf_switch.reproduction import claims
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import small_card
from mtf_switch.reproduction import small_downstream

_E = small_card.EXPERTS
_POINTS = "points"


class Tasks(NamedTuple):
  """The tasks that the questions of Tables 4, 5 and 8 and Figure 13 take.

  Attributes:
    names: of the tasks.
    suffix: of the questions' names.
    where: what titles and statements say of the tasks.
    limits: what a reader may not conclude.
    seeds: of the runs.
  """

  names: Sequence[str]
  suffix: str
  where: str
  limits: str
  seeds: Sequence[int]


OFFLINE = Tasks(
    small_downstream.TASKS,
    "",
    "",
    "Anything about GLUE or SuperGLUE: the tasks are others"
    " (docs/offline_tasks.md), since those cannot be had offline.",
    claims.SEEDS,
)
PUBLISHED = Tasks(
    list(small_downstream.PUBLISHED_TASKS),
    "_published",
    " on CB, COPA, CoLA and MRPC",
    "Whether a pre-trained model understands language: these models have read a"
    " few megabytes of docstrings, and may do no better than the most frequent"
    " answer.",
    claims.FEW_SEEDS,
)


def table_4(tasks: Tasks) -> claims.Question:
  """The question of Table 4."""
  rows = small_downstream.table_4_rows()
  printed = list(tables.TABLE_4.values())
  gain = printed[-1].glue - printed[1].glue

  def cards(row):
    return [small_downstream.fine_tuned(task, *row) for task in tasks.names]

  all_cards = [card for row in rows for card in cards(row)]
  *_, less, more, most, dropped = rows
  return claims.Question(
      f"table4{tasks.suffix}",
      f"Table 4: expert dropout in fine-tuning{tasks.where}",
      all_cards,
      [
          claims.Claim(
              f"expert_dropout_helps{tasks.suffix}",
              "More dropout within the experts (0.4) than elsewhere (0.1) is"
              f" better than 0.1 everywhere{tasks.where}.",
              "Table 4, GLUE",
              [*cards(dropped), *cards(less)],
              effects.better_scores,
              _POINTS,
              gain,
              "Table 4, GLUE",
              seeds=tasks.seeds,
          ),
          claims.Claim(
              f"more_dropout_everywhere_hurts{tasks.suffix}",
              f"Dropout of 0.3 everywhere is worse than 0.1{tasks.where}.",
              "Table 4, GLUE",
              [*cards(less), *cards(most)],
              effects.better_scores,
              _POINTS,
              printed[1].glue - printed[3].glue,
              "Table 4, GLUE",
              seeds=tasks.seeds,
          ),
      ],
      {
          card: {"GLUE": row.glue, "SuperGLUE": row.super_glue}
          for where, row in zip(rows, printed)
          for card in cards(where)[:1]
      },
      tasks.limits,
      seeds=tasks.seeds,
  )


def table_5(tasks: Tasks) -> claims.Question:
  """The question of Table 5."""
  dense, sparse = (
      [small_downstream.fine_tuned(task, x) for task in tasks.names]
      for x in (None, _E)
  )
  base, switch = (tables.TABLE_5[x] for x in ("T5-Base", "Switch-Base"))
  return claims.Question(
      f"table5{tasks.suffix}",
      f"Table 5: fine-tuning{tasks.where}",
      [*dense, *sparse],
      [
          claims.Claim(
              f"switch_understands_more{tasks.suffix}",
              "The fine-tuned Switch model is better at understanding"
              f" text{tasks.where}.",
              "Table 5, GLUE and SuperGLUE",
              [*sparse, *dense],
              effects.better_scores,
              _POINTS,
              switch.glue - base.glue,
              "Table 5, GLUE",
              seeds=tasks.seeds,
          ),
      ],
      limits=tasks.limits,
      seeds=tasks.seeds,
  )


def section_5_6() -> claims.Question:
  """The question of section 5.6's mixture."""
  mixture = small_downstream.MIXTURE
  dense, sparse = (small_downstream.fine_tuned(mixture, x) for x in (None, _E))
  base, switch = (tables.TABLE_5[x].glue for x in ("T5-Base", "Switch-Base"))
  return claims.Question(
      "section5.6",
      "Section 5.6: all tasks in one mixture",
      [dense, sparse],
      [
          claims.Claim(
              "switch_better_in_a_mixture",
              "Trained on all tasks at once, the Switch model has the better"
              " mean score.",
              "Section 5.6",
              [sparse, dense],
              effects.better_scores,
              _POINTS,
              switch - base,
              "Table 5, GLUE",
          )
      ],
      limits=OFFLINE.limits,
  )


def table_8(tasks: Tasks) -> claims.Question:
  """The question of Table 8."""
  students = [small_downstream.student(x) for x in tasks.names]
  alone = [small_downstream.fine_tuned(x, None) for x in tasks.names]
  teachers = [small_downstream.fine_tuned(x, _E) for x in tasks.names]
  rows = list(tables.TABLE_8.values())
  return claims.Question(
      f"table8{tasks.suffix}",
      f"Table 8: students of fine-tuned models{tasks.where}",
      [*alone, *teachers, *students],
      [
          claims.Claim(
              f"fine_tuned_students_gain{tasks.suffix}",
              "A dense model learns from a fine-tuned Switch model: it is"
              f" better than one fine-tuned alone{tasks.where}.",
              "Table 8",
              [*students, *alone],
              effects.better_scores,
              _POINTS,
              rows[2].super_glue - rows[0].super_glue,
              "Table 8",
              seeds=tasks.seeds,
          )
      ],
      limits=tasks.limits,
      seeds=tasks.seeds,
  )


def figure_13(tasks: Tasks) -> claims.Question:
  """The question of Figure 13 and Appendix E."""
  experts = small_downstream.PRETRAINED_EXPERTS
  upstream = [small_downstream.pretrained(x) for x in experts]
  downstream = [
      [small_downstream.fine_tuned(task, x) for x in experts]
      for task in tasks.names
  ]
  return claims.Question(
      f"figure13{tasks.suffix}",
      "Figure 13 and Appendix E: upstream against downstream"
      f" quality{tasks.where}",
      [*upstream, *(card for cards in downstream for card in cards)],
      [
          claims.Claim(
              f"upstream_gains_carry_over_to_{task}",
              "The better a model is in pre-training, the better it is when it"
              f" is fine-tuned (here on {task}).",
              "Figure 13",
              [*upstream, *cards],
              effects.downstream_slope,
              "points a nat",
              10.0,
              "a margin of this project: a tenth of the scale for a nat",
              seeds=tasks.seeds,
          )
          for task, cards in zip(tasks.names, downstream)
      ],
      limits=(
          f"{tasks.limits} The paper's comparison at equal perplexity, dense"
          " against sparse, needs models of many sizes."
      ),
      seeds=tasks.seeds,
  )


def figure_7() -> claims.Question:
  """The question of Figures 7 and 8."""
  cards = [small_downstream.languages(x) for x in (None, _E)]
  rows = cards[::-1]
  share = figures.FIGURE_8_PERCENT_OVER_4 / 100
  return claims.Question(
      "figure7",
      "Figures 7 and 8: many languages",
      cards,
      [
          claims.Claim(
              "languages_improve",
              "All languages improve: more than half do here.",
              "Figure 7",
              rows,
              effects.share_of_tasks_improved,
              "share of languages",
              0.5,
              "all instead of half of them",
              null=0.5,
          ),
          claims.Claim(
              "languages_speed_up",
              "Languages reach the dense model's quality in fewer steps, in the"
              f" mean {figures.FIGURE_8_MEAN_SPEED_UP:g} times.",
              "Figure 8",
              rows,
              effects.mean_speed_up_of_tasks,
              "ratio",
              figures.FIGURE_8_MEAN_SPEED_UP - 1,
              "Figure 8",
              null=1.0,
          ),
          claims.Claim(
              "most_speed_up_over_4",
              f"{share:.0%} of the languages are at least four times as fast:"
              " more than half are here.",
              "Figure 8",
              rows,
              functools.partial(effects.share_of_tasks_speeding_up, times=4.0),
              "share of languages",
              share - 0.5,
              "Figure 8",
              null=0.5,
          ),
      ],
      limits=(
          "Anything about mC4: the text is 2.3 MB of names, which models read"
          " many times."
      ),
  )
