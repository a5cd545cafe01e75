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

"""Verdicts on claims about runs that were never made."""

import dataclasses
import math

import hypothesis
from hypothesis import strategies
import numpy as np
import pytest
import scipy.stats

from mtf_switch.reproduction import claims
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import runs
from mtf_switch.reproduction import verdicts
from tests.reproduction import made_records

CONTEST = "a question"
SEEDS = range(4)


def claim(**fields):
  """A claim that the card "switch" is better than the card "dense"."""
  return claims.Claim(
      **{
          "name": "a claim",
          "statement": "Switch is better.",
          "source": "Table 0",
          "rows": ["switch", "dense"],
          "effect": effects.better,
          "unit": claims.NATS,
          "worthwhile": 0.1,
          "worthwhile_source": "this test",
          "seeds": SEEDS,
          **fields,
      }
  )


def pairs(differences, first_seed=0, **fields):
  """Runs of both cards whose qualities differ so much, a pair a seed."""
  records = []
  for seed, difference in enumerate(differences, first_seed):
    records += [
        made_records.made("dense", seed, -3.0, **fields),
        made_records.made("switch", seed, -3.0 + difference, **fields),
    ]
  return records


def timed(card, number, speed, contest=CONTEST, **fields):
  """A run of a contest."""
  return made_records.made(
      card,
      number,
      kind=records_lib.SPEED,
      contest=contest,
      round=number,
      figures={"tokens_per_second": speed},
      **fields,
  )


def judge(records, pilots=(), **fields):
  return verdicts.judge_claim(claim(**fields), CONTEST, records, pilots)


@pytest.mark.parametrize(
    "differences, name",
    [
        ([0.25, 0.25, 0.5, 0.5], verdicts.REPRODUCED),
        ([-0.25, -0.25, -0.5, -0.5], verdicts.OPPOSITE),
        ([0.25, 0.25, -0.5, 0.5], verdicts.NO_DIFFERENCE),
    ],
)
def test_the_interval_decides(differences, name):
  verdict = judge(pairs(differences))
  assert verdict.verdict == name
  assert verdict.effect.value == pytest.approx(np.mean(differences))
  assert tuple(verdict.seeds) == tuple(SEEDS)
  assert not verdict.detail


def test_the_smallest_difference_is_what_the_seeds_could_have_shown():
  differences = np.array([0.25, 0.25, -0.5, 0.5])
  smallest = judge(pairs(differences)).effect.smallest
  centred = differences - differences.mean()
  # Rounding: what is just below is not seen, and what is just above is.
  for factor, name in (
      (0.999, verdicts.NO_DIFFERENCE),
      (1.001, verdicts.REPRODUCED),
  ):
    assert judge(pairs(centred + factor * smallest)).verdict == name


def test_without_an_effect_a_verdict_is_wrong_as_often_as_the_rule_says():
  samples = np.random.default_rng(0).normal(0, 1, [2000, len(SEEDS)])
  p_values = scipy.stats.ttest_1samp(samples, 0, axis=1).pvalue
  names = []
  for sample, p_value in zip(samples[:200], p_values):
    names.append(judge(pairs(sample)).verdict)
    assert (names[-1] != verdicts.NO_DIFFERENCE) == (p_value < 0.05)
  # Five percent of 2000, and four standard errors of it.
  assert np.mean(p_values < 0.05) == pytest.approx(0.05, abs=0.02)
  assert set(names) > {verdicts.NO_DIFFERENCE}


DIFFERENCES = strategies.lists(
    strategies.integers(-64, 64).map(lambda x: x / 64), min_size=4, max_size=4
)


@hypothesis.given(DIFFERENCES, strategies.permutations(range(8)))
def test_order_does_not_matter_and_sides_are_alike(differences, order):
  records = pairs(differences)
  verdict = judge(records)
  assert judge([records[i] for i in order]) == verdict
  other = judge(records, rows=["dense", "switch"])
  mirror = {verdicts.REPRODUCED: verdicts.OPPOSITE}
  mirror |= {y: x for x, y in mirror.items()}
  assert other.verdict == mirror.get(verdict.verdict, verdict.verdict)


