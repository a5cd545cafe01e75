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

"""The choice of the next token, in the place of mesh_tensorflow's.

Upstream's looks for the greatest logit along the vocabulary, whose product with
the activations is written the other way round: all logits are transposed first.
"""

import mesh_tensorflow as mtf
from mesh_tensorflow import ops
import tensorflow.compat.v1 as tf

from mtf_switch import compat
from mtf_switch import operations

# A vocabulary is made of as many rows, or a multiple; see upstream's
# make_bitransformer.
_CHUNK = 128


def sample_with_temperature(
    logits: mtf.Tensor,
    dim: mtf.Dimension,
    temperature: float = 1.0,
    name: str | None = None,
) -> mtf.Tensor:
  """Upstream's, without transposing the logits of a greedy choice.

  Args:
    logits: `[batch, vocab]`; or `[vocab, batch]`, vocab not being split.
    dim: vocab.
    temperature: 0 for the greatest logit, of equals the first.
    name: of the operations.

  Returns:
    `[batch]` int32.
  """
  others = logits.shape - dim
  if logits.shape.dims[0] != dim:
    return ops.sample_with_temperature(logits, dim, temperature, name)
  if temperature:
    # The draws follow the order of the dimensions.
    return ops.sample_with_temperature(
        mtf.transpose(logits, others + dim), dim, temperature, name
    )
  return operations.slicewise(
      _greatest,
      [logits],
      output_shape=others,
      output_dtype=tf.int32,
      multiplications=None,
      splittable_dims=others.dims,
      grad_function=0,
      name=name or "greatest",
  )


def _greatest(x: tf.Tensor) -> tf.Tensor:
  """The first of the greatest along the first axis: [n, m] -> [m] int32."""
  rows, columns = x.shape.as_list()
  if rows % _CHUNK:
    return tf.argmax(x, axis=0, output_type=tf.int32)
  # First the chunk that has it, by maxima, which are read several at a time.
  maxima = tf.reduce_max(
      tf.reshape(x, [rows // _CHUNK, _CHUNK, columns]), axis=1
  )
  first = tf.argmax(maxima, axis=0, output_type=tf.int32) * _CHUNK
  row = first + tf.range(_CHUNK)[:, tf.newaxis]
  column = tf.broadcast_to(tf.range(columns), [_CHUNK, columns])
  chunk = tf.gather_nd(x, tf.stack([row, column], axis=-1))
  return first + tf.argmax(chunk, axis=0, output_type=tf.int32)


compat.replace_sampling(sample_with_temperature)
