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

"""T5's own gin configurations, as what they mean here.

T5's program calls `run` of mesh_tensorflow.transformer.utils, whose parameters
have the counterparts of OF_RUN here. The rest of T5's names, of models, layers,
schedules and data, are in use here as well.
"""

from collections.abc import Mapping, Sequence
import os
import re
from typing import Any, NamedTuple

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import seqio
import t5.models

from mtf_switch import errors
from mtf_switch.training import gin_sources
from mtf_switch.training import gin_values
from mtf_switch.training import t5_names

# A scope, a configurable's full name and a parameter; a macro is the parameter
# "value" of "gin.macro" in a scope of its own name.
Key = tuple[str, str, str]

RUN = "mesh_tensorflow.transformer.utils.run"
# What stands here for the parameters of T5's `run`.
OF_RUN = {
    "batch_size": "Experiment.batch_size",
    "dataset_split": "evaluate.split",
    "eval_checkpoint_step": "evaluate.checkpoint_step",
    "init_checkpoint": "finetune.pretrained_dir",
    "iterations_per_loop": "train.iterations_per_loop",
    "keep_checkpoint_max": "train.keep_checkpoint_max",
    "layout_rules": "Experiment.layout_rules",
    "learning_rate_schedule": "Experiment.learning_rate_schedule",
    "mesh_devices": "Experiment.mesh_devices",
    "mesh_shape": "Experiment.mesh_shape",
    "mode": "--mode",
    "model_dir": "--model_dir",
    "model_type": "Experiment.model_type",
    "optimizer": "Experiment.optimizer",
    "outer_batch_size": "Experiment.outer_batch_size",
    "save_checkpoints_steps": "train.save_checkpoints_steps",
    "sequence_length": "Experiment.sequence_length",
    "tpu": "--tpu",
    "train_steps": "train.steps",
}
# Those of them that the files in gin/runs set by a macro, with its name.
_MACROS = {
    "batch_size": "batch_size",
    "dataset_split": "split",
    "eval_checkpoint_step": "checkpoint_step",
    "init_checkpoint": "pretrained_dir",
    "layout_rules": "layout_rules",
    "learning_rate_schedule": "learning_rate_schedule",
    "mesh_shape": "mesh_shape",
    "model_type": "model_type",
    "optimizer": "optimizer",
    "sequence_length": "sequence_length",
    "train_steps": "train_steps",
}
# MtfModel's parameters have the names of run's.
_SOURCES = (RUN, "t5.models.mtf_model.MtfModel")
_UTILS = "mesh_tensorflow.transformer.utils."
_DATA = "t5.models.mesh_transformer."
# Parameters that name the task, those of training first.
_TASKS = (
    ("", f"{_DATA}mesh_train_dataset_fn", "mixture_or_task_name"),
    ("", f"{_DATA}mesh_eval_dataset_fn", "mixture_or_task_name"),
    ("", f"{_DATA}mesh_inference_dataset_fn", "mixture_or_task_name"),
    ("", f"{_DATA}get_vocabulary", "mixture_or_task_name"),
)
_MIXTURE_NAME = ("MIXTURE_NAME", "gin.macro", "value")
_TPU_MESH = f"{_UTILS}tpu_mesh_shape"
_DTYPES = f"{_UTILS}get_variable_dtype"
_EXPERIMENT = ("", "mtf_switch.experiment.Experiment")
_LAYOUT_RULES = "rules_of_t5"
_OUTER_BATCH = ("", f"{_UTILS}tpu_estimator_model_fn", "outer_batch_size")
_PACKING = (
    "",
    "mesh_tensorflow.transformer.dataset.pack_dataset",
    "use_custom_ops",
)
_FILE_FLAGS = "files are --input_file and --output_file"
_OF_TASK = "a task has its vocabulary"
# What has no counterpart, and why if that is short. The longest beginning of a
# parameter's full name counts.
_IGNORED = {
    f"{RUN}.eval_dataset_fn": "tasks are read by T5's",
    f"{RUN}.perplexity_eval_steps": "whole splits are evaluated",
    f"{RUN}.total_run_steps": "schedules go by train.steps",
    f"{RUN}.train_dataset_fn": "tasks are read by T5's",
    f"{RUN}.vocabulary": _OF_TASK,
    ".".join(_PACKING[1:]): "it needs tensor2tensor; packing works without",
    "mesh_tensorflow.ops.rewrite_stack_variables": "",
    f"{_UTILS}decode_from_": _FILE_FLAGS,
    f"{_UTILS}infer_model": _FILE_FLAGS,
    f"{_UTILS}init_checkpoint_variable_mapping": "",
    f"{_UTILS}save_scores": _FILE_FLAGS,
    f"{_UTILS}score_": _FILE_FLAGS,
    f"{_UTILS}tpu_estimator_model_fn": "",
    f"{_DATA}mesh_inference_dataset_fn": "",
    f"{_DATA}tsv_dataset_fn": "",
}
# Values of run that ask for what no mode does.
_TRAINING_MODES = ("train", "finetune")
_CHECKPOINT = re.compile(r"(.*?)/*model\.ckpt-(\d+)(?:\..*)?")

