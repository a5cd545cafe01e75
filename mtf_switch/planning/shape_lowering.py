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

"""Lowering onto a mesh that has the shapes of slices and no tensors.

Operations lower themselves by their own rules; the mesh records the messages
that they would send, and may have any number of cores.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

# Operations whose rules read TensorFlow's variables and tensors.
_OPAQUE = (mtf.Variable, mtf.ReadVariable, mtf.GenericGradOperation)


def lower(
    graph: mtf.Graph,
    mesh_shape: mtf.Shape,
    layout: mtf.LayoutRules,
    on_tpu: bool,
    iterations: int = 1,
) -> tuple[dict[mtf.Tensor, Any], list["Message"]]:
  """Lowers a graph onto a mesh of shapes.

  Args:
    graph: the graph; not changed.
    mesh_shape: the mesh.
    layout: the rules that split dimensions over the mesh's axes.
    on_tpu: whether sums and gathers travel as SimdMeshImpl sends them.
    iterations: the iterations of each while loop.

  Returns:
    a dictionary from each mtf.Tensor to its laid-out tensor, which may be a
    delayed sum; and a list of Message, to which each delayed sum is added when
    it is asked for.
  """
  mesh_impl = _ShapesMeshImpl(mesh_shape, layout, on_tpu)
  lowering = _ShapesLowering(graph, mesh_impl, iterations)
  return lowering.tensors, mesh_impl.messages


class _Slice:
  """The shape and dtype of a laid-out tensor's slice, as far as known.

  Attributes:
    shape: of the whole tensor, an mtf.Shape.
    slice_shape: a list of integers.
    dtype: of the slices.
    summed_by: the mtf.Operation whose result is the sum over cores of these
      slices; None if they are no such terms.
  """

  def __init__(self, shape=None, slice_shape=None, dtype=None):
    self.shape = shape
    self.slice_shape = slice_shape
    self.dtype = dtype
    self.summed_by = None

  @property
  def tensor_list(self):
    return [self]

  def to_laid_out_tensor(self):
    return self


class Message(NamedTuple):
  """A message that every core sends.

  Attributes:
    kind: "all_to_all", "all_reduce", "all_gather" or "permute".
    operand: one core's slice, perhaps not described yet.
    operation: the mtf.Operation that needs the result.
    summed_by: the mtf.Operation whose result is a sum over cores; None if the
      message is no sum.
    mesh_axes: the numbers of the mesh axes.
    count: how often it is sent in a step.
  """

  kind: str
  operand: _Slice
  operation: mtf.Operation
  summed_by: mtf.Operation | None
  mesh_axes: Sequence[int]
  count: int


class _ShapesMeshImpl(mtf.MeshImpl):
  """A mesh of shapes, which records messages in the place of sending them.

  Attributes:
    messages: the messages so far, in order.
    operation: the mtf.Operation that is being lowered.
    iterations: how often it runs in a step.
  """

  LaidOutTensor = _Slice

  def __init__(self, shape, layout, on_tpu: bool):
    super().__init__(shape, layout)
    self.messages = []
    self.operation = None
    self.iterations = 1
    self._on_tpu = on_tpu

  def slicewise(self, fn, *inputs):
    """Returns a slice for each output, which the lowering will describe."""
    del fn
    mtf.convert_args_to_laid_out_tensors(inputs)
    num_outputs = len(self.operation.outputs)
    if num_outputs == 1:
      return _Slice()
    return tuple(_Slice() for _ in range(num_outputs))

  def slicewise_delay_allreduce(self, fn, *inputs):
    """A delayed sum stays that of the operation that asked for it."""
    result = super().slicewise_delay_allreduce(fn, *inputs)
    if isinstance(result, mtf.LazyAllreduceSum):
      result.laid_out_input.summed_by = inputs[0].laid_out_input.summed_by
    return result

  def broadcast_impl(self, old_slices, old_shape, new_shape):
    operand = getattr(old_slices, "laid_out_input", old_slices)
    self.describe(operand, old_shape, self.operation.outputs[0].dtype)
    return super().broadcast_impl(old_slices, old_shape, new_shape)

  def allreduce(self, x, mesh_axes, reduction_fn_string):
    """Sends as SimdMeshImpl does, which passes maxima from core to core."""
    if self._on_tpu and reduction_fn_string != "SUM":
      for axis in mesh_axes:
        for _ in range((self.shape.dims[axis].size - 1).bit_length()):
          self._send("permute", x, [axis])
    elif mesh_axes:
      self._send("all_reduce", x, mesh_axes, x.summed_by or self.operation)
    return x

  def allsplit(self, x, mesh_axis, split_axis, which=None):
    x = x.to_laid_out_tensor()
    if x.slice_shape is None:  # Within an operation; its result is described.
      return _Slice()
    return self._resized(x, {split_axis: (1, self.shape[mesh_axis].size)})

  def allconcat(self, x, mesh_axis, concat_axis):
    """Sends as SimdMeshImpl does, which adds up zero-padded copies."""
    x = x.to_laid_out_tensor()
    whole = self._resized(x, {concat_axis: (self.shape[mesh_axis].size, 1)})
    if self._on_tpu:
      self._send("all_reduce", whole, [mesh_axis])
    else:
      self._send("all_gather", x, [mesh_axis])
    return whole

  def alltoall(self, x, mesh_axis, split_axis, concat_axis):
    x = x.to_laid_out_tensor()
    self._send("all_to_all", x, [mesh_axis])
    ways = self.shape[mesh_axis].size
    return self._resized(x, {split_axis: (1, ways), concat_axis: (ways, 1)})

  def receive(self, x, mesh_axis, source_pcoord):
    x = x.to_laid_out_tensor()
    self._send("permute", x, [mesh_axis])
    return _Slice(x.shape, x.slice_shape, x.dtype)

  def laid_out_pnum(self):
    return _Slice(mtf.Shape([]), [], tf.int32)

  def random(self, shape, tf_fn, kwargs):
    return _Slice()

  def import_tf_tensor(self, x, tf_x):
    return _Slice()

  def describe(self, x: _Slice, shape: mtf.Shape, dtype: tf.DType):
    """Fills in the shape and dtype of a slice."""
    x.shape, x.slice_shape, x.dtype = shape, self.slice_shape(shape), dtype

  def _resized(self, x, factors):
    """Returns a slice with some axes multiplied and divided."""
    slice_shape = list(x.slice_shape)
    for axis, (times, divided_by) in factors.items():
      slice_shape[axis] = slice_shape[axis] * times // divided_by
    return _Slice(x.shape, slice_shape, x.dtype)

  def _send(self, kind, x, mesh_axes, summed_by=None):
    self.messages.append(
        Message(
            kind,
            x,
            self.operation,
            summed_by,
            mesh_axes,
            self.iterations,
        )
    )


class _ShapesLowering(mtf.Lowering):
  """Lowers a graph onto a mesh of shapes.

  Operations lower themselves, as in a run; only those that read TensorFlow's
  tensors meanwhile are lowered here.
  """

  # pylint: disable=protected-access,super-init-not-called

  def __init__(
      self, graph: mtf.Graph, mesh_impl: _ShapesMeshImpl, iterations: int
  ):
    """Lowers all operations; upstream's constructor would make variables.

    Args:
      graph: the graph.
      mesh_impl: the implementation of all its meshes.
      iterations: the iterations of each while loop.
    """
    self.graph = graph
    self.tensors = {}
    self.variables = {}
    self._mesh_impl = mesh_impl
    self._counters = []
    self._iterations = iterations
    self._lower_all(graph.operations)

  def mesh_impl(self, m):
    """Returns the implementation, one for all meshes."""
    return self._mesh_impl

  def verify_slice_shapes(self, tensor, laid_out_tensor):
    """Describes a slice, where upstream compares its shape."""
    if isinstance(laid_out_tensor, mtf.LazyAllreduceSum):
      laid_out_tensor = laid_out_tensor.laid_out_input
      if laid_out_tensor.summed_by is None:
        laid_out_tensor.summed_by = self._mesh_impl.operation
    self._mesh_impl.describe(laid_out_tensor, tensor.shape, tensor.dtype)

  def _lower_all(self, operations):
    for operation in operations:
      self._mesh_impl.operation = operation
      if isinstance(operation, mtf.WhileLoopOperation):
        self._lower_loop(operation)
      elif isinstance(operation, mtf.Assign):
        for value in operation.inputs:
          self.tensors[value].to_laid_out_tensor()
      elif isinstance(operation, mtf.ScalarSummaryOperation):
        tensor = self.tensors[operation.inputs[0]].to_laid_out_tensor()
        self.set_tensor_lowering(operation.outputs[0], tensor)
      elif isinstance(operation, mtf.TopKOperation):
        self._lower_top_k(operation)
      elif isinstance(operation, _OPAQUE):
        for output in operation.outputs:
          self.set_tensor_lowering(output, _Slice())
      else:
        operation.lower(self)

  def _lower_top_k(self, operation):
    """Collects the best of each part of a dimension that is split.

    Its own rule sends slices that are no output and would have no shape.
    """
    impl = self._mesh_impl
    axis = impl.tensor_dimension_to_mesh_axis(operation._reduced_dim)
    for output in operation.outputs:
      best = _Slice()
      if axis is not None:
        impl.describe(best, output.shape, output.dtype)
        impl.allconcat(best, axis, output.shape.ndims - 1)
      self.set_tensor_lowering(output, _Slice())

  def _lower_loop(self, loop):
    """Lowers the body once, and delays its sums to the end of the loop."""
    for outer in loop.inputs:
      self.tensors[outer].to_laid_out_tensor()
    for inner in (*loop._cond_inputs, *loop._body_inputs):
      self.set_tensor_lowering(inner, _Slice())
    self._mesh_impl.iterations *= self._iterations
    # Once more than the body, in truth.
    self._lower_all(loop._cond_ops)
    self.tensors[loop._cond_output].to_laid_out_tensor()
    self._lower_all(loop._body_ops)
    results = [self.tensors[x] for x in loop._body_outputs]
    self._mesh_impl.operation = loop
    for result in results:
      if not isinstance(result, mtf.LazyAllreduceSum):
        result.to_laid_out_tensor()
    self._mesh_impl.iterations //= self._iterations
    for output, result in zip(loop.outputs, results):
      slices = _Slice()
      if isinstance(result, mtf.LazyAllreduceSum):
        slices.summed_by = result.laid_out_input.summed_by
        slices = mtf.LazyAllreduceSum(self._mesh_impl, slices, result.mesh_axes)
      self.set_tensor_lowering(output, slices)

  # pylint: enable=protected-access,super-init-not-called
