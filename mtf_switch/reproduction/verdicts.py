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

"""The verdict on each claim, computed from the records of its runs.

The rules are in RULES, in the words of docs/experiments.md. Pilots are runs
with other seeds: their deviation and the number of seeds decide what can be
seen, before the runs that are judged.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
import math
import statistics as standard_statistics
from typing import NamedTuple

from mtf_switch.reproduction import claims
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import runs as runs_lib
from mtf_switch.reproduction import statistics

Record = records_lib.Record
REPRODUCED = "reproduced"
OPPOSITE = "opposite"
NO_DIFFERENCE = "no difference seen"
CANNOT_BE_SEEN = "cannot be seen at this scale"
NOT_ANSWERED_YET = "not answered yet"
NO_NUMBER = "no number"

RULES = {
    REPRODUCED: (
        f"the {statistics.LEVEL:.0%} interval of the mean effect over seeds"
        " (Student's t, of differences and ratios within a seed; of a ratio of"
        " two deviations, the F distribution's) lies above the value that there"
        " is without an effect"
    ),
    OPPOSITE: "it lies below",
    NO_DIFFERENCE: (
        "it contains that value; half its length, the smallest difference that"
        " these seeds could have shown, stands beside it"
    ),
    CANNOT_BE_SEEN: (
        "the smallest difference that so many seeds show with probability"
        f" {statistics.PROBABILITY:g}, given the deviation among the pilots, is"
        " larger than the smallest that would matter. Pilots are runs with"
        " other seeds, so that this is decided before the runs that are judged;"
        " it goes before the other verdicts. A difference in nats between cards"
        " without pilots has the deviation of such differences between those"
        " that have some: the root of the mean variance of all pairs"
    ),
    NOT_ANSWERED_YET: (
        "a run is missing. Nothing is computed from some of the seeds, so that"
        " nobody can stop where the result is pleasant"
    ),
    NO_NUMBER: "fewer than two seeds have an effect, or one is not finite",
}
RULES_OF_RUNS = (
    "A run that fails, for want of memory for example, leaves its seed out of"
    " the claims that need it, and the verdict says so. A run that diverges is"
    " a result: from that step on it has the worst quality of all evaluations"
    " of the claim's runs, and where it has no score, the worst of theirs. In a"
    " contest of speed the rounds stand for the seeds. Time is steps at the"
    " median speeds of the contest, whose own spread is not in the interval."
)


class Verdict(NamedTuple):
  """The answer to a claim.

  Attributes:
    claim: the claim's name.
    verdict: a key of RULES.
    effect: the effect over the seeds, with its interval; None if there is none.
    seeds: those, or the rounds of a contest, that it is made of.
    detail: what else is to be known, sentences; may be empty.
  """

  claim: str
  verdict: str
  effect: statistics.Effect | None
  seeds: Sequence[int]
  detail: str


class Power(NamedTuple):
  """What a claim's number of seeds can show.

  Attributes:
    deviation: of the effect over the pilots; None of claims about spread, whose
      power does not depend on it.
    pilots: the number of pilot seeds.
    pooled: whether the pilots are those of other cards.
    seen: the smallest distance from no effect that is seen with probability
      statistics.PROBABILITY.
    needed: how many seeds would see the smallest that would matter; None if
      that is beyond reach, and of claims about spread.
  """

  deviation: float | None
  pilots: int
  seen: float
  needed: int | None
  pooled: bool = False


def judge(
    question: claims.Question,
    records: Sequence[Record],
    pilots: Sequence[Record] = (),
) -> list[Verdict]:
  """The verdicts on the claims of a question, in their order.

  Args:
    question: the question.
    records: of all runs that there are, also of other questions.
    pilots: likewise, of runs with other seeds.

  Returns:
    a verdict for each claim.
  """
  return [
      judge_claim(claim, question.name, records, pilots)
      for claim in question.claims
  ]


def judge_all(
    questions: Mapping[str, claims.Question],
    records: Sequence[Record],
    pilots: Sequence[Record] = (),
) -> dict[str, list[Verdict]]:
  """The verdicts on the claims of all questions.

  Args:
    questions: by name.
    records: see `judge`.
    pilots: see `judge`.

  Returns:
    by the name of the question, a verdict for each of its claims.
  """
  return {name: judge(x, records, pilots) for name, x in questions.items()}


def judge_claim(
    claim: claims.Claim,
    contest: str,
    records: Sequence[Record],
    pilots: Sequence[Record] = (),
) -> Verdict:
  """The verdict on a claim.

  Args:
    claim: the claim.
    contest: the name of its question.
    records: see `judge`.
    pilots: see `judge`.
  """
  verdict = _from_runs(claim, contest, records)
  power_ = power(claim, contest, pilots)
  if power_ is None or power_.seen <= claim.worthwhile:
    return verdict
  why = (
      f"So few seeds show {power_.seen:.3g} {claim.unit} with probability"
      f" {statistics.PROBABILITY:g}; {claim.worthwhile:.3g} would matter."
  )
  return verdict._replace(
      verdict=CANNOT_BE_SEEN, detail=f"{why} {verdict.detail}".strip()
  )


def power(
    claim: claims.Claim, contest: str, pilots: Sequence[Record]
) -> Power | None:
  """What a claim's number of seeds can show, given the pilots.

  Args:
    claim: the claim.
    contest: the name of its question.
    pilots: records; runs with the claim's own seeds do not count.

  Returns:
    the power; None if it takes pilots and there are fewer than two seeds.
  """
  count = len(numbers(claim))
  if claim.kind == "spread":
    return Power(None, 0, statistics.seen_ratio(count) - 1, None)
  if claim.kind != "speed":
    pilots = [x for x in pilots if x.contest or x.seed not in claim.seeds]
  runs = [x for x in _runs(claim, contest, pilots).values() if not _failed(x)]
  pooled = len(runs) < 2
  if pooled:
    found = _pooled_deviation(pilots) if claim.unit == claims.NATS else None
    if found is None:
      return None
    deviation, size = found
  else:
    try:
      values = _effects(claim, runs, speeds(claim.rows, contest, pilots))
    except ValueError:
      return None
    deviation, size = standard_statistics.stdev(values), len(values)
  return Power(
      deviation,
      size,
      statistics.seen_difference(deviation, count),
      statistics.needed_seeds(claim.worthwhile, deviation),
      pooled,
  )


def _pooled_deviation(pilots: Sequence[Record]) -> tuple[float, int] | None:
  """The deviation, over seeds, of the difference in quality of two cards.

  Args:
    pilots: records; those of contests, and runs that failed or diverged, do not
      count.

  Returns:
    the root of the mean variance over all pairs of cards, and the largest
    number of seeds of a pair; None without a pair that has two seeds.
  """
  qualities = {}
  for record in pilots:
    if not record.contest and not record.failed and diverged(record) is None:
      by_seed = qualities.setdefault(record.card, {})
      by_seed[record.seed] = effects.quality(record)
  variances, sizes = [], []
  for first, second in itertools.combinations(qualities.values(), 2):
    seeds = sorted(set(first) & set(second))
    if len(seeds) > 1:
      differences = [first[x] - second[x] for x in seeds]
      variances.append(standard_statistics.variance(differences))
      sizes.append(len(seeds))
  if not variances:
    return None
  return math.sqrt(standard_statistics.mean(variances)), max(sizes)


def numbers(claim: claims.Claim) -> Sequence[int]:
  """The seeds of a claim's runs, or the rounds of its contest."""
  if claim.kind == "speed":
    return range(runs_lib.ROUNDS)
  return claim.seeds


