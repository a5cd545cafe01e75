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

"""ReLU and GELU against upstream's."""

import mtf_switch  # isort: skip  # noqa: F401
import math

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.layer import activations
from tests import graphs

DIM = mtf.Dimension("d_ff", 400)
X = np.linspace(-9.0, 9.0, DIM.size).astype(np.float32)
Y_GRADIENT = np.cos(np.arange(DIM.size)).astype(np.float32)


def value_and_gradient(function, dtype, mesh_shape=""):
  def build(mesh):
    x, y_gradient = (
        mtf.cast(graphs.constant(mesh, array, [DIM]), dtype)
        for array in (X, Y_GRADIENT)
    )
    y = function(x)
    (x_gradient,) = mtf.gradients([y], [x], grad_ys=[y_gradient])
    assert y.dtype == x_gradient.dtype == dtype
    return [mtf.to_float(y), mtf.to_float(x_gradient)]

  return graphs.evaluate(build, mesh_shape, "d_ff:model")[0]


@pytest.mark.parametrize("mesh_shape", ["", "model:2"])
@pytest.mark.parametrize(
    "dtype, error",
    [
        # Rounding of sums of terms of up to 9.
        (tf.float32, 2e-6),
        # Upstream rounds each of its eight operations to 8 bits.
        (tf.bfloat16, 0.1),
    ],
    ids=["float32", "bfloat16"],
)
@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_values_and_gradients_are_upstreams(name, dtype, error, mesh_shape):
  ours = value_and_gradient(activations.function_of(name), dtype, mesh_shape)
  upstreams = value_and_gradient(getattr(mtf, name), dtype)
  for one, other in zip(ours, upstreams, strict=True):
    np.testing.assert_allclose(one, other, atol=error)


def test_gelu_in_bfloat16_is_rounded_once():
  ours = value_and_gradient(activations.gelu, tf.bfloat16)
  # The closed form at the rounded points, in float64.
  x = value_and_gradient(lambda x: 1.0 * x, tf.bfloat16)[0].astype(np.float64)
  u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
  np.testing.assert_allclose(
      ours[0], 0.5 * x * (1 + np.tanh(u)), rtol=2**-8, atol=1e-6
  )


def test_other_activations_are_upstreams():
  assert activations.functions_of(["gelu", "linear"]) == [
      activations.gelu,
      "linear",
  ]
  assert activations.functions_of("swish") == "swish"
  assert activations.functions_of(activations.relu) is activations.relu


def test_nothing_but_x_is_kept_for_the_gradient_of_gelu():
  graph = mtf.Graph()
  mesh = mtf.Mesh(graph, "mesh")
  x = mtf.zeros(mesh, [DIM])
  y = activations.gelu(x)
  forward = set(graph.operations)
  mtf.gradients([mtf.reduce_sum(y)], [x])
  kept = {
      tensor
      for operation in graph.operations
      if operation not in forward
      for tensor in operation.inputs
      if tensor.operation in forward
  }
  assert kept == {x}
