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

"""Version 0.2.0's optimizer, which makes 13 passes over whole tensors.

The benchmark's measure for the one in the package. For a mesh of one device.
"""

import gin
import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf


@gin.configurable(module="benchmarks")
class WholeTensorAdafactor(mtf.optimize.AdafactorOptimizer):
  """Adafactor with operations on whole weights and gradients."""

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

    def slot(name, reduced):
      slot = mtf.get_variable(
          var.mesh,
          f"{var.name}_slot_{name}",
          var.shape - reduced,
          initializer=tf.zeros_initializer(),
          trainable=False,
      )
      mean = mtf.reduce_mean(square, output_shape=var.shape - reduced)
      new = slot * self._decay_rate + (mean + self._epsilon1) * mixing_rate
      return new, mtf.assign(slot, new)

    with tf.variable_scope(f"{var.name}/adafactor"):
      square = mtf.square(grad)
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
      if self._clipping_threshold is not None:
        # The mean square of the step, without making the step.
        inner, outer = row_factor, column_factor
        if largest == var.shape.dims[-1]:
          inner, outer = column_factor, row_factor
        total = mtf.einsum([square, inner], output_shape=outer.shape) * outer
        rms = mtf.sqrt(mtf.reduce_sum(total) / var.shape.size)
        scale /= mtf.maximum(1.0, rms / self._clipping_threshold)
      step = grad * (mtf.sqrt(row_factor) * scale) * mtf.sqrt(column_factor)
      # Subtracted from the stored value: one in bfloat16 would be rounded again
      # in each step.
      return [row_update, column_update, mtf.assign_sub(var, step)]

  def _parameter_scale(self, var):
    # slicewise takes no output shape without dimensions.
    one = mtf.Dimension("one", 1)
    sum_of_squares = mtf.slicewise(
        lambda x: tf.reshape(2.0 * tf.nn.l2_loss(x), [1]),
        [var],
        output_shape=mtf.Shape([one]),
        output_dtype=var.dtype,
        splittable_dims=[],
    )
    mean_square = mtf.reduce_sum(sum_of_squares) / var.shape.size
    return mtf.maximum(mtf.sqrt(mean_square), self._epsilon2)
