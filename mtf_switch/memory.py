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

"""What a Mesh TensorFlow graph keeps in memory, without running it.

Operations are taken in the order in which TensorFlow starts them, each as soon
as its inputs are there; a tensor takes memory from the operation that writes
it to the last one that reads it.
"""

from mtf_switch import compat  # isort: skip  # noqa: F401
import collections
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import mesh_tensorflow as mtf

# Their results may lie where an input lay.
_IN_PLACE = (
    mtf.SlicewiseOperation,
    mtf.BinaryOpWithBroadcasting,
    mtf.ScalarMultiplyOperation,
    mtf.ScalarAddOperation,
)
# Their results are their inputs, under another name or shape.
_ALIASES = (
    mtf.ReshapeOperation,
    mtf.ReadVariable,
    mtf.StopGradient,
    mtf.CustomGradientOperation,
    mtf.ScalarSummaryOperation,
)


class Peak(NamedTuple):
  """The moment of a step at which most memory is taken, variables left out.

  Attributes:
    gradients: bytes of the variables' gradients.
    activations: bytes of all other tensors.
  """

  gradients: int
  activations: int


class _Buffer:
  """The memory of a tensor and of its aliases.

  Attributes:
    size: in bytes.
    is_gradient: whether it is a variable's gradient.
    readers: operations that are still to read it.
  """

  def __init__(self, size: int, is_gradient: bool = False):
    self.size = size
    self.is_gradient = is_gradient
    self.readers = 0


def peak(
    operations: Sequence[mtf.Operation],
    bytes_of: Callable[[mtf.Tensor], int],
    gradients: Iterable[mtf.Tensor | None] = (),
) -> Peak:
  """The greatest number of bytes that tensors take at the same time.

  Args:
    operations: of a graph or of a loop's body.
    bytes_of: the bytes of a tensor's slice.
    gradients: those of the trainable variables.

  Returns:
    the peak.
  """
  buffers = _buffers(operations, bytes_of, set(gradients))
  readers = collections.defaultdict(list)
  missing = {}
  for operation in operations:
    inputs = {x for x in _inputs(operation) if x in buffers}
    missing[operation] = len(inputs)
    for tensor in inputs:
      readers[tensor].append(operation)
      buffers[tensor].readers += 1
  ready = collections.deque(x for x in operations if not missing[x])
  live = collections.Counter()
  highest = Peak(0, 0)

  def release(buffer):
    if not buffer.readers:
      live[buffer.is_gradient] -= buffer.size
      buffer.size = 0

  while ready:
    operation = ready.popleft()
    inputs = [buffers[x] for x in set(_inputs(operation)) if x in buffers]
    outputs = {buffers[x] for x in operation.outputs} - set(inputs)
    if isinstance(operation, _IN_PLACE) and len(operation.outputs) == 1:
      _take_over(outputs, inputs, live)
    for buffer in outputs:
      live[buffer.is_gradient] += buffer.size
    now = Peak(live[True], live[False] + _scratch(operation, bytes_of))
    highest = max(highest, now, key=sum)
    for buffer in inputs:
      buffer.readers -= 1
      release(buffer)
    for tensor in operation.outputs:
      release(buffers[tensor])
      for reader in readers[tensor]:
        missing[reader] -= 1
        if not missing[reader]:
          ready.append(reader)
  return highest


def _inputs(operation) -> list[mtf.Tensor]:
  """What an operation reads; a loop also reads what its body does."""
  inputs = list(operation.inputs)
  if isinstance(operation, mtf.WhileLoopOperation):
    for inner in operation._body_ops:  # pylint: disable=protected-access
      inputs += inner.inputs
  return inputs


def _buffers(operations, bytes_of, gradients) -> dict[mtf.Tensor, _Buffer]:
  """The memory of each tensor that the operations write."""
  buffers = {}
  for operation in operations:
    sources = operation.inputs
    if isinstance(operation, mtf.CustomGradientOperation):
      sources = operation._fn_outputs  # pylint: disable=protected-access
    for number, output in enumerate(operation.outputs):
      source = sources[number] if isinstance(operation, _ALIASES) else None
      if source in buffers:
        buffers[output] = buffers[source]
        buffers[output].is_gradient |= output in gradients
        continue
      size = bytes_of(output)
      if isinstance(operation, mtf.Variable) and (
          operation.slice_dtype == output.dtype
      ):
        size = 0  # It is the variable's own.
      buffers[output] = _Buffer(size, output in gradients)
  return buffers


def _take_over(outputs, inputs, live):
  """Lets a result lie where an input lay that nobody else reads."""
  for output in outputs:
    for buffer in inputs:
      if buffer.readers == 1 and buffer.size == output.size:
        live[buffer.is_gradient] -= buffer.size
        buffer.size = 0
        return


def _scratch(operation, bytes_of) -> int:
  """What an operation takes only while it runs."""
  if isinstance(operation, mtf.WhileLoopOperation):
    return sum(peak(operation._body_ops, bytes_of))  # pylint: disable=protected-access
  return 0
