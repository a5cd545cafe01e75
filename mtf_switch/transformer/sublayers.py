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

"""Upstream's sublayers, in fewer passes over the activations.

Gin files name upstream's functions; SwitchLayerStack takes those of this module
in their place, by `replacement_of`. The variables, their names and the numbers
are upstream's, up to rounding.
"""

from collections.abc import Callable
import copy

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
from mesh_tensorflow.transformer import transformer_layers
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.layer import activations
from mtf_switch.mesh import splits


def mask_padding(x: mtf.Tensor, layer_stack, context) -> mtf.Tensor:
  """Puts zeros in the place of padding, NaN and Inf included.

  Upstream multiplies by a mask, which Grappler multiplies by the scale of the
  norm first: a product of [batch, length, d_model] for each layer, kept for the
  backward pass.

  Args:
    x: [batch, length, d_model].
    layer_stack: as upstream's.
    context: a transformer.Context.

  Returns:
    as x.
  """
  if not isinstance(context.sequence_id, mtf.Tensor) or splits.is_on_tpu():
    return transformer.sublayer_mask_padding(x, layer_stack, context)
  return select(x, mtf.not_equal(context.sequence_id, 0))


def select(x: mtf.Tensor, is_kept: mtf.Tensor) -> mtf.Tensor:
  """The entries of a tensor that are kept, and exact zeros elsewhere.

  Args:
    x: any dimensions.
    is_kept: bool, of dimensions of x in their order.

  Returns:
    as x. The gradient is selected in the same way.
  """
  axes = tuple(
      slice(None) if d in is_kept.shape.dims else tf.newaxis
      for d in x.shape.dims
  )

  def selected(x, is_kept):
    return tf.where_v2(is_kept[axes], x, tf.zeros([], x.dtype))

  def gradient(op, y_gradient):
    return [select(y_gradient, op.inputs[1]), None]

  return operations.slicewise(
      selected,
      [x, is_kept],
      multiplications=None,
      splittable_dims=x.shape.dims,
      grad_function=gradient,
      name="select",
  )


def call_layer(x: mtf.Tensor, layer_stack, context) -> mtf.Tensor:
  """Calls the layer, as upstream's sublayer_call_layer.

  Args:
    x: `[batch, ..., d_model]`.
    layer_stack: as upstream's.
    context: a transformer.Context, which knows the layer.

  Returns:
    as x.
  """
  x = mask_padding(x, layer_stack, context)
  layer = context.current_layer
  if isinstance(layer, transformer_layers.DenseReluDense):
    layer = copy.copy(layer)
    layer.activation = activations.functions_of(layer.activation)
  with tf.variable_scope(type(layer).__name__):
    return layer.call(context, x)


def rms_norm(x: mtf.Tensor, layer_stack, context) -> mtf.Tensor:
  """Normalizes activations, as upstream's sublayer_rms_norm by default."""
  d_model = context.model.model_dim
  if context.model.ensemble_dims or not splits.are_whole(
      context.model, [d_model]
  ):
    return transformer.sublayer_rms_norm(x, layer_stack, context)
  with tf.variable_scope("rms_norm"):
    scale = mtf.get_variable(
        context.mesh,
        "scale",
        mtf.Shape([d_model]),
        initializer=tf.ones_initializer(),
        dtype=context.variable_dtype,
    )
    return normalize(x, scale)


def normalize(
    x: mtf.Tensor, scale: mtf.Tensor, epsilon: float = 1e-6
) -> mtf.Tensor:
  """Divides vectors by their root mean square (arXiv 1910.07467).

  Args:
    x: `[..., d_model]`; d_model is not split.
    scale: `[d_model]`, a factor of the results.
    epsilon: added to the mean square.

  Returns:
    as x; the arithmetic is in float32.
  """
  *tokens, d_model = x.shape.dims

  def forward(x, scale):
    dtype, x = x.dtype, tf.cast(x, tf.float32)
    mean = tf.reduce_mean(tf.square(x), axis=-1)
    factor = tf.rsqrt(mean + epsilon)
    y = x * factor[..., tf.newaxis] * tf.cast(scale, tf.float32)
    return tf.cast(y, dtype), factor

  def backward(x, scale, factor, y_gradient):
    dtype = x.dtype
    x, scale, y_gradient = (
        tf.cast(t, tf.float32) for t in (x, scale, y_gradient)
    )
    factor = factor[..., tf.newaxis]
    product = x * y_gradient
    # The mean of x * scale * y_gradient over d_model.
    mean = tf.reshape(
        tf.matmul(
            tf.reshape(product, [-1, d_model.size]), scale[:, tf.newaxis]
        ),
        factor.shape,
    ) * (1 / d_model.size)
    x_gradient = factor * (y_gradient * scale - x * (mean * tf.square(factor)))
    return tf.cast(x_gradient, dtype), product

  def gradient(op, y_gradient, _):
    x, scale = op.inputs
    factor = op.outputs[1]
    x_gradient, product = operations.slicewise(
        backward,
        [x, scale, factor, y_gradient],
        output_shape=[x.shape, x.shape],
        output_dtype=[x.dtype, tf.float32],
        multiplications=None,  # Products with a vector do not count.
        splittable_dims=tokens,
        name="normalize_gradient",
    )
    scale_gradient = mtf.einsum([product, factor], output_shape=scale.shape)
    return [x_gradient, mtf.cast(scale_gradient, scale.dtype)]

  y, _ = operations.slicewise(
      forward,
      [x, scale],
      output_shape=[x.shape, mtf.Shape(tokens)],
      output_dtype=[x.dtype, tf.float32],
      multiplications=None,
      splittable_dims=tokens,
      grad_function=gradient,
      name="normalize",
  )
  return y


_REPLACEMENTS = {
    transformer.sublayer_mask_padding: mask_padding,
    transformer.sublayer_call_layer: call_layer,
    transformer.sublayer_rms_norm: rms_norm,
}


def replacement_of(sublayer: Callable) -> Callable:
  """This module's form of a sublayer; the argument itself if there is none.

  Args:
    sublayer: what gin makes of a sublayer's name. One that has options of its
      own, or a scope that may have some, stays as it is: it alone reads them.
  """
  if sublayer not in _REPLACEMENTS or gin.get_bindings(sublayer):
    return sublayer
  return _REPLACEMENTS[sublayer]
