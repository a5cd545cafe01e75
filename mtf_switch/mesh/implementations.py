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

"""Mesh implementations whose random draws can be repeated.

Upstream's draws cannot: PlacementMeshImpl seeds with Python's `random` and
with `hash(str)`, which differ from one process to the next, and SimdMeshImpl
takes no seed and pays one all-reduce for each draw. Here a draw is a function
of the seed, the global step, the random operation, the iteration of the
enclosing `mtf.while_loop`, if any, and the position in the global tensor. So
the noise depends neither on the layout nor on where a run was interrupted.
"""

import math

import mesh_tensorflow as mtf
from mesh_tensorflow import placement_mesh_impl
from mesh_tensorflow import simd_mesh_impl
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.ops.resource_variable_ops import is_resource_variable
from tensorflow.python.tpu import tpu_function
from tensorflow.python.tpu.ops import tpu_ops

_STATELESS = {
    "random_uniform": tf.random.stateless_uniform,
    "random_normal": tf.random.stateless_normal,
}


def _mix(bits: tf.Tensor) -> tf.Tensor:
  """Scrambles uint32s one to one: a multiply and xor-shift finalizer."""
  for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
    bits = tf.bitwise.bitwise_xor(
        bits, tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32))
    )
    bits *= tf.constant(factor, tf.uint32)
  return tf.bitwise.bitwise_xor(
      bits, tf.bitwise.right_shift(bits, tf.constant(16, tf.uint32))
  )


def uniform_at(key, begin, shape, dtype=tf.float32) -> tf.Tensor:
  """Uniform draws that depend only on a key and the global position.

  Any slice of the global tensor can be drawn by itself, on the core that
  holds it, without communication.

  Args:
    key: [2] int32 tensor.
    begin: the slice's first position in the global tensor: one integer, or
      int32 scalar tensor, for each dimension.
    shape: the slice's shape, a list of integers.
    dtype: tf.float32 or tf.bfloat16.

  Returns:
    a tensor of that shape in [0, 1), all of whose values are multiples of
    2^-24 (float32) or 2^-8 (bfloat16), so that none rounds up to 1.
  """
  key = tf.bitcast(key, tf.uint32)
  bits = _mix(key[0])
  for axis, (first, size) in enumerate(zip(begin, shape)):
    coordinate = tf.bitcast(first + tf.range(size), tf.uint32)
    coordinate = tf.reshape(coordinate, [size] + [1] * (len(shape) - axis - 1))
    bits = _mix(
        tf.reshape(bits, list(shape[:axis]) + [1] * (len(shape) - axis))
        + _mix(coordinate + key[1])
    )
  digits = 8 if dtype == tf.bfloat16 else 24
  bits = tf.bitwise.right_shift(bits, tf.constant(32 - digits, tf.uint32))
  return tf.cast(tf.cast(bits, tf.float32) * 2.0**-digits, dtype)


class _Keys:
  """One key for each random operation, in the order in which they are lowered.

  Attributes:
    iteration: while the body of a loop is lowered, a laid-out int32 scalar
      that differs from one iteration to the next; None elsewhere.
  """

  def __init__(self, seed: int, step):
    self._seed = tf.stack(
        [
            tf.constant(seed, tf.int32),
            0 if step is None else tf.cast(step, tf.int32),
        ]
    )
    self._num_draws = 0
    self.iteration = None

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


class PlacementMeshImpl(placement_mesh_impl.PlacementMeshImpl):
  """Upstream's mesh of CPU or GPU devices, whose runs can be repeated."""

  def __init__(self, shape, layout, devices, seed: int = 0, step=None):
    """Creates the mesh.

    Args:
      shape: an input to mtf.convert_to_shape.
      layout: an input to mtf.convert_to_layout_rules.
      devices: a list of device names, one for each processor.
      seed: an integer.
      step: the global step, an integer scalar tensor; None for step 0.
    """
    super().__init__(shape, layout, devices)
    self.keys = _Keys(seed, step)

  def random(self, shape, tf_fn, kwargs):
    """Draws the global tensor once and hands each processor its slice.

    Args:
      shape: an mtf.Shape, of the global tensor.
      tf_fn: tf.random.uniform or tf.random.normal.
      kwargs: its other arguments, except for seed.

    Returns:
      a LaidOutTensor.
    """
    key_at = self.keys.next()
    with tf.device(self.devices[0]):
      iteration = [x.tensor_list[0] for x in self.keys.slices()]
      draw = _STATELESS[tf_fn.__name__](
          shape.to_integer_list, seed=key_at(*iteration), **kwargs
      )
    return self.LaidOutTensor(self.make_slices(draw, shape))

  def slicewise(self, fn, *inputs):
    """Applies a function to the slices of each processor.

    Upstream hands the function variables, and tf.cast, by which a variable is
    lowered, returns them unread if the dtype is theirs. Each use of a weight
    then reads it by itself, so that the backward pass may see a weight that
    the optimizer has already changed. Here it sees the values that the forward
    pass had.

    Args:
      fn: a function from tf.Tensors to a tf.Tensor or a tuple of them.
      *inputs: LaidOutTensors, or what is convertible to a tf.Tensor.

    Returns:
      a LaidOutTensor, or a tuple of them if fn returns a tuple.
    """

    def of_values(*slices):
      return fn(*(x.value() if is_resource_variable(x) else x for x in slices))

    return super().slicewise(of_values, *inputs)

  def einsum(self, equation, *slices):
    """A product of slices, without a transposition where there can be.

    tf.einsum turns operands around in memory first even if a matrix product
    takes them as they are: for the gradient of a weight, all of the
    activations.

    Args:
      equation: as tf.einsum's, each letter standing in two operands or in an
        operand and the output.
      *slices: tf.Tensors.

    Returns:
      a tf.Tensor.
    """
    if len(slices) == 2:
      y = _matrix_product(equation, *slices)
      if y is not None:
        return y
    return tf.einsum(equation, *slices)


