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

"""Attention's arithmetic, without copies of its largest tensors.

Upstream writes logits and probabilities as `[batch, length, heads, memory]`,
which is the order of no matrix product: each of the six products of a layer and
its gradient transposes one of them and takes two to ten times as long. Here
they are `[batch, heads, length, memory]`, and only the far smaller queries,
keys, values and outputs are transposed.

A query that is masked from all keys, as padding may be, gets the mean of the
values. Upstream's softmax there, exp(x - log(sum(exp(x)))) for x near -1e9, is
1 for each key, because the logarithm is lost in rounding.
"""

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations

# For fewer logits Eigen's softmax is faster than oneDNN's.
_FEW_ENTRIES = 2**14


def in_order(x: mtf.Tensor, memory_length_dim: mtf.Dimension) -> mtf.Tensor:
  """Transposes keys or values once to the order in which `attend` needs them.

  Args:
    x: `[batch, memory_length, heads, d_kv]`.
    memory_length_dim: the dimension of positions.

  Returns:
    `[batch, heads, memory_length, d_kv]`.
  """
  *dims, last = x.shape.dims
  shared = [d for d in dims if d != memory_length_dim]
  return mtf.transpose(x, mtf.Shape(shared + [memory_length_dim, last]))


def attend(
    q: mtf.Tensor,
    k: mtf.Tensor,
    v: mtf.Tensor,
    memory_length_dim: mtf.Dimension,
    key_dim: mtf.Dimension,
    value_dim: mtf.Dimension,
    bias: mtf.Tensor | None = None,
) -> mtf.Tensor:
  """Sums of values, weighted by the softmax of queries times keys.

  Dimensions that queries and keys share, such as batch and heads, may be split
  by the mesh; the others may not.

  Args:
    q: `[batch, length, heads, d_kv]`. Here and below, any other dimensions may
      take the place of batch, length and heads.
    k: `[batch, memory_length, heads, d_kv]`.
    v: `[batch, memory_length, heads, d_kv]`.
    memory_length_dim: the dimension over which the softmax is.
    key_dim: d_kv of queries and keys.
    value_dim: d_kv of values.
    bias: dimensions of `[batch, heads, length, memory_length]`, added to the
      logits; or None.

  Returns:
    `[batch, length, heads, d_kv]` in the dtype of v. The logits and the softmax
    are float32, as upstream's.
  """
  shared = [d for d in q.shape.dims if d in k.shape.dims and d != key_dim]
  queries = [d for d in q.shape.dims if d not in k.shape.dims]
  weights_shape = mtf.Shape(shared + queries + [memory_length_dim])
  inputs = [
      mtf.transpose(q, mtf.Shape(shared + queries + [key_dim])),
      mtf.transpose(k, mtf.Shape(shared + [memory_length_dim, key_dim])),
      mtf.transpose(v, mtf.Shape(shared + [memory_length_dim, value_dim])),
  ]
  if bias is not None:
    dims = [d for d in weights_shape.dims if d in bias.shape.dims]
    inputs.append(mtf.transpose(bias, mtf.Shape(dims)))
    broadcast = tuple(
        slice(None) if d in dims else tf.newaxis for d in weights_shape.dims
    )

  def multiplications(slice_size):
    return slice_size([*weights_shape.dims, key_dim]) + slice_size(
        [*weights_shape.dims, value_dim]
    )

  def matrices(x):
    """Returns a slice with all axes of queries joined in one."""
    shape = x.shape.as_list()
    return tf.reshape(x, shape[: len(shared)] + [-1, shape[-1]])

  def product(a, b, transpose_b=False):
    if queries:
      y = tf.matmul(matrices(a), matrices(b), transpose_b=transpose_b)
    else:
      # Handing a decoding step's few rows to oneDNN takes longer than the
      # product; this version of the operation stays with Eigen.
      y = tf.raw_ops.BatchMatMulV3(
          x=matrices(a), y=matrices(b), Tout=a.dtype, adj_y=transpose_b
      )
    # As a, apart from the last axis.
    return tf.reshape(y, a.shape.as_list()[:-1] + [y.shape[-1]])

  def forward(q, k, v, *bias):
    logits = product(
        tf.cast(q, tf.float32), tf.cast(k, tf.float32), transpose_b=True
    )
    for x in bias:
      logits += tf.cast(x, tf.float32)[broadcast]
    weights = _softmax(logits)
    return product(tf.cast(weights, v.dtype), v), weights

  def backward(q, k, v, outputs, weights, d_outputs):
    d_weights = product(d_outputs, v, transpose_b=True)
    d_v = tf.matmul(
        matrices(tf.cast(weights, v.dtype)),
        matrices(d_outputs),
        transpose_a=True,
    )
    # The softmax subtracts the weighted mean of d_weights, which equals the sum
    # of d_outputs * outputs, far smaller tensors.
    mean = tf.reduce_sum(
        tf.cast(d_outputs, tf.float32) * tf.cast(outputs, tf.float32),
        axis=-1,
        keepdims=True,
    )
    d_logits = weights * (tf.cast(d_weights, tf.float32) - mean)
    # As upstream's: these gradients are rounded to the dtype of q anyway.
    rounded = tf.cast(d_logits, q.dtype)
    d_q = product(rounded, k)
    d_k = tf.matmul(matrices(rounded), matrices(q), transpose_a=True)
    return d_q, d_k, d_v, d_logits

  def gradient(op, d_outputs, _):
    q, k, v = op.inputs[:3]
    *gradients, d_logits = operations.slicewise(
        backward,
        [q, k, v, *op.outputs, d_outputs],
        output_shape=[q.shape, k.shape, v.shape, weights_shape],
        output_dtype=[q.dtype, k.dtype, v.dtype, tf.float32],
        # Each product of the forward pass has two gradients.
        multiplications=lambda slice_size: 2 * multiplications(slice_size),
        splittable_dims=shared,
        name="attend_gradient",
    )
    for x in op.inputs[3:]:
      gradients.append(
          mtf.cast(mtf.reduce_sum(d_logits, output_shape=x.shape), x.dtype)
      )
    return gradients

  outputs, _ = operations.slicewise(
      forward,
      inputs,
      output_shape=[
          mtf.Shape(shared + queries + [value_dim]),
          weights_shape,
      ],
      output_dtype=[v.dtype, tf.float32],
      multiplications=multiplications,
      splittable_dims=shared,
      grad_function=gradient,
      name="attend",
  )
  return mtf.transpose(outputs, q.shape - key_dim + value_dim)


def _softmax(logits: tf.Tensor) -> tf.Tensor:
  """The softmax over the last axis, of few entries without oneDNN.

  oneDNN's takes 60 us for any number of entries, which is longer than all
  others of a decoding step's operations take together.

  Args:
    logits: float32.

  Returns:
    as logits.
  """
  if logits.shape.num_elements() > _FEW_ENTRIES:
    return tf.nn.softmax(logits)
  return tf.exp(tf.nn.log_softmax(logits))