def speeds(
    cards: Sequence[str], contest: str, records: Sequence[Record]
) -> dict[str, float]:
  """The median speed of each card in a contest.

  Args:
    cards: the cards' names.
    contest: the name of the question whose contest it is.
    records: of all runs that there are.

  Returns:
    tokens a second by card, of those of which all rounds are there; NaN if all
    have failed.
  """
  of_card = {card: {} for card in cards}
  for record in records:
    if record.contest == contest and record.card in of_card:
      of_card[record.card][record.round] = record
  found = {}
  for card, rounds in of_card.items():
    if set(rounds) >= set(range(runs_lib.ROUNDS)):
      values = [_speed(x) for x in rounds.values() if not x.failed]
      found[card] = standard_statistics.median(values or [math.nan])
  return found


def _speed(record: Record) -> float:
  return record.figures["tokens_per_second"]


def _of_claim(
    claim: claims.Claim, contest: str, records: Sequence[Record]
) -> list[Record]:
  """The records of a claim's rows: of its runs, or of its contest's rounds."""
  wanted = contest if claim.kind == "speed" else None
  return [x for x in records if x.card in claim.rows and x.contest == wanted]


def _runs(
    claim: claims.Claim, contest: str, records: Sequence[Record]
) -> dict[int, list[Record]]:
  """By seed or round, the runs of a claim's rows, where all are there."""
  of_claim = completed(_of_claim(claim, contest, records))
  found = {(x.card, x.seed): x for x in of_claim}
  return {
      seed: [found[row, seed] for row in claim.rows]
      for seed in sorted({seed for _, seed in found})
      if all((row, seed) in found for row in claim.rows)
  }


def _failed(records: Sequence[Record]) -> bool:
  return any(record.failed for record in records)


def completed(
    records: Sequence[Record],
) -> list[Record]:
  """Records in which diverged runs have a quality to the end; RULES_OF_RUNS.

  Args:
    records: of all runs of a claim.

  Returns:
    the records in the same order; those of diverged runs have evaluations at
    all later steps at which any run was evaluated, and scores for all tasks.
  """
  evaluations = [x for record in records for x in record.evaluations]
  places = sorted({(x["step"], x["task"]) for x in evaluations})
  worst, scores = {}, {}
  for evaluation in evaluations:
    quality, task = evaluation["neg_log_perplexity"], evaluation["task"]
    if quality is not None:
      worst[task] = min(quality, worst.get(task, quality))
  for record in records:
    for task, score in record.scores.items():
      others = scores.get(task, score)
      scores[task] = min(score, others, key=lambda x: x["value"])

  def complete(record):
    end = diverged(record)
    if end is None:
      return record
    after = [
        {
            "step": step,
            "seconds": record.seconds,
            "task": task,
            "neg_log_perplexity": worst[task],
        }
        for step, task in places
        if step >= end and task in worst
    ]
    before = [x for x in record.evaluations if x["step"] < end]
    return dataclasses.replace(
        record,
        evaluations=[*before, *after],
        scores={**scores, **record.scores},
    )

  return [complete(record) for record in records]