OWN = "own"
PROJECT = "project"
T5 = "t5"
DEFAULT = "default"


class Written(NamedTuple):
  """A binding as it stands in a file or a parameter.

  Attributes:
    key: what is bound.
    value: the value as written, see gin_sources.Binding.
    origin: whose the file is: "own" of the user, parameters included,
      "project", "t5", or "default" if T5's program reads it before all others.
  """

  key: Key
  value: Any
  origin: str


class Translation(NamedTuple):
  """What a T5 configuration means here.

  Attributes:
    changes: the bindings to make.
    read: the names here of T5's parameters that are read, by their names.
    ignored: reasons, which may be empty, by the names of those that are not.
    done: the keys of both.
  """

  changes: dict[Key, Any]
  read: dict[str, str]
  ignored: dict[str, str]
  done: set[Key]

  @property
  def note(self) -> str:
    """One note about all of it."""
    lines = []
    if self.read:
      listed = (f"{theirs} is {ours}" for theirs, ours in self.read.items())
      lines.append(f"T5's names, as they are read here: {'; '.join(listed)}.")
    if self.ignored:
      listed = (
          f"{name} ({why})" if why else name
          for name, why in self.ignored.items()
      )
      lines.append(f"T5's names without a use here: {', '.join(listed)}.")
    return "\n      ".join(lines)


@gin.configurable(module="mtf_switch.t5")
def rules_of_t5(rules: Any = gin.REQUIRED, mesh_shape: Any = gin.REQUIRED):
  """The layout rules that have an effect in T5's program.

  Args:
    rules: rules as T5 takes them, also for axes that a mesh does not have.
    mesh_shape: the mesh.

  Returns:
    the rules for axes of the mesh; all of them if one cannot be read.
  """
  try:
    axes = mtf.convert_to_shape(mesh_shape).dimension_names
    pairs = mtf.convert_to_layout_rules(rules)._pairs  # pylint: disable=protected-access
  except (AttributeError, TypeError, ValueError):
    return rules
  return ",".join(f"{dim}:{axis}" for dim, axis in sorted(pairs) if axis in axes)


def gin_directories() -> list[str]:
  """Returns the directories of T5's own gin files, and of Mesh TensorFlow's."""
  return [
      os.path.join(os.path.dirname(module.__file__), "gin")
      for module in (t5.models, utils)
  ]


def defaults() -> str:
  """Returns the file that T5's program reads before all others."""
  return os.path.join(gin_directories()[1], "defaults.gin")


def is_of_t5(bindings: Sequence[gin_sources.Binding]) -> bool:
  """Whether bindings are a configuration for T5's own program.

  Args:
    bindings: as written, without those of this project's files.
  """
  return any(
      (binding.selector if not binding.parameter else None)
      == _MIXTURE_NAME[0]
      or (binding.parameter and _full_name(binding.selector) in _SOURCES)
      or any(
          binding.path.startswith(directory + os.sep)
          for directory in gin_directories()
      )
      for binding in bindings
  )


def _full_name(selector: str) -> str | None:
  try:
    found = gin_values.registry().get_match(selector)
  except KeyError:  # Several.
    return None
  return found and found.selector


