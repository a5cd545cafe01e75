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

"""The experts' products, by einsum and by batched matrix products."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import numpy as np
import pytest

from mtf_switch import experts
from mtf_switch import layers
from tests import graphs
from tests.test_layers import make_context
from tests.test_layers import make_inputs
from tests.test_layers import make_layer


def products(x, weights, mesh_shape=""):
  """Products and gradients, by einsum and locally."""
  num_experts = mtf.Dimension("experts", x.shape[0])
  d_output = mtf.Dimension("d_output", weights.shape[2])
  dims = [
      num_experts,
      mtf.Dimension("batch_unsplit", x.shape[1]),
      mtf.Dimension("expert_capacity", x.shape[2]),
      mtf.Dimension("d_input", x.shape[3]),
  ]

  def build(mesh):
    rows = graphs.constant(mesh, x, dims)
    matrices = graphs.constant(mesh, weights, [num_experts, dims[-1], d_output])
    results = []
    for matmul in (experts.per_expert_matmul, experts.local_matmul):
      y = matmul(rows, matrices, d_output)
      # Weighted, so that no gradient is a constant.
      loss = mtf.reduce_sum(mtf.square(y))
      results += [y] + mtf.gradients([loss], [rows, matrices])
    return results

  results, _ = graphs.evaluate(build, mesh_shape, "experts:data")
  return results[:3], results[3:]


@pytest.mark.parametrize("mesh_shape", ["data:1", "data:2"])
def test_local_products_are_those_of_numpy_and_einsum(mesh_shape):
  rng = np.random.RandomState(0)
  x, weights = rng.randn(4, 2, 3, 5), rng.randn(4, 5, 6)
  by_einsum, local = products(x, weights, mesh_shape)
  expected = np.stack([x[e] @ weights[e] for e in range(4)])
  # Sums of five float32 products.
  np.testing.assert_allclose(local[0], expected, rtol=1e-5, atol=1e-5)
  for one, other in zip(local, by_einsum):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "mesh_shape, layout, local",
    [
        ("", "", True),
        ("data:2", "batch:data,experts:data", True),
        # The gradient of the weights is a sum over cores, or a row of slots is.
        ("data:2", "batch:data", False),
        ("model:2", "d_ff:model", False),
        ("model:2", "d_model:model", False),
    ],
)
def test_local_products_are_taken_where_nothing_else_is_split(
    mesh_shape, layout, local
):
  model = graphs.Model(mesh_shape, layout)
  names = []

  def build(mesh):
    y = make_layer().call(make_context(mesh, model=model), make_inputs(mesh))
    names.extend(op.name for op in mesh.graph.operations)
    return [mtf.reduce_sum(y)]

  graphs.evaluate(build, mesh_shape, layout)
  assert any("local_matmul" in name for name in names) == local


def test_linear_experts_have_one_matrix():
  def build(mesh):
    layer = layers.SwitchFeedForward(
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
