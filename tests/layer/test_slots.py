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

"""Properties of the slots, on whatever tokens hypothesis thinks of."""

import functools

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.layer import slots
from tests import oracle

GROUPS, TOKENS, EXPERTS, CHOICES = 2, 8, 4, 3
# In sixty-fourths, which float32 adds up exactly, so that ties are ties in the
# oracle too.
PROBS = st_numpy.arrays(
    np.float64,
    (GROUPS, TOKENS, EXPERTS),
    elements=st.integers(1, 64).map(lambda n: n / 64),
    fill=st.nothing(),  # Else most tokens are alike.
)
REAL = st_numpy.arrays(
    np.int64,
    (GROUPS, TOKENS),
    elements=st.sampled_from([1, 1, 1, 0]),
    fill=st.nothing(),
)
ASKS = st_numpy.arrays(
    np.int64,
    (GROUPS, TOKENS, CHOICES),
    elements=st.integers(0, 1),
    fill=st.nothing(),
)
# Few enough that experts overflow.
CAPACITY = st.integers(1, 4)
PRIORITY = st.sampled_from(sorted(slots.PRIORITIES))
STAGES = st.integers(1, EXPERTS)
modestly = settings(max_examples=60, deadline=None, derandomize=True)


@functools.cache
def program(function, dtypes, shapes, **options):
  """A function of tensors, built once for each of its options."""
  with tf.Graph().as_default():
    inputs = [tf.placeholder(*x) for x in zip(dtypes, shapes)]
    outputs = function(*inputs, **options)
    session = tf.Session()
  return lambda *arrays: session.run(outputs, dict(zip(inputs, arrays)))


def top_n(probs, asks, priority):
  """Each choice's expert and the requests before it."""
  everyone = np.ones((GROUPS, TOKENS))
  expert, _, _ = oracle.top_n(probs, TOKENS * CHOICES, everyone, CHOICES)
  gate = np.take_along_axis(probs, expert, axis=-1)
  shape = (GROUPS, TOKENS, CHOICES)
  run = program(
      slots.position_in_expert,
      (tf.int32, tf.float32, tf.float32),
      (shape,) * 3,
      num_experts=EXPERTS,
      priority=priority,
  )
  return expert, run(expert, asks, gate)


def no_token_left_behind(probs, real, capacity, priority, stages=EXPERTS):
  """Each token's expert, its slot, and whether it got it."""
  order = np.argsort(-probs, axis=-1, kind="stable")[..., :stages]
  shape = (GROUPS, TOKENS, stages)
  run = program(
      slots.no_token_left_behind,
      (tf.int32, tf.float32, tf.float32),
      (shape, shape[:2], shape),
      num_experts=EXPERTS,
      expert_capacity=capacity,
      priority=priority,
  )
  return run(order, real, np.take_along_axis(probs, order, axis=-1))


def assert_no_slot_is_shared(expert, slot, kept, capacity):
  for core in range(GROUPS):
    held = list(zip(expert[core][kept[core]], slot[core][kept[core]]))
    assert len(set(held)) == len(held)
    assert all(0 <= x < capacity for _, x in held)
    # Slots are filled from the first on.
    for e in range(EXPERTS):
      taken = sorted(x for expert, x in held if expert == e)
      assert taken == list(range(len(taken)))


@given(PROBS, ASKS, CAPACITY, PRIORITY)
@modestly
def test_choices_get_the_oracles_slots(probs, asks, capacity, priority):
  asks[..., 0] |= asks[..., 1] | asks[..., 2]
  real = asks[..., 0]
  expert, position = top_n(probs, asks, priority)
  _, slot, _ = oracle.top_n(probs, capacity, real, CHOICES, priority, asks)
  kept = (asks == 1) & (position < capacity)
  np.testing.assert_array_equal(kept, slot >= 0)
  np.testing.assert_array_equal(position[kept], slot[kept])
  assert not position[asks == 0].any()
  assert_no_slot_is_shared(expert, position, kept, capacity)
  for core, e in np.ndindex(GROUPS, EXPERTS):
    here = expert[core] == e
    assert kept[core][here].sum() == min(capacity, asks[core][here].sum())


@given(PROBS, REAL, CAPACITY, PRIORITY, STAGES)
@modestly
def test_no_token_left_behind_gets_the_oracles_slots(
    probs, real, capacity, priority, stages
):
  expert, slot, kept = no_token_left_behind(
      probs, real, capacity, priority, stages
  )
  kept = kept == 1
  wanted, wanted_slot, _ = oracle.no_token_left_behind(
      probs, capacity, real, priority, stages
  )
  np.testing.assert_array_equal(expert, wanted)
  np.testing.assert_array_equal(kept, wanted_slot >= 0)
  np.testing.assert_array_equal(slot[kept], wanted_slot[kept])
  assert_no_slot_is_shared(expert, slot, kept, capacity)
  # A token is left behind only if all experts that it may try are full.
  for core, token in np.argwhere((real == 1) & ~kept):
    tried = np.argsort(-probs[core, token], kind="stable")[:stages]
    for e in tried:
      assert (kept[core] & (expert[core] == e)).sum() == capacity
  if stages == EXPERTS:
    np.testing.assert_array_equal(
        kept.sum(axis=1), np.minimum(real.sum(axis=1), EXPERTS * capacity)
    )