def key_of(binding: gin_sources.Binding) -> Key | None:
  """Returns what a binding binds; None if it binds what gin does not know."""
  if not binding.parameter:
    return binding.selector, "gin.macro", "value"
  selector = _full_name(binding.selector)
  parameter = t5_names.new_parameter(binding.selector, binding.parameter)
  return (binding.scope, selector, parameter) if selector else None


def translate(
    written: Sequence[Written],
    bound: Mapping[tuple[str, str], Mapping[str, Any]],
    mode: str | None,
    on_tpu: bool,
) -> Translation:
  """Translates T5's bindings.

  The user's own settings of what stands here for a parameter of T5's win; of
  others' files, the last.

  Args:
    written: all bindings, in order.
    bound: gin's, values by parameter for each scope and configurable.
    mode: the program's mode; None for any.
    on_tpu: whether the run is on a TPU.

  Raises:
    UserError: T5's program would do something else, which no mode here does.
  """
  return _Translator(written, bound, mode, on_tpu).translation()


class _Translator:
  """Makes a Translation, step by step."""

  def __init__(self, written, bound, mode, on_tpu):
    self._bound = bound
    self._mode = mode
    self._on_tpu = on_tpu
    self._changes, self._read, self._ignored = {}, {}, {}
    self._done = set()
    # The last place where each is set, and whose it is.
    self._last = {
        x.key: (place, x.origin)
        for place, x in enumerate(written)
        if x.value != gin_sources.Reference("gin.REQUIRED", is_macro=True)
    }

  def translation(self) -> Translation:
    """See `translate`."""
    self._check_mode()
    self._task()
    for selector in _SOURCES:
      for parameter in [*self._bound.get(("", selector), ())]:
        self._of_run(("", selector, parameter))
    self._of_others()
    return Translation(self._changes, self._read, self._ignored, self._done)

  def _value(self, key: Key) -> Any:
    """What is bound; macros have their values."""
    value = self._bound.get(key[:2], {}).get(key[2])
    while isinstance(value, gin.config.ConfigurableReference):
      if not repr(value).startswith("%"):
        break
      value = self._bound.get(value.config_key, {}).get("value")
    return value

  def _check_mode(self):
    """Refuses to train where the configuration is one for something else."""
    mode = self._value(("", RUN, "mode"))
    if self._mode in _TRAINING_MODES and mode not in (None, "train"):
      advice = _MODES.get(mode, "one of the modes that --help lists")
      raise errors.UserError(
          f"run.mode = {mode!r} of T5's configuration is not "
          f"--mode={self._mode}; give {advice}, or set run.mode = 'train'."
      )

  def _task(self):
    """The task, by whichever of T5's names has it."""
    keys = [*_TASKS, _MIXTURE_NAME]
    if self._mode not in (*_TRAINING_MODES, None):
      keys[0], keys[1] = keys[1], keys[0]
    given = [key for key in keys if self._value(key) is not None]
    self._done.update(key for key in _TASKS if key in self._last)
    if not given:
      return
    name = self._value(given[0])
    value = _reference("MIXTURE_NAME")
    if name != self._value(_MIXTURE_NAME):
      value = name
    ours = task_of_t5(name)
    if ours and not is_registered(name):
      name = value = ours
    shown = _MIXTURE_NAME if _MIXTURE_NAME in given else given[0]
    place = max(self._last.get(key, (-1, OWN))[0] for key in given)
    target = f"Experiment.task = {name!r}"
    if ours and name != ours:
      target += f", which is {ours!r} among the tasks of this program"
    self._set(shown, place, target, "Experiment.task", "task", value)

  def _of_run(self, key: Key):
    """One of the parameters of `run`."""
    _, selector, parameter = key
    self._done.add(key)
    value = self._bound[key[:2]][parameter]
    literal = self._value(key)
    if selector != RUN and (literal is None or self._is_set(RUN, parameter)):
      return
    self._check_use(parameter, literal)
    if parameter not in OF_RUN:
      self._ignore(key)
    if parameter not in OF_RUN or self._says_nothing(parameter, literal):
      return
    ours = OF_RUN[parameter]
    if ours.startswith("--"):
      if self._origin(key) != DEFAULT:
        self._read[_name(key)] = ours
      return
    shown = ours
    if parameter == "mesh_shape" and self._is_of_no_tpu(value):
      value, shown = "", f"{ours} = '', one device (there is no --tpu)"
      self._done.update(key for key in self._last if key[1] == _TPU_MESH)
    elif parameter == "init_checkpoint":
      value, step = _checkpoint(literal)
      if step is not None:
        self._put("finetune.pretrained_step", "pretrained_step", step)
        shown += f" and pretrained_step = {step}"
    elif parameter == "layout_rules":
      self._put(f"{_LAYOUT_RULES}.rules", None, value)
      self._put(
          f"{_LAYOUT_RULES}.mesh_shape",
          None,
          self._bound[_EXPERIMENT].get("mesh_shape", ""),
      )
      value = gin.config.ConfigurableReference(_LAYOUT_RULES, True)
    elif parameter == "train_steps":
      first = self._steps_before()
      if isinstance(literal, int) and first and literal > first:
        value = literal - first
        shown += f" = {value}, those after step {first}"
    self._set(
        key, self._last[key][0], shown, ours, _MACROS.get(parameter), value
    )

  def _of_others(self):
    """What is not of `run`."""
    for key in self._last:
      scope, selector, parameter = key
      if scope or key in self._done or selector == "gin.macro":
        continue
      if selector == _DTYPES:
        self._dtype(key)
      elif key == _OUTER_BATCH:
        self._done.add(key)
        ours = "Experiment.outer_batch_size"
        self._set(key, self._last[key][0], ours, ours, None, self._value(key))
      elif _ignored_as(f"{selector}.{parameter}") is not None:
        self._done.add(key)
        self._ignore(key)
    if self._value(_PACKING):
      self._changes[_PACKING] = False

  def _dtype(self, key: Key):
    """A dtype: T5's own program has float32 where there is no TPU."""
    if self._value(key) == "float32":
      return
    self._done.add(key)
    parameter = key[2]
    if parameter == "activation_dtype":
      self._changes[key] = _reference("activation_dtype")
      why = "bfloat16 on TPUs only, unless activation_dtype is set"
    else:
      self._changes[key] = "float32"
      why = "weights are float32"
    if self._origin(key) != DEFAULT:
      self._ignored[_name(key)] = why

  def _set(self, key, place, shown, ours, macro, value):
    """Sets what stands here for a key, unless it is set otherwise.

    Args:
      key: T5's key.
      place: where it is set.
      shown: what to say in the note.
      ours: the parameter here.
      macro: the macro that sets it, None if there is none.
      value: the value.
    """
    targets = [_key(ours), _macro_key(macro)] if macro else [_key(ours)]
    for target in targets:
      set_at, origin = self._last.get(target, (-1, None))
      is_by_macro = macro and target == targets[0] and origin != OWN
      if not is_by_macro and (origin == OWN or set_at > place):
        if self._origin(key) != DEFAULT:
          self._ignored[_name(key)] = f"{_name(target)} is set"
        return
    self._put(ours, macro, value)
    if self._origin(key) != DEFAULT:
      self._read[_name(key)] = shown

  def _put(self, ours: str, macro: str | None, value: Any):
    """Makes a binding here."""
    self._changes[_macro_key(macro) if macro else _key(ours)] = value

  def _ignore(self, key: Key):
    if self._origin(key) != DEFAULT:
      name = ".".join(key[1:]).replace(_SOURCES[1], RUN)
      self._ignored[_name(key)] = _ignored_as(name) or ""

  def _origin(self, key: Key) -> str:
    return self._last.get(key, (-1, OWN))[1]

  def _is_set(self, selector: str, parameter: str) -> bool:
    return ("", selector, parameter) in self._last

  def _says_nothing(self, parameter: str, value: Any) -> bool:
    """Whether a value leaves it to the program, or is of another mode."""
    if parameter == "dataset_split":
      mode = self._value(("", RUN, "mode"))
      return value == "train" and mode in (None, "train")
    return value in (None, "") and parameter != "keep_checkpoint_max"

  def _is_of_no_tpu(self, mesh_shape: Any) -> bool:
    """Whether a mesh is computed for a TPU that is not there."""
    return (
        isinstance(mesh_shape, gin.config.ConfigurableReference)
        and mesh_shape.config_key[1] == _TPU_MESH
        and not self._on_tpu
        and self._mode != "plan"
    )

  def _steps_before(self) -> int | None:
    """The step of the checkpoint that a fine-tuning starts from, if known."""
    if self._mode != "finetune":
      return None
    path = self._value(("", RUN, "init_checkpoint"))
    return _checkpoint(path)[1] if isinstance(path, str) else None

  def _check_use(self, parameter: str, value: Any):
    """Refuses values that ask for what no mode does."""
    if self._mode not in (*_TRAINING_MODES, None):
      return
    name = f"run.{parameter}"
    if parameter == "init_checkpoint" and value and self._mode == "train":
      raise errors.UserError(
          f"{name} = {value!r} starts from the weights of another run, which "
          f"is --mode=finetune here; or set {name} = None."
      )
    if parameter in _REFUSED and value:
      raise errors.UserError(
          f"{name} = {value!r}: {_REFUSED[parameter]}; set it to None."
      )
    if parameter == "train_dataset_fn" and value is not None:
      known = f"{_DATA}mesh_train_dataset_fn"
      if getattr(value, "config_key", ("", known))[1] != known:
        raise errors.UserError(
            f"{name} = {value!r}: data comes from a task here; docs/data.md "
            "says how files become one."
        )


