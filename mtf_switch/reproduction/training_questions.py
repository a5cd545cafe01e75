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

"""Questions of routing, initial values, precision and attention."""

from collections.abc import Sequence
import functools

from mtf_switch.paper import tables
from mtf_switch.paper import text as paper_text
from mtf_switch.reproduction import claims
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import small_card

_E = small_card.EXPERTS
_SWITCH = f"switch_e{_E}"


def _no_worse(
    name: str, statement: str, source: str, rows: Sequence[str]
) -> claims.Claim:
  """The claim that the first of two cards is no worse than the second.

  Args:
    name: as for claims.Claim; so are the other arguments.
    statement: names claims.MARGIN.
    source: where the paper says so.
    rows: the two cards.
  """
  return claims.Claim(
      name,
      statement,
      source,
      rows,
      effects.better,
      claims.NATS,
      claims.MARGIN,
      claims.MARGIN_SOURCE,
      null=-claims.MARGIN,
  )


def section_2_2() -> claims.Question:
  """The question of Section 2.2."""
  alphas = (0.0, *paper_text.SECTION_2_2_ALPHAS)
  cards = [
      _SWITCH if x == paper_text.SECTION_2_2_ALPHA else f"{_SWITCH}_alpha{x:g}"
      for x in alphas
  ]
  percent = paper_text.SECTION_2_2_PERCENT_DROPPED
  return claims.Question(
      "section2.2",
      "Section 2.2: the load-balance loss",
      cards,
      [
          claims.Claim(
              "alpha_balances",
              "With alpha = 0.01 load is more even than without the loss.",
              "section 2.2",
              [_SWITCH, cards[0]],
              effects.more_even,
              "deviation of load",
              0.1,
              "a tenth of the mean load",
          ),
          _no_worse(
              "alpha_does_no_harm",
              "alpha = 0.01 does not interfere with the loss: quality is no"
              f" more than {claims.MARGIN} below that without it.",
              "section 2.2",
              [_SWITCH, cards[0]],
          ),
          claims.Claim(
              "few_dropped",
              f"Less than {percent}% of the tokens are dropped.",
              "section 2.2",
              [_SWITCH],
              functools.partial(effects.within_dropped, percent=percent),
              "percent",
              3 * percent,
              "a margin of this project: three times the paper's share",
          ),
      ],
      limits=(
          "The share that is dropped with groups of more than 1024 tokens, or"
          " after more steps."
      ),
      seeds=claims.FEW_SEEDS,
  )


def table_2() -> claims.Question:
  """The question of Table 2."""
  rows = tables.TABLE_2
  cards = {
      name: _SWITCH + ("" if name == "float32" else f"_{name}") for name in rows
  }
  loss = rows["float32"].quality - rows["bfloat16"].quality
  speed = rows["selective"].examples_per_second
  return claims.Question(
      "table2",
      "Table 2: selective precision",
      list(cards.values()),
      [
          claims.Claim(
              "bfloat16_diverges",
              "In bfloat16 throughout, training is far worse than in float32.",
              "Table 2",
              [cards["float32"], cards["bfloat16"]],
              effects.better,
              claims.NATS,
              loss,
              "Table 2",
          ),
          _no_worse(
              "selective_as_good",
              "With selective precision quality is that of float32, to"
              f" {claims.MARGIN}.",
              "Table 2",
              [cards["selective"], cards["float32"]],
          ),
          claims.Claim(
              "selective_faster",
              "Selective precision trains faster than float32.",
              "Table 2",
              [cards["selective"], cards["float32"]],
              effects.faster,
              "ratio",
              speed / rows["float32"].examples_per_second - 1,
              "Table 2",
              "speed",
              null=1.0,
          ),
      ],
      {
          cards[x]: {
              claims.QUALITY: row.quality,
              claims.SPEED: row.examples_per_second,
          }
          for x, row in rows.items()
      },
      "The speed of bfloat16 without a CPU that multiplies it, and the"
      " stability of models of useful size.",
      contest=True,
  )


def table_3() -> claims.Question:
  """The question of Table 3."""
  small, large = tables.TABLE_3
  gain = tables.TABLE_3[small].mean - tables.TABLE_3[large].mean
  spread = (
      tables.TABLE_3[large].standard_deviation
      / tables.TABLE_3[small].standard_deviation
  )
  seeds = range(8)

  def card(scale, rate):
    return f"{_SWITCH}_s{scale}_lr{rate}"

  asked = []
  for rate in small_card.EARLY_RATES:
    rows = [card(small, rate), card(large, rate)]
    at = f"at {rate} x T5's learning rate"
    asked += [
        claims.Claim(
            f"small_init_better_lr{rate}",
            f"Initial values of a tenth of the variance are better early in"
            f" training ({at}).",
            "Table 3",
            rows,
            effects.better,
            claims.NATS,
            gain,
            "Table 3",
            seeds=seeds,
        ),
        claims.Claim(
            f"small_init_steadier_lr{rate}",
            f"With them, runs differ less from one another ({at}).",
            "Table 3",
            rows[::-1],
            effects.quality,
            "ratio of deviations",
            spread - 1,
            "Table 3",
            "spread",
            null=1.0,
            seeds=seeds,
        ),
    ]
  rate = small_card.LEARNING_RATES["switch"]
  return claims.Question(
      "table3",
      "Table 3: smaller initial values",
      [
          card(scale, x)
          for x in small_card.EARLY_RATES
          for scale in tables.TABLE_3
      ],
      asked,
      {
          card(scale, rate): {
              claims.QUALITY: row.mean,
              "deviation": row.standard_deviation,
          }
          for scale, row in tables.TABLE_3.items()
          if rate in small_card.EARLY_RATES
      },
      "How initial values matter in deep models, whose instability two layers"
      " do not have.",
      seeds=seeds,
  )


