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

"""The vocabulary's two ends, lookup and softmax, without one-hot matrices.

Upstream multiplies one-hot vectors by the embedding: for 32128 rows an
embedded token costs as much as five feed-forward layers of T5-Base. Here rows
are copied, and the softmax reads its logits once.
"""

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.mesh import splits


def lookup(
    weights: mtf.Tensor, ids: mtf.Tensor, vocab_dim: mtf.Dimension
) -> mtf.Tensor:
  """The rows of a table.

  Args:
    weights: `[vocab, d_model]`; a layout may split either dimension.
    ids: int32, any shape.
    vocab_dim: the dimension of the rows.

  Returns:
    the shape of ids with d_model at the end.
  """
  return _LookupOperation(weights, ids, vocab_dim).outputs[0]


class _LookupOperation(operations.Operation):
  """Copies rows; where rows are split, each core copies those that it has."""

  def __init__(self, weights, ids, vocab_dim):
    super().__init__([weights, ids], name="lookup")
    self._vocab_dim = vocab_dim
    shape = ids.shape + (weights.shape - vocab_dim)
    self._outputs = [mtf.Tensor(self, shape, weights.dtype)]
    self._splittable_dims, self._unsplittable_dims = (
        self._initialize_all_dimensions_as_splittable()
    )

  def gradient(self, grad_ys):
    weights, ids = self.inputs
    gradient = _LookupGradientOperation(
        grad_ys[0], ids, weights.shape, self._vocab_dim
    )
    return [gradient.outputs[0], None]

  def lower(self, lowering):
    mesh_impl = lowering.mesh_impl(self)

    def copy(weights, ids, first):
      rows = tf.shape(weights)[0]
      ids -= first
      here = tf.cast((ids >= 0) & (ids < rows), weights.dtype)
      return tf.gather(weights, tf.clip_by_value(ids, 0, rows - 1)) * (
          here[..., tf.newaxis]
      )

    axis, first_row = _rows_of_core(mesh_impl, self._vocab_dim)
    weights, ids = (lowering.tensors[x] for x in self.inputs)
    if axis is None:
      # Of a variable itself tf.gather would make a sparse one, of which every
      # later read, such as the logits', is a copy.
      y = mesh_impl.slicewise(
          lambda weights, ids: tf.gather(tf.convert_to_tensor(weights), ids),
          weights,
          ids,
      )
    else:
      y = mtf.LazyAllreduceSum(
          mesh_impl, mesh_impl.slicewise(copy, weights, ids, first_row), [axis]
      )
    lowering.set_tensor_lowering(self.outputs[0], y)


class _LookupGradientOperation(operations.Operation):
  """Adds up what each row's copies have learnt, over all cores' copies."""

  def __init__(self, gradients, ids, shape, vocab_dim):
    super().__init__([gradients, ids], name="lookup_gradient")
    self._vocab_dim = vocab_dim
    self._outputs = [mtf.Tensor(self, shape, gradients.dtype)]
    self._splittable_dims, self._unsplittable_dims = (
        self._initialize_all_dimensions_as_splittable()
    )

  def lower(self, lowering):
    mesh_impl = lowering.mesh_impl(self)
    num_rows = mesh_impl.slice_shape(self.outputs[0].shape)[0]

    def add_up(gradients, ids, first=0):
      ids = tf.reshape(ids, [-1]) - first
      # Rows of others are left out as negative ones are.
      ids = tf.where(ids < num_rows, ids, -tf.ones_like(ids))
      gradients = tf.reshape(gradients, [-1, gradients.shape[-1]])
      return tf.math.unsorted_segment_sum(gradients, ids, num_rows)

    _, first_row = _rows_of_core(mesh_impl, self._vocab_dim)
    args = [lowering.tensors[x] for x in self.inputs]
    y = mesh_impl.slicewise(
        add_up, *args, *([] if first_row is None else [first_row])
    )
    splits.add_over_cores(
        lowering, mesh_impl, y, self.outputs[0], self.inputs[1].shape, "lookup"
    )


