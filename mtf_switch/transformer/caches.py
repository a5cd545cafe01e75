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

"""Keys and values that decoding keeps, of which each step writes one position.

TensorFlow's update of a tensor copies all of it, for the longest text.
"""

import mesh_tensorflow as mtf
import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch import operations


def write(
    kept: mtf.Tensor,
    new: mtf.Tensor,
    position: mtf.Tensor,
    memory_length_dim: mtf.Dimension,
) -> mtf.Tensor:
  """Replaces one position of decoding's cached keys or values.

  Args:
    kept: `[batch, heads, memory_length, d_kv]`; memory_length is not split.
    new: `[batch, heads, d_kv]`.
    position: dimensions of `[batch, heads]`, int32. A position past the end
      belongs to a sequence that has ended, which may write anywhere.
    memory_length_dim: the dimension of positions.

  Returns:
    as kept.
  """
  shared = new.shape.dims[:-1]
  assert kept.shape.dims[-2] == memory_length_dim
  return operations.slicewise(
      _updated_copy,
      [kept, new, mtf.broadcast(position, mtf.Shape(shared))],
      multiplications=None,
      splittable_dims=shared,
      grad_function=0,
      name="write",
  )


def write_in_place(graph: mtf.Graph):
  """Has loops write into what they keep, instead of into copies of it.

  Each `write` of what nobody else reads gets a copy before the loop, its own,
  and from then on the same memory goes from step to step. A step begins when
  the last one has ended, and with it all that reads. To be called before
  `mtf.Lowering`, for CPUs and GPUs.

  Args:
    graph: the graph, changed in place.
  """
  # pylint: disable=protected-access
  for loop in graph.operations[:]:
    if not isinstance(loop, mtf.WhileLoopOperation):
      continue
    for number, kept in enumerate(loop._body_inputs):
      readers = [op for op in loop._body_ops if kept in op.inputs]
      if kept in loop._body_outputs or [
          getattr(op, "_tf_fn", None) for op in readers
      ] != [_updated_copy]:
        continue
      (writer,) = readers
      writer._tf_fn = _updated
      before = len(graph.operations)
      loop._inputs[number] = operations.slicewise(
          # TensorFlow merges no two of these, as it does equal constants.
          lambda x: tf.raw_ops.DeepCopy(x=x),
          [loop.inputs[number]],
          multiplications=None,
          splittable_dims=kept.shape.dims,
          grad_function=0,
          name="own_copy",
      )
      copies = graph.operations[before:]
      del graph.operations[before:]
      place = graph.operations.index(loop)
      graph.operations[place:place] = copies
      loop._tf_kwargs = {**loop._tf_kwargs, "parallel_iterations": 1}


# What follows works on the slice of a core.


def _updated_copy(kept, new, position):
  """A copy of `kept` with new rows."""
  return _with_rows(
      lambda x, row, new: tf.tensor_scatter_nd_update(x, row[:, None], new),
      kept,
      new,
      position,
  )


def _updated(kept, new, position):
  """`kept` itself, with new rows."""
  return _with_rows(
      lambda x, row, new: tf.raw_ops.InplaceUpdate(x=x, i=row, v=new),
      kept,
      new,
      position,
  )


def _with_rows(update, kept, new, position):
  *shared, length, d_kv = kept.shape.as_list()
  # Of each sequence and head, counted over all of them.
  first_row = np.arange(np.prod(shared), dtype=np.int32) * length
  row = first_row + tf.reshape(tf.minimum(position, length - 1), [-1])
  rows = update(tf.reshape(kept, [-1, d_kv]), row, tf.reshape(new, [-1, d_kv]))
  return tf.reshape(rows, kept.shape)
