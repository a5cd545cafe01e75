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

"""Operations that tell plans how much they multiply and hold.

Mesh TensorFlow sees the matrix products of an einsum, but not those of a
function of slices, which may compute anything.
"""

from collections.abc import Callable, Sequence

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

# From dimensions to the number of entries of a slice that has them.
SliceSize = Callable[[Sequence[mtf.Dimension]], int]


class Operation(mtf.Operation):
  """A base class for operations without matrix products.

  Attributes:
    scratch: tensors as large as those that only exist while it runs, which
      plans count.
  """

  scratch: Sequence[mtf.Tensor] = ()

  def multiplications(self, slice_size: SliceSize) -> int:
    """Returns the multiplications of its matrix products on one core: none."""
    del slice_size
    return 0


class SlicewiseOperation(mtf.SlicewiseOperation):
  """A function of slices that declares its matrix products."""

  def __init__(
      self,
      multiplications: Callable[[SliceSize], int] | None,
      summed_dims: Sequence[mtf.Dimension],
      *args,
      **kwargs,
  ):
    """Creates the operation.

    Args:
      multiplications: as for `slicewise`.
      summed_dims: as for `slicewise`.
      *args: upstream's.
      **kwargs: upstream's.
    """
    super().__init__(*args, **kwargs)
    # A recomputed operation is a copy, attributes included.
    self._multiplications = multiplications
    self._summed = mtf.Shape(summed_dims)

  def multiplications(self, slice_size: SliceSize) -> int:
    """Returns the multiplications of its matrix products on one core."""
    return self._multiplications(slice_size) if self._multiplications else 0

  def lower(self, lowering: mtf.Lowering):
    """As upstream's, which refuses mesh axes of one core too: T5's default.

    Args:
      lowering: the graph's.

    Raises:
      ValueError: the mesh splits a dimension that must not be split.
    """
    mesh_impl = lowering.mesh_impl(self)
    check_splits(self, mesh_impl)
    slices = mesh_impl.slicewise(
        self._tf_fn, *(lowering.tensors[x] for x in self.inputs)
    )
    if len(self.outputs) == 1:
      slices = (slices,)
    for output, slice_ in zip(self.outputs, slices):
      add_over_cores(
          lowering, mesh_impl, slice_, output, self._summed, self.name
      )


def check_splits(operation: mtf.Operation, mesh_impl: mtf.MeshImpl):
  """Refuses a mesh that splits dimensions which must not be split.

  Args:
    operation: declares the dimensions that may be.
    mesh_impl: of its mesh.

  Raises:
    ValueError: the mesh splits another one.
  """
  for tensor in (*operation.inputs, *operation.outputs):
    for dim in tensor.shape:
      parts = mtf.tensor_dim_to_mesh_dim_size(
          mesh_impl.layout_rules, mesh_impl.shape, dim
      )
      if parts > 1 and dim.name not in operation.splittable_dims:
        raise ValueError(
            f"dimension {dim.name!r} is not declared as splittable, but the "
            f"mesh splits it into {parts} parts"
        )


def slicewise(
    tf_fn: Callable,
    inputs: Sequence[mtf.Tensor],
    *,
    multiplications: Callable[[SliceSize], int] | None,
    splittable_dims: Sequence[mtf.Dimension],
    summed_dims: Sequence[mtf.Dimension] = (),
    output_shape=None,
    output_dtype=None,
    grad_function=None,
    name: str | None = None,
) -> mtf.Tensor | tuple[mtf.Tensor, ...]:
  """Calls a function on slices; as mtf.slicewise, with declared products.

  Args:
    tf_fn: a function of tf.Tensors.
    inputs: its arguments.
    multiplications: from the sizes of slices to the multiplications of all
      matrix products on one core; None if there are no matrix products.
    splittable_dims: the dimensions that the mesh may split.
    summed_dims: those of them over which the function sums; the results of the
      cores that they are split over are added up.
    output_shape: a Shape, by default that of the first input; or a list of
      them if output_dtype is a list.
    output_dtype: a dtype, by default that of the first input; or a list, for a
      function of several results.
    grad_function: from the operation and the gradients of its outputs to those
      of its inputs; None for TensorFlow's gradient, 0 for no gradient.
    name: of the operation.

  Returns:
    a Tensor, or a tuple of Tensors if output_dtype is a list.
  """
  several = isinstance(output_dtype, list)
  shapes = output_shape if several else [output_shape]
  dtypes = output_dtype if several else [output_dtype]
  operation = SlicewiseOperation(
      multiplications,
      summed_dims,
      tf_fn,
      inputs,
      [mtf.convert_to_shape(shape) or inputs[0].shape for shape in shapes],
      [dtype or inputs[0].dtype for dtype in dtypes],
      splittable_dims,
      grad_function,
      name=name,
  )
  return tuple(operation.outputs) if several else operation.outputs[0]


def add_over_cores(lowering, mesh_impl, x, output, summed: mtf.Shape, name):
  """Lowers an operation's output to the sum of the cores' parts.

  Args:
    lowering: the mtf.Lowering.
    mesh_impl: of the operation's mesh.
    x: a laid-out tensor, each core's sum over its slice.
    output: the operation's output.
    summed: the shape whose split dimensions are summed over.
    name: the operation's, for the counter of communication.
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


def matmul_transposed(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
  """The product of a matrix and another's transpose.

  As a batch of one: oneDNN multiplies few rows by a transposed matrix up to
  four times as fast in batches, and many rows as fast.

  Args:
    x: `[rows, inner]`.
    y: `[columns, inner]`.

  Returns:
    `[rows, columns]`.
  """
  return tf.matmul(x[tf.newaxis], y[tf.newaxis], transpose_b=True)[0]
