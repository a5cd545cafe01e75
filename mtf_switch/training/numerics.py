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

"""Numerics checks: where in a step values stop being finite numbers.

Training itself only looks at the loss. Here a step is made again with a check
of every tensor of the graph, in loops too.
"""

from collections.abc import Iterable, Mapping, Sequence
import re
from typing import NamedTuple

import mesh_tensorflow as mtf
import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch.training import model_functions

# A tensor's code is an index.
_VALUES = ("finite", "Inf", "NaN")
# TensorFlow's summary of a tensor: its id, its size, and how many values are
# minus infinite, infinite and NaN.
_CONCISE_HEALTH = 3
_SUMMARY_SIZE = 5

_LAYER = re.compile(r"(?:\w+/)*?block_\d+/layer_\d+(?:/[A-Z]\w*)?")


class Place(NamedTuple):
  """The place in a step where values stop being finite.

  Attributes:
    value: "NaN" or "Inf".
    phase: "forward", "gradient" or "update"; "weights" if it is a weight before
      the step.
    layer: for example "decoder/block_003/layer_001/SwitchFeedForward".
    operation: the operation of Mesh TensorFlow.
    variable: the variable whose gradient or update it is, for a gradient the
      first in the order of the backward pass; None in other phases.
  """

  value: str
  phase: str
  layer: str
  operation: str
  variable: str | None

  def __str__(self):
    if self.phase == "gradient" and self.variable:
      return f"{self.value} first in the gradients of {self.layer}, " + (
          f"then in that of {self.variable}"
      )
    if self.phase == "gradient":
      return f"{self.value} first in the gradients of {self.layer}"
    if self.phase == "update":
      return f"{self.value} first in the update of {self.variable}"
    if self.phase == "weights":
      return f"{self.value} in the weights {self.operation}"
    return f"{self.value} first in {self.layer}"


class Lowering(mtf.Lowering):
  """A lowering that notes which floating-point tensors are not finite.

  Tensors inside loops, such as those of microbatches, are noted as well.

  Attributes:
    summaries: a local variable, float32 `[number of tensors, 5]`: of each
      tensor, the maximum over slices, microbatches and steps.
    names: the operation of each tensor, in the order of the graph.
  """

  def autostack(self):
    """Combines variables; makes room for the summaries of all tensors."""
    super().autostack()
    with tf.device("/device:CPU:0"):
      self.summaries = tf.get_variable(
          "numerics/summaries",
          shape=[_count_outputs(self.graph.operations), _SUMMARY_SIZE],
          dtype=tf.float32,
          initializer=tf.zeros_initializer(),
          trainable=False,
          collections=[tf.GraphKeys.LOCAL_VARIABLES],
      )
    self.names = []
    self._numbers = {}

  def set_tensor_lowering(self, tensor, laid_out_tensor):
    """Has a tensor summarized when it is computed."""
    if tensor.dtype.is_floating:
      number = self._numbers.setdefault(tensor, len(self.names))
      if number == len(self.names):
        self.names.append(tensor.operation.name)
      laid_out_tensor = self._checked(number, tensor, laid_out_tensor)
    super().set_tensor_lowering(tensor, laid_out_tensor)

  def number_of(self, tensor: mtf.Tensor) -> int | None:
    """Returns a tensor's row in `summaries`; None if it has none."""
    return self._numbers.get(tensor)

  def codes_of(self, summaries: np.ndarray) -> np.ndarray:
    """Returns the worst value of each tensor: 0 if finite, 1 Inf, 2 NaN.

    Args:
      summaries: the value of `summaries`.
    """
    infinite, nan = summaries[:, 2:4].any(axis=1), summaries[:, 4] > 0
    return np.where(nan, 2, infinite.astype(int))

  def causes(
      self, tensors: Iterable[mtf.Tensor], codes: Sequence[int]
  ) -> set[int]:
    """Finds the tensors that made others infinite or NaN.

    Values that are infinite by design, such as the logarithm of a distance of
    0, reach no result: they are masked, or turned into integers.

    Args:
      tensors: those that should be finite.
      codes: of `codes_of`.

    Returns:
      the numbers of the tensors that are not finite and lead to them through
      such tensors, themselves included.
    """
    found = set()
    tensors = list(tensors)
    while tensors:
      tensor = tensors.pop()
      number = self.number_of(tensor)
      if number is None or number in found or not codes[number]:
        continue
      found.add(number)
      tensors += _with_summands(tensor)[1:] or tensor.operation.inputs
    return found

  def _checked(self, number: int, tensor: mtf.Tensor, laid_out):
    if isinstance(laid_out, mtf.LazyAllreduceSum):
      # The summands, so that the sum is as lazy, and rounded, as in training.
      return mtf.LazyAllreduceSum(
          laid_out.mesh_impl,
          self._checked(number, tensor, laid_out.laid_out_input),
          laid_out.mesh_axes,
          laid_out.add_counter_fn,
      )

    def check(x):
      summary = tf.raw_ops.DebugNumericSummaryV2(
          input=x, tensor_debug_mode=_CONCISE_HEALTH
      )
      with tf.device(self.summaries.device):
        note = tf.raw_ops.ResourceScatterMax(
            resource=self.summaries.handle, indices=number, updates=summary
        )
      with tf.control_dependencies([note]):
        return tf.identity(x)

    return self.mesh_impl(tensor).slicewise(check, laid_out)


