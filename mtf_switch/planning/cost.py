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

"""Lower bounds of a step's time: products, memory traffic and messages."""

from collections.abc import Callable, Iterable, Sequence
import warnings

import mesh_tensorflow as mtf

from mtf_switch import errors
from mtf_switch.planning import communication

# The only matrix products among upstream's operations besides the einsum.
_CONVOLUTIONS = (
    mtf.Conv2dOperation,
    mtf.Conv2dTransposeOperation,
    mtf.Conv2or3dBackpropFilterOperation,
    mtf.Conv2or3dBackpropInputOperation,
    mtf.Conv3dOperation,
    mtf.Conv3dTransposeOperation,
)


def multiplications(
    operation: mtf.Operation,
    slice_size: Callable[[Iterable[mtf.Dimension]], int],
) -> int | None:
  """The multiplications of an operation's matrix products on one core.

  Args:
    operation: any operation; most have no matrix products.
    slice_size: from dimensions to the number of entries of a slice.

  Returns:
    a count; None for an operation that may have matrix products and does not
    declare them (see mtf_switch.operations).
  """
  declared = getattr(operation, "multiplications", None)
  if declared:
    return declared(slice_size)
  if isinstance(operation, mtf.EinsumOperation):
    tensors = [*operation.inputs, *operation.outputs]
    dims = {dim for x in operation.inputs for dim in x.shape.dims}
    # Where a tensor has all dimensions, entries are multiplied one by one.
    if any(len(x.shape.dims) == len(dims) for x in tensors):
      return 0
    return slice_size(dims)
  if isinstance(operation, mtf.GenericGradOperation):
    # Each product has two gradients.
    forward = multiplications(operation._forward_op, slice_size)  # pylint: disable=protected-access
    return forward and 2 * forward
  if isinstance(operation, mtf.SlicewiseOperation):
    # A product sums over a dimension, which the mesh must not split then. What
    # may be split along all dimensions works entry by entry.
    return None if operation.unsplittable_dims else 0
  is_upstream = any(
      base.__module__ == mtf.Operation.__module__
      for base in type(operation).__mro__
      if issubclass(base, mtf.Operation) and base is not mtf.Operation
  )
  if not is_upstream or isinstance(operation, _CONVOLUTIONS):
    return None
  return 0


def executed_flops(
    operations: Iterable[tuple[mtf.Operation, int]],
    slice_size: Callable[[Iterable[mtf.Dimension]], int],
) -> int:
  """Counts the FLOPs of a core, with a notice if it cannot.

  Args:
    operations: operations, and how often each runs.
    slice_size: from dimensions to the number of entries of a slice.

  Returns:
    FLOPs, two for each multiplication of a matrix product.
  """
  total = 0
  unknown = []
  for operation, count in operations:
    number = multiplications(operation, slice_size)
    if number is None:
      unknown.append(operation.name)
    else:
      total += 2 * count * number
  if unknown:
    warnings.warn(
        f"the plan counts no FLOPs for {len(unknown)} operations that do not"
        f" declare their matrix products, such as {unknown[0]}; make"
        " them by mtf_switch.operations.slicewise.",
        errors.UserNotice,
        stacklevel=2,
    )
  return total


def bytes_over_links(collective: communication.Collective) -> float:
  """The least number of bytes that a core must send for a collective.

  Args:
    collective: along a group of k cores.

  Returns:
    (k - 1) / k of the operand for an all-to-all, twice as many for an
    all-reduce, k - 1 operands for an all-gather, and the operand itself for a
    permutation.
  """
  k = collective.group_size
  factor = {
      "all_to_all": (k - 1) / k,
      "all_reduce": 2 * (k - 1) / k,
      "all_gather": k - 1,
      "permute": 1,
  }[collective.kind]
  return factor * collective.bytes


def memory_traffic(
    weight_bytes: int,
    optimizer_bytes: int,
    gradient_bytes: int,
    activation_bytes: int,
) -> int:
  """The least number of bytes that a core reads and writes in a step.

  Args:
    weight_bytes: of the weights; read forward, backward and by the optimizer,
      which writes them.
    optimizer_bytes: of the optimizer's state, read and written.
    gradient_bytes: of all gradients, written once and read once.
    activation_bytes: of the other tensors, the same.

  Returns:
    a count.
  """
  return (
      4 * weight_bytes
      + 2 * optimizer_bytes
      + 2 * gradient_bytes
      + 2 * activation_bytes
  )


def memory_traffic_of_evaluation(
    weight_bytes: int,
    activation_bytes: int,
    loops: Iterable[mtf.WhileLoopOperation],
    iterations: int,
    bytes_of: Callable[[mtf.Tensor], int],
) -> int:
  """The least number of bytes that a core reads and writes for a batch.

  Args:
    weight_bytes: of the weights, read once.
    activation_bytes: of the other tensors, written once and read once.
    loops: those of decoding, each of whose steps reads the weights and the kept
      keys and values again.
    iterations: of each loop.
    bytes_of: from a tensor to the bytes of its slice.

  Returns:
    a count.
  """
  read = 0
  for loop in loops:
    # pylint: disable=protected-access
    made = {x for operation in loop._body_ops for x in operation.outputs}
    inputs = {x for operation in loop._body_ops for x in operation.inputs}
    read += sum(map(bytes_of, inputs - made))
  return weight_bytes + 2 * activation_bytes + iterations * read


def network_traffic(collectives: Sequence[communication.Collective]) -> float:
  """Returns the least number of bytes that a core sends, over all messages."""
  return sum(map(bytes_over_links, collectives))
