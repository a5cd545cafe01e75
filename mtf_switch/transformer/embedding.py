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

"""The embedding of tokens and its logits, without one-hot matrices.

Upstream multiplies one-hot vectors by the embedding: for 32128 rows an
embedded token costs as much as five feed-forward layers of T5-Base. Here rows
are copied.
"""

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.mesh import splits


@gin.configurable(module="mtf_switch")
class GatheredVocabEmbedding(transformer.VocabEmbedding):
  """Upstream's embedding with a lookup that copies rows, and faster logits.

  On a TPU it is upstream's: a one-hot product is faster there.
  """

  def ids_to_embedding(self, ids, context):
    """The embeddings of tokens.

    Args:
      ids: int32, any shape.
      context: a transformer.Context.

    Returns:
      the shape of ids with d_model at the end.
    """
    weights = self._embedding_weights
    if splits.is_on_tpu() or weights.shape.ndims != 2:
      return super().ids_to_embedding(ids, context)
    x = lookup(weights, ids, self._vocab_dim)
    if self._scale_variable_like_classifier_weights:
      x *= self._output_dim.size**0.5
    return x

  def hidden_to_logits(self, hidden, context):
    """The logits of the vocabulary.

    Args:
      hidden: [batch, length, d_model], or [batch, d_model] in decoding.
      context: a transformer.Context.

    Returns:
      [batch, length, vocab]; in decoding [batch, beam, vocab] or, as the
      product gives it, [vocab, batch].
    """
    weights = self._embedding_weights
    if (
        context.mode != "incremental"
        or weights.shape.ndims != 2
        or not splits.are_whole(context.model, [self._output_dim])
    ):
      return super().hidden_to_logits(hidden, context)
    if not self._scale_variable_like_classifier_weights:
      hidden *= self._output_dim.size**-0.5

    tokens = hidden.shape - self._output_dim
    vocab_first = tokens.ndims == 1 and splits.are_whole(
        context.model, [self._vocab_dim]
    )

    def multiply(hidden, weights):
      # The matrix with many rows goes first: libraries read it faster so.
      rows = tf.reshape(hidden, [-1, hidden.shape[-1]])
      logits = tf.matmul(weights, rows, transpose_b=True)
      if vocab_first:
        return logits
      return tf.reshape(tf.transpose(logits), [*hidden.shape[:-1], -1])

    logits_shape = [*tokens.dims, self._vocab_dim]
    if vocab_first:
      logits_shape.reverse()
    return operations.slicewise(
        multiply,
        [hidden, weights],
        output_shape=logits_shape,
        multiplications=lambda slice_size: slice_size(
            [*hidden.shape.dims, self._vocab_dim]
        ),
        splittable_dims=[*tokens.dims, self._vocab_dim],
        grad_function=0,
        name="logits",
    )


def lookup(
    weights: mtf.Tensor, ids: mtf.Tensor, vocab_dim: mtf.Dimension
) -> mtf.Tensor:
  """The rows of a table.

  Args:
    weights: [vocab, d_model]; a layout may split either dimension.
    ids: int32, any shape.
    vocab_dim: the dimension of the rows.

  Returns:
    the shape of ids with d_model at the end.
  """
  return _LookupOperation(weights, ids, vocab_dim).outputs[0]


class _LookupOperation(operations.Operation):
  """Copies rows; if rows are split, each core copies its own."""

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
      # tf.gather on the variable itself would make it a sparse one, which every
      # later read, such as the logits', copies.
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
  """Adds up the gradients of each row's copies, over all cores."""

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
      # Rows of other cores are left out, as negative ones are.
      ids = tf.where(ids < num_rows, ids, -tf.ones_like(ids))
      gradients = tf.reshape(gradients, [-1, gradients.shape[-1]])
      return tf.math.unsorted_segment_sum(gradients, ids, num_rows)

    _, first_row = _rows_of_core(mesh_impl, self._vocab_dim)
    args = [lowering.tensors[x] for x in self.inputs]
    y = mesh_impl.slicewise(
        add_up, *args, *([] if first_row is None else [first_row])
    )
    operations.add_over_cores(
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
