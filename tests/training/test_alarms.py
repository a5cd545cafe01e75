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

"""When warnings begin and end, by hand."""

import json

import hypothesis
from hypothesis import strategies
import numpy as np
import pytest

from mtf_switch.training import alarms

LAYER = "encoder/block_000/layer_001"
LAYERS = {LAYER: alarms.Layer(slots=40, num_choices=1)}
EVEN = [1.0, 1.0, 1.0, 1.0]


def routed(load=EVEN, **figures):
  """A record of a model with one Switch layer of four experts."""
  return {
      "kind": "train",
      "cross_entropy": 3.0,
      "learning_rate": 0.01,
      "layers": {LAYER: {"load": load, **figures}},
  }


def lost(loss):
  """A record of a dense model."""
  return {"kind": "train", "cross_entropy": loss, "layers": None}


def follow(records, state=None, layers=LAYERS):
  """Goes over records.

  Returns:
    pairs of the number of a record, from 1, and a change; and the last state.
  """
  state = state or alarms.State()
  found = []
  for number, record in enumerate(records, 1):
    state, changes = alarms.observe(state, record, layers)
    found += [(number, change) for change in changes]
  return found, state


def when(records, **kwargs):
  """What begins and ends at which record, without numbers."""
  found, _ = follow(records, **kwargs)
  return [(number, x.what, x.where, x.state) for number, x in found]


def test_a_run_without_troubles_says_nothing():
  even = routed(aux_loss=0.01, fraction_dropped=0.02, capacity=1.25)
  assert when([even] * 100) == []


def test_an_expert_without_tokens_for_long():
  idle = routed([1.5, 1.5, 0.0, 1.0])
  assert when([idle] * 19 + [routed()] + [idle] * 19) == []
  found, _ = follow([routed()] * 5 + [idle] * 40)
  assert found == [
      (
          25,
          alarms.Change(
              alarms.IDLE, LAYER, "began", {"experts": 1, "of": 4, "first": 2}
          ),
      )
  ]
  # Holds while tokens come now and then, and ends when they keep coming.
  now_and_then = [*[idle] * 24, routed()] * 4
  assert when([idle] * 20 + now_and_then + [routed()] * 60) == [
      (20, alarms.IDLE, LAYER, "began"),
      # The last record of an idle expert is the 119th.
      (159, alarms.IDLE, LAYER, "ended"),
  ]


def test_one_expert_takes_most():
  # Of four experts from 5/8 of the tokens on, until they are below 1/2.
  much, middle, less = (
      routed([x, *[(4 - x) / 3] * 3]) for x in (2.52, 2.1, 1.9)
  )
  assert when([much] * 4 + [middle] + [much] * 4) == []
  found, _ = follow([much] * 5 + [middle] * 9 + [less] * 5)
  began, ended = {"expert": 0, "share": 0.63}, {"expert": 0, "share": 0.475}
  assert found == [
      (5, alarms.Change(alarms.GREEDY, LAYER, "began", began)),
      (19, alarms.Change(alarms.GREEDY, LAYER, "ended", ended)),
  ]


def test_each_token_of_two_choices_takes_an_expert_once_at_most():
  layers = {LAYER: alarms.Layer(slots=40, num_choices=2)}
  # An expert that every token chooses has half of the choices.
  everyone = routed([2.0, 0.7, 0.7, 0.6])
  assert when([everyone] * 5) == []
  assert when([everyone] * 5, layers=layers) == [
      (5, alarms.GREEDY, LAYER, "began")
  ]
  # All experts for every token: nobody can take more.
  layers = {LAYER: alarms.Layer(slots=40, num_choices=4)}
  assert when([routed()] * 9, layers=layers) == []


