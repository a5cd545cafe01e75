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

"""Claims of the paper, and how they are answered: the types.

The claims themselves are in questions.py and the modules that it reads. They
were written before any run that they judge. A verdict follows from the records
alone, by the rules of verdicts.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

# How many seeds a claim has was decided from the pilots of figure1, before any
# run that is judged (docs/experiments.md has their power): five show what would
# matter to most claims, and some have as many more as they need.
SEEDS = range(5)
# Of claims that would need dozens, and of rows that only stand in a table.
FEW_SEEDS = range(3)
# What "no worse" means, in nats: a fifth of what 16 experts gain over the dense
# model in the pilots; five seeds show it.
MARGIN = 0.05
MARGIN_SOURCE = "a margin of this project: a fifth of the gain of the experts"
# Of the pilots, from which the power of a claim is computed.
PILOT_SEEDS = range(100, 103)
# Units and columns of tables.
NATS = "nats"
QUALITY = "neg log perplexity"
SPEED = "examples/s"


class Claim(NamedTuple):
  """A claim of the paper.

  Attributes:
    name: unique.
    statement: what the paper says, in a sentence.
    source: where.
    rows: names of small cards, in the order that `effect` takes them.
    effect: a function of effects.py.
    unit: of the effect.
    worthwhile: the smallest distance from `null` that would matter.
    worthwhile_source: where that number comes from.
    kind: what `effect` takes: "quality", the records of a seed; "time", those
      and the median speeds of a contest; "speed", the speeds of a contest's
      round; "spread", for each row the qualities of all seeds, whose deviations
      are compared.
    null: the effect if there is nothing to see.
    seeds: of the runs; a claim of the kind "speed" has rounds instead.
  """

  name: str
  statement: str
  source: str
  rows: Sequence[str]
  effect: Callable[..., Any]
  unit: str
  worthwhile: float
  worthwhile_source: str
  kind: str = "quality"
  null: float = 0.0
  seeds: Sequence[int] = SEEDS


class Question(NamedTuple):
  """A table or figure of the paper, as --experiment names it.

  Attributes:
    name: the experiment's.
    title: of its section in docs/results.md.
    cards: the small cards of its rows, in the paper's order.
    claims: what it is asked.
    paper: by card and column, what the paper prints.
    limits: what a reader may not conclude.
    contest: whether the speed of its cards is measured.
    seeds: of its rows.
  """

  name: str
  title: str
  cards: Sequence[str]
  claims: Sequence[Claim] = ()
  paper: Mapping[str, Mapping[str, Any]] = {}
  limits: str = ""
  contest: bool = False
  seeds: Sequence[int] = SEEDS
