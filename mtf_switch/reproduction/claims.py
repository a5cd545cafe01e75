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

"""The questions: each claim of the paper with the rule that answers it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mtf_switch.reproduction import records as records_lib


class Claim(NamedTuple):
  """A claim of the paper, and the rule that answers it.

  Attributes:
    name: unique among all claims.
    question: the question that it belongs to, a key of QUESTIONS.
    statement: the paper's claim, one sentence.
    source: where it is printed, "Figure 4".
    rows: names of small cards, in the order that `effect` takes them.
    effect: from the records of one seed, one for each row, to a number that is
      above `null` if all is as the paper says.
    unit: that of the effect: "nats", "ratio", "points".
    seeds: those of its runs.
    worthwhile: the smallest effect that would matter.
    worthwhile_source: where that number comes from.
    null: the effect if there is no difference.
    over_seeds: of claims about the spread over seeds, a function of all records
      at once; None of others.
  """

  name: str
  question: str
  statement: str
  source: str
  rows: Sequence[str]
  effect: Callable[[Sequence[records_lib.Record]], float]
  unit: str
  seeds: Sequence[int]
  worthwhile: float
  worthwhile_source: str
  null: float = 0.0
  over_seeds: Callable | None = None


class Question(NamedTuple):
  """A table or a figure of the paper.

  Attributes:
    name: as for --experiment.
    title: "Table 3: smaller initial values".
    claims: what the paper says of it.
    timed: whether a contest of speed belongs to it.
    cards: names of all small cards in its table, in the paper's order.
    paper: the paper's number for each card that has one.
  """

  name: str
  title: str
  claims: Sequence[Claim]
  timed: bool
  cards: Sequence[str]
  paper: Mapping[str, float]


def _last_quality(record: records_lib.Record) -> float:
  return record.evaluations[-1]["neg_log_perplexity"]


QUESTIONS = {
    "figure4": Question(
        name="figure4",
        title="Figure 4: more experts",
        claims=(
            Claim(
                name="more_experts_16",
                question="figure4",
                statement="16 experts are better than a dense model.",
                source="Figure 4",
                rows=("dense", "switch_16"),
                effect=lambda x: _last_quality(x[1]) - _last_quality(x[0]),
                unit="nats",
                seeds=range(3),
                worthwhile=0.05,
                worthwhile_source="a stand-in",
            ),
        ),
        timed=False,
        cards=("dense", "switch_16"),
        paper={},
    )
}
