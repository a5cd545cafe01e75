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

"""Effects of records that are made up, by hand."""

import dataclasses
import math

import hypothesis
from hypothesis import strategies
import numpy as np
import pytest

from mtf_switch.paper import tables
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import records


def record(card="a", curve=((100, -3.0), (200, -2.0)), **changes):
  """A finished run with these evaluations of one task."""
  evaluations = [
      {"step": x, "seconds": 1.0, "task": "t", "neg_log_perplexity": y}
      for x, y in curve
  ]
  values = {x.name: None for x in dataclasses.fields(records.Record)}
  values |= {"card": card, "evaluations": evaluations, **changes}
  return records.Record(**values)


def test_quality_is_that_of_the_step():
  run = record()
  assert effects.quality(run) == -2.0
  assert effects.quality(run, 100) == -3.0


def test_quality_of_a_mixture_is_the_mean_of_its_tasks():
  run = record(curve=[(100, -3.0), (100, -1.0), (200, -2.0), (200, -1.0)])
  assert effects.curve(run) == [(100, -2.0), (200, -1.5)]


def test_a_diverged_run_has_its_last_finite_quality():
  run = record(curve=[(100, -3.0), (200, -2.0), (300, None)], diverged=250)
  assert effects.quality(run) == -2.0
  assert effects.quality(run, 300) == -2.0
  assert effects.diverges([run]) == 1.0
  assert effects.diverges([record()]) == 0.0


def test_a_run_without_evaluations_has_no_quality():
  with pytest.raises(ValueError, match="a, seed 3: no evaluation"):
    effects.quality(record(curve=[(100, None)], seed=3))


def test_differences_by_hand():
  runs = [record(), record(curve=[(100, -3.5), (200, -2.25)])]
  assert effects.better(runs) == 0.25
  assert effects.better(runs, 100) == 0.5


def test_slope_is_that_of_a_line():
  runs = [record(curve=[(9, -3 + 0.1 * x)]) for x in range(5)]
  found = effects.slope(runs, [1, 2, 4, 8, 16])
  # Exact but for the rounding of a least-squares solution.
  assert found == pytest.approx(0.1, abs=1e-12)


def test_steps_between_evaluations_by_hand():
  assert effects.steps_to(effects.curve(record()), -2.25) == 175.0
  assert effects.steps_to(effects.curve(record()), -3.5) == 100.0
  assert effects.steps_to(effects.curve(record()), -1.0) == math.inf


def test_speed_up_by_hand():
  # The second ends at -2.5, where the first is after 150 steps.
  runs = [record(), record("b", [(100, -3.0), (200, -2.5)])]
  assert effects.speed_up_in_steps(runs) == 200 / 150
  assert effects.speed_up_in_steps(runs[::-1]) == 150 / 200
  speeds = {"a": 10.0, "b": 20.0}
  assert effects.speed_up_in_time(runs, speeds) == 200 / 150 / 2
  assert effects.faster([30.0, 20.0]) == 1.5


@hypothesis.given(
    strategies.lists(strategies.floats(0.01, 1.0), min_size=4, max_size=4).map(
        lambda x: np.cumsum(x) - 5.0
    ),
    strategies.integers(1, 10),
)
@hypothesis.settings(derandomize=True, deadline=None)
def test_a_run_that_is_n_times_as_slow_has_a_speed_up_of_n(values, times):
  steps = range(100, 500, 100)
  fast = record(curve=[*zip(steps, values)])
  slow = record(curve=[(times * x, y) for x, y in zip(steps, values)])
  # Both reach the last quality at their last step exactly.
  assert effects.speed_up_in_steps([fast, slow]) == times


def test_shares_of_the_gain_are_those_of_table_6():

  def run(row):
    return record(curve=[(1, tables.TABLE_6[row].quality)])

  alone, teacher = run("T5-Base"), run("Switch-Base")
  for row, printed in tables.TABLE_6.items():
    if printed.percent_of_gain is not None:
      share = effects.share_of_gain([run(row), alone, teacher])
      # The paper rounds to whole percents.
      assert 100 * share == pytest.approx(printed.percent_of_gain, abs=0.5)


def test_differences_of_shares_by_hand():
  def run(quality):
    return record(curve=[(1, quality)])

  first, second, alone, teacher = map(run, (-2.0, -2.5, -3.0, -1.0))
  found = effects.more_of_the_gain([first, second, alone, teacher])
  assert found == 0.5 - 0.25
  other_teacher = run(-2.0)
  found = effects.share_of_both_gains(
      [first, teacher, second, other_teacher, alone]
  )
  assert found == 0.5 - 0.5


def test_figures_of_routing_by_hand():
  first, second = (
      record(figures={"fraction_dropped": x, "load_cv": y})
      for x, y in ((0.0, 0.25), (0.5, 1.0))
  )
  assert effects.fewer_dropped([first, second]) == 50.0
  assert effects.more_even([first, second]) == 0.75
  assert effects.within_dropped([first], percent=1) == 1.0


def scored(*values):
  """A fine-tuned run with these best scores of its tasks."""
  tasks = [f"task{x}" for x in range(len(values))]
  scores = {x: {"value": y} for x, y in zip(tasks, values)}
  evaluations = [
      {"step": 1, "task": x, "neg_log_perplexity": -1} for x in tasks
  ]
  return record(scores=scores, evaluations=evaluations)


def test_scores_by_hand():
  run = scored(80.0, 90.0)
  assert effects.score(run) == 85.0
  run.scores["mixture"] = {"value": 0.0}
  assert effects.score(run) == 85.0
  runs = [scored(80.0), scored(90.0), scored(60.0), scored(50.0)]
  assert effects.better_scores(runs) == 30.0


def test_downstream_slope_by_hand():
  pretrained = [record(curve=[(1, x)]) for x in (-3.0, -2.5, -2.0)]
  runs = [*pretrained, scored(10.0), scored(20.0), scored(30.0)]
  # Exact but for the rounding of a least-squares solution.
  assert effects.downstream_slope(runs) == pytest.approx(20.0, abs=1e-10)


def test_equal_scores_have_no_slope_at_all():
  # Not 1e-14, which as that of all seeds would be an effect.
  pretrained = [record(curve=[(1, x)]) for x in (-3.1, -2.7, -2.4, -1.9)]
  runs = [*pretrained, *[scored(74.80149812734082)] * 4]
  assert effects.downstream_slope(runs) == 0.0


def languages(*curves):
  """A run that was evaluated on as many tasks as it has curves."""
  evaluations = [
      {"step": step, "task": f"task{number}", "neg_log_perplexity": quality}
      for number, curve in enumerate(curves)
      for step, quality in curve
  ]
  return record(evaluations=evaluations)


def test_many_languages_by_hand():
  line = [(100, -3.0), (200, -2.0), (400, -1.0)]
  fast = [(100, -1.0), (200, -0.5), (400, -0.25)]
  slow = [(100, -4.0), (200, -3.5), (400, -3.0)]
  runs = [languages(fast, slow), languages(line, line)]
  assert effects.share_of_tasks_improved(runs) == 0.5
  # 400 steps to 100; 100 to 400.
  assert effects.mean_speed_up_of_tasks(runs) == (4 + 0.25) / 2
  assert effects.share_of_tasks_speeding_up(runs, times=4.0) == 0.5
  assert effects.share_of_tasks_speeding_up(runs, times=4.5) == 0.0
