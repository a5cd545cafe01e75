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

"""ReLU and GELU in few passes over activations, forward and backward.

Upstream's ReLU has a gradient in three passes. Its GELU is eight operations,
each of which keeps a tensor as large as the activations for the gradient. The
numbers are the same up to rounding.
"""

from collections.abc import Callable, Sequence
import math

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

# GELU by tanh (arXiv 1606.08415): x * sigmoid(_SLOPE * (x + _CUBE * x^3)),
# because (1 + tanh(u)) / 2 = sigmoid(2 u).
_SLOPE = 2 * math.sqrt(2 / math.pi)
_CUBE = 0.044715


def relu(x: mtf.Tensor) -> mtf.Tensor:
  """Upstream's ReLU; its gradient reads the result, which is kept anyway."""
  return mtf.cwise(tf.nn.relu, [x], grad_function=_relu_gradient, name="relu")


def gelu(x: mtf.Tensor) -> mtf.Tensor:
  """Upstream's GELU; its gradient reads nothing but x.

  Args:
    x: any dimensions; bfloat16 is rounded once, at the end.

  Returns:
    as x.
  """
  return mtf.cwise(_gelu, [x], grad_function=_gelu_gradient, name="gelu")


def function_of(name: str | Callable) -> str | Callable:
  """The function of this module for the name of an activation.

  Args:
    name: a name that Mesh TensorFlow knows, or a function.

  Returns:
    a function; or the argument, where upstream's function is good enough.
  """
  return {"relu": relu, "gelu": gelu}.get(name, name)


def functions_of(
    activation: str | Callable | Sequence[str | Callable],
) -> str | Callable | list[str | Callable]:
  """The same for the option of a layer, one name or a list of factors."""
  if isinstance(activation, (list, tuple)):
    return [function_of(name) for name in activation]
  return function_of(activation)


def _relu_gradient(op, y_gradient):
  return [
      mtf.cwise(
          lambda gradients, features: tf.raw_ops.ReluGrad(
              gradients=gradients, features=features
          ),
          [y_gradient, op.outputs[0]],
          name="relu_gradient",
      )
  ]


def _gelu(x: tf.Tensor) -> tf.Tensor:
  dtype, x = x.dtype, tf.cast(x, tf.float32)
  y = x * tf.sigmoid(x * (_SLOPE + _SLOPE * _CUBE * tf.square(x)))
  return tf.cast(y, dtype)


def _gelu_gradient(op, y_gradient):
  def gradient(y_gradient, x):
    dtype, x = x.dtype, tf.cast(x, tf.float32)
    square = tf.square(x)
    gate = tf.sigmoid(x * (_SLOPE + _SLOPE * _CUBE * square))
    # The derivative of the sigmoid's argument, times x.
    slope = x * (_SLOPE + 3 * _SLOPE * _CUBE * square)
    derivative = gate * (1.0 + slope * (1.0 - gate))
    return tf.cast(tf.cast(y_gradient, tf.float32) * derivative, dtype)

  return [mtf.cwise(gradient, [y_gradient, *op.inputs], name="gelu_gradient")]
