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

"""The experts: one feed-forward network each, with weights of their own."""

from collections.abc import Callable, Sequence
import functools
from typing import Annotated, Literal

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch import random_bits
from mtf_switch import values
from mtf_switch.layer import activations

# "linear", and functions of Mesh TensorFlow.
ActivationName = Literal[
    "linear", "relu", "gelu", "swish", "sigmoid", "tanh", "softplus",
    "squared_relu", "leaky_relu", "elu", "selu", "identity", "abs", "square",
    "exp", "sin", "cos",
]  # fmt: skip
Activation = (
    ActivationName
    | Annotated[
        Sequence[ActivationName], values.NOT_EMPTY, "a list of such names"
    ]
)


def multiply_slots(
    x: mtf.Tensor, weights: mtf.Tensor, new_dim: mtf.Dimension
) -> mtf.Tensor:
  """Multiplies the slots of each expert by its own matrix.

  Args:
    x: [num_experts`, num_cores_unsplit, expert_capacity, d_input].
    weights: `[num_experts, d_input, new_dim]`.
    new_dim: the output dimension.

  Returns:
    [num_experts`, num_cores_unsplit, expert_capacity, new_dim].
  """
  return mtf.einsum([x, weights], output_shape=x.shape.dims[:-1] + [new_dim])


def feed_forward(
    expert_inputs: mtf.Tensor,
    num_experts: mtf.Dimension,
    d_ff: mtf.Dimension | None,
    d_output: mtf.Dimension,
    activation: str | Sequence[str],
    dropout_rate: float,
    kernel_initializer: mtf.layers.DenseInitializer,
    variable_dtype: mtf.VariableDType,
    multiply: Callable[..., mtf.Tensor],
    choices: Callable[[], mtf.Tensor],
) -> mtf.Tensor:
  """Applies each expert to its own tokens (section 2, Figure 16).

  Unique parameters: num_experts * d_model * d_ff * 2, or * 3 when gated.

  Args:
    expert_inputs: `[..., d_model]`, in the form of a dispatcher.
    num_experts: the dimension of the experts.
    d_ff: the inner dimension; None for linear experts, of one matrix each
      (Appendix A).
    d_output: the output dimension.
    activation: "relu" for y = ReLU(x W_in) W_out (section 2.1); a list of
      names multiplies as many projections, ["gelu", "linear"] being GEGLU.
    dropout_rate: of the inner activations (expert dropout, section 2.4); 0
      outside training.
    kernel_initializer: of all weights.
    variable_dtype: of all weights; the arithmetic is in its activation_dtype.
    multiply: the dispatcher's product by expert.
    choices: the dispatcher's choices, by which units are dropped.

  Returns:
    as expert_inputs, with d_output for d_model and in the same dtype.
  """
  d_model = expert_inputs.shape.dims[-1]
  x = mtf.cast(expert_inputs, variable_dtype.activation_dtype)

  def dense(x, name, d_in, d_out):
    with tf.variable_scope(name):
      weights = mtf.get_variable(
          x.mesh,
          "kernel",
          mtf.Shape([num_experts, d_in, d_out]),
          initializer=kernel_initializer([d_in], [d_out]),
          dtype=variable_dtype,
      )
    return multiply(x, weights, d_out)

  with tf.variable_scope("experts"):
    if d_ff is None:
      # A matrix cannot have two dimensions of one name.
      linear_output = mtf.Dimension("d_output", d_output.size)
      outputs = mtf.rename_dimension(
          dense(x, "linear", d_model, linear_output),
          linear_output.name,
          d_output.name,
      )
    else:
      names = [activation] if isinstance(activation, str) else list(activation)
      factors = []
      for i, name in enumerate(names):
        scope = "wi" if len(names) == 1 else f"wi_{i}"
        factor = dense(x, scope, d_model, d_ff)
        factors.append(_activate(factor, name))
      hidden = functools.reduce(mtf.multiply, factors)
      if dropout_rate:
        hidden = drop_units(hidden, choices(), dropout_rate)
      outputs = dense(hidden, "wo", d_ff, d_output)
  return mtf.cast(outputs, expert_inputs.dtype)


def drop_units(x: mtf.Tensor, choices: mtf.Tensor, rate: float) -> mtf.Tensor:
  """Dropout that is a function of the token's choice, wherever its row is.

  The units that a choice loses depend neither on the strategy that moves it,
  nor on the slot that it gets, nor on the mesh. Each core draws for the rows
  that it has, and can do so again for the gradient.

  Args:
    x: `[..., d_ff]`.
    choices: `[...]` int32, the numbers of the choices.
    rate: the share of units that are dropped, rounded to a multiple of 2^-32.

  Returns:
    as x, what is kept being divided by 1 - rate.
  """
  key = mtf.random_uniform(
      x.mesh,
      [mtf.Dimension("key", 2)],
      # Meshes of TPUs draw multiples of 2^-24 and scale them.
      maxval=2**24,
      dtype=tf.int32,
  )
  threshold = round(rate * 2**32)
  scale = 1 / (1 - rate)

  def drop(x, choices, units, key):
    bits = random_bits.at(key, [choices[..., tf.newaxis], units])
    kept = bits >= tf.constant(threshold, tf.uint32)
    return tf.where_v2(kept, x * tf.cast(scale, x.dtype), tf.zeros([], x.dtype))

  def dropped(x, *draws):
    return operations.slicewise(
        drop,
        [x, *draws],
        multiplications=None,
        splittable_dims=x.shape.dims,
        grad_function=gradient,
        name="expert_dropout",
    )

  def gradient(op, y_gradient):
    return [dropped(y_gradient, *op.inputs[1:]), None, None, None]

  return dropped(
      x,
      choices,
      mtf.range(x.mesh, x.shape.dims[-1], tf.int32),
      # Recomputation clones what is made of draws, and lets no gradient use the
      # draws themselves.
      mtf.stop_gradient(key),
  )


def _activate(x: mtf.Tensor, name: str) -> mtf.Tensor:
  if name == "linear":
    return x
  function = activations.function_of(name)
  return function(x) if callable(function) else getattr(mtf, name)(x)
