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

"""T5's optimizer, with fewer passes over weights and gradients.

Upstream's reads or writes tensors of a weight's size some 23 times an update,
which takes as long as a forward pass for a model of many experts. This one does
so some 7 times on CPUs, in blocks that fit the cache, and some 13 times
elsewhere, with the same results.
"""

import functools

import gin
import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.mesh import splits
from mtf_switch.transformer import blocks as blocks_lib


@gin.configurable(module="mtf_switch")
class Adafactor(mtf.optimize.AdafactorOptimizer):
  """Upstream's AdafactorOptimizer, configured by its gin names too."""

  def apply_grad(self, grad, var):
    """The assignments that make a step (Shazeer and Stern 2018, algorithm 4).

    Args:
      grad: the gradient, of the shape of var; or None.
      var: an mtf.Variable.

    Returns:
      a list of mtf.Operations.
    """
    factored_dims = self._factored_dims(var.shape)
    if grad is None or not factored_dims or self._beta1:
      return super().apply_grad(grad, var)
    largest, second = factored_dims
    grad = mtf.to_float(grad)
    mixing_rate = 1.0 - self._decay_rate
    with tf.variable_scope(f"{var.name}/adafactor"):
      is_in_blocks = self._is_in_blocks(var, factored_dims)
      passes = (_InBlocks if is_in_blocks else _Whole)(grad)

    def slot(name, reduced):
      slot = mtf.get_variable(
          var.mesh,
          f"{var.name}_slot_{name}",
          var.shape - reduced,
          initializer=tf.zeros_initializer(),
          trainable=False,
      )
      mean = passes.mean_square(reduced)
      new = slot * self._decay_rate + (mean + self._epsilon1) * mixing_rate
      return new, mtf.assign(slot, new)

    row, row_update = slot("vr", largest)
    column, column_update = slot("vc", second)
    with tf.variable_scope(f"{var.name}/adafactor"):
      # The step is the gradient times the roots of these two and of a scale.
      row_factor = mtf.reduce_mean(row, reduced_dim=second) / row
      column_factor = mtf.reciprocal(column)
      scale = self._learning_rate
      if self._multiply_by_parameter_scale and not any(
          part in var.name for part in self._exclude_from_parameter_scale
      ):
        scale *= self._parameter_scale(mtf.to_float(var.value))
      # In the order of the weight's last two dimensions.
      factors = row_factor, column_factor
      if largest != var.shape.dims[-1]:
        factors = column_factor, row_factor
      if self._clipping_threshold is not None:
        # The mean square of the step, without making the step.
        rms = mtf.sqrt(passes.sum_of_squares(*factors) / var.shape.size)
        scale /= mtf.maximum(1.0, rms / self._clipping_threshold)
      roots = [mtf.sqrt(factor) for factor in factors]
      update = passes.update(var, roots[0] * scale, roots[1])
      return [row_update, column_update, update]

  def _is_in_blocks(self, var, factored_dims) -> bool:
    """Whether a weight is updated in blocks: large matrices, on CPUs.

    Compilers of other devices need no blocks.
    """
    return (
        set(factored_dims) == set(var.shape.dims[-2:])
        and var.shape.size > blocks_lib.MOST_ENTRIES
        and splits.is_on_cpu()
    )

  def _parameter_scale(self, var):
    if self._stacked_dim_names:
      return super()._parameter_scale(var)
    mean_square = _SumOfSquares(var).outputs[0] / var.shape.size
    return mtf.maximum(mtf.sqrt(mean_square), self._epsilon2)


class _Whole:
  """The passes over a gradient, as operations of Mesh TensorFlow."""

  def __init__(self, grad):
    self._grad = grad
    self._square = mtf.square(grad)

  def mean_square(self, reduced):
    """The mean of the squares over a dimension."""
    return mtf.reduce_mean(
        self._square, output_shape=self._grad.shape - reduced
    )

  def sum_of_squares(self, outer, inner):
    """The sum of the squares times two factors."""
    total = mtf.einsum([self._square, inner], output_shape=outer.shape) * outer
    return mtf.reduce_sum(total)

  def update(self, var, outer, inner):
    """Subtracts the gradient times two factors."""
    # From the stored value: one in bfloat16 would be rounded again in each
    # step.
    return mtf.assign_sub(var, self._grad * outer * inner)


