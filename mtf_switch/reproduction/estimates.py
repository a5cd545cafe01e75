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

"""How long runs will take, by what runs have taken here."""

from collections.abc import Callable, Iterable, Mapping
import statistics

from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import runs as runs_lib

# Stated, until a run has ended: of a training step on one core of a server's
# processor with its share of evaluations, and of one of a short run for speed
# with its share of the program's start.
_SECONDS_OF_STEP = {False: 0.1, True: 0.2}


def by_records(
    records: Iterable[records_lib.Record],
    steps_of: Callable[[runs_lib.Run], int],
) -> Callable[[runs_lib.Run], float]:
  """Returns a function that estimates a run's seconds.

  Args:
    records: of runs that have been made, on this machine or another.
    steps_of: how many steps a run makes.

  Returns:
    the median of the same card's runs of the same kind; without one, its steps
    times the median seconds of a step over all others; without any, times what
    is stated.
  """
  of_card: dict[tuple[str, bool], list[float]] = {}
  of_step: dict[bool, list[float]] = {}
  for record in records:
    run = runs_lib.of_record(record)
    steps = record.figures.get("steps")
    if record.failed is None and record.diverged is None and steps:
      of_card.setdefault((run.card, run.is_timed), []).append(record.seconds)
      of_step.setdefault(run.is_timed, []).append(record.seconds / steps)

  def estimate(run):
    if known := of_card.get((run.card, run.is_timed)):
      return statistics.median(known)
    seconds = of_step.get(run.is_timed) or [_SECONDS_OF_STEP[run.is_timed]]
    return steps_of(run) * statistics.median(seconds)

  return estimate


def left(
    runs: Iterable[runs_lib.Run],
    estimate: Callable[[runs_lib.Run], float],
    num_cores: int,
    shares: Mapping[runs_lib.Run, float] | None = None,
) -> float:
  """Returns the seconds until all runs are made.

  Args:
    runs: those that are not finished.
    estimate: of `by_records`.
    num_cores: how many runs there are at a time; one, of those for speed.
    shares: how much of a run is done, from 0 to 1, of those that have begun.
  """
  side_by_side = alone = longest = 0.0
  for run in runs:
    seconds = estimate(run) * (1 - (shares or {}).get(run, 0.0))
    if run.is_timed:
      alone += seconds
    else:
      side_by_side += seconds
      longest = max(longest, seconds)
  return max(side_by_side / num_cores, longest) + alone
