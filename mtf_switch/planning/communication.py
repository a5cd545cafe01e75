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

"""The messages between cores of a Mesh TensorFlow graph, without running it.

The graph is lowered by its operations' own rules (`shape_lowering`); here each
message gets the purpose that follows from its operations.
"""

from collections.abc import Iterable, Iterator, Sequence
import math
from typing import NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.layer import exchange
from mtf_switch.planning import shape_lowering

# Sums of bfloat16 over larger groups travel as float32, as SimdMeshImpl's do.
_BFLOAT16_MAX_GROUP_SIZE = 8


class Collective(NamedTuple):
  """A message that every core sends in a step.

  Attributes:
    kind: "all_to_all", "all_reduce", "all_gather" or "permute".
    purpose: "experts" (section 5.4), "model_parallelism" (sections 5.2 and
      5.3), "gradients" of a variable, or "other".
    operation: the name of the mtf.Operation that needs the result.
    mesh_axes: the names of the mesh axes along which it is sent.
    group_size: the number of cores that exchange with each other.
    shape: the operand's shape on one core.
    dtype: the operand's dtype on the wire.
    count: how often it is sent in a step.
  """

  kind: str
  purpose: str
  operation: str
  mesh_axes: tuple[str, ...]
  group_size: int
  shape: tuple[int, ...]
  dtype: tf.DType
  count: int

  @property
  def bytes(self) -> int:
    """Bytes of the operand for each core and step; no ring factors."""
    return self.count * math.prod(self.shape) * self.dtype.size


def collectives(
    graph: mtf.Graph,
    mesh_shape: mtf.Shape,
    layout: mtf.LayoutRules,
    on_tpu: bool,
    gradients: Sequence[mtf.Tensor | None] = (),
    exported: Iterable[mtf.Tensor] = (),
    iterations: int = 1,
) -> list[Collective]:
  """The messages of a graph's step, in the order in which they are needed.

  Args:
    graph: the graph; not changed.
    mesh_shape: the mesh.
    layout: the rules that split dimensions over the mesh's axes.
    on_tpu: whether sums and gathers travel as SimdMeshImpl sends them.
    gradients: the gradients of the trainable variables.
    exported: tensors that the host reads.
    iterations: the iterations of each while loop.

  Returns:
    the collectives.
  """
  tensors, messages = shape_lowering.lower(
      graph, mesh_shape, layout, on_tpu, iterations
  )
  for tensor in exported:
    tensors[tensor].to_laid_out_tensor()
  sums = [tensors[x] for x in gradients if x is not None]
  of_gradients = {
      id(x.laid_out_input) for x in sums if isinstance(x, mtf.LazyAllreduceSum)
  }
  weights = _computed_from_weights(graph)

  def purpose(message: shape_lowering.Message) -> str:
    if id(message.operand) in of_gradients:
      return "gradients"
    if message.kind == "all_to_all":
      is_exchange = isinstance(message.operation, exchange.ExchangeOperation)
      return "experts" if is_exchange else "other"
    # Activations times weights of which each core has a part.
    factors = message.summed_by.inputs if message.summed_by else ()
    are_weights = {factor in weights for factor in factors}
    return "model_parallelism" if len(are_weights) == 2 else "other"

  def collective(message: shape_lowering.Message) -> Collective:
    axes = [mesh_shape.dims[axis] for axis in message.mesh_axes]
    dtype = message.operand.dtype
    group_size = math.prod(axis.size for axis in axes)
    stays_short = (
        dtype == tf.bfloat16 and group_size <= _BFLOAT16_MAX_GROUP_SIZE
    )
    if on_tpu and message.kind == "all_reduce" and not stays_short:
      dtype = tf.float32
    return Collective(
        message.kind,
        purpose(message),
        message.operation.name,
        tuple(axis.name for axis in axes),
        group_size,
        tuple(message.operand.slice_shape),
        dtype,
        message.count,
    )

  return [collective(message) for message in messages]


def _all_operations(graph: mtf.Graph) -> Iterator[mtf.Operation]:
  """The operations of a graph and of its loops."""
  for operation in graph.operations:
    yield operation
    if isinstance(operation, mtf.WhileLoopOperation):
      yield from operation._body_ops  # pylint: disable=protected-access


def _computed_from_weights(graph: mtf.Graph) -> set[mtf.Tensor]:
  """The variables and all that is computed from them alone."""
  found = set()
  for operation in _all_operations(graph):
    inputs = operation.inputs
    if isinstance(operation, mtf.Variable) or (
        inputs and found.issuperset(inputs)
    ):
      found.update(operation.outputs)
  return found