def _with_summands(tensor: mtf.Tensor) -> list[mtf.Tensor]:
  """A tensor, and that of a microbatch if it is their sum."""
  loop = tensor.operation
  if not isinstance(loop, mtf.WhileLoopOperation):
    return [tensor]
  # pylint: disable-next=protected-access
  return [tensor, loop._body_outputs[loop.outputs.index(tensor)]]


def _count_outputs(operations: Sequence[mtf.Operation]) -> int:
  """The number of tensors that operations make, in loops too."""
  count = 0
  for operation in operations:
    count += len(operation.outputs)
    if isinstance(operation, mtf.WhileLoopOperation):
      # pylint: disable=protected-access
      count += _count_outputs(operation._cond_ops + operation._body_ops)
  return count


def first_place(
    names: Sequence[str],
    codes: Sequence[int],
    gradients: Mapping[int, str],
    weights: Sequence[str],
    causes: Sequence[int],
) -> Place:
  """Returns the first place in a step whose value is not finite.

  Args:
    names: the operations of the tensors, in the order of the graph: forward,
      backward, updates.
    codes: of the tensors; see Lowering.codes_of.
    gradients: the variables by the number of their gradient's tensor.
    weights: the names of the operations that read weights.
    causes: the numbers of the tensors to choose from, which are not finite.
  """
  number = min(causes)
  operation = names[number]
  scope = operation.partition("/gradients/")[0]
  phase, variable = "forward", None
  if operation in weights:
    phase = "weights"
  elif number > max(gradients, default=len(names)):
    phase = "update"
    owners = [v for v in gradients.values() if operation.startswith(v + "/")]
    variable = max(owners, key=len, default=scope)
  elif "/gradients/" in operation or number in gradients:
    phase = "gradient"
    variable = next(
        (gradients[n] for n in sorted(causes) if n in gradients), None
    )
  return Place(
      _VALUES[codes[number]], phase, _layer_of(scope), operation, variable
  )


def _layer_of(scope: str) -> str:
  """The layer that an operation belongs to, or the stack."""
  found = _LAYER.match(scope)
  return found[0] if found else scope.split("/")[0]


class CheckHook(tf.train.SessionRunHook):
  """Looks at all tensors of one step.

  Attributes:
    place: where values stop being finite, once the step is made; None if the
      loss and the new weights are finite.
  """

  place: Place | None = None

  def follow(self, graph: model_functions.TrainingGraph):
    """Takes the graph, whose lowering must be a Lowering."""
    self._lowering = lowering = graph.lowering
    operations = lowering.graph.operations
    self._gradients = {
        lowering.number_of(tensor): name
        for name, gradient in graph.gradients.items()
        if gradient is not None
        for tensor in _with_summands(gradient)
    }
    self._weights = [
        operation.name
        for operation in operations
        if isinstance(operation, mtf.Variable)
    ]
    new_values = (
        value
        for operation in operations
        if isinstance(operation, mtf.Assign)
        for value in operation.inputs
    )
    self._results = [graph.loss, *new_values]

  def after_run(self, run_context, run_values):
    """Looks at the tensors of the step."""
    del run_values
    lowering = self._lowering
    codes = lowering.codes_of(run_context.session.run(lowering.summaries))
    causes = lowering.causes(self._results, codes)
    if causes:
      self.place = first_place(
          lowering.names, codes, self._gradients, self._weights, causes
      )
    raise Done


class Done(Exception):
  """Ends a session at once: other hooks would call it an error, or save it."""