def diverged(record: Record) -> int | None:
  """The step at which a run, or its evaluation, stopped being finite."""
  steps = [
      x["step"] for x in record.evaluations if x["neg_log_perplexity"] is None
  ]
  if record.diverged is not None:
    steps.append(record.diverged)
  return min(steps, default=None)


def _from_runs(
    claim: claims.Claim, contest: str, records: Sequence[Record]
) -> Verdict:
  """The verdict on a claim by its runs alone."""

  def verdict(name, detail, effect=None, seeds=()):
    return Verdict(claim.name, name, effect, tuple(seeds), detail)

  wanted = numbers(claim)
  records = [x for x in records if x.contest or x.seed in wanted]
  runs = _runs(claim, contest, records)
  speeds_ = speeds(claim.rows, contest, records)
  missing = _missing(claim, contest, records, speeds_)
  if missing:
    return verdict(NOT_ANSWERED_YET, missing)
  notes = _notes(claim, contest, records)
  seeds = [seed for seed in wanted if not _failed(runs[seed])]
  if len(seeds) < 2:
    return verdict(NO_NUMBER, notes)
  try:
    effect = _effect(claim, [runs[seed] for seed in seeds], speeds_)
  except ValueError as error:
    return verdict(NO_NUMBER, f"{error} {notes}".strip())
  if effect.lower == effect.upper:
    notes = f"All seeds have the same effect. {notes}".strip()
  if effect.lower > claim.null:
    name = REPRODUCED
  elif effect.upper < claim.null:
    name = OPPOSITE
  else:
    name = NO_DIFFERENCE
  return verdict(name, notes, effect, seeds)


def _missing(
    claim: claims.Claim,
    contest: str,
    records: Sequence[Record],
    speeds_: Mapping[str, float],
) -> str:
  """A sentence about the runs that are there, if some are not."""
  wanted = {(row, x) for row in claim.rows for x in numbers(claim)}
  there = {(x.card, x.seed) for x in _of_claim(claim, contest, records)}
  parts = []
  if wanted - there:
    parts.append(f"{len(there)} of {len(wanted)} runs are there.")
  if claim.kind == "time" and set(claim.rows) - set(speeds_):
    parts.append("The contest of speed is not there.")
  return " ".join(parts)


def _notes(claim: claims.Claim, contest: str, records: Sequence[Record]) -> str:
  """What happened in a claim's runs that its number does not say."""
  word = "round" if claim.kind == "speed" else "seed"
  notes, scores = [], {}
  for record in _of_claim(claim, contest, records):
    for task, score in record.scores.items():
      scores.setdefault(task, []).append(score["value"])
    end = diverged(record)
    name = f"{word} {record.seed}"
    if record.failed:
      why = record.failed.rstrip(".")
      notes.append(f"Without {name}: {record.card} failed ({why}).")
    elif end is not None:
      notes.append(f"{record.card} diverged at step {end:,} with {name}.")
  for task, values in scores.items():
    if len(values) > 1 and len(set(values)) == 1:
      notes.append(
          f"All {len(values)} runs have the same score on {task},"
          f" {values[0]:.4g}, so that it tells nothing of them apart."
      )
  return " ".join(notes)


def _effect(
    claim: claims.Claim,
    runs: Sequence[Sequence[Record]],
    speeds_: Mapping[str, float],
) -> statistics.Effect:
  """The effect over seeds; see `_effects`."""
  if claim.kind == "spread":
    rows = [[claim.effect(run) for run in row] for row in zip(*runs)]
    return statistics.ratio_of_deviations(*rows)
  return statistics.mean_effect(_effects(claim, runs, speeds_))


def _effects(
    claim: claims.Claim,
    runs: Sequence[Sequence[Record]],
    speeds_: Mapping[str, float],
) -> list[float]:
  """The effect of each seed.

  Args:
    claim: a claim of any kind but "spread".
    runs: the records of each seed.
    speeds_: of the contest, which claims about time need.

  Raises:
    ValueError: a seed has no effect, or none that is finite.
  """
  if claim.kind == "time":
    if missing := set(claim.rows) - set(speeds_):
      raise ValueError(f"{', '.join(sorted(missing))} has no speed.")
    values = [claim.effect(of_seed, speeds_) for of_seed in runs]
  elif claim.kind == "speed":
    values = [claim.effect([_speed(x) for x in of_round]) for of_round in runs]
  else:
    values = [claim.effect(of_seed) for of_seed in runs]
  for of_seed, value in zip(runs, values):
    if not math.isfinite(value):
      raise ValueError(f"The effect of seed {of_seed[0].seed} is not finite.")
  return values
