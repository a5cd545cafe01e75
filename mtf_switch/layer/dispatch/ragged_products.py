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

"""Products of rows that are sorted by expert, however many each expert has.

The results of experts are written in place. tf.TensorArray would hold them and
copy all of them once more: for the gradient of weights, as much as the weights.
"""

from collections.abc import Callable
import functools

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.layer.dispatch import places

# Each holds its result until it is written.
_EXPERTS_AT_ONCE = 4


def ragged_matmul(
    x: mtf.Tensor,
    weights: mtf.Tensor,
    new_dim: mtf.Dimension,
    end_of_expert: mtf.Tensor,
    rows: places.Places | None = None,
) -> mtf.Tensor:
  """Multiplies the rows of each expert by its own matrix.

  Args:
    x: [num_cores`, rows, d_input]; on each core, row after row, those of the
      first expert, of the second, and so on, and then rows of zeros. Or
      [num_cores`, tokens_per_core, d_input], if `rows` has the tokens' rows:
      those are copied expert by expert, and again in the backward pass, instead
      of being kept.
    weights: `[num_experts, d_input, new_dim]`, not split.
    new_dim: the output dimension.
    end_of_expert: `[num_cores, num_experts]` int32, the rows of a group for all
      experts up to each.
    rows: of the tokens' choices; None if x has rows.

  Returns:
    [num_cores`, rows, new_dim], the last rows zeros.
  """
  groups = end_of_expert.shape.dims[:-1]
  row_dims = rows.choice_at.shape.dims if rows else x.shape.dims[:-1]
  product = functools.partial(
      operations.slicewise,
      # Rows times matrices; the gradients are products of the same sizes.
      multiplications=lambda slice_size: slice_size(
          [*row_dims, *weights.shape.dims[1:]]
      ),
      splittable_dims=groups,
  )

  def gradient(op, y_gradient):
    # The operation's inputs: a recomputed one has its own.
    x, weights, ends, *of_op = op.inputs
    x_gradient = product(
        functools.partial(_multiply, transpose=True),
        [y_gradient, weights, ends],
        output_shape=row_dims + x.shape.dims[-1:],
        name="ragged_matmul_inputs",
    )
    if of_op:
      x_gradient = places.add_choices(
          x_gradient, places.Places(*of_op), x.shape, groups
      )
    weights_gradient = product(
        _multiply_transposed,
        [x, y_gradient, ends, *of_op],
        output_shape=weights.shape,
        output_dtype=weights.dtype,
        summed_dims=groups,
        name="ragged_matmul_weights",
    )
    return [x_gradient, weights_gradient] + [None] * (1 + len(of_op))

  return product(
      _multiply,
      [x, weights, end_of_expert, *(rows or ())],
      output_shape=row_dims + [new_dim],
      grad_function=gradient,
      name="ragged_matmul",
  )


# What follows works on the slice of a core.


def _multiply(x, weights, ends, *rows, transpose=False):
  """Each expert's rows times its matrix, or its matrix transposed."""
  read = _reader(x, *rows)
  matmul = operations.matmul_transposed if transpose else tf.matmul
  row_dims = rows[1].shape if rows else x.shape[:-1]
  ends = _ends_on_core(ends)
  d_output = weights.shape[1 if transpose else 2]
  num_rows = row_dims.num_elements()

  def product(expert, begin, end):
    y = matmul(read(begin, end), weights[expert])
    return tf.range(begin, end), y

  y = _per_expert(product, ends, [num_rows, d_output], x)
  y = tf.raw_ops.InplaceUpdate(
      x=y,
      i=tf.range(ends[-1], num_rows),
      v=tf.zeros([num_rows - ends[-1], d_output], x.dtype),
  )
  return tf.reshape(y, [*row_dims, d_output])


def _multiply_transposed(x, y, ends, *rows):
  """Each expert's rows of x, transposed, times its rows of y."""
  read_x, read_y = _reader(x, *rows), _reader(y)
  ends = _ends_on_core(ends)

  def product(expert, begin, end):
    z = tf.matmul(read_x(begin, end), read_y(begin, end), transpose_a=True)
    return expert[tf.newaxis], z[tf.newaxis]

  shape = [ends.shape[0], x.shape[-1], y.shape[-1]]
  return _per_expert(product, ends, shape, y)


def _ends_on_core(ends):
  """`[num_cores, num_experts]` to `[num_experts]`, of all groups."""
  return tf.reduce_sum(tf.reshape(ends, [-1, ends.shape[-1]]), axis=0)


def _reader(x, row_of_choice=None, choice_at_row=None) -> Callable:
  """A function to read consecutive rows of x, or the tokens of those rows."""
  x = tf.reshape(x, [-1, x.shape[-1]])
  if choice_at_row is None:
    return lambda begin, end: x[begin:end]
  token_at_row = tf.reshape(choice_at_row, [-1]) // row_of_choice.shape[-1]
  return lambda begin, end: tf.gather(x, token_at_row[begin:end])


def _per_expert(product: Callable, ends, shape, operand) -> tf.Tensor:
  """Fills a tensor with the results of experts, several at a time.

  Args:
    product: from an expert and the first and last of its rows to indices of the
      first axis, and what belongs there.
    ends: `[num_experts]` int32, the rows of all experts up to each.
    shape: of the tensor.
    operand: of the products, of the same dtype.

  Returns:
    the tensor; what no expert fills has any value.
  """
  begins = tf.concat([[0], ends[:-1]], axis=0)

  def fill(expert, y):
    indices, values = product(expert, begins[expert], ends[expert])
    return expert + 1, tf.raw_ops.InplaceUpdate(x=y, i=indices, v=values)

  shape = tf.constant(shape, tf.int32)
  # Without this the memory would be taken when the step begins.
  with tf.control_dependencies([operand]):
    empty = tf.raw_ops.Empty(shape=shape, dtype=operand.dtype)
  return tf.while_loop(
      lambda expert, _: expert < ends.shape[0],
      fill,
      [0, empty],
      parallel_iterations=_EXPERTS_AT_ONCE,
  )[1]