def test_nothing_is_said_before_all_runs_are_there():
  records = pairs([0.25, 0.25, 0.5, 0.5])
  # Of other seeds, cards and contests, which do not count.
  others = pairs([0.1], 9) + [made_records.made("other", 3)]
  others.append(timed("switch", 3, 1.0))
  verdict = judge(records[:-1] + others)
  assert verdict.verdict == verdicts.NOT_ANSWERED_YET
  assert verdict.effect is None
  assert verdict.detail == "7 of 8 runs are there."
  assert judge([]).detail == "0 of 8 runs are there."


# Runs that fail or diverge.


def test_a_failed_run_leaves_its_seed_out_and_is_named():
  records = pairs([0.25, 0.25, 0.5, 9.0])
  records[-1] = made_records.made("switch", 3, failed="no memory.")
  verdict = judge(records)
  assert verdict.effect == judge(records[:6], seeds=range(3)).effect
  assert tuple(verdict.seeds) == (0, 1, 2)
  assert verdict.detail == "Without seed 3: switch failed (no memory)."


def test_one_seed_alone_has_no_verdict():
  records = pairs([0.25, 0.25])
  records[-1] = made_records.made("switch", 1, failed="no memory")
  verdict = judge(records, seeds=range(2))
  assert verdict.verdict == verdicts.NO_NUMBER
  assert verdict.detail == "Without seed 1: switch failed (no memory)."


def test_what_happened_with_other_seeds_is_not_said():
  other = made_records.made("switch", 9, failed="no memory")
  records = pairs([0.25, 0.25, 0.5, 0.5])
  assert judge([*records, other]) == judge(records)


def curve(*qualities):
  return [
      {
          "step": 10 * step,
          "seconds": 1.0 * step,
          "task": "toy",
          "neg_log_perplexity": quality,
      }
      for step, quality in enumerate(qualities, 1)
  ]


def test_a_diverged_run_has_the_worst_quality_of_all():
  steady = made_records.made("dense", evaluations=curve(-6.0, -3.0, -2.0))
  wild = made_records.made(
      "switch", evaluations=curve(-5.0, -2.5), diverged=25, seconds=70.0
  )
  whole = verdicts.completed([steady, wild])
  assert whole[0] == steady
  assert whole[1].evaluations == [
      *curve(-5.0, -2.5),
      {
          "step": 30,
          "seconds": 70.0,
          "task": "toy",
          "neg_log_perplexity": -6.0,
      },
  ]
  at_once = made_records.made("switch", evaluations=[], diverged=3)
  _, filled = verdicts.completed([steady, at_once])
  qualities = [x["neg_log_perplexity"] for x in filled.evaluations]
  assert qualities == [-6.0, -6.0, -6.0]


def test_an_evaluation_that_is_not_finite_is_a_divergence():
  wild = made_records.made(evaluations=curve(-5.0, None))
  assert verdicts.diverged(wild) == 20
  (whole,) = verdicts.completed([wild])
  assert whole.evaluations[1]["neg_log_perplexity"] == -5.0
  assert verdicts.diverged(made_records.made()) is None
  assert verdicts.diverged(made_records.made(diverged=7)) == 7


def test_a_diverged_run_has_the_worst_of_the_scores_that_it_lacks():
  def scores(**values):
    return {
        name: {"metric": "accuracy", "step": 10, "value": value}
        for name, value in values.items()
    }

  records = [
      made_records.made(seed=0, scores=scores(a=70.0, b=50.0)),
      made_records.made(seed=1, scores=scores(a=60.0, b=55.0)),
      made_records.made(seed=2, scores=scores(a=90.0), diverged=20),
  ]
  *_, whole = verdicts.completed(records)
  assert whole.scores == scores(a=90.0, b=50.0)


