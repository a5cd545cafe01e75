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

"""Questions of more experts, and of Switch beside top-2 and dense models."""

import functools

from mtf_switch.paper import figures
from mtf_switch.paper import tables
from mtf_switch.paper import text as paper_text
from mtf_switch.reproduction import claims
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import small_card

_E = small_card.EXPERTS
_SWITCH = f"switch_e{_E}"
_SCALING = ["dense", *(f"switch_e{x}" for x in small_card.SCALING_EXPERTS)]
_MOST = _SCALING[-1]


def scaling() -> claims.Question:
  """The question of Figures 1, 4 and 12."""
  counts = (1, *small_card.SCALING_EXPERTS)
  teachers = tables.TABLE_7
  per_doubling = (
      teachers[256].teacher_quality - teachers[16].teacher_quality
  ) / 4
  return claims.Question(
      "figure1",
      "Figures 1, 4 and 12: more experts at equal FLOPs",
      _SCALING,
      [
          *(
              claims.Claim(
                  f"experts_help_at_{step}",
                  f"After {step} steps, quality grows with the number of"
                  " experts.",
                  "Figures 1 and 4, left",
                  _SCALING,
                  functools.partial(effects.slope, experts=counts, step=step),
                  "nats a doubling",
                  per_doubling,
                  "Table 7: from 16 to 256 experts",
              )
              for step in (750, 1500)
          ),
          claims.Claim(
              "two_experts_help",
              "Even two experts are better than the dense model.",
              "Figure 12",
              ["switch_e2", "dense"],
              effects.better,
              claims.NATS,
              per_doubling,
              "Table 7: a doubling of the experts",
          ),
          claims.Claim(
              "most_experts_help",
              f"{small_card.SCALING_EXPERTS[-1]} experts are better than"
              f" {_E}.",
              "Figure 4, right",
              [_MOST, _SWITCH],
              effects.better,
              claims.NATS,
              2 * per_doubling,
              "Table 7: two doublings of the experts",
          ),
      ],
      limits=(
          "Whether quality keeps growing beyond 64 experts, or in models whose"
          " dense part is large."
      ),
  )


def speed_ups() -> claims.Question:
  """The question of Figures 5 and 6."""
  dense, large = (
      figures.FIGURE_6_SPEED_UPS[x] for x in ("T5-Base", "T5-Large")
  )
  return claims.Question(
      "figure5",
      "Figures 5 and 6: speed-ups over dense models",
      [*_SCALING, "dense_large"],
      [
          claims.Claim(
              "fewer_steps_than_dense",
              "The Switch model takes fewer steps to the dense model's quality"
              f" ({paper_text.SECTION_3_1_SPEED_UP} times).",
              "Figure 6, left; section 3.1",
              [_MOST, "dense"],
              effects.speed_up_in_steps,
              "ratio",
              paper_text.SECTION_3_1_SPEED_UP - 1,
              "section 3.1",
              null=1.0,
          ),
          claims.Claim(
              "less_time_than_dense",
              "The Switch model takes less time to the dense model's quality"
              f" (a factor of {dense:g}).",
              "Figures 5 and 6, right",
              [_MOST, "dense"],
              effects.speed_up_in_time,
              "ratio",
              dense - 1,
              "Figure 6",
              "time",
              null=1.0,
          ),
          claims.Claim(
              "less_time_than_large",
              "The Switch model takes less time to the quality of a dense model"
              f" of {paper_text.SECTION_3_3_FLOPS_RATIO} times its FLOPs (a"
              f" factor of {large:g}).",
              "Figure 6, right; section 3.3",
              [_MOST, "dense_large"],
              effects.speed_up_in_time,
              "ratio",
              large - 1,
              "Figure 6",
              "time",
              null=1.0,
          ),
      ],
      limits=(
          "Anything about TPUs: seconds here are of CPU cores, where a small"
          " layer's overheads count."
      ),
      contest=True,
  )


def table_1() -> claims.Question:
  """The question of Table 1."""
  cards = {}
  for model, factor in tables.TABLE_1:
    cards[model, factor] = {
        "T5-Base": "dense",
        "T5-Large": "dense_large",
        "MoE-Base": f"top2_e{_E}_cf{factor}",
        "Switch-Base": _SWITCH + ("" if factor == 1.25 else f"_cf{factor}"),
        "Switch-Base+": f"switch_plus_e{_E}_cf{factor}",
    }[model]
  rows = tables.TABLE_1

  def gain(first, second):
    return abs(rows[first].quality - rows[second].quality)

  def pair(name, statement, first, second, seeds=claims.FEW_SEEDS):
    return claims.Claim(
        name,
        statement,
        "Table 1",
        [cards[first], cards[second]],
        effects.better,
        claims.NATS,
        gain(first, second),
        "Table 1",
        seeds=seeds,
    )

  asked = [
      pair(
          "switch_beats_dense",
          "Switch-Base is better than T5-Base at equal FLOPs.",
          ("Switch-Base", 1.0),
          ("T5-Base", None),
      ),
      pair(
          "plus_beats_base",
          "Switch-Base+, wider and as fast as top-2, is better than"
          " Switch-Base.",
          ("Switch-Base+", 1.0),
          ("Switch-Base", 1.0),
          range(9),
      ),
      # At 2.0 the paper's top-2 model is ahead.
      pair(
          "top2_ahead_at_2.0",
          "At a capacity factor of 2.0 top-2 routing is better.",
          ("MoE-Base", 2.0),
          ("Switch-Base", 2.0),
      ),
      *(
          pair(
              f"switch_ahead_at_{factor}",
              f"At a capacity factor of {factor} Switch is better than top-2"
              " routing.",
              ("Switch-Base", factor),
              ("MoE-Base", factor),
          )
          for factor in (1.25, 1.0)
      ),
      pair(
          "more_capacity_helps",
          "Per step, a capacity factor of 2.0 is better than 1.0.",
          ("Switch-Base", 2.0),
          ("Switch-Base", 1.0),
      ),
  ]
  for factor in (2.0, 1.25, 1.0):
    both = ("Switch-Base", factor), ("MoE-Base", factor)
    speeds = [rows[x].examples_per_second for x in both]
    hours = [rows[x].hours_to_threshold for x in both]
    names = [cards[x] for x in both]
    asked += [
        claims.Claim(
            f"switch_faster_at_{factor}",
            f"At a capacity factor of {factor} Switch trains on more examples a"
            " second than top-2 routing.",
            "Table 1",
            names,
            effects.faster,
            "ratio",
            abs(speeds[0] / speeds[1] - 1),
            "Table 1",
            "speed",
            null=1.0,
        ),
        claims.Claim(
            f"switch_sooner_at_{factor}",
            f"At a capacity factor of {factor} Switch takes less time to a"
            " quality than top-2 routing.",
            "Table 1",
            names,
            effects.speed_up_in_time,
            "ratio",
            abs(hours[1] / hours[0] - 1),
            "Table 1",
            "time",
            null=1.0,
            seeds=claims.FEW_SEEDS,
        ),
    ]
  return claims.Question(
      "table1",
      "Table 1: Switch, top-2 and dense models",
      list(cards.values()),
      asked,
      {
          cards[x]: {
              claims.QUALITY: row.quality,
              "hours to -1.50": row.hours_to_threshold,
              claims.SPEED: row.examples_per_second,
          }
          for x, row in rows.items()
      },
      "Which capacity factor is best on TPUs, where slots cost time whether"
      " they are full or empty; here empty slots are not multiplied.",
      contest=True,
      seeds=claims.FEW_SEEDS,
  )
