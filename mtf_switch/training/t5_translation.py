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

"""What T5's gin configurations mean here, as bindings made of bindings."""

from collections.abc import Mapping, Sequence
import re
from typing import Any, NamedTuple

import gin

from mtf_switch.training import gin_sources
from mtf_switch.training import gin_values
from mtf_switch.training import t5_configs
from mtf_switch.training import t5_counterparts as counterparts
from mtf_switch.training import t5_names
from mtf_switch.training import t5_refusals
from mtf_switch.training import t5_tasks

Key = t5_configs.Key

# What modes besides "eval" have of its parameters.
_OF_READERS = {
    "infer": ["eval_checkpoint_step"],
    "perplexity_eval": ["dataset_split", "eval_checkpoint_step"],
    "score": ["eval_checkpoint_step"],
}
_MODES_OF_DATA = ("cache", "inspect", "tasks")
_CHECKPOINT = re.compile(r"(.*?)/*model\.ckpt-(\d+)(?:\..*)?")
_REQUIRED = gin_sources.Reference("gin.REQUIRED", is_macro=True)


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


def translate(
    bindings: Sequence[gin_sources.Binding],
    bound: Mapping[tuple[str, str], Mapping[str, Any]],
    mode: str | None,
    on_tpu: bool,
) -> Translation:
  """Translates T5's bindings.

  The user's own settings of what stands here for a parameter of T5's win; of
  others' files, the last.

  Args:
    bindings: all bindings, in order.
    bound: gin's, values by parameter for each scope and configurable.
    mode: the program's mode; None for any.
    on_tpu: whether the run is on a TPU.

  Raises:
    UserError: T5's program would do something else, which no mode here does.
  """
  return _Translator(bindings, bound, mode, on_tpu).translation()


