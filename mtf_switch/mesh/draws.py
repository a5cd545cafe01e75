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

"""Reproducible random draws on any mesh.

Upstream's draws are not reproducible: PlacementMeshImpl seeds with Python's
`random` and with `hash(str)`, which differ from one process to the next, and
SimdMeshImpl takes no seed and pays one all-reduce for each draw. Here a draw is
a function of the seed, the global step, the random operation, the iteration of
the enclosing `mtf.while_loop`, if any, and the position in the global tensor.
The noise thus depends neither on the layout nor on interruptions of the run.
"""

from collections.abc import Iterator
import contextlib

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch import random_bits


def uniform_at(key, begin, shape, dtype=tf.float32) -> tf.Tensor:
  """Uniform draws that depend only on a key and the global position.

  Each core can draw its own slice of the global tensor, without communication.

  Args:
    key: [2] int32 tensor.
    begin: the slice's first position in the global tensor: one integer, or
      int32 scalar tensor, for each dimension.
    shape: the slice's shape, a list of integers.
    dtype: tf.float32 or tf.bfloat16.

  Returns:
    a tensor of that shape in [0, 1), whose values are multiples of 2^-24
    (float32) or 2^-8 (bfloat16), so that none rounds up to 1.
  """
  coordinates = [
      tf.reshape(first + tf.range(size), [size] + [1] * (len(shape) - axis - 1))
      for axis, (first, size) in enumerate(zip(begin, shape))
  ]
  bits = random_bits.at(key, coordinates)
  digits = 8 if dtype == tf.bfloat16 else 24
  bits = tf.bitwise.right_shift(bits, tf.constant(32 - digits, tf.uint32))
  return tf.cast(tf.cast(bits, tf.float32) * 2.0**-digits, dtype)


def scaled(
    tf_fn,
    uniform,
    minval=0,
    maxval=1,
    mean=0.0,
    stddev=1.0,
    dtype=tf.float32,
    name=None,
):
  """Transforms draws from [0, 1) into those of `tf_fn` with its arguments."""
  del name
  if tf_fn.__name__ == "random_normal":
    # Halfway into each of the 2^24 intervals, so that 0 is never drawn.
    u = uniform(tf.float32) + 2.0**-25
    return tf.cast(mean + stddev * tf.math.ndtri(u), dtype)
  if dtype.is_integer:
    u = uniform(tf.float32)
    return minval + tf.cast(
        tf.floor(u * tf.cast(maxval - minval, u.dtype)), dtype
    )
  return minval + uniform(dtype) * (maxval - minval)


class Keys:
  """One key for each random operation, in the order of lowering.

  Attributes:
    iteration: while the body of a loop is lowered, a laid-out int32 scalar
      that differs from one iteration to the next; None elsewhere.
  """

  def __init__(self, seed: int, step):
    self._seed = tf.stack(
        [
            tf.cast(seed, tf.int32),
            0 if step is None else tf.cast(step, tf.int32),
        ]
    )
    self._num_draws = 0
    self._mark = 0
    self.iteration = None

  def set_mark(self):
    """Marks the place that `return_to_mark` returns to."""
    self._mark = self._num_draws

  def return_to_mark(self):
    """Has the keys since the mark come again."""
    self._num_draws = self._mark

  def next(self):
    """Returns a function from an iteration (or nothing) to a key `[2]`."""
    self._num_draws += 1
    key = tf.random.experimental.stateless_fold_in(self._seed, self._num_draws)

    def key_at(*iteration):
      if not iteration:
        return key
      return tf.random.experimental.stateless_fold_in(key, iteration[0])

    return key_at

  def slices(self):
    """Returns the laid-out arguments of `key_at`: none or [iteration]."""
    return [] if self.iteration is None else [self.iteration]


class _SetIteration(operations.Operation):
  """Sets the iteration of the operations that are lowered after it."""

  def __init__(self, mesh, iteration=None):
    super().__init__(
        [] if iteration is None else [iteration], mesh=mesh, name="iteration"
    )

  def lower(self, lowering):
    lowering.mesh_impl(self).keys.iteration = (
        lowering.tensors[self.inputs[0]].to_laid_out_tensor()
        if self.inputs
        else None
    )


class _Mark(operations.Operation):
  """Sets a mark between operations, or returns to it."""

  def __init__(self, mesh, returns: bool):
    super().__init__([], mesh=mesh, name="mark_of_draws")
    self._returns = returns

  def lower(self, lowering):
    keys = lowering.mesh_impl(self).keys
    keys.return_to_mark() if self._returns else keys.set_mark()


@contextlib.contextmanager
def rehearsal(mesh: mtf.Mesh) -> Iterator[None]:
  """Has what is built next repeat the draws of what is built in the context.

  Args:
    mesh: the mesh of both.
  """
  _Mark(mesh, returns=False)
  yield
  _Mark(mesh, returns=True)


def seed_loops(graph: mtf.Graph):
  """Gives each iteration of each `mtf.while_loop` draws of its own.

  To be called once, before `mtf.Lowering`. Every loop of mesh_tensorflow
  (microbatches, sampling, beam search) keeps a counter as its first loop
  variable: a scalar, or the position in each sequence of the batch.

  Args:
    graph: the graph, changed in place.
  """
  # pylint: disable=protected-access
  for loop in graph.operations[:]:
    if not isinstance(loop, mtf.WhileLoopOperation):
      continue
    before = len(graph.operations)
    counter = mtf.reduce_sum(loop._body_inputs[0], output_shape=[])
    _SetIteration(loop.mesh, counter)
    prologue = graph.operations[before:]
    _SetIteration(loop.mesh)
    epilogue = graph.operations[before + len(prologue) :]
    del graph.operations[before:]
    loop._body_ops = prologue + loop._body_ops + epilogue
