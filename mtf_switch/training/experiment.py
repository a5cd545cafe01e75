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

"""The record of a model and its layout, which serves every mode.

Run, in run.py, is the record of a run: its directory, its seed, its devices.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Annotated, Any, Literal

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import seqio
from t5.models import utils as t5_utils

from mtf_switch import errors
from mtf_switch import spelling
from mtf_switch import values
from mtf_switch.mesh import layouts
from mtf_switch.training import t5_tasks
from mtf_switch.transformer import feed_forward

Lengths = Annotated[
    values.Count | Mapping[str, values.Count],
    "a whole number of at least 1, or such a number for each feature, as in "
    "{'inputs': 512, 'targets': 114}",
]
_BatchSize = Annotated[
    values.Count | tuple[str, values.Count],
    "a whole number of at least 1, or a pair such as ('tokens_per_batch', "
    "65536)",
]
_Factor = (
    values.NotNegative
    | Annotated[Callable, values.takes("step", "total_train_steps")]
)
_LearningRate = Annotated[
    _Factor | Annotated[Sequence[_Factor], values.NOT_EMPTY] | None,
    "a number of at least 0, a function such as @truncated_rsqrt, or a list of "
    "these to multiply",
]


@gin.configurable(module="mtf_switch.experiment")
@dataclasses.dataclass(frozen=True)
class Experiment:
  """A model, its task and its layout, as gin describes them.

  The layers of the model are described by T5's and this package's own gin
  names.

  Attributes:
    task: the name of a seqio Task or Mixture.
    sequence_length: positions for each feature, {"inputs": 512, "targets":
      114}; an integer for all of them.
    batch_size: sequences in a batch, or a pair such as ("tokens_per_batch",
      65536); see `compute_batch_size` of mesh_tensorflow.transformer.utils.
    outer_batch_size: number of outer batches that the batch is cut into, so
      that a layout can replicate the experts; a multiple of the mesh axis that
      splits outer_batch. It changes no result.
    mesh_shape: for example "data:2,model:4"; empty for a single device.
    layout_rules: for example "batch:data,experts:data,d_ff:model".
    mesh_devices: a device name for each processor of the mesh, for CPUs and
      GPUs of one process; None chooses, see Run.devices.
    model_type: "bitransformer" (encoder and decoder) or "lm" (decoder only).
    optimizer: a mesh_tensorflow optimizer class.
    learning_rate_schedule: a number, a function from step and
      total_train_steps to a number, or a list of these to multiply.
  """

  task: str = gin.REQUIRED
  sequence_length: Lengths = gin.REQUIRED
  batch_size: _BatchSize = gin.REQUIRED
  outer_batch_size: values.Count = 1
  mesh_shape: Any = ""
  layout_rules: Any = ""
  mesh_devices: Sequence[str] | None = None
  model_type: Literal["bitransformer", "lm"] = "bitransformer"
  optimizer: Annotated[Callable, values.takes("learning_rate")] = (
      mtf.optimize.AdafactorOptimizer
  )
  learning_rate_schedule: _LearningRate = None

  def __post_init__(self):
    """Refuses values that would fail later, with less clear messages."""
    values.check_fields(self, "Experiment")
    features = set(self.provider.output_features)
    expected = {"targets"} if self.model_type == "lm" else {"inputs", "targets"}
    if features != expected:
      advice = (
          "take an encoder and a decoder, such as models/switch_tiny.gin, or a "
          "task of whole texts, such as text_files_full_lm"
          if self.model_type == "lm"
          else "take a decoder alone, such as models/switch_lm_tiny.gin, or "
          "another task"
      )
      raise errors.UserError(
          f"Experiment.model_type = {self.model_type!r} needs a task with "
          f"{' and '.join(sorted(expected))}, but {self.task!r} has "
          f"{' and '.join(sorted(features))}; {advice}."
      )
    for feature in expected - set(self.lengths):
      raise errors.UserError(
          f"Experiment.sequence_length = {dict(self.lengths)} has no length "
          f"for {feature!r}."
      )
    if self.outer_batch_size > self.sequences_per_batch:
      raise errors.UserError(
          f"Experiment.outer_batch_size = {self.outer_batch_size} must be "
          f"between 1 and the {self.sequences_per_batch} sequences of a batch."
      )

  @functools.cached_property
  def provider(self):
    """The seqio Task or Mixture that `task` names."""
    return find_task(self.task)

  @functools.cached_property
  def lengths(self) -> dict[str, int]:
    """Positions for each feature of the task."""
    if isinstance(self.sequence_length, int):
      return dict.fromkeys(self.provider.output_features, self.sequence_length)
    return dict(self.sequence_length)

  @functools.cached_property
  def mesh(self) -> mtf.Shape:
    """The mesh_shape, parsed."""
    return _parsed("mesh_shape", self.mesh_shape, _mesh_of, "data:2,model:4")

  @functools.cached_property
  def layout(self) -> mtf.LayoutRules:
    """The layout_rules, parsed, of mesh axes with several cores.

    Two dimensions of a tensor may not be on one axis, even if it has one core.
    """
    return mtf.LayoutRules(layouts.rules_in_force(self._axes, self.rules))

  @property
  def rules(self) -> set[tuple[str, str]]:
    """The layout_rules as written: pairs of a dimension and a mesh axis."""
    return _parsed(
        "layout_rules",
        self.layout_rules,
        _rules_of,
        "batch:data,experts:data,d_ff:model",
    )

  @property
  def _axes(self) -> dict[str, int]:
    return layouts.sizes_of_axes(self.mesh)

  @functools.cached_property
  def sequences_per_batch(self) -> int:
    """The batch size of the whole mesh."""
    if isinstance(self.batch_size, int):
      return self.batch_size
    method, size = self.batch_size
    longest = max(self.lengths.values())
    if method.startswith("tokens") and size % longest:
      raise errors.UserError(
          f"Experiment.batch_size = {self.batch_size} is not a multiple of the "
          f"sequence length {longest}; the nearest is "
          f"{max(1, round(size / longest)) * longest}."
      )
    mesh, layout = self.mesh, self.layout
    try:
      return utils.compute_batch_size(
          self.lengths, mesh, layout, self.batch_size
      )
    except ValueError:
      raise errors.UserError(
          f"Experiment.batch_size = {self.batch_size} is not known; use a "
          "number of sequences or (method, number) with one of the methods "
          "sequences_per_batch, sequences_per_replica, tokens_per_batch and "
          "tokens_per_replica."
      ) from None

  @property
  def positions_per_batch(self) -> int:
    """Positions of inputs and targets in a batch, padding included."""
    features = self.provider.output_features
    return self.sequences_per_batch * sum(self.lengths[f] for f in features)

  @functools.cached_property
  def vocabularies(self):
    """The vocabularies of inputs and targets; a UserError if tasks differ."""
    for name, feature in self.provider.output_features.items():
      for task in seqio.get_subtasks(self.provider):
        of_task = task.output_features[name].vocabulary
        if of_task is not feature.vocabulary and of_task != feature.vocabulary:
          raise errors.UserError(
              f"{task.name!r} has another vocabulary than other tasks of the "
              f"mixture {self.task!r}; set vocabulary.name or vocabulary.path, "
              "which are for all tasks of this project."
          )
    vocabulary = t5_utils.get_vocabulary(self.task)
    return vocabulary if isinstance(vocabulary, tuple) else (vocabulary,) * 2

  def build_model(self):
    """The transformer that gin describes, as upstream builds it."""
    inputs_vocabulary, targets_vocabulary = self.vocabularies
    model = utils.build_model(
        model_type=self.model_type,
        input_vocab_size=inputs_vocabulary.vocab_size,
        output_vocab_size=targets_vocabulary.vocab_size,
        layout_rules=self.layout,
        mesh_shape=self.mesh,
    )
    feed_forward.count_switch_layers(model)
    return model

  @functools.cached_property
  def layout_numbers(self) -> list[layouts.Number]:
    """The numbers that set the sizes of the dimensions a layout splits."""
    return [
        *layouts.numbers_of_batch(
            self.sequences_per_batch,
            self.outer_batch_size,
            self.lengths.values(),
        ),
        *layouts.numbers_of_model(self.build_model(), self.outer_batch_size),
    ]

  def check_splits(self, numbers: Sequence[layouts.Number]):
    """Refuses numbers that the layout cannot split.

    Args:
      numbers: of this model, or of another one on its mesh.

    Raises:
      UserError: with the numbers, and the nearest layouts that work.
    """
    layouts.check(self._axes, self.rules, numbers)

  def check_layout(self):
    """Refuses a layout that cannot work, before any graph is built.

    Raises:
      UserError: with the numbers, and the nearest layouts that work.
    """
    self.check_splits(self.layout_numbers)
    layouts.warn_of_idle_axes(self._axes, self.rules)


def _mesh_of(text: Any) -> mtf.Shape:
  """A mesh_shape, parsed; a ValueError if it is no mesh."""
  mesh = mtf.convert_to_shape(text)
  names = [axis.name for axis in mesh]
  if len(set(names)) < len(names) or any(
      not axis.name or axis.size < 1 for axis in mesh
  ):
    raise ValueError("an axis is there twice, has no name or no cores")
  return mesh


def _rules_of(text: Any) -> set[tuple[str, str]]:
  """The pairs of layout_rules; a ValueError or TypeError if there are none."""
  rules = mtf.convert_to_layout_rules(text)._pairs  # pylint: disable=protected-access
  return {(str(dimension), str(axis)) for dimension, axis in rules}


def _parsed(
    name: str, value: Any, parse: Callable[[Any], Any], example: str
) -> Any:
  """A mesh or its layout in upstream's types; a UserError where it is none."""
  try:
    return parse(value)
  except (AttributeError, TypeError, ValueError) as error:
    raise errors.UserError(
        f"Experiment.{name} = {value!r} cannot be read; write it for example as"
        f" {example!r}."
    ) from error


def find_task(name: str):
  """Returns the seqio Task or Mixture of that name.

  Args:
    name: the name it was registered with.

  Raises:
    UserError: there is none; names those that are spelt like it.
  """
  values.check("task", name, str)
  names = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
  if name not in names:
    advice = spelling.did_you_mean(name, names)
    if ours := t5_tasks.task_of_t5(name):
      advice = f"T5's mixture of that name is {ours!r} here."
    raise errors.UserError(
        f"Task or mixture {name!r} is not registered"
        + (f"; {advice} " if advice else ". ")
        + "Tasks of your own come in with --module_import."
    )
  return seqio.get_mixture_or_task(name)