def _matrix_product(
    equation: str, a: tf.Tensor, b: tf.Tensor
) -> tf.Tensor | None:
  """An einsum of two as one tf.matmul of reshaped operands; None if it is not.

  Args:
    equation: as tf.einsum's.
    a: the first operand.
    b: the second.

  Returns:
    a tf.Tensor, or None if an operand would have to be transposed.
  """
  operands, output = equation.split("->")
  a_letters, b_letters = operands.split(",")
  batch = "".join(x for x in output if x in a_letters and x in b_letters)
  summed = "".join(x for x in a_letters if x in b_letters and x not in output)
  a_free = "".join(x for x in a_letters if x not in b_letters)
  b_free = "".join(x for x in b_letters if x not in a_letters)
  if output == batch + b_free + a_free and a_free:
    return _matrix_product(f"{b_letters},{a_letters}->{output}", b, a)
  transpose_a = a_letters == batch + summed + a_free
  transpose_b = b_letters == batch + b_free + summed
  if (
      output != batch + a_free + b_free
      or not (transpose_a or a_letters == batch + a_free + summed)
      or not (transpose_b or b_letters == batch + summed + b_free)
  ):
    return None
  size = dict(zip(a_letters + b_letters, a.shape.as_list() + b.shape.as_list()))

  def matrices(x, *letters):
    """x with one axis for each group of letters."""
    rest = [math.prod(size[letter] for letter in group) for group in letters]
    return tf.reshape(x, [size[letter] for letter in batch] + rest)

  y = tf.matmul(
      matrices(a, *((summed, a_free) if transpose_a else (a_free, summed))),
      matrices(b, *((b_free, summed) if transpose_b else (summed, b_free))),
      transpose_a=transpose_a,
      transpose_b=transpose_b,
  )
  return tf.reshape(y, [size[letter] for letter in output])


class SimdMeshImpl(simd_mesh_impl.SimdMeshImpl):
  """Upstream's mesh of TPU cores, mended where cores talk to each other.

  Draws repeat and need no all-reduce. What is exchanged keeps its dtype:
  upstream's all-to-all sends float32 as bfloat16, without saying so. Its
  all-reduces are as they are: of bfloat16 over more than 8 cores they add, and
  send, float32.
  """

  def __init__(self, *args, seed: int = 0, step=None, **kwargs):
    """Creates the mesh.

    Args:
      *args: upstream's arguments.
      seed: an integer.
      step: the global step, an integer scalar tensor; None for step 0.
      **kwargs: upstream's keyword arguments.
    """
    super().__init__(*args, **kwargs)
    self.keys = _Keys(seed, step)
    self._group_assignments = {}

  def _create_group_assignment(self, mesh_axes):
    """As upstream's, but once for each set of axes: that is a loop over cores.

    Args:
      mesh_axes: integers.

    Returns:
      an array `[groups, cores of a group]` of physical cores.
    """
    key = tuple(sorted(mesh_axes))
    if key not in self._group_assignments:
      self._group_assignments[key] = np.array(
          super()._create_group_assignment(mesh_axes), np.int32
      )
    return self._group_assignments[key]

  def alltoall(self, x, mesh_axis, split_axis, concat_axis):
    """Exchanges parts of slices along a mesh axis, in their own dtype.

    Args:
      x: a LaidOutTensor.
      mesh_axis: an integer.
      split_axis: the axis of the slice of which each core keeps its part.
      concat_axis: the axis along which the parts of all cores are joined.

    Returns:
      a LaidOutTensor.
    """
    return self.LaidOutTensor(
        [
            tpu_ops.all_to_all(
                x.to_laid_out_tensor().one_slice,
                concat_dimension=concat_axis,
                split_dimension=split_axis,
                split_count=self.shape[mesh_axis].size,
                group_assignment=self._create_group_assignment([mesh_axis]),
            )
        ]
    )

  def allreduce(self, x, mesh_axes, reduction_fn_string):
    """Reduces over cores; maxima in log2(n) exchanges of the slice.

    Upstream gathers all n slices for them, as a sum of n slices of zeros and
    one that is not; an infinite entry becomes NaN, and an integer float32.

    Args:
      x: a LaidOutTensor.
      mesh_axes: integers, the axes to reduce over.
      reduction_fn_string: "SUM", "MAX" or "MIN".

    Returns:
      a LaidOutTensor.
    """
    if reduction_fn_string == "SUM":
      return super().allreduce(x, mesh_axes, reduction_fn_string)
    return reduce_by_shifts(
        self, x.to_laid_out_tensor(), mesh_axes, reduction_fn_string
    )

  def random(self, shape, tf_fn, kwargs):
    """Draws each core's slice on that core, keyed by the global position.

    Args:
      shape: an mtf.Shape, of the global tensor.
      tf_fn: tf.random.uniform or tf.random.normal.
      kwargs: its other arguments, except for seed.

    Returns:
      a LaidOutTensor.
    """
    key_at = self.keys.next()
    slice_shape = self.slice_shape(shape)
    split_axes = [
        (axis, mesh_axis)
        for axis, mesh_axis in enumerate(
            self.tensor_layout(shape).tensor_axis_to_mesh_axis
        )
        if mesh_axis is not None
    ]

    def draw(*slices):
      begin = [0] * len(slice_shape)
      for (axis, _), coordinate in zip(split_axes, slices):
        begin[axis] = coordinate * slice_shape[axis]
      return scaled(
          tf_fn,
          lambda dtype: uniform_at(
              key_at(*slices[len(split_axes) :]), begin, slice_shape, dtype
          ),
          **kwargs,
      )

    coordinates = [
        self.laid_out_pcoord(mesh_axis) for _, mesh_axis in split_axes
    ]
    return self.slicewise(draw, *coordinates, *self.keys.slices())


