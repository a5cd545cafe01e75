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

"""Warnings of a run where someone should look.

A pure function goes over the "train" records of metrics.jsonl, one after the
other, and says what begins and what ends. What it remembers is a value, which
records make again when a run is resumed. A warning begins when its records have
been bad a few times in a row, and ends when they have been good as often: the
bounds of the two lie apart, and what is between them changes nothing, so that
no figure near a bound makes a line each time.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

IDLE = "expert without tokens"
GREEDY = "one expert takes most"
DROPPED = "more is dropped than the capacity explains"
AUX_LOSS = "the auxiliary loss grows"
SPIKE = "loss spike"
LEARNING_RATE = "the learning rate is zero"

# Records in a row. An expert has at least one slot in each group, and so about
# a token with an equal share: by chance, it has none 20 times in a row once in
# 10^8 times. Back are experts when none has been idle for as long twice.
IDLE_FOR = 20
_BACK_FOR = 2 * IDLE_FOR
# Of the way from an equal share of the choices to all that one expert can have.
GREEDY_FROM = 1 / 2
_GREEDY_UNTIL = 1 / 3
# Tokens of a group are alike, so that more of them meet at an expert than if
# each chose by itself, which is what explains a share. It is seldom twice as
# many; a tenth more is what a capacity factor of 1.25 should prevent.
DROPPED_FACTOR = 2.0
DROPPED_MARGIN = 0.1
_DROPPED_FACTOR_UNTIL = 1.5
_DROPPED_MARGIN_UNTIL = 0.05
# Batches differ: that many records in a row, for shares of a batch.
_SHARES_FOR = 5
# Twice the least is what it is when half of the experts are idle. Means of 20
# records, since small groups make it noisy, over the last 1,000 records.
AUX_LOSS_FACTOR = 2.0
_AUX_LOSS_FACTOR_UNTIL = 1.5
_RECORDS_OF_MEAN = 20
_MEANS_KEPT = 50
# Six standard deviations of the last 50 records, by the median's measure of
# them, which single batches do not move, and half a nat, which no batch of a
# steady run is off. Two records in a row: one is a batch, and no spike.
SPIKE_DEVIATIONS = 6.0
SPIKE_LEAST = 0.5
_SPIKE_FOR = 2
_SPIKE_OVER_FOR = 3
_LOSSES_KEPT = 50
_LOSSES_NEEDED = 20
# A linear warm-up begins with zero.
_LEARNING_RATE_FOR = 2
# Records that decide what is remembered.
_RECORDS_KEPT = _RECORDS_OF_MEAN * _MEANS_KEPT


class Layer(NamedTuple):
  """What does not change of a Switch layer.

  Attributes:
    slots: of an expert in a group.
    num_choices: the experts that a token passes.
  """

  slots: int
  num_choices: int


class Change(NamedTuple):
  """A warning that begins or ends.

  Attributes:
    what: what is wrong.
    where: the layer, or the text; None for the whole run.
    state: "began" or "ended".
    numbers: what it is based on, by name.
  """

  what: str
  where: str | None
  state: str
  numbers: Mapping[str, Any]


Key = tuple[str, str | None]


class Streak(NamedTuple):
  """How long a warning's records have been bad or good.

  Attributes:
    is_on: whether the warning has begun, and not ended.
    bad: bad records in a row.
    good: good ones.
  """

  is_on: bool = False
  bad: int = 0
  good: int = 0


@dataclasses.dataclass(frozen=True)
class State:
  """What is remembered of the records so far.

  Attributes:
    streaks: of each warning, by what and where.
    idle: of each layer, the records in a row in which each expert had no token.
    aux_losses: of each layer, its last means, and the records of the next one.
    losses: the last cross-entropies that were no spike.
  """

  streaks: Mapping[Key, Streak] = dataclasses.field(default_factory=dict)
  idle: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
  aux_losses: Mapping[str, tuple[Sequence[float], Sequence[float]]] = (
      dataclasses.field(default_factory=dict)
  )
  losses: Sequence[float] = ()


class _Finding(NamedTuple):
  """What a record says of a warning; neither bad nor good changes nothing."""

  is_bad: bool
  is_good: bool
  begins_after: int
  ends_after: int
  numbers: Mapping[str, Any]


def observe(
    state: State, record: Mapping[str, Any], layers: Mapping[str, Layer]
) -> tuple[State, list[Change]]:
  """Goes over one record.

  Args:
    state: of the records before.
    record: a "train" record, as metrics.jsonl has it. What it lacks, as those
      of earlier versions do, warns of nothing.
    layers: the Switch layers by name.

  Returns:
    the state after it, and what begins and ends with it.
  """
  findings: dict[Key, _Finding] = {}
  idle, aux_losses = dict(state.idle), dict(state.aux_losses)
  if (rate := _number(record.get("learning_rate"))) is not None:
    findings[LEARNING_RATE, None] = _Finding(
        rate == 0, rate != 0, _LEARNING_RATE_FOR, 1, {}
    )
  losses = state.losses
  if (loss := _number(record.get("cross_entropy"))) is not None:
    finding = _spike(losses, loss)
    findings[SPIKE, None] = finding
    is_on = state.streaks.get((SPIKE, None), Streak()).is_on
    if not (is_on or finding.is_bad):
      losses = (*losses, loss)[-_LOSSES_KEPT:]
  for name, figures in _object(record.get("layers")).items():
    figures = _object(figures)
    load = _numbers(figures.get("load"))
    if load is not None:
      before = idle.get(name, ())
      if len(before) != len(load):
        before = np.zeros(len(load), int)
      idle[name] = np.where(load > 0, 0, np.add(before, 1))
      findings[IDLE, name] = _idle(idle[name])
      if name in layers:
        findings[GREEDY, name] = _greedy(load, layers[name])
        findings[DROPPED, name] = _dropped(figures, load, layers[name])
    aux_loss = _number(figures.get("aux_loss"))
    if aux_loss:
      means, recent = aux_losses.get(name, ((), ()))
      recent = (*recent, aux_loss)
      if len(recent) == _RECORDS_OF_MEAN:
        mean = sum(recent) / len(recent)
        findings[AUX_LOSS, name] = _aux_loss(means, mean)
        means, recent = (*means, mean)[-_MEANS_KEPT:], ()
      aux_losses[name] = means, recent
  streaks, changes = dict(state.streaks), []
  for key, finding in findings.items():
    streaks[key] = streak = _follow(streaks.get(key, Streak()), finding)
    if streak.is_on != state.streaks.get(key, Streak()).is_on:
      word = "began" if streak.is_on else "ended"
      changes.append(Change(*key, word, finding.numbers))
  return State(streaks, idle, aux_losses, losses), changes


def resumed(
    records: Sequence[Mapping[str, Any]], layers: Mapping[str, Layer]
) -> State:
  """Returns the state after the records of a metrics.jsonl.

  What has been said counts, and not what these records would say now: an
  earlier version may have said nothing.

  Args:
    records: of all kinds.
    layers: the Switch layers by name.
  """
  training = [x for x in records if x.get("kind") == "train"]
  # Whole means, as without the interruption.
  first = max(0, len(training) - _RECORDS_KEPT)
  first = -(-first // _RECORDS_OF_MEAN) * _RECORDS_OF_MEAN
  state = State()
  for record in training[first:]:
    state, _ = observe(state, record, layers)
  on = begun(records)
  streaks = {
      key: state.streaks.get(key, Streak())._replace(is_on=key in on)
      for key in {**state.streaks, **dict.fromkeys(on)}
  }
  return dataclasses.replace(state, streaks=streaks)


def begun(records: Iterable[Mapping[str, Any]]) -> set[Key]:
  """Returns the warnings that have begun and not ended.

  Args:
    records: of a metrics.jsonl, of all kinds.
  """
  on = set()
  for record in records:
    if record.get("kind") == "warning":
      where = record.get("where")
      key = str(record.get("what")), None if where is None else str(where)
      (on.discard if record.get("state") == "ended" else on.add)(key)
  return on


def line(step: int, change: Change) -> str:
  """Returns a line for people.

  Args:
    step: of the record.
    change: what has begun or ended.
  """
  word = "warning" if change.state == "began" else "no longer"
  parts = [change.what, *([change.where] if change.where else ())]
  numbers = ", ".join(
      f"{name.replace('_', ' ')} {value:.4g}"
      if isinstance(value, float)
      else f"{name.replace('_', ' ')} {value:,}"
      for name, value in change.numbers.items()
  )
  return f"step {step}  {word}: {', '.join(parts)}" + (
      f" ({numbers})" if numbers else ""
  )


def _follow(streak: Streak, finding: _Finding) -> Streak:
  """A streak after one more record."""
  if not (finding.is_bad or finding.is_good):
    return streak._replace(bad=0, good=0)
  bad = streak.bad + 1 if finding.is_bad else 0
  good = streak.good + 1 if finding.is_good else 0
  is_on = streak.is_on
  if bad >= finding.begins_after:
    is_on = True
  elif good >= finding.ends_after:
    is_on = False
  return Streak(is_on, bad, good)


def _idle(idle: np.ndarray) -> _Finding:
  """From the records in a row in which each expert had no token."""
  (experts,) = np.nonzero(idle >= IDLE_FOR)
  numbers = {"experts": len(experts), "of": len(idle)}
  if len(experts):
    numbers["first"] = int(experts[0])
  # The counts are of records in a row already.
  return _Finding(bool(len(experts)), not len(experts), 1, _BACK_FOR, numbers)


def _greedy(load: np.ndarray, layer: Layer) -> _Finding:
  """From the load of each expert."""
  equal, most = 1 / len(load), 1 / layer.num_choices
  expert = int(load.argmax())
  share = float(load[expert]) / len(load)
  above = (share - equal) / (most - equal) if most > equal else 0.0
  return _Finding(
      above > GREEDY_FROM,
      above < _GREEDY_UNTIL,
      _SHARES_FOR,
      _SHARES_FOR,
      {"expert": expert, "share": share},
  )


def _dropped(
    figures: Mapping[str, Any], load: np.ndarray, layer: Layer
) -> _Finding:
  """From the share dropped and the share that is explained."""
  dropped = _number(figures.get("fraction_dropped"))
  capacity = _number(figures.get("capacity"))
  if dropped is None or not capacity:
    return _Finding(False, False, _SHARES_FOR, _SHARES_FOR, {})
  explained = explained_drop(load, capacity, layer.slots)
  return _Finding(
      dropped > DROPPED_FACTOR * explained + DROPPED_MARGIN,
      dropped < _DROPPED_FACTOR_UNTIL * explained + _DROPPED_MARGIN_UNTIL,
      _SHARES_FOR,
      _SHARES_FOR,
      {"dropped": dropped, "explained": explained},
  )


def explained_drop(load: np.ndarray, capacity: float, slots: int) -> float:
  """Returns the share of choices that find no slot if each is made by itself.

  The choices of an expert in a group are then a Poisson variable X, and
  E[max(0, X - slots)] of them are dropped. A router that sends tokens on to
  other experts drops fewer.

  Args:
    load: `[num_experts]`, relative to the mean over experts.
    capacity: the slots of an expert, relative to the mean load.
    slots: of an expert in a group.
  """
  # A quarter of a second of every start, also of runs without Switch layers.
  from scipy import special  # pylint: disable=g-import-not-at-top

  mean = slots / capacity
  choices = mean * np.asarray(load, float)
  # pdtrc(k, m) is the probability of more than k.
  over = choices * special.pdtrc(slots - 1, choices)
  over -= slots * special.pdtrc(slots, choices)
  return float(over.mean() / mean)


def _aux_loss(means: Sequence[float], mean: float) -> _Finding:
  """From the last means and the newest one."""
  least = min(means, default=mean)
  return _Finding(
      mean > AUX_LOSS_FACTOR * least,
      mean < _AUX_LOSS_FACTOR_UNTIL * least,
      1,
      1,
      {"aux_loss": mean, "least": least},
  )


def _spike(losses: Sequence[float], loss: float) -> _Finding:
  """From the last losses and the newest one."""
  if len(losses) < _LOSSES_NEEDED:
    return _Finding(False, False, _SPIKE_FOR, _SPIKE_OVER_FOR, {})
  before = float(np.median(losses))
  # Of a normal variable, 1.4826 of this are a standard deviation.
  deviation = 1.4826 * float(np.median(np.abs(np.subtract(losses, before))))
  least = max(SPIKE_DEVIATIONS * deviation, SPIKE_LEAST)
  return _Finding(
      loss > before + least,
      loss < before + least / 2,
      _SPIKE_FOR,
      _SPIKE_OVER_FOR,
      {"cross_entropy": loss, "before": before},
  )


def _object(value: Any) -> Mapping[str, Any]:
  """An object of a record, without content for what is none."""
  return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
  """A number of a record; None for what is none or is not finite."""
  if isinstance(value, bool) or not isinstance(value, int | float | np.number):
    return None
  try:
    value = float(value)
  except OverflowError:
    return None
  return value if math.isfinite(value) else None


def _numbers(values: Any) -> np.ndarray | None:
  """A list of numbers of a record; None if one is none, or all are 0."""
  if not isinstance(values, Sequence) or isinstance(values, str):
    return None
  try:
    numbers = np.array(values, float)  # None becomes NaN.
  except (OverflowError, TypeError, ValueError):
    return None
  is_list = numbers.ndim == 1 and np.isfinite(numbers).all() and numbers.any()
  return numbers if is_list else None