def test_the_drop_that_chance_and_loads_explain():
  # No chance in large groups: half of the expert's tokens, a quarter of all.
  load = np.array([2.0, 0.0, 1.0, 1.0])
  assert alarms.explained_drop(load, 1.0, 10**8) == pytest.approx(
      0.25, abs=1e-3
  )
  # One slot for one token in the mean: E[max(0, X - 1)] = 1 / e.
  assert alarms.explained_drop(EVEN, 1.0, 1) == pytest.approx(np.exp(-1))
  # Three tokens an expert, six slots: by the probabilities of X > 6.
  rng = np.random.default_rng(0)
  drawn = np.maximum(0, rng.poisson(3.0, 10**6) - 6).mean() / 3
  assert alarms.explained_drop(EVEN, 2.0, 6) == pytest.approx(drawn, rel=0.02)


def test_more_is_dropped_than_the_capacity_explains():
  explained = alarms.explained_drop(EVEN, 1.0, 40)
  assert 0.05 < explained < 0.07
  much, middle, as_explained = (
      routed(fraction_dropped=x, capacity=1.0)
      for x in (2.1 * explained + 0.1, 1.8 * explained + 0.1, 2 * explained)
  )
  found, _ = follow(
      [as_explained] * 9 + [much] * 5 + [middle] * 9 + [as_explained] * 5
  )
  assert [(n, x.what, x.state) for n, x in found] == [
      (14, alarms.DROPPED, "began"),
      (28, alarms.DROPPED, "ended"),
  ]
  assert found[0][1].numbers == {
      "dropped": pytest.approx(2.1 * explained + 0.1),
      "explained": pytest.approx(explained),
  }
  # As much is nothing to look at where one expert is asked by too many.
  figures = much["layers"][LAYER]
  uneven = routed(**{**figures, "load": [2.2, 0.6, 0.6, 0.6]})
  assert when([uneven] * 9) == []


def test_the_auxiliary_loss_grows():
  def of(aux_loss, count):
    return [routed(aux_loss=aux_loss)] * count

  # Means of 20 records: 0.012, 0.01, then 0.0201, 0.016 and 0.0149.
  found, _ = follow(
      of(0.012, 20)
      + of(0.01, 20)
      + of(0.0201, 20)
      + of(0.016, 20)
      + of(0.0149, 20)
  )
  assert [(n, x.what, x.where, x.state) for n, x in found] == [
      (60, alarms.AUX_LOSS, LAYER, "began"),
      (100, alarms.AUX_LOSS, LAYER, "ended"),
  ]
  assert found[0][1].numbers == {
      "aux_loss": pytest.approx(0.0201),
      "least": pytest.approx(0.01),
  }
  # A few high ones are no growth.
  assert when(of(0.01, 20) + of(0.02, 10) + of(0.01, 10) + of(0.01, 20)) == []


def test_a_loss_spike():
  steady = [lost(3.0 + 0.01 * (-1) ** n) for n in range(30)]
  # Half a nat above, since the deviation is small; one batch is no spike.
  assert when([*steady, lost(4.0), *steady, lost(3.49), lost(3.49)]) == []
  found, _ = follow(
      [*steady, *[lost(3.6)] * 4, *[lost(3.4)] * 9, *[lost(3.1)] * 3, *steady]
  )
  began, ended = ({"cross_entropy": loss, "before": 3.0} for loss in (3.6, 3.1))
  assert found == [
      (32, alarms.Change(alarms.SPIKE, None, "began", began)),
      (46, alarms.Change(alarms.SPIKE, None, "ended", ended)),
  ]


def test_a_spike_is_more_than_batches_differ():
  # The median of the distances is 0.2: six deviations are 1.78.
  noisy = [lost(3.0 + 0.2 * (-1) ** n) for n in range(30)]
  assert when([*noisy, lost(4.7), lost(4.7)]) == []
  assert when([*noisy, lost(4.9), lost(4.9)]) == [
      (32, alarms.SPIKE, None, "began")
  ]


def test_the_first_losses_fall_and_are_not_judged():
  assert when([lost(10.0 - 0.3 * n) for n in range(30)]) == []
  assert when([lost(3.0)] * 18 + [lost(9.0)] * 2) == []


