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

"""Intervals and power: by hand, by simulation, and by what must hold."""

import math
import statistics as standard

import hypothesis
from hypothesis import strategies
import numpy as np
import pytest

from mtf_switch.reproduction import statistics

# Student's t and the F distribution, from printed tables: two-sided, 95%.
T_2, T_4 = 4.303, 2.776
F_4_4 = 9.605
SIMULATIONS = 20_000
# Four standard errors of a share of SIMULATIONS, at its widest.
ERROR = 4 * math.sqrt(0.25 / SIMULATIONS)

VALUES = strategies.lists(
    strategies.integers(-1000, 1000).map(lambda x: x / 64),
    min_size=2,
    max_size=8,
)
COUNTS = strategies.integers(2, 12)
DEVIATIONS = strategies.floats(1e-3, 10)


def draws(count: int, deviation: float) -> np.ndarray:
  """`[SIMULATIONS, count]` normal numbers around zero."""
  return np.random.default_rng(0).normal(0, deviation, [SIMULATIONS, count])


def t_bounds(samples: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
  """The interval of each row, from the textbook's formula."""
  half = t * samples.std(axis=1, ddof=1) / math.sqrt(samples.shape[1])
  mean = samples.mean(axis=1)
  return mean - half, mean + half


# The mean over seeds.


def test_mean_effect_by_hand():
  effect = statistics.mean_effect([1.0, 2.0, 3.0])
  half = T_2 * 1.0 / math.sqrt(3)
  assert effect.value == 2.0
  assert effect.lower == pytest.approx(2 - half, rel=1e-3)
  assert effect.upper == pytest.approx(2 + half, rel=1e-3)
  assert effect.smallest == pytest.approx(half, rel=1e-3)
  assert effect.count == 3


def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says():
  samples = draws(5, 2.0)
  lower, upper = t_bounds(samples, T_4)
  assert np.mean((lower < 0) & (upper > 0)) == pytest.approx(0.95, abs=ERROR)
  for row, low, high in zip(samples[:50], lower, upper):
    effect = statistics.mean_effect(row.tolist())
    # Of t, as printed with three decimals.
    assert (effect.lower, effect.upper) == pytest.approx((low, high), abs=5e-3)


@hypothesis.given(VALUES, strategies.integers(-8, 8))
def test_the_mean_follows_a_shift_and_a_change_of_sign(values, shift):
  effect = statistics.mean_effect(values)
  shifted = statistics.mean_effect([x + shift for x in values])
  opposite = statistics.mean_effect([-x for x in values])
  # Sums of sixty-fourths are exact; roots and quotients are rounded.
  close = dict(rel=1e-9, abs=1e-9)
  assert shifted.lower == pytest.approx(effect.lower + shift, **close)
  assert shifted.smallest == pytest.approx(effect.smallest, **close)
  assert opposite.lower == pytest.approx(-effect.upper, **close)
  assert effect.lower <= effect.value <= effect.upper


# Power.


def test_power_without_a_difference_is_one_of_the_tails():
  assert statistics.power(0.0, 1.0, 5) == pytest.approx(0.025, abs=1e-9)


def test_power_without_a_deviation_is_certain():
  assert statistics.power(0.1, 0.0, 3) == 1.0
  assert statistics.power(0.0, 0.0, 3) == 0.0
  assert statistics.seen_difference(0.0, 3) == 0.0
  assert statistics.needed_seeds(0.1, 0.0) == 2


@pytest.mark.parametrize("difference", [0.5, 2.0, 4.0])
def test_power_is_how_often_a_difference_is_seen(difference):
  lower, _ = t_bounds(difference + draws(5, 2.0), T_4)
  assert statistics.power(difference, 2.0, 5) == pytest.approx(
      np.mean(lower > 0), abs=ERROR
  )


@hypothesis.given(DEVIATIONS, COUNTS)
def test_seen_difference_is_seen_with_its_probability(deviation, count):
  difference = statistics.seen_difference(deviation, count)
  # Of the solver, whose steps end at 2e-12.
  assert statistics.power(difference, deviation, count) == pytest.approx(
      statistics.PROBABILITY, abs=1e-6
  )


@hypothesis.settings(max_examples=30)
@hypothesis.given(strategies.floats(0.2, 5), DEVIATIONS)
def test_needed_seeds_are_the_fewest(ratio, deviation):
  difference = ratio * deviation
  count = statistics.needed_seeds(difference, deviation)
  wanted = statistics.PROBABILITY
  assert statistics.power(difference, deviation, count) >= wanted
  if count > 2:
    assert statistics.power(difference, deviation, count - 1) < wanted


def test_needed_seeds_by_the_textbook():
  # A paired difference of half a deviation takes 34 pairs (Cohen, 1988).
  assert statistics.needed_seeds(0.5, 1.0) == 34
  assert statistics.needed_seeds(1e-4, 1.0) is None
  assert statistics.needed_seeds(0.0, 1.0) is None


# The ratio of two deviations.


def test_ratio_of_deviations_by_hand():
  first, second = [0.0, 3.0, 6.0, 9.0, 12.0], [0.0, 1.0, 2.0, 3.0, 4.0]
  effect = statistics.ratio_of_deviations(first, second)
  assert effect.value == pytest.approx(3.0)
  assert effect.lower == pytest.approx(3 / math.sqrt(F_4_4), rel=1e-3)
  assert effect.upper == pytest.approx(3 * math.sqrt(F_4_4), rel=1e-3)
  assert effect.smallest == pytest.approx(math.sqrt(F_4_4) - 1, rel=1e-3)
  assert effect.count == 5


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says():
  samples = draws(10, 1.0)
  ratios = samples[:, :5].std(axis=1, ddof=1) / samples[:, 5:].std(
      axis=1, ddof=1
  )
  effect = statistics.ratio_of_deviations(
      samples[0, :5].tolist(), samples[0, 5:].tolist()
  )
  assert effect.value == pytest.approx(ratios[0])
  widths = effect.value / effect.lower, effect.upper / effect.value
  holds = (ratios / widths[0] < 1) & (ratios * widths[1] > 1)
  assert np.mean(holds) == pytest.approx(statistics.LEVEL, abs=ERROR)


def test_seen_ratio_is_how_often_a_ratio_is_seen():
  ratio = statistics.seen_ratio(5)
  samples = draws(10, 1.0)
  seen = (
      ratio
      * samples[:, :5].std(axis=1, ddof=1)
      / samples[:, 5:].std(axis=1, ddof=1)
      / math.sqrt(F_4_4)
  )
  assert np.mean(seen > 1) == pytest.approx(statistics.PROBABILITY, abs=ERROR)


@hypothesis.given(VALUES, VALUES)
def test_the_ratio_of_the_other_way_round_is_the_inverse(first, second):
  hypothesis.assume(standard.stdev(first) and standard.stdev(second))
  effect = statistics.ratio_of_deviations(first, second)
  inverse = statistics.ratio_of_deviations(second, first)
  assert inverse.value == pytest.approx(1 / effect.value)
  assert inverse.lower == pytest.approx(1 / effect.upper)


def test_numbers_without_a_deviation_have_no_ratio():
  with pytest.raises(ValueError, match="numbers that differ"):
    statistics.ratio_of_deviations([1.0, 1.0], [1.0, 2.0])
