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

"""T5's own gin files: where they are, and how to know them.

T5's program calls `run` of mesh_tensorflow.transformer.utils, whose parameters
have counterparts here (t5_translation.py). The rest of T5's names, of models,
layers, schedules and data, are in use here as well.
"""

from collections.abc import Sequence
import os
from typing import Any

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import t5.models

from mtf_switch.training import gin_sources
from mtf_switch.training import gin_values
from mtf_switch.training import t5_names

# A scope, a configurable's full name and a parameter; a macro is the parameter
# "value" of "gin.macro" in a scope of its own name.
Key = tuple[str, str, str]

RUN = "mesh_tensorflow.transformer.utils.run"
# T5's class for use in Python has run's parameters.
MTF_MODEL = "t5.models.mtf_model.MtfModel"
# The macro of the task.
MIXTURE_NAME = "MIXTURE_NAME"
# In the place of what the files of this project leave to others.
_RUN_FILE = "runs/t5.gin"


def is_of_t5(bindings: Sequence[gin_sources.Binding]) -> bool:
  """Returns whether bindings are a configuration for T5's own program."""
  return any(
      binding.origin == gin_sources.T5
      or binding[:3] == ("", MIXTURE_NAME, "")
      or _full_name(binding) in (RUN, MTF_MODEL)
      for binding in bindings
      if binding.origin != gin_sources.PROJECT
  )


def files_before(bindings: Sequence[gin_sources.Binding]) -> list[str]:
  """Returns the files with what a T5 configuration leaves out.

  T5's program reads Mesh TensorFlow's defaults before all others. Models of
  this project have defaults of their own.

  Args:
    bindings: all of the configuration.

  Returns:
    names of files; none where this project's files are not searched.
  """
  if not gin_sources.find(_RUN_FILE):
    return []
  has_model = any(
      binding.origin == gin_sources.PROJECT
      and binding.selector.endswith("Unitransformer")
      for binding in bindings
  )
  defaults = os.path.join(gin_directories()[1], "defaults.gin")
  return [_RUN_FILE] if has_model else [_RUN_FILE, defaults]


def gin_directories() -> list[str]:
  """Returns the directories of T5's own gin files, and of Mesh TensorFlow's."""
  return [
      os.path.join(os.path.dirname(module.__file__), "gin")
      for module in (t5.models, utils)
  ]


def key_of(binding: gin_sources.Binding) -> Key | None:
  """Returns what a binding binds; None if gin does not know it."""
  if not binding.parameter:
    return binding.selector, "gin.macro", "value"
  selector = _full_name(binding)
  parameter = t5_names.new_parameter(binding.selector, binding.parameter)
  return (binding.scope, selector, parameter) if selector else None


def _full_name(binding: gin_sources.Binding) -> str | None:
  """The full name of the configurable that is bound, if gin knows it."""
  if not binding.parameter:
    return None
  try:
    found = gin_values.registry().get_match(binding.selector)
  except KeyError:  # Several have that name, which gin refuses.
    return None
  return found and found.selector


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
  return ",".join(
      f"{dim}:{axis}" for dim, axis in sorted(pairs) if axis in axes
  )