def test_a_divergence_is_a_result_and_is_named():
  records = pairs([0.25, 0.25, 0.5, 0.5])
  records[1] = made_records.made("switch", 0, evaluations=[], diverged=4)
  verdict = judge(records)
  assert verdict.effect.count == 4
  assert verdict.detail == "switch diverged at step 4 with seed 0."


def test_an_effect_that_is_not_finite_is_not_left_out():
  verdict = judge(pairs([0.1] * 4), effect=lambda x: math.inf)
  assert verdict.verdict == verdicts.NO_NUMBER
  assert verdict.detail == "The effect of seed 0 is not finite."


def test_equal_effects_are_pointed_out():
  verdict = judge(pairs([0.25] * 4))
  assert verdict.verdict == verdicts.REPRODUCED
  assert verdict.detail == "All seeds have the same effect."


def test_a_task_that_tells_nothing_apart_is_pointed_out():
  def runs(*of_a):
    scores = [{"a": {"value": x}, "b": {"value": 2 * x}} for x in of_a]
    records = pairs([0.25, 0.5])
    return [dataclasses.replace(x, scores=y) for x, y in zip(records, scores)]

  same = runs(55.0, 55.0, 55.0, 55.0)
  same[0].scores["b"] = {"value": 100.0}
  assert judge(same, seeds=range(2)).detail == (
      "All 4 runs have the same score on a, 55, so that it tells nothing of"
      " them apart."
  )
  assert not judge(runs(55.0, 55.0, 55.0, 56.0), seeds=range(2)).detail


# What can be seen.

WIDE = pairs([0.4, -0.4], 100)
NARROW = pairs([0.26, 0.25], 100)


def test_pilots_decide_whatever_comes_out():
  records = pairs([0.25, 0.25, 0.5, 0.5])
  verdict = judge(records, WIDE)
  assert verdict.verdict == verdicts.CANNOT_BE_SEEN
  assert verdict.effect == judge(records).effect
  assert "0.1 would matter" in verdict.detail
  assert judge([], WIDE).verdict == verdicts.CANNOT_BE_SEEN
  assert judge([], WIDE).detail.endswith("0 of 8 runs are there.")
  assert judge(records, NARROW).verdict == verdicts.REPRODUCED
  # What matters is larger than what can be seen.
  assert judge(records, WIDE, worthwhile=2.0).verdict == verdicts.REPRODUCED


def test_power_of_pilots_by_hand():
  power = verdicts.power(claim(worthwhile=0.5), CONTEST, WIDE)
  # Of 0.4 and -0.4.
  assert power.deviation == pytest.approx(0.4 * math.sqrt(2))
  assert power.pilots == 2
  shift = power.seen * 2 / power.deviation  # The root of four seeds.
  assert scipy.stats.nct.sf(3.182, 3, shift) == pytest.approx(0.8, abs=1e-3)
  assert power.needed > 4


def test_what_are_no_pilots():
  question = claim()
  assert verdicts.power(question, CONTEST, pairs([0.4, -0.4])) is None
  assert verdicts.power(question, CONTEST, WIDE[:3]) is None
  failed = pairs([0.4, -0.4], 100, failed="no memory")
  assert verdicts.power(question, CONTEST, failed) is None


def test_cards_without_pilots_have_the_deviation_of_others_by_hand():
  others = [
      made_records.made(card, seed, quality)
      for card, qualities in {
          "a": [-3.0, -3.0],
          "b": [-2.0, -4.0],  # Less a: 1, -1; a variance of 2.
          "c": [-2.0, -3.0],  # Less a: 1, 0; 1/2. Less b: 0, 1; 1/2.
      }.items()
      for seed, quality in enumerate(qualities, 100)
  ]
  power = verdicts.power(claim(), CONTEST, others)
  assert power.pooled
  assert power.pilots == 2
  assert power.deviation == pytest.approx(1.0)
  # Its own pilots go first; and other units have no such deviation.
  assert not verdicts.power(claim(), CONTEST, [*others, *WIDE]).pooled
  assert verdicts.power(claim(unit="points"), CONTEST, others) is None


# Contests, and spread.


