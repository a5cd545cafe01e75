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

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations


def per_expert_matmul(
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


def ragged_matmul(
    x: mtf.Tensor,
    weights: mtf.Tensor,
    new_dim: mtf.Dimension,
    end_of_expert: mtf.Tensor,
) -> mtf.Tensor:
  """Multiplies rows that are sorted by expert, however many each expert has.

  Args:
    x: `[..., d_input]`, not split; row after row those of the first expert,
      of the second, and so on, and then rows of zeros.
    weights: `[num_experts, d_input, new_dim]`, not split.
    new_dim: the output dimension.
    end_of_expert: `[num_experts]` int32, the rows of all experts up to each.

  Returns:
    `[..., new_dim]`, the last rows zeros too.
  """

  def multiplications(slice_size):
    # Rows times matrices; the gradients are products of the same sizes.
    return slice_size([*x.shape.dims, new_dim])

  def rows(x):
    return tf.reshape(x, [-1, x.shape[-1]])

  def per_expert(fn, ends, size, **kwargs):
    """Calls fn with each expert and its rows' indices, several at a time."""
    begins = tf.concat([[0], ends[:-1]], axis=0)
    num_experts = ends.shape[0]
    _, results = tf.while_loop(
        lambda expert, _: expert < num_experts,
        lambda expert, results: (
            expert + 1,
            results.write(
                expert, fn(expert, slice(begins[expert], ends[expert]))
            ),
        ),
        [0, tf.TensorArray(x.dtype, size=size, **kwargs)],
    )
    return results

  def multiply(x, weights, ends, transpose=False):
    x_rows = rows(x)
    d_output = weights.shape[1 if transpose else 2]
    results = per_expert(
        lambda expert, own: tf.matmul(
            x_rows[own], weights[expert], transpose_b=transpose
        ),
        ends,
        ends.shape[0] + 1,
        infer_shape=False,
        element_shape=[None, d_output],
    )
    rest = tf.zeros([x_rows.shape[0] - ends[-1], d_output], x.dtype)
    y = results.write(ends.shape[0], rest).concat()
    return tf.reshape(y, [*x.shape[:-1], d_output])

  def of_weights(x, y_gradient, ends):
    x, y_gradient = rows(x), rows(y_gradient)
    return per_expert(
        lambda expert, own: tf.matmul(
            x[own], y_gradient[own], transpose_a=True
        ),
        ends,
        ends.shape[0],
        element_shape=[x.shape[-1], y_gradient.shape[-1]],
    ).stack()

  def gradient(op, y_gradient):
    x, weights, ends = op.inputs
    return [
        operations.slicewise(
            functools.partial(multiply, transpose=True),
            [y_gradient, weights, ends],
            output_shape=x.shape,
            multiplications=multiplications,
            splittable_dims=[],
            name="ragged_matmul_inputs",
        ),
        operations.slicewise(
            of_weights,
            [x, y_gradient, ends],
            output_shape=weights.shape,
            output_dtype=weights.dtype,
            multiplications=multiplications,
            splittable_dims=[],
            name="ragged_matmul_weights",
        ),
        None,
    ]

  return operations.slicewise(
      multiply,
      [x, weights, end_of_expert],
      output_shape=x.shape.dims[:-1] + [new_dim],
      multiplications=multiplications,
      splittable_dims=[],
      grad_function=gradient,
      name="ragged_matmul",
  )


def feed_forward(
    expert_inputs: mtf.Tensor,
    num_experts: mtf.Dimension,
    d_ff: mtf.Dimension | None,
    d_output: mtf.Dimension,
    activation: str | Sequence[str],
    dropout_rate: float,
    is_training: bool,
    kernel_initializer: mtf.layers.DenseInitializer,
    variable_dtype: mtf.VariableDType,
    matmul: Callable[..., mtf.Tensor] = per_expert_matmul,
) -> mtf.Tensor:
  """Applies each expert to its own slots (section 2, Figure 16).

  Unique parameters: num_experts * d_model * d_ff * 2, or * 3 when gated.

  Args:
    expert_inputs: [num_experts`, num_cores_unsplit, expert_capacity, d_model],
      or in whatever form matmul takes the slots.
    num_experts: the dimension of the experts.
    d_ff: the inner dimension; None for linear experts, of one matrix each
      (Appendix A).
    d_output: the output dimension.
    activation: "relu" for y = ReLU(x W_in) W_out (section 2.1); a list of
      names multiplies as many projections, ["gelu", "linear"] being GEGLU.
    dropout_rate: of the inner activations (expert dropout, section 2.4).
    is_training: whether to drop.
    kernel_initializer: of all weights.
    variable_dtype: of all weights; the arithmetic is in its activation_dtype.
    matmul: of slots, weights and the output dimension.

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
    return matmul(x, weights, d_out)

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
      hidden = mtf.dropout(hidden, is_training, rate=dropout_rate)
      outputs = dense(hidden, "wo", d_ff, d_output)
  return mtf.cast(outputs, expert_inputs.dtype)


def _activate(x: mtf.Tensor, name: str) -> mtf.Tensor:
  if name == "linear":
    return x
  if name == "relu":
    # Upstream's has a gradient in three passes over the tensor.
    return mtf.cwise(tf.nn.relu, [x], grad_function=_relu_gradient, name="relu")
  return getattr(mtf, name)(x)


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
