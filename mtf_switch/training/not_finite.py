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

"""The checks of a training session: is the loss finite, are the weights?"""

from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf


class NotFiniteError(Exception):
  """The loss or the weights are not finite.

  Attributes:
    step: the number of updates with the one after which this was seen. It may
      have begun in an earlier one.
    what: "the loss is NaN", for example.
  """

  def __init__(self, step: int, what: str):
    super().__init__(f"step {step}: {what}")
    self.step = step
    self.what = what


class LossHook(tf.train.SessionRunHook):
  """Raises a NotFiniteError when the loss is NaN or infinite.

  To be given to Estimator.train, so that it comes before the Estimator's own
  hook, which stops for NaN only and cannot say where.
  """

  def begin(self):
    """Finds the loss of the Estimator's graph."""
    self._loss = tf.get_collection(tf.GraphKeys.LOSSES)[-1]
    self._global_step = tf.train.get_global_step()

  def before_run(self, run_context):
    """Asks for the loss, which others fetch anyway."""
    del run_context
    return tf.train.SessionRunArgs(self._loss)

  def after_run(self, run_context, run_values):
    """Looks at the loss."""
    loss = run_values.results
    if not np.isfinite(loss):
      raise NotFiniteError(
          int(run_context.session.run(self._global_step)),
          fault_of_loss(loss),
      )


class Weights:
  """The check of all variables: weights and the optimizer's state."""

  def __init__(self):
    """Adds the check to the graph; all variables must exist."""
    variables = [v for v in tf.global_variables() if v.dtype.is_floating]
    self._names = [variable.op.name for variable in variables]
    self._are_finite = []
    for variable in variables:
      with tf.device(variable.device):
        self._are_finite.append(
            tf.reduce_all(tf.math.is_finite(variable.read_value()))
        )

  def check(self, session, step: int):
    """Raises a NotFiniteError if a variable is not finite."""
    are_finite = session.run(self._are_finite)
    bad = [n for n, is_finite in zip(self._names, are_finite) if not is_finite]
    if bad:
      raise NotFiniteError(step, fault_of(bad))


class WeightsListener(tf.train.CheckpointSaverListener):
  """Refuses to save weights, or an optimizer's state, that are not finite."""

  def __init__(self):
    """Adds the check to the graph; all variables must exist."""
    self._weights = Weights()

  def before_save(self, session, global_step_value):
    """Raises a NotFiniteError in place of saving."""
    self._weights.check(session, int(global_step_value))


def fault_of(names: Sequence[str]) -> str:
  """Returns a phrase such as: a/b and 3 others are not finite."""
  if len(names) == 1:
    return f"{names[0]} is not finite"
  return f"{names[0]} and {len(names) - 1} others are not finite"


def fault_of_loss(loss: float) -> str:
  """Returns what is wrong with a loss that is not finite."""
  return f"the loss is {'NaN' if np.isnan(loss) else 'infinite'}"