def table_10() -> claims.Question:
  """The question of Table 10."""
  rows = tables.TABLE_10
  cards = {
      ("Experts FF", "float32"): _SWITCH,
      ("Experts FF", "bfloat16"): f"{_SWITCH}_bfloat16",  # Not in the paper.
      ("Expert Attention", "float32"): f"attention_e{_E}",
      ("Expert Attention", "bfloat16"): f"attention_e{_E}_bfloat16",
      ("Experts FF + Attention", "float32"): f"ff_attention_e{_E}",
      ("Experts FF + Attention", "bfloat16"): f"ff_attention_e{_E}_bfloat16",
  }
  feed_forward = rows["Experts FF", "float32"]
  asked = []
  for where, name in (
      ("Expert Attention", "attention_better"),
      ("Experts FF + Attention", "ff_attention_better"),
  ):
    row = rows[where, "float32"]
    both = [cards[where, "float32"], _SWITCH]
    asked += [
        claims.Claim(
            name,
            f"{where} is better per step than experts in the FFN alone.",
            "Table 10",
            both,
            effects.better,
            claims.NATS,
            row.at_100k - feed_forward.at_100k,
            "Table 10",
            seeds=range(6),
        ),
        claims.Claim(
            name.replace("better", "slower"),
            f"{where} is slower than experts in the FFN alone.",
            "Table 10",
            both[::-1],
            effects.faster,
            "ratio",
            feed_forward.examples_per_second / row.examples_per_second - 1,
            "Table 10",
            "speed",
            null=1.0,
        ),
        claims.Claim(
            name.replace("better", "diverges_in_bfloat16"),
            f"{where} diverges in bfloat16.",
            "Table 10",
            [cards[where, "bfloat16"]],
            effects.diverges,
            "share of seeds",
            0.5,
            "half of the seeds",
            null=0.5,
            seeds=claims.FEW_SEEDS,
        ),
    ]
  return claims.Question(
      "table10",
      "Table 10: experts in attention",
      list(cards.values()),
      asked,
      {
          cards[x]: {
              claims.QUALITY: row.at_100k,
              claims.SPEED: row.examples_per_second,
          }
          for x, row in rows.items()
      },
      "Whether larger models of this kind are stable.",
      contest=True,
      seeds=claims.FEW_SEEDS,
  )


def table_11() -> claims.Question:
  """The question of Table 11."""
  rows = tables.TABLE_11
  cards = {
      "Argmax": f"{_SWITCH}_argmax",
      "Sample softmax": f"{_SWITCH}_sample",
      "Input dropout": f"{_SWITCH}_input_dropout",
      "Input jitter": _SWITCH,
  }
  best = rows["Input jitter"]
  return claims.Question(
      "table11",
      "Table 11: exploration",
      list(cards.values()),
      [
          claims.Claim(
              f"jitter_beats_{cards[other].removeprefix(_SWITCH + '_')}",
              f"Input jitter is better than: {other.lower()}.",
              "Table 11",
              [_SWITCH, cards[other]],
              effects.better,
              claims.NATS,
              best - row,
              "Table 11",
              seeds=claims.FEW_SEEDS,
          )
          for other, row in rows.items()
          if other != "Input jitter"
      ],
      {cards[x]: {claims.QUALITY: row} for x, row in rows.items()},
      "Other values of the jitter's and the dropout's parameters, which the"
      " paper does not give.",
      seeds=claims.FEW_SEEDS,
  )


def appendix_b() -> claims.Question:
  """The question of Appendix B."""
  row, base = f"no_token_left_behind_e{_E}_cf1.0", f"{_SWITCH}_cf1.0"
  return claims.Question(
      "appendixb",
      "Appendix B: no token left behind",
      [base, row],
      [
          _no_worse(
              "no_benefit",
              "No-Token-Left-Behind brings no benefit: Switch is no more than"
              f" {claims.MARGIN} behind it.",
              "Appendix B",
              [base, row],
          ),
          claims.Claim(
              "fewer_left_behind",
              "It drops fewer tokens.",
              "Appendix B",
              [row, base],
              effects.fewer_dropped,
              "percent",
              1.0,
              "section 2.2: the share that is usually dropped",
          ),
      ],
      limits="Whether the idea helps where many more tokens are dropped.",
  )
