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

"""The mesh of CPU or GPU devices."""

import math

import mesh_tensorflow as mtf
from mesh_tensorflow import placement_mesh_impl
import tensorflow.compat.v1 as tf
from tensorflow.python.ops.resource_variable_ops import is_resource_variable

from mtf_switch import operations
from mtf_switch.mesh import draws

_STATELESS = {
    "random_uniform": tf.random.stateless_uniform,
    "random_normal": tf.random.stateless_normal,
}


class PlacementMeshImpl(placement_mesh_impl.PlacementMeshImpl):
  """Upstream's mesh of CPU or GPU devices, with reproducible runs."""

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
    self.keys = draws.Keys(seed, step)

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

    Upstream lowers a variable by tf.cast, which returns it unread if its dtype
    is unchanged, and passes it to the function. Each use of a weight is then a
    read of its own, and the backward pass may see a weight that the optimizer
    has already changed. Here it sees the values of the forward pass.

    Upstream also opens a variable scope for each operation and processor, which
    takes more than twice as long as a name scope; no function has variables.

    Args:
      fn: a function from tf.Tensors to a tf.Tensor or a tuple of them.
      *inputs: LaidOutTensors, or values convertible to a tf.Tensor.

    Returns:
      a LaidOutTensor, or a tuple of them if fn returns a tuple.
    """
    slices = [
        x.tensor_list if isinstance(x, self.LaidOutTensor) else [x] * self.size
        for x in mtf.convert_args_to_laid_out_tensors(inputs)
    ]
    results = []
    for number, device in enumerate(self.devices):
      values = [x[number] for x in slices]
      with tf.device(device), tf.name_scope(f"parallel_{number}"):
        results.append(
            fn(*(x.value() if is_resource_variable(x) else x for x in values))
        )
    if isinstance(results[0], tuple):
      return tuple(self.LaidOutTensor(list(parts)) for parts in zip(*results))
    return self.LaidOutTensor(results)

  def einsum(self, equation, *slices):
    """A product of slices, if possible without transposing operands.

    tf.einsum transposes operands in memory even if a matrix product takes them
    as they are: for the gradient of a weight, all of the activations.

    Args:
      equation: as tf.einsum's; each letter is in two operands, or in an operand
        and the output.
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
  """An einsum of two operands as one tf.matmul of reshaped operands.

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

  a = matrices(a, *((summed, a_free) if transpose_a else (a_free, summed)))
  b = matrices(b, *((b_free, summed) if transpose_b else (summed, b_free)))
  if transpose_b and not transpose_a and not batch:
    y = operations.matmul_transposed(a, b)
  else:
    y = tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
  return tf.reshape(y, [size[letter] for letter in output])
