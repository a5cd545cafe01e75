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

"""Effects: from the records of one seed to one number.

A function takes the records of a claim's rows, in their order, all of one seed.
Differences are positive, and ratios above 1, where the paper's claim holds.
Quality is held-out negative log perplexity in nats for each token.
"""

from collections.abc import Mapping, Sequence
import math
import statistics
from typing import TypeVar

from mtf_switch.reproduction import records as records_lib

Record = records_lib.Record
# Training examples a second of each card, the median of a contest's rounds.
Speeds = Mapping[str, float]
Row = TypeVar("Row")


def curve(record: Record, task: str | None = None) -> list[tuple[int, float]]:
  """The (step, quality) of a run's evaluations, in order.

  Evaluations that are not finite are left out.

  Args:
    record: of the run.
    task: one of a mixture; None for the mean over all.
  """
  by_step = {}
  for evaluation in record.evaluations:
    if task in (None, evaluation["task"]):
      values = by_step.setdefault(evaluation["step"], [])
      values.append(evaluation["neg_log_perplexity"])
  return [
      (step, statistics.fmean(values))
      for step, values in by_step.items()
      if None not in values
  ]


def quality(record: Record, step: int | None = None) -> float:
  """The quality of a run.

  Args:
    record: of the run.
    step: one that was evaluated; None for the last. Without a finite evaluation
      there, the quality of the last one before it; verdicts.completed says
      what counts of runs that diverged.

  Raises:
    ValueError: there is no evaluation.
  """
  found = [y for x, y in curve(record) if step is None or x <= step]
  if not found:
    raise ValueError(f"{record.card}, seed {record.seed}: no evaluation.")
  return found[-1]


def better(records: Sequence[Record], step: int | None = None) -> float:
  """The first run's quality less the second's."""
  first, second = records
  return quality(first, step) - quality(second, step)


def slope(
    records: Sequence[Record], experts: Sequence[int], step: int | None = None
) -> float:
  """Quality gained with each doubling of the experts: a least-squares slope.

  Args:
    records: one for each of `experts`.
    experts: numbers of experts.
    step: as for `quality`.
  """
  doublings = [math.log2(x) for x in experts]
  values = [quality(record, step) for record in records]
  return statistics.linear_regression(doublings, values).slope


def steps_to(points: Sequence[tuple[int, float]], target: float) -> float:
  """The steps to a quality, with straight lines between evaluations.

  Args:
    points: from `curve`.
    target: the quality.

  Returns:
    steps; infinite if it is not reached.
  """
  before = None
  for step, value in points:
    if value >= target:
      if before is None:
        return float(step)
      last_step, last_value = before
      share = (target - last_value) / (value - last_value)
      return last_step + share * (step - last_step)
    before = step, value
  return math.inf


def speed_up_in_steps(
    records: Sequence[Record], task: str | None = None
) -> float:
  """How many times fewer steps the first run takes to the second's quality.

  The quality is the lower of the two at the end, so that both get there; the
  ratio is below 1 where the first run is behind.

  Args:
    records: of the two runs.
    task: as for `curve`.
  """
  first, second = (curve(x, task) for x in records)
  target = min(first[-1][1], second[-1][1])
  return steps_to(second, target) / steps_to(first, target)


def _tasks(record: Record) -> list[str]:
  return sorted({x["task"] for x in record.evaluations})


def share_of_tasks_improved(records: Sequence[Record]) -> float:
  """The share of tasks at which the first run ends better than the second."""
  first, second = records
  return statistics.mean(
      float(curve(first, task)[-1][1] > curve(second, task)[-1][1])
      for task in _tasks(second)
  )


def mean_speed_up_of_tasks(records: Sequence[Record]) -> float:
  """The mean over tasks of `speed_up_in_steps`."""
  return statistics.mean(
      speed_up_in_steps(records, task) for task in _tasks(records[1])
  )


