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

"""The peak memory of a Mesh TensorFlow graph, without running it.

A tensor takes memory from the operation that writes it to the last one that
reads it, in the order in which operations run.
"""

import collections
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import NamedTuple

import mesh_tensorflow as mtf

from mtf_switch.planning import graph_optimizer

# Their results may take the place of an input.
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
  """The moment of a step at which most memory is in use, without variables.

  Attributes:
    gradients: bytes of the variables' gradients.
    activations: bytes of all other tensors.
  """

  gradients: int
  activations: int


class _Operation(NamedTuple):
  """The effect of an operation on memory; buffers are numbered.

  Attributes:
    inputs: the buffers that it reads.
    outputs: the buffers that it writes, without those that it also reads.
    ends: the buffers of its results that no operation reads.
    in_place: whether its result may take the place of an input.
    variables: the buffers of a loop's first values, whose places its own take.
    scratch: tensors as large as those that only exist while it runs.
    body: the schedule of a loop's iteration; None for other operations.
  """

  inputs: Sequence[int]
  outputs: Sequence[int]
  ends: Sequence[int]
  in_place: bool
  variables: Sequence[int]
  scratch: Sequence[mtf.Tensor]
  body: "Schedule | None"


class Schedule:
  """The order in which operations run, and the buffers that are alive.

  It is the same for all sizes of slices.
  """

  def __init__(
      self,
      operations: Sequence[mtf.Operation],
      gradients: Iterable[mtf.Tensor | None] = (),
      on_tpu: bool = False,
      results: Iterable[mtf.Tensor] = (),
  ):
    """Puts operations in order.

    Args:
      operations: the operations of a graph or of a loop's body.
      gradients: the gradients of the trainable variables.
      on_tpu: whether operations stay in the order in which the graph was built,
        which stands for that of a TPU's compiler. Otherwise they run as
        TensorFlow runs them: it rewrites the graph, and starts each operation
        as soon as its inputs are ready.
      results: what the graph is run for besides its assignments.
    """
    gradients = set(gradients)
    nodes = graph_optimizer.nodes_of(operations)
    # Upstream joins the assignments to all variables in one operation, but each
    # variable takes its new value as soon as it is ready.
    results = [
        *results,
        *(
            x
            for node in nodes
            if isinstance(node.operation, mtf.Assign)
            for x in node.inputs
        ),
    ]
    nodes = [x for x in nodes if not isinstance(x.operation, mtf.Assign)]
    if results and not on_tpu:
      nodes = graph_optimizer.optimize(nodes, results)
    # A tensor of each buffer's size; None for variables.
    self._tensors = []
    self._is_gradient = []
    buffers = self._number(nodes, gradients)
    self._readers = [0] * len(self._tensors)
    inputs = {}
    for node in nodes:
      inputs[node] = {x for x in node.inputs if x in buffers}
      for tensor in inputs[node]:
        self._readers[buffers[tensor]] += 1
    self._operations = []
    for node in nodes if on_tpu else _as_soon_as_possible(inputs):
      operation, body, variables = node.operation, None, ()
      reads = [buffers[x] for x in inputs[node]]
      writes = {buffers[x] for x in node.outputs}
      if isinstance(operation, mtf.WhileLoopOperation):
        body = Schedule(operation._body_ops, on_tpu=on_tpu)  # pylint: disable=protected-access
        first_values = node.inputs[: len(operation.inputs)]
        variables = tuple({buffers[x] for x in first_values if x in buffers})
      self._operations.append(
          _Operation(
              reads,
              tuple(writes - set(reads)),
              tuple(x for x in writes if not self._readers[x]),
              isinstance(operation, _IN_PLACE) and len(node.outputs) == 1,
              variables,
              getattr(operation, "scratch", ()),
              body,
          )
      )

  def _number(self, nodes, gradients) -> dict[mtf.Tensor, int]:
    """Returns the buffer of each tensor that the nodes make."""
    buffers = {}
    for node in nodes:
      operation, sources = node.operation, node.inputs
      if isinstance(operation, mtf.CustomGradientOperation):
        # The function's inputs come first.
        sources = sources[-len(node.outputs) :]
      for number, output in enumerate(node.outputs):
        source = sources[number] if isinstance(operation, _ALIASES) else None
        if source in buffers:
          buffers[output] = buffers[source]
          self._is_gradient[buffers[source]] |= output in gradients
          continue
        is_variable = (
            isinstance(operation, mtf.Variable)
            and operation.slice_dtype == output.dtype
        )
        buffers[output] = len(self._tensors)
        self._tensors.append(None if is_variable else output)
        self._is_gradient.append(output in gradients)
    return buffers

  def peak(self, bytes_of: Callable[[mtf.Tensor], int]) -> Peak:
    """Finds the greatest number of bytes that are alive at the same time.

    Args:
      bytes_of: a function from a tensor to the bytes of its slice.

    Returns:
      the peak.
    """
    sizes = [0 if x is None else bytes_of(x) for x in self._tensors]
    readers = list(self._readers)
    live = {True: 0, False: 0}
    highest = Peak(0, 0)

    def release(buffer):
      live[self._is_gradient[buffer]] -= sizes[buffer]
      sizes[buffer] = 0

    for operation in self._operations:
      if operation.in_place:
        for buffer in operation.inputs:
          if readers[buffer] == 1 and [sizes[buffer]] == [
              sizes[x] for x in operation.outputs
          ]:
            release(buffer)
            break
      for buffer in operation.variables:
        if readers[buffer] == 1:
          release(buffer)
      for buffer in operation.outputs:
        live[self._is_gradient[buffer]] += sizes[buffer]
      scratch = sum(map(bytes_of, operation.scratch))
      if operation.body:
        scratch += sum(operation.body.peak(bytes_of))
      if live[True] + live[False] + scratch > sum(highest):
        highest = Peak(live[True], live[False] + scratch)
      for buffer in operation.inputs:
        readers[buffer] -= 1
        if not readers[buffer]:
          release(buffer)
      for buffer in operation.ends:
        release(buffer)
    return highest


def _as_soon_as_possible(
    inputs: Mapping[graph_optimizer.Node, Collection[mtf.Tensor]],
) -> Iterator[graph_optimizer.Node]:
  """Yields nodes in the order in which their inputs become ready."""
  readers = collections.defaultdict(list)
  for node, tensors in inputs.items():
    for tensor in tensors:
      readers[tensor].append(node)
  missing = {node: len(tensors) for node, tensors in inputs.items()}
  ready = collections.deque(x for x, count in missing.items() if not count)
  while ready:
    node = ready.popleft()
    yield node
    for tensor in node.outputs:
      for reader in readers[tensor]:
        missing[reader] -= 1
        if not missing[reader]:
          ready.append(reader)