class _InBlocks(_Whole):
  """The same, of blocks of matrices' rows: some 7 passes through memory."""

  # pylint: disable-next=super-init-not-called
  def __init__(self, grad):
    self._grad = grad
    over_columns, over_rows = _SquaresByRowAndColumn(grad).outputs
    rows_dim, columns_dim = grad.shape.dims[-2:]
    self._sums = {columns_dim: over_columns, rows_dim: over_rows}

  def mean_square(self, reduced):
    return self._sums[reduced] / reduced.size

  def sum_of_squares(self, outer, inner):
    return _WeightedSumOfSquares(self._grad, outer, inner).outputs[0]

  def update(self, var, outer, inner):
    if var.activation_dtype != tf.float32 or var.slice_dtype != tf.float32:
      return super().update(var, outer, inner)
    new = _SubtractScaled(var.value, self._grad, outer, inner)
    return mtf.assign(var, new.outputs[0])


class _OfMatrices(operations.Operation):
  """A function of a tensor's last two dimensions, in blocks of rows."""

  def __init__(self, inputs, shapes, name):
    super().__init__(inputs, name=name)
    self._outputs = [mtf.Tensor(self, shape, tf.float32) for shape in shapes]
    self._splittable_dims, self._unsplittable_dims = (
        self._initialize_all_dimensions_as_splittable()
    )

  def _of_slices(self, lowering, fn):
    """Applies a function of slices and of the blocks of each matrix."""
    mesh_impl = lowering.mesh_impl(self)
    rows, columns = mesh_impl.slice_shape(self.inputs[0].shape)[-2:]
    blocks = rows // blocks_lib.rows_of_block(rows, columns)
    return mesh_impl.slicewise(
        functools.partial(fn, blocks=blocks),
        *(lowering.tensors[x] for x in self.inputs),
    )


class _SquaresByRowAndColumn(_OfMatrices):
  """The sums of a tensor's squares over its last and its last but one axis."""

  def __init__(self, x):
    *_, rows_dim, columns_dim = x.shape.dims
    shapes = [x.shape - columns_dim, x.shape - rows_dim]
    super().__init__([x], shapes, "sums_of_squares")

  def lower(self, lowering):
    (x,) = self.inputs
    parts = self._of_slices(lowering, blocks_lib.sums_of_squares)
    *_, rows_dim, columns_dim = x.shape.dims
    for part, output, summed in zip(
        parts, self.outputs, (columns_dim, rows_dim)
    ):
      operations.add_over_cores(
          lowering,
          lowering.mesh_impl(self),
          part,
          output,
          mtf.Shape([summed]),
          self.name,
      )


class _WeightedSumOfSquares(_OfMatrices):
  """The sum of a tensor's squares times a factor of its row and its column."""

  def __init__(self, x, by_row, by_column):
    inputs = [x, by_row, by_column]
    super().__init__(inputs, [mtf.Shape([])], "weighted_sum_of_squares")

  def lower(self, lowering):
    part = self._of_slices(lowering, blocks_lib.weighted_sum_of_squares)
    operations.add_over_cores(
        lowering,
        lowering.mesh_impl(self),
        part,
        self.outputs[0],
        self.inputs[0].shape,
        self.name,
    )


class _SubtractScaled(_OfMatrices):
  """A tensor minus another, which is scaled by rows and by columns."""

  def __init__(self, x, y, by_row, by_column):
    inputs = [x, y, by_row, by_column]
    super().__init__(inputs, [x.shape], "subtract_scaled")

  def lower(self, lowering):
    lowering.set_tensor_lowering(
        self.outputs[0],
        self._of_slices(lowering, blocks_lib.subtract_scaled),
    )


class _SumOfSquares(operations.Operation):
  """The sum of a tensor's squares, which are not stored."""

  def __init__(self, x):
    super().__init__([x], name="sum_of_squares")
    self._outputs = [mtf.Tensor(self, mtf.Shape([]), x.dtype)]
    self._splittable_dims, self._unsplittable_dims = (
        self._initialize_all_dimensions_as_splittable()
    )

  def lower(self, lowering):
    mesh_impl = lowering.mesh_impl(self)
    (x,) = self.inputs
    y = mesh_impl.slicewise(
        lambda x: 2.0 * tf.nn.l2_loss(x), lowering.tensors[x]
    )
    operations.add_over_cores(
        lowering, mesh_impl, y, self.outputs[0], x.shape, "sum_of_squares"
    )
