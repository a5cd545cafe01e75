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

"""The best checkpoints of a run, by its own evaluations."""

from collections.abc import Callable, Collection, Iterable, Mapping
import statistics
from typing import Any, NamedTuple

# By the name of a task or mixture and by step. Higher is better.
Scores = Mapping[str, Mapping[int, float]]


class Evaluation(NamedTuple):
  """The evaluation of a run that trains.

  Attributes:
    evaluate: evaluates the checkpoint of a step, unless that is done already.
    scores: returns the scores so far.
    drop_after: leaves out those of steps after one that the run goes back to;
      metrics.jsonl of the run itself is cut by its training.
  """

  evaluate: Callable[[int], None]
  scores: Callable[[], Scores]
  drop_after: Callable[[int], None] = lambda step: None


def best_steps(
    scores: Scores, number: int, available: Collection[int]
) -> set[int]:
  """Returns the steps of the best checkpoints.

  Args:
    scores: of a run.
    number: how many to choose for each task or mixture.
    available: the steps to choose from.

  Returns:
    the steps; the earlier ones of equal scores.
  """
  best = set()
  for curve in scores.values():
    ranked = sorted(
        curve.keys() & set(available), key=lambda step: (-curve[step], step)
    )
    best.update(ranked[:number])
  return best


def mean_perplexities(
    metrics: Iterable[Mapping[str, Any]], tasks: Collection[str]
) -> Scores:
  """Returns the scores of a run by its neg log perplexity.

  Args:
    metrics: the records of its metrics.jsonl. The first of a step counts:
      others come from later evaluations, perhaps of other splits.
    tasks: the tasks that were trained.

  Returns:
    one curve, of the mean over the tasks; of steps at which all tasks have a
    number that were ever evaluated.
  """
  values: dict[int, dict[str, float | None]] = {}
  for record in metrics:
    if record.get("kind") == "eval" and record["task"] in tasks:
      of_step = values.setdefault(record["step"], {})
      of_step.setdefault(record["task"], record["neg_log_perplexity"])
  evaluated = {task for of_step in values.values() for task in of_step}
  return {
      "mean": {
          step: statistics.fmean(of_step.values())
          for step, of_step in values.items()
          if of_step.keys() == evaluated and None not in of_step.values()
      }
  }
