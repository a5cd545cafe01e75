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

Training itself only looks at the loss. When that is not finite, the steps since
the last checkpoint are made again with a check of every tensor of the graph:
batches and draws are functions of the step, so that they are the same steps.
"""

from collections.abc import Iterable, Mapping, Sequence
import re
from typing import NamedTuple

import mesh_tensorflow as mtf
import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch.training import model_functions
from mtf_switch.training import progress

# A tensor's code is an index; the greater code is the worse.
_VALUES = ("finite", "Inf", "NaN")
_INF, _NAN = 1, 2

_LAYER = re.compile(r"(?:\w+/)*?block_\d+/layer_\d+(?:/[A-Z]\w*)?")


class Place(NamedTuple):
  """The place in a step where values stop being finite.

  Attributes:
    value: "NaN" or "Inf".
    phase: "weights" if it is a weight before the step; "forward", "gradient" or
      "update"; "loss" if all tensors of the mesh are finite.
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
    codes: a local variable, int32 `[number of tensors]`: the worst value of
      each tensor since the variable was last initialized.
    names: the operation of each tensor, in the order of the graph.
  """

  def autostack(self):
    """Combines variables; makes room for the codes of all tensors."""
    super().autostack()
    with tf.device("/device:CPU:0"):
      self.codes = tf.get_variable(
          "numerics/codes",
          shape=[_count_outputs(self.graph.operations)],
          dtype=tf.int32,
          initializer=tf.zeros_initializer(),
          trainable=False,
          collections=[tf.GraphKeys.LOCAL_VARIABLES],
      )
    self.names = []
    self._numbers = {}

  def set_tensor_lowering(self, tensor, laid_out_tensor):
    """Notes a tensor's worst value when it is computed."""
    if tensor.dtype.is_floating:
      number = self._numbers.setdefault(tensor, len(self.names))
      if number == len(self.names):
        self.names.append(tensor.operation.name)
      laid_out_tensor = self._checked(number, tensor, laid_out_tensor)
    super().set_tensor_lowering(tensor, laid_out_tensor)

  def number_of(self, tensor: mtf.Tensor) -> int | None:
    """Returns the place of a tensor in `codes`; None if it has none."""
    return self._numbers.get(tensor)

  def causes(
      self, tensors: Iterable[mtf.Tensor], codes: Sequence[int]
  ) -> set[int]:
    """Finds the tensors that made others infinite or NaN.

    Values that are infinite by design, such as the logarithm of a distance of
    0, reach no result: they are masked, or turned into integers.

    Args:
      tensors: those that should be finite.
      codes: the values of `codes`.

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
      code = tf.where(
          tf.reduce_any(tf.math.is_nan(x)),
          _NAN,
          tf.cast(tf.reduce_any(tf.math.is_inf(x)), tf.int32) * _INF,
      )
      with tf.device(self.codes.device):
        note = tf.raw_ops.ResourceScatterMax(
            resource=self.codes.handle, indices=[number], updates=[code]
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
    codes: of the tensors; see Lowering.
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


class ReplayHook(tf.train.SessionRunHook):
  """Follows a replay, until a step whose loss or new weights are not finite.

  Attributes:
    step: the last step so far, which is that step if `place` is not None.
    place: where it began.
    batch: the features of the step's batch.
  """

  def __init__(self, last_step: int, display: progress.Display):
    """Creates the hook; `follow` must be called with the graph.

    Args:
      last_step: the step at which training saw that values are not finite.
      display: the display.
    """
    self._last_step = last_step
    self._display = display
    self.step = 0
    self.place: Place | None = None
    self.batch: dict[str, np.ndarray] = {}

  def follow(self, graph: model_functions.TrainingGraph):
    """Takes the graph, whose lowering must be a Lowering."""
    self._lowering = lowering = graph.lowering
    self._features = graph.features
    self._trained_loss = graph.loss
    operations = lowering.graph.operations
    self._gradients = {
        lowering.number_of(tensor): name
        for name, gradient in graph.gradients.items()
        if gradient is not None
        for tensor in _with_summands(gradient)
    }
    self._weights = [
        op.name for op in operations if isinstance(op, mtf.Variable)
    ]
    self._new_values = [
        value
        for op in operations
        if isinstance(op, mtf.Assign)
        for value in op.inputs
    ]

  def begin(self):
    """Finds the loss of the Estimator's graph."""
    self._loss = tf.get_collection(tf.GraphKeys.LOSSES)[-1]
    self._global_step = tf.train.get_global_step()

  def before_run(self, run_context):
    """Asks for the loss and the batch."""
    del run_context
    return tf.train.SessionRunArgs(
        {"loss": self._loss, "batch": self._features}
    )

  def after_run(self, run_context, run_values):
    """Looks at the tensors of the step."""
    session = run_context.session
    step, codes = session.run([self._global_step, self._lowering.codes])
    session.run(self._lowering.codes.initializer)
    self.step = int(step)
    self.batch = run_values.results["batch"]
    self._display.steps("replaying step", self.step, self._last_step)
    loss = run_values.results["loss"]
    causes = self._lowering.causes(
        [self._trained_loss, *self._new_values], codes
    )
    if causes:
      self.place = first_place(
          self._lowering.names, codes, self._gradients, self._weights, causes
      )
    elif np.isfinite(loss):
      return
    else:
      value = "NaN" if np.isnan(loss) else "Inf"
      self.place = Place(value, "loss", "loss", "", None)
    raise Found


class Found(Exception):
  """Ends a replay at once: other hooks would call it an error or save it."""