def share_of_tasks_speeding_up(
    records: Sequence[Record], times: float
) -> float:
  """The share of tasks with at least so large a `speed_up_in_steps`."""
  return statistics.mean(
      float(speed_up_in_steps(records, task) >= times)
      for task in _tasks(records[1])
  )


def speed_up_in_time(records: Sequence[Record], speeds: Speeds) -> float:
  """`speed_up_in_steps` in seconds: steps at the speeds of a contest."""
  first, second = records
  return speed_up_in_steps(records) * speeds[first.card] / speeds[second.card]


def faster(speeds: Sequence[float]) -> float:
  """How many times as many examples a second the first card has."""
  first, second = speeds
  return first / second


def share_of_gain(records: Sequence[Record]) -> float:
  """The share of the teacher's gain over the student alone that is kept.

  Args:
    records: of the distilled student, the student alone, and the teacher.

  Source: Table 6.
  """
  distilled, alone, teacher = map(quality, records)
  return (distilled - alone) / (teacher - alone)


def more_of_the_gain(records: Sequence[Record]) -> float:
  """`share_of_gain` of the first of two students less that of the second.

  Args:
    records: of both students, the student alone, and the teacher.
  """
  first, second, alone, teacher = records
  return share_of_gain([first, alone, teacher]) - share_of_gain(
      [second, alone, teacher]
  )


def fewer_dropped(records: Sequence[Record]) -> float:
  """The second run's share of dropped tokens less the first's, in percent."""
  first, second = (x.figures["fraction_dropped"] for x in records)
  return 100 * (second - first)


def within_dropped(records: Sequence[Record], percent: float) -> float:
  """How far below a limit the dropped tokens of a run are, in percent."""
  (record,) = records
  return percent - 100 * record.figures["fraction_dropped"]


def more_even(records: Sequence[Record]) -> float:
  """The second run's load variation less the first's.

  The variation is the standard deviation of the experts' tokens over their
  mean, averaged over layers and steps.
  """
  first, second = (x.figures["load_cv"] for x in records)
  return second - first


def score(record: Record) -> float:
  """The mean over its tasks of a run's best scores, in points.

  A mixture's own score, which is such a mean, does not count.

  Args:
    record: of a run that was evaluated by decoding.
  """
  tasks = set(_tasks(record)) or set(record.scores)
  return statistics.mean(
      x["value"] for task, x in record.scores.items() if task in tasks
  )


def better_scores(records: Sequence[Record]) -> float:
  """The mean score of the first half of the runs less the second half's."""
  half = len(records) // 2
  scores = [score(x) for x in records]
  return statistics.mean(scores[:half]) - statistics.mean(scores[half:])


def downstream_pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
  """Each row that is pre-trained, with the one that is fine-tuned from it.

  Args:
    rows: as for `downstream_slope`; their records or their cards.
  """
  half = len(rows) // 2
  return list(zip(rows[:half], rows[half:]))


def downstream_slope(records: Sequence[Record]) -> float:
  """Points of score for each nat of quality in pre-training: a fitted slope.

  Args:
    records: of pre-trained models, then of the same models fine-tuned.
  """
  points = [(quality(x), score(y)) for x, y in downstream_pairs(records)]
  # Where all scores are the same, this is 0, not something around it.
  return statistics.linear_regression(*zip(*points)).slope


def share_of_both_gains(records: Sequence[Record]) -> float:
  """`share_of_gain` of a student less that of another teacher's student.

  Args:
    records: of a student and its teacher, of another student and its teacher,
      and of the student alone.

  Source: Table 7.
  """
  first, first_teacher, second, second_teacher, alone = records
  return share_of_gain([first, alone, first_teacher]) - share_of_gain(
      [second, alone, second_teacher]
  )


def diverges(records: Sequence[Record]) -> float:
  """1 for a run that diverged, else 0."""
  (record,) = records
  return float(record.diverged is not None)