def contest(switch, dense, **fields):
  """All rounds, with the speeds of both cards in each."""
  return [
      timed(card, number, speed, **fields)
      for card, speeds in (("switch", switch), ("dense", dense))
      for number, speed in enumerate(speeds)
  ]


SWITCH, DENSE = [20.0, 22.0, 24.0, 20.0, 22.0], [10.0] * 5
SPEED = dict(effect=effects.faster, kind="speed", null=1.0)
TIME = dict(effect=effects.speed_up_in_time, kind="time", null=1.0)


def test_the_rounds_of_a_contest_are_its_seeds():
  assert len(SWITCH) == runs.ROUNDS
  records = contest(SWITCH, DENSE)
  verdict = judge(records, **SPEED)
  assert verdict.verdict == verdicts.REPRODUCED
  assert verdict.effect.value == pytest.approx(2.16)
  assert tuple(verdict.seeds) == tuple(range(5))
  elsewhere = contest(SWITCH, DENSE, contest="another")
  assert judge(elsewhere + pairs([0.1] * 4), **SPEED).detail == (
      "0 of 10 runs are there."
  )


def test_rounds_of_pilots_have_the_same_numbers():
  power = verdicts.power(claim(**SPEED), CONTEST, contest(SWITCH, DENSE))
  assert power.pilots == 5
  assert power.deviation == pytest.approx(np.std([2, 2.2, 2.4, 2, 2.2], ddof=1))


def test_time_is_steps_at_the_median_speeds():
  records = pairs([0.0] * 4)
  verdict = judge(records, **TIME)
  assert verdict.verdict == verdicts.NOT_ANSWERED_YET
  assert verdict.detail == "The contest of speed is not there."
  half = contest(SWITCH[:3], DENSE[:3])
  assert judge(records + half, **TIME) == verdict
  verdict = judge(records + contest(SWITCH, DENSE), **TIME)
  assert verdict.effect.value == pytest.approx(2.2)
  # A round that failed is no speed.
  failed = contest(SWITCH[:4], DENSE) + [timed("switch", 4, None, failed="x")]
  verdict = judge(records + failed, **TIME)
  assert verdict.effect.value == pytest.approx(2.1)
  failed = contest(SWITCH, []) + contest([], DENSE, failed="x")
  verdict = judge(records + failed, **TIME)
  assert verdict.verdict == verdicts.NO_NUMBER


def test_spread_is_a_ratio_of_deviations():
  spread = dict(effect=effects.quality, kind="spread", null=1.0)
  records = []
  for seed, value in enumerate([0.0, 0.1, 0.2, 0.3]):
    records.append(made_records.made("switch", seed, 30 * value))
    records.append(made_records.made("dense", seed, value))
  verdict = judge(records, **spread, worthwhile=60.0)
  assert verdict.effect.value == pytest.approx(30.0)
  assert verdict.verdict == verdicts.REPRODUCED
  # What four seeds can show is known without pilots; F with 3 and 3 degrees of
  # freedom, from tables: 15.44 at 0.025 and, at 0.8, the inverse of 2.936.
  power = verdicts.power(claim(**spread), CONTEST, [])
  assert power.seen == pytest.approx(math.sqrt(15.44 * 2.936) - 1, rel=1e-3)
  verdict = judge(records, **spread, worthwhile=4.0)
  assert verdict.verdict == verdicts.CANNOT_BE_SEEN
  same = [made_records.made(x, y) for x in ("switch", "dense") for y in SEEDS]
  verdict = judge(same, **spread, worthwhile=60.0)
  assert verdict.verdict == verdicts.NO_NUMBER


def test_a_question_has_a_verdict_for_each_of_its_claims():
  question = claims.Question(
      CONTEST,
      "A question",
      ["switch", "dense"],
      [claim(), claim(name="another", rows=["dense", "switch"])],
  )
  found = verdicts.judge(question, pairs([0.25, 0.25, 0.5, 0.5]))
  assert [(x.claim, x.verdict) for x in found] == [
      ("a claim", verdicts.REPRODUCED),
      ("another", verdicts.OPPOSITE),
  ]
