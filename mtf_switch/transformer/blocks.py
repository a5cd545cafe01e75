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

"""Adafactor's functions of matrices, in blocks of rows that fit the cache.

What is computed of a block on the way to its result stays in the cache and is
never stored for the whole tensor.
"""

from collections.abc import Callable, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.framework import function

# Entries of a block: its parts of two tensors, and a result, in a megabyte
# each. A block of fewer than the least takes longer to start than to compute.
MOST_ENTRIES = 2**18
LEAST_ENTRIES = 2**14


def rows_of_block(rows: int, columns: int) -> int:
  """The rows of a matrix's blocks, all of which have as many.

  Args:
    rows: of the matrix.
    columns: of the matrix.

  Returns:
    the most rows that divide the matrix and fit the cache; all of them if these
    would be too few.
  """
  most = max(
      (
          n
          for n in range(1, min(rows, MOST_ENTRIES // columns) + 1)
          if not rows % n
      ),
      default=rows,
  )
  return most if most * columns >= LEAST_ENTRIES else rows


def sums_of_squares(x: tf.Tensor, blocks: int) -> tuple[tf.Tensor, tf.Tensor]:
  """The sums over the columns and over the rows of a tensor's squares.

  Args:
    x: float32 `[..., rows, columns]`.
    blocks: of each matrix; they divide the rows.

  Returns:
    float32 `[..., rows]` and `[..., columns]`.
  """
  *outer, rows, columns = x.shape.as_list()

  def of_block(x):
    squares = tf.square(x)
    # TensorFlow's fastest sum over rows.
    over_rows = tf.raw_ops.BiasAddGrad(out_backprop=squares)
    return tf.reduce_sum(squares, 1), over_rows

  over_columns, over_rows = _map(
      of_block,
      [tf.reshape(x, [-1, rows // blocks, columns])],
      [[rows // blocks], [columns]],
  )
  over_rows = tf.reduce_sum(tf.reshape(over_rows, [-1, blocks, columns]), 1)
  return (
      tf.reshape(over_columns, [*outer, rows]),
      tf.reshape(over_rows, [*outer, columns]),
  )


def weighted_sum_of_squares(
    x: tf.Tensor, by_row: tf.Tensor, by_column: tf.Tensor, blocks: int
) -> tf.Tensor:
  """The sum of x^2, each entry times a factor of its row and of its column.

  Args:
    x: float32 `[..., rows, columns]`.
    by_row: float32 `[..., rows]`.
    by_column: float32 `[..., columns]`.
    blocks: of each matrix; they divide the rows.

  Returns:
    a float32 scalar.
  """

  def of_block(x, by_row, by_column):
    # A product with a matrix of one column waits for threads of other blocks.
    over_columns = tf.reduce_sum(tf.square(x) * by_column, 1)
    return (tf.reduce_sum(over_columns * by_row),)

  (sums,) = _map(of_block, _split([x], by_row, by_column, blocks), [[]])
  return tf.reduce_sum(sums)


def subtract_scaled(
    x: tf.Tensor,
    y: tf.Tensor,
    by_row: tf.Tensor,
    by_column: tf.Tensor,
    blocks: int,
) -> tf.Tensor:
  """x - y, with y times a factor of its row and of its column.

  Args:
    x: float32 `[..., rows, columns]`.
    y: of x's shape.
    by_row: float32 `[..., rows]`.
    by_column: float32 `[..., columns]`.
    blocks: of each matrix; they divide the rows.

  Returns:
    a tensor of x's shape.
  """

  def of_block(x, y, by_row, by_column):
    return (x - y * by_row[:, tf.newaxis] * by_column,)

  args = _split([x, y], by_row, by_column, blocks)
  (result,) = _map(of_block, args, [args[0].shape.as_list()[1:]])
  return tf.reshape(result, x.shape)


def _split(matrices, by_row, by_column, blocks: int) -> list[tf.Tensor]:
  """Tensors with one axis of blocks, and each block's factors."""
  *_, rows, columns = matrices[0].shape.as_list()
  block = [-1, rows // blocks, columns]
  of_blocks = tf.repeat(tf.reshape(by_column, [-1, columns]), blocks, axis=0)
  return [
      *(tf.reshape(x, block) for x in matrices),
      tf.reshape(by_row, block[:2]),
      of_blocks,
  ]


def _map(
    fn: Callable[..., tuple[tf.Tensor, ...]],
    args: Sequence[tf.Tensor],
    shapes: Sequence[Sequence[int]],
) -> Sequence[tf.Tensor]:
  """Applies a function to slices along the first axis, several at a time.

  A while loop in its place takes longer than the whole tensor at once.

  Args:
    fn: a function of slices, the same for all callers of its name.
    args: float32 `[n, ...]`, not all of them small.
    shapes: of fn's results.

  Returns:
    float32 `[n, *shape]` for each shape.
  """
  graph = tf.get_default_graph()
  sizes = ["x".join(map(str, x.shape.as_list()[1:])) for x in args]
  name = "_".join(["blocks", *fn.__qualname__.split(".")[:1], *sizes])
  if not graph._is_function(name):  # pylint: disable=protected-access

    def of_slices(*slices):
      for x, arg in zip(slices, args):
        x.set_shape(arg.shape[1:])
      return fn(*slices)

    types = [tf.float32] * len(args)
    function.Defun(*types, func_name=name)(of_slices).add_to_graph(graph)
  return tf.raw_ops.MapDefun(
      arguments=args,
      captured_inputs=[],
      output_types=[tf.float32] * len(shapes),
      output_shapes=shapes,
      f=attr_value_pb2.NameAttrList(name=name),
      max_intra_op_parallelism=1,
  )
