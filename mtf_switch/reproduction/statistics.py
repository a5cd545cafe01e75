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

"""Effects over seeds: intervals, and what a number of seeds can show.

Everything here takes the numbers of independent seeds for draws from one normal
distribution. All intervals are two-sided, of LEVEL.
"""

import bisect
from collections.abc import Sequence
import functools
import math
import statistics
from typing import NamedTuple

import scipy.optimize
import scipy.stats

LEVEL = 0.95
# With which a difference is to be seen where "can be seen" is said.
PROBABILITY = 0.8
# More are not asked for: a difference that needs them is too small to matter.
MOST_SEEDS = 10_000
_TAIL = (1 - LEVEL) / 2


class Effect(NamedTuple):
  """A number with its interval, from the numbers of seeds.

  Attributes:
    value: the number.
    lower: where its interval begins.
    upper: where its interval ends.
    smallest: the smallest distance from no effect that these seeds could have
      shown: with anything less, no effect would be in the interval, too.
    count: the number of seeds.
  """

  value: float
  lower: float
  upper: float
  smallest: float
  count: int


def mean_effect(values: Sequence[float]) -> Effect:
  """The mean over seeds with Student's t interval.

  Args:
    values: a number for each seed, at least two; for a paired effect, the
      difference of two runs with the same seed.

  Returns:
    the mean.
  """
  mean, deviation = statistics.fmean(values), statistics.stdev(values)
  half = _least_t(len(values)) * deviation / math.sqrt(len(values))
  return Effect(mean, mean - half, mean + half, half, len(values))


def _least_t(count: int) -> float:
  """What t, of a number of seeds, has to exceed to be no accident."""
  return float(scipy.stats.t.isf(_TAIL, count - 1))


def power(difference: float, deviation: float, count: int) -> float:
  """The probability that a difference is seen: an interval above zero.

  Args:
    difference: the true mean of the paired differences, not negative.
    deviation: their true standard deviation.
    count: the number of seeds, at least two.

  Returns:
    the probability, from the noncentral t distribution.
  """
  if not deviation:
    return float(difference > 0)
  shift = difference * math.sqrt(count) / deviation
  return _seen(shift, count)


def _seen(shift: float, count: int) -> float:
  """The probability of a t above the least, by t's noncentrality."""
  return float(scipy.stats.nct.sf(_least_t(count), count - 1, shift))


def seen_difference(deviation: float, count: int) -> float:
  """The difference that is seen with PROBABILITY; see `power`.

  Args:
    deviation: the standard deviation of the paired differences.
    count: the number of seeds, at least two.

  Returns:
    the difference, in the deviation's unit.
  """
  return _seen_shift(count) * deviation / math.sqrt(count)


@functools.cache
def _seen_shift(count: int) -> float:
  """The noncentrality of a t that is seen with PROBABILITY."""
  # There, t would have to fall to a tenth of its noncentrality and less.
  return scipy.optimize.brentq(
      lambda shift: _seen(shift, count) - PROBABILITY, 0, 10 * _least_t(count)
  )


def needed_seeds(difference: float, deviation: float) -> int | None:
  """The fewest seeds with which a difference is seen with PROBABILITY.

  Args:
    difference: the true mean of the paired differences, not negative.
    deviation: their true standard deviation.

  Returns:
    the number, at least two; None if it is above MOST_SEEDS.
  """
  counts = range(2, MOST_SEEDS + 1)
  place = bisect.bisect_left(
      counts, PROBABILITY, key=lambda n: power(difference, deviation, n)
  )
  return counts[place] if place < len(counts) else None


def ratio_of_deviations(
    first: Sequence[float], second: Sequence[float]
) -> Effect:
  """How many times as large the deviation over seeds is (Table 3).

  The interval is that of the F distribution, for independent samples. Where
  both have the same seeds and what they share moves both alike, the ratio is
  known better than the interval says.

  Args:
    first: a number for each seed, at least two.
    second: likewise.

  Returns:
    the ratio of first's deviation to second's.

  Raises:
    ValueError: the numbers of one are all the same.
  """
  deviations = statistics.stdev(first), statistics.stdev(second)
  if not all(deviations):
    raise ValueError("A ratio of deviations needs numbers that differ.")
  ratio = deviations[0] / deviations[1]
  f = scipy.stats.f(len(first) - 1, len(second) - 1)
  least = math.sqrt(f.isf(_TAIL))
  return Effect(
      ratio,
      ratio / least,
      ratio / math.sqrt(f.ppf(_TAIL)),
      least - 1,
      min(len(first), len(second)),
  )


def seen_ratio(count: int) -> float:
  """The ratio of deviations that is seen with PROBABILITY: interval above 1.

  Args:
    count: the number of seeds of each, at least two.

  Returns:
    the true ratio; it does not depend on the deviations.
  """
  f = scipy.stats.f(count - 1, count - 1)
  return math.sqrt(f.isf(_TAIL) / f.isf(PROBABILITY))
