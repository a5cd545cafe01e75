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
alone (verdicts.py): "reproduced" if the 95% interval of the mean effect over
the seeds lies above `null`, "opposite" if it lies below, else "no difference
seen"; and "cannot be seen at this scale" if pilots with other seeds say
beforehand that so few seeds would probably not show an effect of `worthwhile`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

# Of all claims but for those that say otherwise.
SEEDS = range(5)
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
    seeds: of the runs.
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