class _Translator:
  """Makes a Translation, step by step."""

  def __init__(self, bindings, bound, mode, on_tpu):
    self._bound = bound
    self._mode = mode
    self._on_tpu = on_tpu
    self._made = Translation({}, {}, {}, set())
    # The last place where each key gets a value, and whose that is.
    self._last = {
        t5_configs.key_of(binding): (place, binding.origin)
        for place, binding in enumerate(bindings)
        if binding.value != _REQUIRED
    }
    self._last.pop(None, None)
    self._gone = {
        binding.selector
        for binding in bindings
        if binding.parameter
        and t5_names.is_gone(binding.selector, gin_sources.is_known)
    }

  def translation(self) -> Translation:
    """See `translate`."""
    t5_refusals.check_mode(self._mode, self._value(_run_key("mode")))
    self._task()
    for selector in (t5_configs.RUN, t5_configs.MTF_MODEL):
      for parameter in self._bound.get(("", selector), ()):
        self._of_run(("", selector, parameter))
    self._of_others()
    if self._mode in _MODES_OF_DATA:
      self._leave_open()
    return self._made

  def _leave_open(self):
    """Asks for no task and no lengths, which flags may give."""
    for macro in ("sequence_length", "task"):
      key = _macro_key(macro)
      if key not in self._last:
        self._made.changes.setdefault(key, None)

  def _task(self):
    """The task, by whichever of T5's names has it."""
    keys = [*counterparts.TASKS, _macro_key(t5_configs.MIXTURE_NAME)]
    self._made.done.update(key for key in keys if key in self._last)
    if self._mode not in (*counterparts.TRAINING_MODES, None):
      keys[0], keys[1] = keys[1], keys[0]
    given = [key for key in keys if isinstance(self._value(key), str)]
    if not given:
      return
    name = self._value(given[0])
    value = name
    if name == self._value(keys[-1]):
      value = _reference(t5_configs.MIXTURE_NAME)
    shown = "Experiment.task"
    ours = t5_tasks.task_of_t5(name)
    if ours and t5_tasks.is_registered(name):
      shown += f" = {name!r}, T5's own; this program's is {ours!r}"
    elif ours:
      value = ours
      shown += f" = {ours!r}, T5's {name!r}"
    source = keys[-1] if keys[-1] in given else given[0]
    self._set(source, shown, "Experiment.task", "task", value)

  def _of_run(self, key: Key):
    """One of the parameters of `run`."""
    parameter = key[2]
    self._made.done.add(key)
    value, literal = self._bound[key[:2]][parameter], self._value(key)
    # In Python, None leaves it to the files.
    if key[1] == t5_configs.MTF_MODEL and (
        literal is None or _run_key(parameter) in self._last
    ):
      return
    t5_refusals.check_use(self._mode, parameter, literal)
    if self._says_nothing(parameter, literal):
      return
    if parameter not in counterparts.OF_RUN:
      self._ignore(key)
      return
    ours = counterparts.OF_RUN[parameter]
    if ours.startswith("--"):
      self._tell(key, ours)
      return
    shown = ours
    if parameter in _OF_READERS.get(self._mode, ()):
      shown = ours.replace("evaluate.", f"{self._mode}.")
    if parameter == "mesh_shape" and self._is_of_no_tpu(value):
      value, shown = "", f"{ours} = '', one device (there is no --tpu)"
      self._made.done.update(
          key for key in self._last if key[1] == counterparts.TPU_MESH
      )
    elif parameter == "layout_rules":
      value = self._rules_with_effect(value)
    elif parameter == "init_checkpoint":
      value, step = _checkpoint(literal)
      if step is not None:
        self._made.changes[_macro_key("pretrained_step")] = step
        shown += f" and pretrained_step = {step}"
    elif parameter == "eval_checkpoint_step" and (
        self._mode in ("infer", "score") and not isinstance(literal, int)
    ):
      value, shown = None, f"{shown} = None, the latest"
    elif parameter == "train_steps":
      first = self._step_before()
      if isinstance(literal, int) and first and literal > first:
        value = literal - first
        shown += f" = {value}, those after step {first}"
    self._set(key, shown, ours, counterparts.MACROS.get(parameter), value)

  def _rules_with_effect(self, rules: Any) -> Any:
    """What evaluates to the layout rules that T5's program would obey."""
    name = "rules_of_t5"
    mesh_shape = self._bound.get(_key("Experiment.mesh_shape")[:2], {})
    self._made.changes[_key(f"{name}.rules")] = rules
    self._made.changes[_key(f"{name}.mesh_shape")] = mesh_shape.get(
        "mesh_shape", ""
    )
    return gin.config.ConfigurableReference(name, True)

  def _of_others(self):
    """What is not of `run`."""
    for key in self._last:
      scope, selector, parameter = key
      if scope or key in self._made.done or selector == "gin.macro":
        continue
      if selector == counterparts.DTYPES:
        self._dtype(key)
      elif key == counterparts.OUTER_BATCH:
        self._made.done.add(key)
        ours = counterparts.OF_RUN[parameter]
        self._set(key, ours, ours, None, self._value(key))
      elif counterparts.is_ignored(f"{selector}.{parameter}"):
        self._made.done.add(key)
        if self._is_bound(key) and self._value(key) in (None, "", False):
          continue
        self._ignore(key)
    self._made.ignored.update(dict.fromkeys(sorted(self._gone), "it is gone"))
    if self._value(counterparts.PACKING):
      self._made.changes[counterparts.PACKING] = False

  def _dtype(self, key: Key):
    """A dtype: T5's own program has float32 where there is no TPU."""
    if (
        self._value(key) == "float32"
        or self._origin(key) == gin_sources.PROJECT
    ):
      return
    if key[2] == "master_dtype" and self._mode not in (
        *counterparts.TRAINING_MODES,
        None,
    ):
      return  # Of a checkpoint that T5 has written.
    self._made.done.add(key)
    if key[2] == "activation_dtype":
      self._made.changes[key] = _reference("activation_dtype")
      self._tell(key, "activation_dtype, by default bfloat16 on TPUs only")
    else:
      self._made.changes[key] = "float32"
      self._tell(key, "float32, as all weights")

  def _set(
      self, key: Key, shown: str, ours: str, macro: str | None, value: Any
  ):
    """Sets what stands here for a key, unless it is set otherwise.

    Args:
      key: T5's key.
      shown: what to say in the note.
      ours: the parameter here.
      macro: the macro that sets it in the files of gin/; None if none does.
      value: the value.
    """
    if repr(value) == f"%{macro}":
      self._tell(key, shown)
      return
    target = _macro_key(macro) if macro else _key(ours)
    for set_here in dict.fromkeys((target, _key(ours))):  # In this order.
      place, origin = self._last.get(set_here, (-1, None))
      if origin in gin_sources.OWN:
        # Of a file, unless a parameter says it in T5's name.
        wins = (
            origin == gin_sources.PARAMETER
            or self._origin(key) != gin_sources.PARAMETER
        )
        target = _key(ours)
      else:
        # The files of gin/ set a parameter that has a macro by that.
        wins = set_here == target and place > self._place(key)
      if wins:
        self._ignore(key, f"{_name(set_here)} is set")
        return
    self._made.changes[target] = value
    self._tell(key, shown)

  def _tell(self, key: Key, ours: str):
    if self._origin(key) != gin_sources.DEFAULTS:
      self._made.read[_name(key)] = ours

  def _ignore(self, key: Key, why: str | None = None):
    if self._origin(key) != gin_sources.DEFAULTS:
      why = counterparts.reason_to_ignore(f"{key[1]}.{key[2]}", why)
      self._made.ignored[_name(key)] = why

  def _value(self, key: Key) -> Any:
    """What is bound; macros have their values."""
    value = self._bound.get(key[:2], {}).get(key[2])
    while repr(value).startswith("%") and not isinstance(value, str):
      value = self._bound.get(value.config_key, {}).get("value")
    return value

  def _is_bound(self, key: Key) -> bool:
    """Whether gin has a binding; those of names that are gone it has not."""
    return key[2] in self._bound.get(key[:2], {})

  def _place(self, key: Key) -> int:
    return self._last.get(key, (-1, None))[0]

  def _origin(self, key: Key) -> str | None:
    return self._last.get(key, (-1, None))[1]

  def _says_nothing(self, parameter: str, value: Any) -> bool:
    """Whether a value leaves it to the program, or is of another mode."""
    if parameter == "dataset_split":
      mode = self._value(_run_key("mode"))
      return value == "train" and mode in (None, "train")
    return value in (None, "") and parameter != "keep_checkpoint_max"

  def _is_of_no_tpu(self, mesh_shape: Any) -> bool:
    """Whether a mesh is computed for a TPU that is not there."""
    return (
        isinstance(mesh_shape, gin.config.ConfigurableReference)
        and mesh_shape.config_key[1] == counterparts.TPU_MESH
        and not self._on_tpu
        and self._mode != "plan"
    )

  def _step_before(self) -> int | None:
    """The step of the checkpoint that a fine-tuning starts from, if known."""
    path = self._value(_run_key("init_checkpoint"))
    if self._mode != "finetune" or not isinstance(path, str):
      return None
    return _checkpoint(path)[1]


def _reference(macro: str) -> gin.config.ConfigurableReference:
  """What gin makes of a macro's name in a value."""
  return gin.config.ConfigurableReference(f"{macro}/gin.macro", True)


def _run_key(parameter: str) -> Key:
  return "", t5_configs.RUN, parameter


def _macro_key(name: str) -> Key:
  return name, "gin.macro", "value"


def _key(name: str) -> Key:
  """The key of a parameter of this project's."""
  configurable, _, parameter = name.rpartition(".")
  return "", gin_values.registry().get_match(configurable).selector, parameter


def _name(key: Key) -> str:
  """A key's name as one would write it."""
  return key[0] if key[1] == "gin.macro" else gin_values.name_of(*key)


def _checkpoint(path: str) -> tuple[str, int | None]:
  """The directory of a checkpoint, and its step if the path has one."""
  match = _CHECKPOINT.fullmatch(path)
  return (match[1] or ".", int(match[2])) if match else (path, None)