@given(PROBS, REAL, CAPACITY, PRIORITY, STAGES)
@modestly
def test_a_slot_more_leaves_nobody_behind_who_was_not(
    probs, real, capacity, priority, stages
):
  # For choices the capacity does not enter the positions: nothing to show.
  less, more = (
      no_token_left_behind(probs, real, c, priority, stages)[2]
      for c in (capacity, capacity + 1)
  )
  assert np.all(more >= less)


@given(PROBS, PROBS, REAL, CAPACITY, st.integers(1, TOKENS - 1), STAGES)
@modestly
def test_causal_slots_do_not_depend_on_later_tokens(
    probs, others, real, capacity, start, stages
):
  changed = np.concatenate([probs[:, :start], others[:, start:]], axis=1)
  asks = np.repeat(real[..., None], CHOICES, axis=-1)
  fewer = real.copy()
  fewer[:, start:] = 0
  for x, y in (
      (top_n(probs, asks, "causal"), top_n(changed, asks, "causal")),
      (
          no_token_left_behind(probs, real, capacity, "causal", stages),
          no_token_left_behind(changed, fewer, capacity, "causal", stages),
      ),
  ):
    for one, other in zip(x, y):
      np.testing.assert_array_equal(one[:, :start], other[:, :start])


@given(
    st.permutations(range(1, 1 + TOKENS * EXPERTS)),
    REAL,
    CAPACITY,
    PRIORITY,
    st.permutations(range(EXPERTS)),
)
@modestly
def test_experts_have_no_order_but_in_ties(
    numbers, real, capacity, priority, order
):
  probs = np.tile(np.reshape(numbers, (1, TOKENS, EXPERTS)) / 64, (2, 1, 1))
  order = np.array(order)
  asks = np.repeat(real[..., None], CHOICES, axis=-1)
  expert, position = top_n(probs, asks, priority)
  permuted, same_position = top_n(probs[..., order], asks, priority)
  np.testing.assert_array_equal(order[permuted], expert)
  np.testing.assert_array_equal(same_position, position)
  one = no_token_left_behind(probs, real, capacity, priority)
  other = no_token_left_behind(probs[..., order], real, capacity, priority)
  np.testing.assert_array_equal(order[other[0]], one[0])
  np.testing.assert_array_equal(other[1], one[1])
  np.testing.assert_array_equal(other[2], one[2])


@given(PROBS, PROBS, REAL, CAPACITY, PRIORITY)
@modestly
def test_groups_do_not_see_each_other(probs, others, real, capacity, priority):
  changed = np.stack([probs[0], others[1]])
  asks = np.repeat(real[..., None], CHOICES, axis=-1)
  for x, y in (
      (top_n(probs, asks, priority), top_n(changed, asks, priority)),
      (
          no_token_left_behind(probs, real, capacity, priority),
          no_token_left_behind(changed, real, capacity, priority),
      ),
  ):
    for one, other in zip(x, y):
      np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize(
    "priority, first, second",
    [
        # Expert 0: tokens 0, 2, then 1. Expert 1: token 1, then 0, 2.
        ("position", [0, 0, 1], [1, 2, 2]),
        # First choices of 36, 48 and 40 of 64: tokens 1, 2, 0, also where the
        # second ones, of 24, 8 and 16, are in the other order.
        # Expert 0: tokens 2, 0, then 1. Expert 1: token 1, then 2, 0.
        ("gate", [1, 0, 0], [2, 2, 1]),
        # Both experts: tokens 0, 1, 2.
        ("causal", [0, 1, 2], [0, 1, 2]),
    ],
)
def test_three_tokens_by_hand(priority, first, second):
  # Tokens 0 and 2 want expert 0, then 1; token 1 wants expert 1, then 0.
  probs = np.full((GROUPS, TOKENS, EXPERTS), 1 / 64)
  probs[:, :3] = [[36, 24, 3, 1], [8, 48, 4, 4], [40, 16, 4, 4]]
  probs[:, :3] /= 64
  asks = np.zeros((GROUPS, TOKENS, CHOICES), int)
  asks[:, :3, :2] = 1
  _, position = top_n(probs, asks, priority)
  np.testing.assert_array_equal(position[0, :3, 0], first)
  np.testing.assert_array_equal(position[0, :3, 1], second)


@pytest.mark.parametrize("priority", sorted(slots.PRIORITIES))
def test_slots_of_one_stage_outlast_the_next(priority):
  # All tokens rank the experts alike, and fill one after the other.
  probs = np.tile(np.array([32, 16, 8, 4]) / 64, (GROUPS, TOKENS, 1))
  expert, slot, kept = no_token_left_behind(
      probs, np.ones((GROUPS, TOKENS)), 3, priority
  )
  np.testing.assert_array_equal(expert[0], [0, 0, 0, 1, 1, 1, 2, 2])
  np.testing.assert_array_equal(slot[0], [0, 1, 2, 0, 1, 2, 0, 1])
  assert kept.all()


def test_equal_first_choices_are_served_in_the_texts_order():
  """Whatever the second ones; the last first choice is a little greater."""
  gate = np.array([[[0.5, 0.1], [0.5, 0.3], [0.5 + 1e-7, 0.2]]], np.float32)
  index = np.array([[[0, 1], [0, 1], [0, 1]]], np.int32)
  with tf.Graph().as_default(), tf.Session() as session:
    position = session.run(
        slots.position_in_expert(
            tf.constant(index),
            tf.ones(index.shape),
            tf.constant(gate),
            2,
            "gate",
        )
    )
  assert position[0].tolist() == [[1, 1], [2, 2], [0, 0]]
