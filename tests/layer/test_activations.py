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
        # Upstream's 1 - tanh^2 is rounded, and multiplied by up to 90.
        (tf.float32, 6e-6),
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


@pytest.mark.parametrize(
    "dtype, relative, absolute",
    # One rounding of values and gradients; the sum of a few in float32.
    [(tf.float32, 1e-6, 2e-6), (tf.bfloat16, 2**-8, 2e-6)],
    ids=["float32", "bfloat16"],
)
def test_gelu_is_the_closed_form_and_rounded_once(dtype, relative, absolute):
  y, x_gradient = value_and_gradient(activations.gelu, dtype)
  # What is left of the inputs after rounding.
  x, y_gradient = (
      tensor.astype(np.float64)
      for tensor in value_and_gradient(lambda x: 1.0 * x, dtype)
  )
  slope = math.sqrt(2 / math.pi)
  tanh = np.tanh(slope * (x + 0.044715 * x**3))
  derivative = 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh**2) * slope * (
      1 + 3 * 0.044715 * x**2
  )
  for result, exact in (
      (y, 0.5 * x * (1 + tanh)),
      (x_gradient, y_gradient * derivative),
  ):
    np.testing.assert_allclose(result, exact, rtol=relative, atol=absolute)


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
  y_gradient = mtf.ones(mesh, [DIM])
  forward = set(graph.operations) - {y_gradient.operation}
  mtf.gradients([y], [x], grad_ys=[y_gradient])
  kept = {
      tensor
      for operation in graph.operations
      if operation not in forward
      for tensor in operation.inputs
      if tensor.operation in forward
  }
  assert kept == {x}
