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

"""TensorFlow's rewrites of a graph, as far as they change its peak memory.

On CPUs and GPUs Grappler leaves out unused operations, computes equal results
once, multiplies the smallest factors first, and adds up sums of many terms when
all terms are ready. docs/performance.md has the error of plans without this.
"""

import collections
from collections.abc import Callable, Iterable, Sequence
import dataclasses
import inspect

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

# Their results differ although their inputs are equal.
_NEVER_EQUAL = (
    mtf.Variable,
    mtf.ReadVariable,
    mtf.RandomOperation,
    mtf.WhileLoopOperation,
    mtf.CustomGradientOperation,
)
# Attributes in which operations with equal results may differ.
_OWN = ("_name", "_inputs", "_outputs")


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
  """An operation as it runs.

  Attributes:
    operation: the mtf.Operation.
    inputs: the tensors that it reads.
    outputs: the tensors that it makes.
  """

  operation: mtf.Operation
  inputs: Sequence[mtf.Tensor]
  outputs: Sequence[mtf.Tensor]


def nodes_of(operations: Iterable[mtf.Operation]) -> list[Node]:
  """Returns operations as nodes; the inputs of a loop's body are the loop's."""
  nodes = []
  for operation in operations:
    inputs = list(operation.inputs)
    if isinstance(operation, mtf.WhileLoopOperation):
      # pylint: disable-next=protected-access
      for inner in operation._cond_ops + operation._body_ops:
        inputs += inner.inputs
    nodes.append(Node(operation, inputs, operation.outputs))
  return nodes


def leave_out_unused(
    operations: list[mtf.Operation], results: Iterable[mtf.Tensor]
):
  """Leaves out operations that neither a result nor an assignment needs.

  All compilers do so.

  Args:
    operations: of a graph, each after those that make its inputs; changed in
      place, and the bodies of loops too.
    results: the tensors for which the graph is run.
  """
  for loop in operations:
    if isinstance(loop, mtf.WhileLoopOperation):
      # pylint: disable-next=protected-access
      leave_out_unused(loop._body_ops, loop._body_outputs)
  operations[:] = [x.operation for x in _needed(nodes_of(operations), results)]


def optimize(
    nodes: Sequence[Node], results: Iterable[mtf.Tensor]
) -> list[Node]:
  """Rewrites a graph as TensorFlow does.

  Args:
    nodes: the graph, each node after the nodes that make its inputs.
    results: the tensors for which the graph is run.

  Returns:
    the nodes that run, in an order in which they can.
  """
  results = set(results)
  nodes = _needed(nodes, results)
  nodes = _smallest_factors_first(_joined(nodes, results, _is_product))
  return _joined(_without_twins(nodes, results), results, _is_sum)


def _needed(nodes, results) -> list[Node]:
  """Leaves out nodes on which no result and no assignment depends."""
  wanted = set(results)
  kept = []
  for node in reversed(nodes):
    if isinstance(node.operation, mtf.Assign) or wanted.intersection(
        node.outputs
    ):
      wanted.update(node.inputs)
      kept.append(node)
  return kept[::-1]


def _is_product(node) -> bool:
  """Returns whether a node multiplies entry by entry."""
  dims = {dim for x in node.inputs for dim in x.shape.dims}
  return (
      isinstance(node.operation, mtf.EinsumOperation)
      and len(node.inputs) > 1
      and dims == set(node.outputs[0].shape.dims)
  )


def _is_sum(node) -> bool:
  """Returns whether a node adds tensors of one shape."""
  return isinstance(node.operation, mtf.AddOperation) and all(
      x.shape == node.outputs[0].shape for x in node.inputs
  )


def _joined(nodes, results, kind: Callable[[Node], bool]) -> list[Node]:
  """Joins nodes of a kind whose intermediate results have no other reader."""
  readers = collections.Counter(x for node in nodes for x in node.inputs)
  readers.update(results)
  parts = {}
  joined = set()
  kept = []
  for node in nodes:
    if kind(node):
      inputs = []
      for x in node.inputs:
        part = parts.get(x) if readers[x] == 1 else None
        inputs += part.inputs if part else [x]
        joined.add(part)
      node = dataclasses.replace(node, inputs=inputs)
      parts[node.outputs[0]] = node
    kept.append(node)
  return [node for node in kept if node not in joined]


def _smallest_factors_first(nodes) -> list[Node]:
  """Splits products of many factors into products of two."""
  result = []
  for node in nodes:
    if _is_product(node):
      product, *factors, last = sorted(node.inputs, key=lambda x: x.shape.size)
      for factor in factors:
        dims = {*product.shape.dims, *factor.shape.dims}
        shape = mtf.Shape(
            [dim for dim in node.outputs[0].shape.dims if dim in dims]
        )
        partial = mtf.Tensor(node.operation, shape, factor.dtype)
        result.append(Node(node.operation, [product, factor], [partial]))
        product = partial
      node = dataclasses.replace(node, inputs=[product, last])
    result.append(node)
  return result


def _without_twins(nodes, results) -> list[Node]:
  """Leaves out nodes whose results have been computed before."""
  stands_for = {}
  first = {}
  kept = []
  for node in nodes:
    inputs = [stands_for.get(x, x) for x in node.inputs]
    node = dataclasses.replace(node, inputs=inputs)
    if not isinstance(node.operation, _NEVER_EQUAL):
      twin = first.setdefault(_identity(node), node)
      if twin is not node and not results.intersection(node.outputs):
        stands_for.update(zip(node.outputs, twin.outputs))
        continue
    kept.append(node)
  return kept


def _identity(node):
  """Returns a key that is equal for nodes with equal results."""
  attributes = {
      name: value
      for name, value in vars(node.operation).items()
      if name not in _OWN
  }
  outputs = [(x.shape, x.dtype) for x in node.outputs]
  return type(node.operation), _key([node.inputs, outputs, attributes])


def _key(value):
  """Returns a hashable key that is equal for equal values."""
  if isinstance(value, mtf.Shape):
    value = value.dims
  if isinstance(value, (list, tuple)):
    return tuple(map(_key, value))
  if isinstance(value, dict):
    return tuple((name, _key(x)) for name, x in value.items())
  if inspect.isfunction(value):
    # The same code with the same objects in its closure.
    cells = [id(cell.cell_contents) for cell in value.__closure__ or ()]
    return value.__code__, tuple(cells)
  if isinstance(value, tf.Tensor) and value.op.type == "Const":
    return value.op.get_attr("value").SerializeToString()
  try:
    hash(value)
  except TypeError:
    return id(value)
  return value
