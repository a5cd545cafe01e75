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

"""Initial weights from another run's checkpoint."""

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
import re
from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf

from mtf_switch import errors

Shape = Sequence[int]

_SUBLAYER = re.compile(r"(.+)/block_(\d+)/layer_(\d+)/(.+)")
# The first two as in T5's first public checkpoints, the last as in T5 1.1's.
_NORM = re.compile(r"\b(final_layer_norm|layer_norm|rms_norm)\b")
# Added to checkpoints by mesh_tensorflow's optimizers and by TensorFlow.
_NO_WEIGHT = re.compile(
    r"_slot_(v|vr|vc|m)$|/adam_(m|v)$|_momentum_v$|^global_step$"
)


class Report(NamedTuple):
  """The weights that a model and a checkpoint have in common.

  Attributes:
    matched: the checkpoint's names by the model's names.
    shape_differs: the shapes in the model and in the checkpoint by the model's
      names, for weights of different shapes.
    not_in_checkpoint: the model's names of weights that the checkpoint lacks.
    not_in_model: the checkpoint's names of weights that the model lacks.
  """

  matched: dict[str, str]
  shape_differs: dict[str, tuple[list[int], list[int]]]
  not_in_checkpoint: list[str]
  not_in_model: list[str]

  @property
  def summary(self) -> str:
    """The counts, in one line."""
    size = sum(map(len, self[:3]))
    return (
        f"{len(self.matched)} of {size} variables taken, "
        f"{len(self.shape_differs)} of another shape, "
        f"{len(self.not_in_checkpoint)} not in the checkpoint, "
        f"{len(self.not_in_model)} only there"
    )


def match(
    model: Mapping[str, Shape], checkpoint: Mapping[str, Shape]
) -> Report:
  """Finds the weights of a model in a checkpoint.

  A block has one pair of attention and feed-forward layers in T5 and two pairs
  in Switch Transformers, so that equal names can denote different layers.
  Weights match by their stack, the place of their layer in it, the layer's
  kind, and the rest of the name. Models with the same layers match name by
  name. A layer that is sparse in one and dense in the other does not match, nor
  does its norm.

  Args:
    model: the shapes of the model's weights by name.
    checkpoint: the shapes of all variables of a checkpoint; the optimizer's
      slots and the step are ignored.

  Returns:
    the matching weights and the others.
  """
  weights = _places(weights_among(checkpoint))
  sources = {place: name for name, place in weights.items()}
  places = _places(list(model))
  matched, shape_differs, not_in_checkpoint = {}, {}, []
  for name, place in places.items():
    source = sources.get(place)
    if source is None:
      not_in_checkpoint.append(name)
    elif list(model[name]) == list(checkpoint[source]):
      matched[name] = source
    else:
      shape_differs[name] = (list(model[name]), list(checkpoint[source]))
  known = set(places.values())
  not_in_model = [name for place, name in sources.items() if place not in known]
  return Report(matched, shape_differs, not_in_checkpoint, not_in_model)


def weights_among(names: Iterable[str]) -> list[str]:
  """Returns the names that are neither the optimizer's nor the step's."""
  return [name for name in names if not _NO_WEIGHT.search(name)]


def _kinds(
    names: Iterable[str],
) -> Mapping[str, Mapping[tuple[int, int], set[str]]]:
  """Returns the kind of each layer by its stack and its (block, layer)."""
  kinds = collections.defaultdict(lambda: collections.defaultdict(set))
  for found in filter(None, map(_SUBLAYER.fullmatch, names)):
    stack, block, layer, rest = found.groups()
    kind = {rest.split("/")[0]} if not _NORM.match(rest) else set()
    kinds[stack][int(block), int(layer)] |= kind
  return kinds


def _places(names: Sequence[str]) -> dict[str, tuple[Any, ...]]:
  """Returns each weight's place in the model, independent of block numbers.

  Args:
    names: the names of all weights of a model.

  Returns:
    by name: the stack, the number of the layer in it, the layer's kind and the
    rest of the name; outside of stacks the name only. All norms have one name.
  """
  kinds = _kinds(names)
  layers = {stack: sorted(numbers) for stack, numbers in kinds.items()}
  places = {}
  for name in names:
    places[name] = (_NORM.sub("norm", name),)
    if found := _SUBLAYER.fullmatch(name):
      stack, block, layer, rest = found.groups()
      number = int(block), int(layer)
      places[name] = (
          stack,
          layers[stack].index(number),
          *sorted(kinds[stack][number]),
          _NORM.sub("norm", rest),
      )
  return places


def check(report: Report, path: str):
  """Refuses a checkpoint from which fine-tuning is pointless.

  Args:
    report: from `match`.
    path: the checkpoint.

  Raises:
    UserError: nothing matches, or the embedding has another shape.
  """
  for name, shapes in report.shape_differs.items():
    if name.endswith("embedding"):
      here, there = map(errors.sizes, shapes)
      raise errors.UserError(
          f"{name} is {there} in {path} and {here} in this model; fine-tuning "
          "needs the vocabulary and the d_model of the pre-trained model."
      )
  if not report.matched:
    raise errors.UserError(
        f"no variable of this model is in {path}; fine-tuning needs the layers "
        "and the sizes of the pre-trained model."
    )


def is_sparse(names: Iterable[str]) -> bool:
  """Returns whether a model with weights of these names has a router."""
  return any("/router/" in name for name in names)


def weights() -> dict[str, tf.Variable]:
  """Returns the masters of the weights in the default graph by their names.

  Slices are trainable too, but not among TensorFlow's global variables. Mesh
  TensorFlow's own list combines the weights that it stacks.
  """
  saved = {variable.op.name for variable in tf.global_variables()}
  return {
      variable.op.name: variable
      for variable in tf.trainable_variables()
      if variable.op.name in saved
  }


class InitializationHook(tf.train.SessionRunHook):
  """Initializes the weights of a new run from a checkpoint.

  It sets the masters; MtfRestoreHook, which copies them to the slices, must
  come later. A session that resumes from the run's own checkpoint is left
  unchanged.
  """

  def __init__(
      self,
      path: str,
      names: Mapping[str, str],
      changes: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] | None = None,
  ):
    """Creates the hook.

    Args:
      path: the checkpoint.
      names: the checkpoint's names by those of `weights`; the other weights
        keep their initial values.
      changes: functions of the checkpoint's values by the same names, for
        weights that do not take them as they are.
    """
    self._path = path
    self._names = names
    self._changes = changes or {}

  def begin(self):
    """Adds the assignments to the graph."""
    # Checkpoints with upstream's default settings are bfloat16.
    dtypes = tf.train.load_checkpoint(self._path).get_variable_to_dtype_map()
    assignments = []
    variables = weights()
    for name, source in self._names.items():
      variable = variables[name]
      with tf.device(variable.device):
        (value,) = tf.raw_ops.RestoreV2(
            prefix=self._path,
            tensor_names=[source],
            shape_and_slices=[""],
            dtypes=[dtypes[source]],
        )
        value = tf.cast(value, variable.dtype.base_dtype)
        if name in self._changes:
          value = self._changes[name](value)
        assignments.append(tf.assign(variable, value))
    self._assign = tf.group(assignments)
    self._global_step = tf.train.get_global_step()

  def after_create_session(self, session, coord):
    """Runs the assignments, if no step has been made."""
    del coord
    if session.run(self._global_step) == 0:
      session.run(self._assign)
