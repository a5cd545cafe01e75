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

"""Weights from another run's checkpoint: which of them, and the hook for it."""

import collections
from collections.abc import Iterable, Mapping, Sequence
import re
from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf

from mtf_switch import errors

Shape = Sequence[int]

_SUBLAYER = re.compile(r"(.+)/block_(\d+)/layer_(\d+)/(.+)")
# T5's first public checkpoints, and those of T5 1.1 and here.
_NORM = re.compile(r"\b(final_layer_norm|layer_norm|rms_norm)\b")
# What optimizers of mesh_tensorflow add to a checkpoint, and TensorFlow.
_NO_WEIGHT = re.compile(r"_slot_(v|vr|vc|m)$|/adam_(m|v)$|^global_step$")


class Report(NamedTuple):
  """Which weights of a model a checkpoint has.

  Attributes:
    matched: the checkpoint's names by the model's names.
    shape_differs: the shapes in the model and in the checkpoint by the model's
      names; the names agree.
    not_in_checkpoint: the model's names of what the checkpoint has not.
    not_in_model: the checkpoint's names of what the model has not.
  """

  matched: dict[str, str]
  shape_differs: dict[str, tuple[list[int], list[int]]]
  not_in_checkpoint: list[str]
  not_in_model: list[str]

  @property
  def summary(self) -> str:
    """The counts, on one line."""
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

  A block is one pair of attention and feed-forward layers in T5 and two in
  Switch Transformers, so that the numbers in the names mean different places.
  What counts is the stack, the place of the layer in it, the layer's kind, and
  the rest of the name. Models with the same layers match name by name. A layer
  that is sparse here and dense there does not match, nor does its norm.

  Args:
    model: the shapes of the model's weights by name.
    checkpoint: the shapes of all that a checkpoint has; the optimizer's slots
      and the step are left out.

  Returns:
    what matches, and what does not.
  """
  weights = [name for name in checkpoint if not _NO_WEIGHT.search(name)]
  sources = {place: name for name, place in _places(weights).items()}
  places = _places(model)
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


def _places(names: Iterable[str]) -> dict[str, tuple[Any, ...]]:
  """What each name means, whatever the blocks and the norms are called."""
  names = list(names)
  parts = {name: _SUBLAYER.fullmatch(name) for name in names}
  # Stack to number of block and layer to kind of layer.
  kinds = collections.defaultdict(lambda: collections.defaultdict(set))
  for found in filter(None, parts.values()):
    stack, block, layer, rest = found.groups()
    kind = {rest.split("/")[0]} if not _NORM.match(rest) else set()
    kinds[stack][int(block), int(layer)] |= kind
  layers = {stack: sorted(numbers) for stack, numbers in kinds.items()}
  places = {}
  for name, found in parts.items():
    places[name] = (_NORM.sub("norm", name),)
    if found:
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
  """Refuses a checkpoint that is of no use.

  Args:
    report: what matches.
    path: the checkpoint.

  Raises:
    UserError: nothing matches, or the embedding has another shape.
  """
  for name, shapes in report.shape_differs.items():
    if name.endswith("embedding"):
      here, there = (" x ".join(map(str, shape)) for shape in shapes)
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
  """Whether a model whose weights have these names has a router."""
  return any("/router/" in name for name in names)


def weights() -> dict[str, tf.Variable]:
  """The masters of the weights in the default graph by their names.

  Slices are trainable too, but in no collection of TensorFlow's that is saved.
  Mesh TensorFlow's own list has several weights as one where it stacks them.
  """
  saved = {variable.op.name for variable in tf.global_variables()}
  return {
      variable.op.name: variable
      for variable in tf.trainable_variables()
      if variable.op.name in saved
  }


class InitializationHook(tf.train.SessionRunHook):
  """Fills a new session's weights from a checkpoint.

  The weights are the masters; MtfRestoreHook, which copies them to the slices,
  has to come later. A session that goes on from a checkpoint of its own is
  left alone.
  """

  def __init__(self, path: str, names: Mapping[str, str]):
    """Creates the hook.

    Args:
      path: the checkpoint.
      names: the checkpoint's names by those of `weights`; what is not there
        keeps its initial value.
    """
    self._path = path
    self._names = names

  def begin(self):
    """Adds the assignments to the graph."""
    # Upstream's own setting is to write them in bfloat16.
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
        assignments.append(tf.assign(variable, value))
    self._assign = tf.group(assignments)
    self._global_step = tf.train.get_global_step()

  def after_create_session(self, session, coord):
    """Runs them, before the first step."""
    del coord
    if session.run(self._global_step) == 0:
      session.run(self._assign)
