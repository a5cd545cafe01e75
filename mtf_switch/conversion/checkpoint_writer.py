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

"""A checkpoint that is written tensor by tensor.

tf.train.Saver needs all variables in memory at once. Here small ones are saved
together and large ones by themselves, each group as a checkpoint of its own,
and TensorFlow merges these, which moves files and rewrites no data.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import math

import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch.training import checkpoint_fit
from mtf_switch.training import checkpoints

# Variables are saved together up to this size.
_LEAST_BYTES_OF_GROUP = 64 * 2**20
# Where TensorFlow expects tensors to begin.
_ALIGNMENT = 64


@dataclasses.dataclass(frozen=True)
class Variable:
  """A variable of a checkpoint.

  Attributes:
    name: its name in the checkpoint.
    shape: its shape.
    dtype: its type.
  """

  name: str
  shape: tuple[int, ...]
  dtype: np.dtype

  @property
  def num_bytes(self) -> int:
    """The size of its values."""
    return math.prod(self.shape) * self.dtype.itemsize


def variables_in(path: str) -> dict[str, Variable]:
  """Returns the variables of a checkpoint by name.

  Args:
    path: the checkpoint.
  """
  return {
      name: Variable(name, form.shape, np.dtype(form.dtype.as_numpy_dtype))
      for name, form in checkpoint_fit.variables_of(path).items()
  }


def shapes(variables: Mapping[str, Variable]) -> dict[str, tuple[int, ...]]:
  """Returns the shapes of variables by name.

  Args:
    variables: by name.
  """
  return {name: x.shape for name, x in variables.items()}


def write(
    model_dir: str,
    step: int,
    variables: Sequence[Variable],
    value_of: Callable[[Variable], np.ndarray],
    report: Callable[[int], None],
) -> str:
  """Writes a checkpoint that holds at most two of the largest variables.

  A group of variables is no larger than the largest of them, or 64 MB if that
  is more. Nothing is a checkpoint before all is written. What an error leaves
  in model_dir is removed by `checkpoints.resume`.

  Args:
    model_dir: the directory; it is made.
    step: the step that the checkpoint is of, which it holds as global_step.
    variables: all others, each of another name.
    value_of: returns the values of a variable, of its shape and dtype; called
      once for each, in any order.
    report: is told the bytes that are written so far.

  Returns:
    the checkpoint, as tf.train.Saver expects it.
  """
  tf.io.gfile.makedirs(model_dir)
  path = checkpoints.path(model_dir, step)
  global_step = Variable(tf.GraphKeys.GLOBAL_STEP, (), np.dtype(np.int64))
  values = {global_step.name: np.array(step, np.int64)}
  parts, num_written = [], 0
  for group in groups([global_step, *variables]):
    part = f"{path}_temp/part-{len(parts):05d}"
    for variable in group:
      if variable is not global_step:
        values[variable.name] = _aligned(value_of(variable))
        num_written += variable.num_bytes
    _save(part, group, [values.pop(x.name) for x in group])
    parts.append(part)
    report(num_written)
  with tf.Graph().as_default(), tf.Session() as session:
    # It deletes the directory of the parts.
    session.run(
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=parts, destination_prefix=path
        )
    )
  checkpoints.write_list(model_dir, [step])
  return path


def groups(variables: Iterable[Variable]) -> list[list[Variable]]:
  """Returns variables in the groups that are saved together.

  Args:
    variables: in any order.

  Returns:
    groups in the order of the names, none larger than the largest variable, or
    64 MB if that is more.
  """
  variables = sorted(variables, key=lambda x: x.name)
  limit = max(_LEAST_BYTES_OF_GROUP, *(x.num_bytes for x in variables))
  found, size = [], limit
  for variable in variables:
    size += variable.num_bytes
    if size > limit:
      found.append([])
      size = variable.num_bytes
    found[-1].append(variable)
  return found


def _aligned(value: np.ndarray) -> np.ndarray:
  """A copy that TensorFlow reads where it is.

  It copies what does not begin where it expects tensors to, as large arrays do
  not, and holds two of these copies at the next: three arrays with the value.
  """
  if value.flags.c_contiguous and value.ctypes.data % _ALIGNMENT == 0:
    return value
  memory = np.empty(value.nbytes + _ALIGNMENT, np.uint8)
  start = -memory.ctypes.data % _ALIGNMENT
  copy = memory[start : start + value.nbytes].view(value.dtype)
  copy = copy.reshape(value.shape)
  copy[...] = value
  return copy


def _save(
    path: str, variables: Sequence[Variable], values: Sequence[np.ndarray]
):
  """Saves some variables as a checkpoint."""
  for variable, value in zip(variables, values):
    if (value.shape, value.dtype) != (variable.shape, variable.dtype):
      raise ValueError(
          f"{variable} has values of {value.shape} and {value.dtype}"
      )
  with tf.Graph().as_default(), tf.Session() as session:
    places = [tf.placeholder(x.dtype, x.shape) for x in variables]
    save = tf.raw_ops.SaveV2(
        prefix=path,
        tensor_names=[x.name for x in variables],
        shape_and_slices=[""] * len(variables),
        tensors=places,
    )
    session.run(save, dict(zip(places, values)))