_MODES = {
    "eval": "--mode=eval",
    "infer": "--mode=infer, with --input_file and --output_file",
    "perplexity_eval": "--mode=perplexity_eval",
    "score_eval": "--mode=eval or --mode=score",
    "score_from_dataset": "--mode=score, with --input_file and --output_file",
    "score_from_strings": "--mode=score, with --input_file and --output_file",
}
_REFUSED = {
    "ensemble_inputs": "there are no ensembles here",
    "variable_filter": "all variables are trained here",
}


def task_of_t5(name: Any) -> str | None:
  """Returns the task or mixture here that T5 has under a name with a version.

  Args:
    name: for example "glue_v002_proportional".

  Returns:
    for example "glue"; None if there is none.
  """
  if not isinstance(name, str) or not re.search(r"_v\d{3}(_|$)", name):
    return None
  name = re.sub(r"_v\d{3}", "", name)
  # The plain versions of these read other inputs.
  if name in ("squad", "trivia_qa"):
    return None
  for ending in ("", "_proportional", "_allanswers", "_simple"):
    ours = name.replace("wsc_simple", "wsc").removesuffix(ending)
    if is_registered(ours):
      return ours
  return None


def is_registered(name: str) -> bool:
  """Whether seqio has a task or a mixture of a name."""
  return (
      name in seqio.TaskRegistry.names() or name in seqio.MixtureRegistry.names()
  )


def _checkpoint(path: str) -> tuple[str, int | None]:
  """The directory of a checkpoint, and its step if the path has one."""
  match = _CHECKPOINT.fullmatch(path)
  return (match[1] or ".", int(match[2])) if match else (path, None)


def _reference(macro: str):
  """What gin makes of a macro's name in a value."""
  return gin.config.ConfigurableReference(f"{macro}/gin.macro", True)


def _key(name: str) -> Key:
  """The key of a parameter of this project's."""
  configurable, _, parameter = name.rpartition(".")
  return "", gin_values.registry().get_match(configurable).selector, parameter


def _macro_key(name: str) -> Key:
  return name, "gin.macro", "value"


def _name(key: Key) -> str:
  """A key's name as one would write it."""
  return key[0] if key[1] == "gin.macro" else gin_values.name_of(*key)


def _ignored_as(name: str) -> str | None:
  """The reason for leaving out a parameter; None if it is not left out."""
  beginnings = [x for x in _IGNORED if name.startswith(x)]
  return _IGNORED[max(beginnings, key=len)] if beginnings else None
