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

"""The experts' products."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.layer import experts
from mtf_switch.layer.dispatch import places
from mtf_switch.layer.dispatch import ragged_products
from mtf_switch.transformer import feed_forward
from tests import graphs
from tests.transformer.test_feed_forward import make_context
from tests.transformer.test_feed_forward import make_inputs


@pytest.mark.parametrize("mesh_shape", ["data:1", "data:2"])
def test_products_are_those_of_numpy(mesh_shape):
  rng = np.random.RandomState(0)
  x, weights = rng.randn(4, 2, 3, 5), rng.randn(4, 5, 6)
  dims = [
      mtf.Dimension("experts", 4),
      mtf.Dimension("batch_unsplit", 2),
      mtf.Dimension("expert_capacity", 3),
      mtf.Dimension("d_input", 5),
      mtf.Dimension("d_output", 6),
  ]

  def build(mesh):
    rows = graphs.constant(mesh, x, dims[:4])
    matrices = graphs.constant(mesh, weights, [dims[0], *dims[3:]])
    y = experts.multiply_slots(rows, matrices, dims[4])
    loss = mtf.reduce_sum(mtf.square(y)) * 0.5
    return [y] + mtf.gradients([loss], [rows, matrices])

  results, _ = graphs.evaluate(build, mesh_shape, "experts:data")
  y = np.einsum("ecsd,edf->ecsf", x, weights)
  expected = [
      y,
      np.einsum("ecsf,edf->ecsd", y, weights),
      np.einsum("ecsf,ecsd->edf", y, x),
  ]
  for one, other in zip(results, expected):
    # Sums of a few float32 products.
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_each_expert_multiplies_its_own_rows():
  """The third expert has none, and the last row belongs to nobody."""
  x = np.zeros([6, 2])
  x[:, 0] = range(1, 7)
  weights = np.stack([np.eye(2) * 10**i for i in range(4)])

  def build(mesh):
    rows = graphs.constant(
        mesh, x, [mtf.Dimension("rows", 6), mtf.Dimension("d_model", 2)]
    )
    matrices = graphs.constant(
        mesh,
        weights,
        [
            mtf.Dimension("experts", 4),
            mtf.Dimension("d_model", 2),
            mtf.Dimension("d_ff", 2),
        ],
    )
    ends = graphs.constant(
        mesh, np.array([2, 3, 3, 5], np.int32), [mtf.Dimension("experts", 4)]
    )
    y = ragged_products.ragged_matmul(
        rows, matrices, mtf.Dimension("d_ff", 2), ends
    )
    return [y] + mtf.gradients([mtf.reduce_sum(y)], [rows, matrices])

  (y, of_x, of_weights), _ = graphs.evaluate(build)
  np.testing.assert_array_equal(y[:, 0], [1, 2, 30, 4000, 5000, 0])
  np.testing.assert_array_equal(of_x[:, 0], [1, 1, 10, 1000, 1000, 0])
  np.testing.assert_array_equal(of_weights[:, 0, 0], [3, 3, 0, 9])


def test_tokens_are_read_at_the_rows_of_their_choices():
  """The first token has both experts, the second none, the third one."""
  tokens = np.array([[1.0], [2.0], [3.0]])
  weights = np.array([[[1.0]], [[10.0]]])
  tokens_dim, choices_dim = mtf.Dimension("tokens", 3), mtf.Dimension("n", 2)
  rows_dim, experts_dim = mtf.Dimension("rows", 4), mtf.Dimension("experts", 2)
  d_model, d_ff = mtf.Dimension("d_model", 1), mtf.Dimension("d_ff", 1)

  def build(mesh):
    def integers(values, *dims):
      return graphs.constant(mesh, np.array(values, np.int32), dims)

    x = graphs.constant(mesh, tokens, [tokens_dim, d_model])
    matrices = graphs.constant(mesh, weights, [experts_dim, d_model, d_ff])
    rows = places.Places(
        integers([[0, 2], [-1, -1], [1, -1]], tokens_dim, choices_dim),
        integers([0, 4, 1, -1], rows_dim),
    )
    ends = integers([2, 3], experts_dim)
    y = ragged_products.ragged_matmul(x, matrices, d_ff, ends, rows)
    return [y] + mtf.gradients([mtf.reduce_sum(y)], [x, matrices])

  (y, of_x, of_weights), _ = graphs.evaluate(build)
  np.testing.assert_array_equal(y[:, 0], [1, 3, 10, 0])
  np.testing.assert_array_equal(of_x[:, 0], [11, 0, 1])
  np.testing.assert_array_equal(of_weights[:, 0, 0], [4, 1])


def test_results_of_experts_are_written_in_place_and_not_before_their_turn():
  experts_dim, rows_dim = mtf.Dimension("experts", 2), mtf.Dimension("rows", 4)
  d_model, d_ff = mtf.Dimension("d_model", 3), mtf.Dimension("d_ff", 5)
  lowered = []

  def build(mesh):
    x = mtf.ones(mesh, [rows_dim, d_model])
    weights = mtf.ones(mesh, [experts_dim, d_model, d_ff])
    ends = graphs.constant(mesh, np.array([1, 4], np.int32), [experts_dim])
    y = ragged_products.ragged_matmul(x, weights, d_ff, ends)
    return [y] + mtf.gradients([mtf.reduce_sum(y)], [x, weights])

  def look():
    lowered.extend(tf.get_default_graph().get_operations())
    return []

  graphs.evaluate(build, before_run=look)
  # Parts would be held until they are copied to one tensor.
  assert not [op.name for op in lowered if op.type.startswith("TensorArray")]
  # Memory that depends on nothing is taken when a step begins.
  taken = [op for op in lowered if op.type == "Empty"]
  assert len(taken) == 3 and all(op.control_inputs for op in taken)


def test_each_core_multiplies_its_own_rows():
  """Two groups on two cores; the weights' gradients have the rows of both."""
  x = np.arange(1.0, 7.0).reshape(2, 3, 1)
  weights = np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
  ends = np.array([[1, 1, 3], [0, 2, 2]], np.int32)

  def build(mesh):
    group, rows, experts_dim, d_model, d_ff = (
        mtf.Dimension(name, size)
        for name, size in dict(batch=2, rows=3, e=3, d_model=1, d_ff=1).items()
    )
    x_, weights_ = (
        graphs.constant(mesh, x, [group, rows, d_model]),
        graphs.constant(mesh, weights, [experts_dim, d_model, d_ff]),
    )
    y = ragged_products.ragged_matmul(
        x_, weights_, d_ff, graphs.constant(mesh, ends, [group, experts_dim])
    )
    return [y] + mtf.gradients([mtf.reduce_sum(y)], [x_, weights_])

  (y, of_x, of_weights), _ = graphs.evaluate(build, "data:2", "batch:data")
  # Each product has one term.
  np.testing.assert_array_equal(y[..., 0], [[1, 200, 300], [40, 50, 0]])
  np.testing.assert_array_equal(of_x[..., 0], [[1, 100, 100], [10, 10, 0]])
  np.testing.assert_array_equal(of_weights[:, 0, 0], [1, 4 + 5, 2 + 3])


