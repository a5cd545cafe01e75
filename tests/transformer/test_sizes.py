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


"""The dimensions of a Switch layer in inference."""

import mtf_switch  # isort: skip  # noqa: F401
import warnings

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.transformer import reports
from tests import graphs
from tests.layer import test_blocks

EVAL = tf.estimator.ModeKeys.EVAL
PREDICT = tf.estimator.ModeKeys.PREDICT
# Experts on two cores; their tokens have slots.
SPLIT = ("data:2", "batch:data,experts:data")
TOKENS = test_blocks.BATCH * test_blocks.LENGTH


def evaluate(mesh_shape, layout, *calls, nonpadding=None):
  """Calls layers of the same weights, each in a mode.

  Returns:
    the layers' outputs; their dimensions; and their choices, asked for and
    dropped, which only PREDICT counts.
  """
  dims = []
  model = graphs.Model(mesh_shape, layout)

  def build(mesh):
    results, counts = [], []
    for layer, mode in calls:
      with (
          tf.variable_scope("", reuse=bool(results)),
          reports.collecting(model) as sums,
      ):
        y = test_blocks.call(
            layer, mesh, test_blocks.inputs(), mode, model, nonpadding
        )
      results.append(y)
      if mode == PREDICT:
        counts += [sums["infer/routed"], sums["infer/dropped"]]
      dims.extend(layer.dims_of_scope.values())
      layer.dims_of_scope.clear()
    return results + counts

  results, _ = graphs.evaluate(build, mesh_shape, layout)
  return results[: len(calls)], dims, results[len(calls) :]


@pytest.mark.parametrize(
    "router, dispatch",
    [
        ("top_1", "einsum"),
        ("top_2", "index"),
        ("top_n", "einsum"),
        ("no_token_left_behind", "einsum"),
    ],
)
def test_a_group_for_each_token_changes_no_bit(router, dispatch):
  """And needs as many slots as groups of any size, with smaller masks."""
  layer = test_blocks.make_layer(
      router=test_blocks.ROUTERS[router],
      dispatch=dispatch,
      # A group for each core, in which an expert takes all tokens.
      num_cores=2,
      capacity_factor_eval=4.0,
  )
  (ours, whole), dims, (_, dropped) = evaluate(
      *SPLIT, (layer, PREDICT), (layer, EVAL)
  )
  np.testing.assert_array_equal(ours, whole)
  assert dropped == 0

  def mask_and_slots(dims):
    tokens, slots = dims.tokens_per_core.size, dims.expert_capacity.size
    groups, experts = dims.num_cores.size, dims.num_experts.size
    return groups * tokens * experts * slots, groups * experts * slots

  assert mask_and_slots(dims[0]) == (TOKENS * 4, TOKENS * 4)
  assert mask_and_slots(dims[1]) == (TOKENS * 4 * TOKENS / 2, TOKENS * 4)


@pytest.mark.parametrize("router", ["top_1", "top_2"])
@pytest.mark.parametrize("mesh", [("", ""), SPLIT])
def test_a_capacity_factor_is_that_of_evaluation(router, mesh):
  """On any mesh: the same outputs, and the drops are counted."""
  nonpadding = np.random.RandomState(1).rand(8, 12) < 0.7
  options = dict(router=test_blocks.ROUTERS[router], num_cores=4)
  infers = test_blocks.make_layer(capacity_factor_infer=0.5, **options)
  evaluates = test_blocks.make_layer(capacity_factor_eval=0.5, **options)
  (ours, expected), dims, (routed, dropped) = evaluate(
      *mesh, (infers, PREDICT), (evaluates, EVAL), nonpadding=nonpadding
  )
  np.testing.assert_allclose(ours, expected, atol=1e-6 * np.abs(expected).max())
  assert dims[0] == dims[1]
  assert routed == (2 if router == "top_2" else 1) * nonpadding.sum()
  assert 0.2 < dropped / routed < 0.8
  if router == "top_1":  # A token without a slot is exactly zero.
    is_dropped = nonpadding & ~ours.any(axis=-1)
    assert dropped == is_dropped.sum()


@pytest.mark.parametrize(
    "num_cores, factor, groups, capacity, note",
    [
        (5, 1.0, 6, 4, None),  # 6 groups: the nearest for 96 tokens.
        (48, 1.0, 48, 1, "in force is 2, not 1.0"),  # At least one slot.
        (96, 0.5, 96, 1, "in force is 4, not 0.5"),
        (1, 8.0, 1, 96, "in force is 4, not 8.0"),  # Blocks: nothing to drop.
    ],
)
def test_groups_and_slots_that_fit(num_cores, factor, groups, capacity, note):
  layer = test_blocks.make_layer(
      num_cores=num_cores, capacity_factor_infer=factor
  )
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    _, (dims,), (_, dropped) = evaluate("", "", (layer, PREDICT))
  assert (dims.num_cores.size, dims.expert_capacity.size) == (groups, capacity)
  assert (dropped == 0) == (capacity * groups == TOKENS)
  notes = [str(x.message) for x in caught if x.category is errors.UserNotice]
  assert len(notes) == bool(note) and all(note in x for x in notes)


def test_a_factor_without_meaning_is_refused():
  with pytest.raises(errors.UserError, match="capacity_factor_infer = 0 must"):
    test_blocks.make_layer(capacity_factor_infer=0)