def test_a_learning_rate_of_zero():
  def at(rate):
    return {**lost(3.0), "learning_rate": rate}

  # A warm-up from zero.
  assert when([at(0.0), at(0.1), at(0.2)]) == []
  assert when([at(0.1), at(0.0), at(0.0), at(0.0), at(0.1), at(0.1)]) == [
      (3, alarms.LEARNING_RATE, None, "began"),
      (5, alarms.LEARNING_RATE, None, "ended"),
  ]


def as_lines(records, layers=LAYERS):
  """What a metrics.jsonl has of records, read back."""
  state, lines = alarms.State(), []
  for step, record in enumerate(records, 1):
    state, changes = alarms.observe(state, record, layers)
    lines.append({"step": step, "task": "t", **record})
    lines += [
        {"step": step, "task": "t", "kind": "warning", **x._asdict()}
        for x in changes
    ]
  return json.loads(json.dumps(lines))


RECORDS = [
    *[routed(aux_loss=0.01)] * 30,
    *[routed([0.0, 2.7, 0.7, 0.6], aux_loss=0.03)] * 40,
    *[{**routed(aux_loss=0.01), "cross_entropy": 9.0, "learning_rate": 0}] * 5,
    *[routed(aux_loss=0.01)] * 60,
]


def test_a_run_that_is_resumed_says_what_it_would_have_said():
  expected = when(RECORDS)
  assert len(expected) == 10  # Each of five begins and ends.
  for stop in range(0, len(RECORDS), 7):
    state = alarms.resumed(as_lines(RECORDS[:stop]), LAYERS)
    after = when(RECORDS[stop:], state=state)
    assert [(stop + n, *x) for n, *x in after] == [
        x for x in expected if x[0] > stop
    ]


def test_what_is_remembered_of_long_runs_is_whole_means():
  records = [routed(aux_loss=0.01)] * 1013 + [routed(aux_loss=0.03)] * 17
  _, state = follow(records)
  resumed = alarms.resumed(as_lines(records), LAYERS)
  assert resumed.aux_losses[LAYER][1] == state.aux_losses[LAYER][1]
  assert len(state.aux_losses[LAYER][1]) == 10


def test_lines_without_their_warnings_are_of_an_earlier_version():
  lines = [x for x in as_lines(RECORDS[:60]) if x["kind"] == "train"]
  # On, but never said: now it is.
  state = alarms.resumed(lines, LAYERS)
  assert (1, alarms.IDLE, LAYER, "began") in when(RECORDS[60:], state=state)


def test_warnings_that_have_begun():
  lines = as_lines(RECORDS[:60])
  assert alarms.begun(lines) == {
      (alarms.IDLE, LAYER),
      (alarms.GREEDY, LAYER),
      (alarms.AUX_LOSS, LAYER),
  }
  assert alarms.begun(as_lines(RECORDS)) == set()


def test_lines_for_people():
  numbers = {"expert": 1234, "share": 0.71234}
  change = alarms.Change("one expert takes most", "a/layer", "began", numbers)
  assert alarms.line(1500, change) == (
      "step 1500  warning: one expert takes most, a/layer (expert 1,234, share "
      "0.7123)"
  )
  change = alarms.Change("loss spike", None, "ended", {})
  assert alarms.line(7, change) == "step 7  no longer: loss spike"


_VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.just(10**400)
    | strategies.floats()
    | strategies.text(max_size=3),
    lambda inner: strategies.lists(inner, max_size=4)
    | strategies.dictionaries(
        strategies.sampled_from(
            ["load", "capacity", "fraction_dropped", "aux_loss", LAYER]
        ),
        inner,
        max_size=4,
    ),
)
_NAMES = ("learning_rate", "cross_entropy", "layers", "what", "where", "state")


@hypothesis.given(
    strategies.lists(
        strategies.fixed_dictionaries(
            {"kind": strategies.sampled_from(["train", "warning", "eval"])},
            optional=dict.fromkeys(_NAMES, _VALUES),
        ),
        max_size=4,
    )
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_records_of_any_content_can_be_followed(records):
  state = alarms.resumed(records, LAYERS)
  follow([routed()] * 2, state=state)