def reduce_by_shifts(mesh_impl, x, mesh_axes, reduction_fn_string: str):
  """The maximum or minimum over cores, by doubling what each has seen.

  Args:
    mesh_impl: of CPU, GPU or TPU cores.
    x: a LaidOutTensor.
    mesh_axes: integers, the axes to reduce over.
    reduction_fn_string: "MAX" or "MIN", for which seeing a slice twice does no
      harm.

  Returns:
    a LaidOutTensor.
  """
  reduce = mtf.binary_reduction_fn(reduction_fn_string)
  for mesh_axis in mesh_axes:
    seen = 1
    while seen < mesh_impl.shape[mesh_axis].size:
      others = mesh_impl.shift_by_n_processors(x, mesh_axis, seen, wrap=True)
      x = mesh_impl.slicewise(reduce, x, others)
      seen *= 2
  return x


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
  """Turns draws from [0, 1) into those of `tf_fn` with its arguments."""
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


class _SetIteration(mtf.Operation):
  """Tells the mesh which iteration the operations after it belong to."""

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


def seed_loops(graph: mtf.Graph):
  """Makes the draws inside each `mtf.while_loop` differ between iterations.

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
  # pylint: enable=protected-access


def is_on_tpu() -> bool:
  """Whether the graph that is being built will run on a TPU."""
  return tpu_function.get_tpu_context().number_of_shards is not None


def ways(model, dim: mtf.Dimension) -> int:
  """How many parts a model's mesh splits a dimension into.

  Args:
    model: a Unitransformer.
    dim: the dimension.

  Returns:
    the size of the mesh axis; 1 for dimensions that are not split, and for
    models that do not know their mesh.
  """
  if model.mesh_shape is None:
    return 1
  return mtf.tensor_dim_to_mesh_dim_size(model.layout, model.mesh_shape, dim)


def are_whole(model, dims) -> bool:
  """Whether dimensions are known to be whole on each core; never on a TPU.

  A TPU's compiler does better than what CPUs and GPUs need there.

  Args:
    model: a Unitransformer.
    dims: mtf.Dimensions, of which only the names count.

  Returns:
    whether the model knows its mesh, which is of CPUs or GPUs and splits none
    of them.
  """
  return (
      not is_on_tpu()
      and model.mesh_shape is not None
      and all(ways(model, dim) == 1 for dim in dims)
  )


def add_over_cores(lowering, mesh_impl, x, output, summed: mtf.Shape, name):
  """Lowers an operation's output to the sum of what each core has of it.

  Args:
    lowering: the mtf.Lowering.
    mesh_impl: of the operation's mesh.
    x: a laid-out tensor, each core's sum over its slice.
    output: the operation's output.
    summed: the shape whose split dimensions the sum is over.
    name: of the operation, for the counter of what is moved.
  """
  layout = mesh_impl.tensor_layout(summed).tensor_axis_to_mesh_axis
  axes = [axis for axis in layout if axis is not None]
  if axes:
    x = mtf.LazyAllreduceSum(
        mesh_impl,
        x,
        axes,
        lambda: lowering.add_counter(
            f"allreduce/{axes}/{name}", mesh_impl.laid_out_size(output.shape)
        ),
    )
  lowering.set_tensor_lowering(output, x)