ROWS, D_FF = mtf.Dimension("batch", 600), mtf.Dimension("d_ff", 500)


def dropped(choices, rate=0.3, dtype=tf.float32, mesh_shape="", **kwargs):
  """Ones after dropout, and the gradient of their sum, twice."""

  def build(mesh):
    x = mtf.ones(mesh, [ROWS, D_FF], dtype)
    numbers = graphs.constant(mesh, np.asarray(choices, np.int32), [ROWS])
    results = []
    for _ in range(2):
      y = experts.drop_units(x, numbers, rate)
      results += [y] + mtf.gradients([mtf.reduce_sum(y)], [x])
    return [mtf.to_float(x) for x in results]

  results, _ = graphs.evaluate(
      build, mesh_shape, "batch:data,d_ff:model", **kwargs
  )
  return results


def test_the_rate_is_the_share_of_dropped_units():
  y, of_x, again, _ = dropped(range(600))
  # Of 300,000 draws the standard error is 8e-4; of 500 or 600, 0.02.
  assert np.mean(y == 0) == pytest.approx(0.3, abs=4e-3)
  for axis in (0, 1):
    assert np.abs(np.mean(y == 0, axis) - 0.3).max() < 0.1
  np.testing.assert_array_equal(y[y != 0], np.float32(1 / 0.7))
  np.testing.assert_array_equal(of_x, y)
  # Nothing of a choice, a unit or an operation tells of another.
  for one, other in ((y[1:], y[:-1]), (y[:, 1:], y[:, :-1]), (y, again)):
    correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    assert abs(correlation) < 8e-3  # Four standard errors.


def test_what_is_dropped_is_a_function_of_the_choice():
  y, *_ = dropped(range(600))
  choices = np.random.RandomState(0).randint(600, size=600)
  for mesh_shape in ("", "data:2;model:2"):
    moved, *_ = dropped(choices, mesh_shape=mesh_shape)
    np.testing.assert_array_equal(moved, y[choices])
  short, *_ = dropped(range(600), dtype=tf.bfloat16)
  np.testing.assert_array_equal(short != 0, y != 0)
  other, *_ = dropped(range(600), step=1)
  # Of two masks 0.3^2 + 0.7^2 are equal.
  assert np.mean((other == 0) == (y == 0)) == pytest.approx(0.58, abs=5e-3)


def test_linear_experts_have_one_matrix():
  def build(mesh):
    layer = feed_forward.SwitchFeedForward(
        num_experts=4, num_cores=4, hidden_size=None
    )
    layer.call(make_context(mesh), make_inputs(mesh))
    assert [v.name for v in mesh.graph.all_variables] == [
        "router/kernel",
        "experts/linear/kernel",
    ]
    return [v.value for v in mesh.graph.all_variables]

  (_, weights), _ = graphs.evaluate(build)
  assert weights.shape == (4, 12, 12)