def _rows_of_core(mesh_impl, vocab_dim):
  """The mesh axis that splits the rows, and each core's first; or Nones."""
  axis = mesh_impl.tensor_dimension_to_mesh_axis(vocab_dim)
  if axis is None:
    return None, None
  rows = vocab_dim.size // mesh_impl.shape[axis].size
  coordinates = mesh_impl.laid_out_pcoord(axis)
  return axis, mesh_impl.slicewise(lambda x: x * rows, coordinates)


def softmax_cross_entropy(
    model, logits: mtf.Tensor, targets: mtf.Tensor, vocab_dim: mtf.Dimension
) -> tuple[mtf.Tensor, mtf.Tensor]:
  """Cross-entropy of each target, and the logarithm of the denominator.

  Args:
    model: a Unitransformer; knows whether the mesh splits the vocabulary.
    logits: `[batch, length, vocab]`.
    targets: `[batch, length]` int32, from 0 on.
    vocab_dim: the dimension of the vocabulary.

  Returns:
    two tensors `[batch, length]` float32.
  """
  if splits.ways(model, vocab_dim) == 1 and not splits.is_on_tpu():
    log_z, target_logit = _log_partition_and_target_logit(
        logits, targets, vocab_dim
    )
  else:
    logits = mtf.cast(logits, tf.float32)
    log_z = mtf.reduce_logsumexp(logits, vocab_dim)
    target_logit = mtf.reduce_sum(
        logits * mtf.one_hot(targets, vocab_dim), reduced_dim=vocab_dim
    )
  return log_z - target_logit, log_z


def _log_partition_and_target_logit(
    logits: mtf.Tensor, targets: mtf.Tensor, vocab_dim: mtf.Dimension
) -> tuple[mtf.Tensor, mtf.Tensor]:
  """What cross-entropy is made of: it is the first minus the second.

  Both ways the logits are read and written once.

  Args:
    logits: `[batch, length, vocab]`, vocab not split.
    targets: `[batch, length]` int32, from 0 on.
    vocab_dim: the dimension of the vocabulary.

  Returns:
    the logarithm of the softmax's denominator and the logit of the target,
    `[batch, length]` float32.
  """

  def forward(logits, targets):
    logits = tf.cast(logits, tf.float32)
    target_logit = tf.gather(logits, targets, batch_dims=targets.shape.ndims)
    # Four times as fast as TensorFlow's sparse cross-entropy on a CPU. The
    # largest probability is 1 / sum(exp(logits - max(logits))).
    softmax = tf.nn.softmax(logits)
    log_z = tf.reduce_max(logits, axis=-1) - tf.math.log(
        tf.reduce_max(softmax, axis=-1)
    )
    return log_z, target_logit, softmax

  def gradient(op, log_z_gradient, target_gradient, _):
    logits, targets = op.inputs
    softmax = op.outputs[2]

    def backward(softmax, targets, log_z_gradient, target_gradient):
      flat = tf.reshape(
          softmax * log_z_gradient[..., tf.newaxis], [-1, softmax.shape[-1]]
      )
      ids = tf.reshape(targets, [-1, 1])
      rows = tf.range(tf.size(targets))[:, tf.newaxis]
      flat = tf.tensor_scatter_nd_add(
          flat,
          tf.concat([rows, ids], axis=1),
          tf.reshape(target_gradient, [-1]),
      )
      return tf.cast(tf.reshape(flat, softmax.shape), logits.dtype)

    return [
        operations.slicewise(
            backward,
            [softmax, targets, log_z_gradient, target_gradient],
            output_shape=logits.shape,
            output_dtype=logits.dtype,
            multiplications=None,
            splittable_dims=targets.shape.dims,
            name="cross_entropy_gradient",
        ),
        None,
    ]

  log_z, target_logit, _ = operations.slicewise(
      forward,
      [logits, targets],
      output_shape=[targets.shape, targets.shape, logits.shape],
      output_dtype=[tf.float32] * 3,
      multiplications=None,
      splittable_dims=targets.shape.dims,
      grad_function=gradient,
      name="cross_entropy",
  )
  assert logits.shape.dims[-1] == vocab_dim
  return log_z, target_logit
