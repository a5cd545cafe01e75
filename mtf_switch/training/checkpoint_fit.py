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

"""Whether a model can be restored from a checkpoint, before it is tried.

TensorFlow restores the variables of a graph by their names. Those that are
missing, or of another shape, fail one by one, and weights that only the
checkpoint has are left out without a word.
"""

from collections.abc import Mapping
import os
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.training import warm_start

_MAX_NAMED = 3


class Variable(NamedTuple):
  """The form of a variable: what must be equal to restore it."""

  dtype: tf.DType
  shape: tuple[int, ...]


def differences(
    model: Mapping[str, Variable], checkpoint: Mapping[str, Variable]
) -> list[str]:
  """Returns what keeps a model from being restored from a checkpoint.

  Args:
    model: the form of each variable of the model's graph by its name, with the
      optimizer's slots only where it trains.
    checkpoint: those of the checkpoint.

  Returns:
    a phrase for each variable that differs. The optimizer's slots that only the
    checkpoint has are of no use to the model, and are no difference.
  """
  found = []
  for name, variable in model.items():
    saved = checkpoint.get(name)
    if saved is None:
      found.append(f"{name} is only in this model")
    elif saved.shape != variable.shape:
      there, here = map(errors.sizes, (saved.shape, variable.shape))
      found.append(f"{name} is {there} there and {here} here")
    elif saved.dtype != variable.dtype:
      there, here = saved.dtype.name, variable.dtype.name
      found.append(f"{name} is {there} there and {here} here")
  # Whatever the optimizer: Mesh TensorFlow adds to the name of the weight.
  slots = tuple(f"{name}{x}" for name in model for x in "_/")
  unused = [x for x in checkpoint if x not in model and not x.startswith(slots)]
  found += [f"{x} is only there" for x in warm_start.weights_among(unused)]
  return found


def variables_of(path: str) -> dict[str, Variable]:
  """Returns the forms of a checkpoint's variables by their names.

  Args:
    path: the checkpoint, as tf.train.Saver expects it.
  """
  reader = tf.train.load_checkpoint(path)
  dtypes = reader.get_variable_to_dtype_map()
  return {
      name: Variable(dtypes[name], tuple(shape))
      for name, shape in sorted(reader.get_variable_to_shape_map().items())
  }


def check(path: str, model: Mapping[str, Variable] | None = None):
  """Refuses a checkpoint from which a model cannot be restored.

  Args:
    path: the checkpoint, as tf.train.Saver expects it.
    model: the form of each variable of the model; None for the variables of the
      default graph.

  Raises:
    UserError: its variables are not those of the model.
  """
  if model is None:
    model = {
        variable.op.name: Variable(
            variable.dtype.base_dtype, tuple(variable.shape.as_list())
        )
        for variable in tf.global_variables()
    }
  found = differences(model, variables_of(path))
  if not found:
    return
  more = f"; {len(found)} variables differ" if len(found) > _MAX_NAMED else ""
  raise errors.UserError(
      f"the checkpoint {path} is of another model: "
      f"{'; '.join(found[:_MAX_NAMED])}{more}. Sizes, layers, experts, dtypes "
      "and, to train, the optimizer must be those it was saved with, see "
      f"{os.path.join(os.path.dirname(path), 'operative_config.gin')}."
  )


class CheckHook(tf.train.SessionRunHook):
  """Refuses a checkpoint from which a session cannot be restored."""

  def __init__(self, path: str):
    """Creates the hook.

    Args:
      path: the checkpoint, as tf.train.Saver expects it.
    """
    self._path = path

  def begin(self):
    """Compares, when the graph is complete and no session is created yet."""
    check(self._path)
