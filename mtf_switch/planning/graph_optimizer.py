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

"""What TensorFlow makes of a Mesh TensorFlow graph before it runs it.

As far as memory goes: Grappler, which rewrites graphs on CPUs and GPUs, leaves
out what nobody asks for, computes what is equal once, multiplies the smallest
factors first, and adds up sums of many terms when all of them are there.
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
# What two operations that compute the same may differ in.
_OWN = ("_name", "_inputs", "_outputs")


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
  """An operation as it runs.

  Attributes:
    operation: the mtf.Operation.
    inputs: what it reads.
    outputs: what it gives.
  """

  operation: mtf.Operation
  inputs: Sequence[mtf.Tensor]
  outputs: Sequence[mtf.Tensor]


def optimize(
    nodes: Sequence[Node], results: Iterable[mtf.Tensor]
) -> list[Node]:
  """Rewrites a graph as TensorFlow does.

  Args:
    nodes: the graph, each node after those that it reads from.
    results: what the graph is run for.

  Returns:
    the nodes that run, in an order in which they can.
  """
  results = set(results)
  nodes = _needed(nodes, results)
  nodes = _smallest_factors_first(_joined(nodes, results, _is_product))
  return _joined(_without_twins(nodes, results), results, _is_sum)


def _needed(nodes, results) -> list[Node]:
  """Leaves out what nothing depends on."""
  wanted = set(results)
  kept = []
  for node in reversed(nodes):
    if wanted.intersection(node.outputs):
      wanted.update(node.inputs)
      kept.append(node)
  return kept[::-1]


def _is_product(node) -> bool:
  """Whether it multiplies entry by entry."""
  dims = {dim for x in node.inputs for dim in x.shape.dims}
  return (
      isinstance(node.operation, mtf.EinsumOperation)
      and len(node.inputs) > 1
      and dims == set(node.outputs[0].shape.dims)
  )


def _is_sum(node) -> bool:
  """Whether it adds tensors of one shape."""
  return isinstance(node.operation, mtf.AddOperation) and all(
      x.shape == node.outputs[0].shape for x in node.inputs
  )


def _joined(nodes, results, kind: Callable[[Node], bool]) -> list[Node]:
  """Makes one node of those of a kind between which nobody else reads."""
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
  """Makes products of two out of those of many."""
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
  """Leaves out what has been computed before."""
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
  """What is equal for two nodes if they compute the same."""
  attributes = {
      name: value
      for name, value in vars(node.operation).items()
      if name not in _OWN
  }
  outputs = [(x.shape, x.dtype) for x in node.outputs]
  return type(node.operation), _key([node.inputs, outputs, attributes])


def _key(value):
  """Something hashable that is equal for values that are."""
  if isinstance(value, mtf.Shape):
    value = value.dims
  if isinstance(value, (list, tuple)):
    return tuple(map(_key, value))
  if isinstance(value, dict):
    return tuple((name, _key(x)) for name, x in value.items())
  if inspect.isfunction(value):
    # Lambdas of one line that are about the same objects.
    cells = [id(cell.cell_contents) for cell in value.__closure__ or ()]
    return value.__code__, tuple(cells)
  if isinstance(value, tf.Tensor) and value.op.type == "Const":
    return value.op.get_attr("value").SerializeToString()
  try:
    hash(value)
  except TypeError:
    return id(value)
  return value
