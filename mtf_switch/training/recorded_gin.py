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

"""The gin file that a run has left behind, which this program reads by itself.

The user has named a directory and not this file, and whoever made the directory
wrote it. It may describe a model. It may neither import modules that the user
did not choose nor call what writes files: both would be programs of its author.
"""

from collections.abc import Iterator, Mapping
import sys
from typing import Any

from gin import config_parser

from mtf_switch import errors
from mtf_switch.training import gin_sources
from mtf_switch.training import gin_values

# Their modules only define what gin configures.
_PACKAGES = ("gin", "mesh_tensorflow", "mtf_switch", "seqio", "t5", "tasks")
# Functions that write, or call what they are given.
_OF_PROGRAMS = ("mtf_switch.modes.", "t5.models.mtf_model.")
_OF_UTILS = "mesh_tensorflow.transformer.utils."
_WRITING = ("decode", "infer_model", "run", "save_scores", "score_", "tpu_est")


def check(name: str):
  """Refuses a recorded gin file that is more than a model's configuration.

  Args:
    name: the file; one that is missing, or not gin, is left to gin's own
      errors.

  Raises:
    UserError: names the line, what it does, and how to have it done.
  """
  for statement in gin_sources.statements(name):
    if problem := _problem(statement):
      where = f"{name}:{statement.location.line_num}"
      raise errors.UserError(
          f"{errors.shown(where)}: {errors.shown(problem)}, and a run's record "
          "may not; if you know who wrote this file, and have read it, name it "
          "as a gin file of yours (distill.teacher_gin)."
      )


def _problem(statement) -> str | None:
  """What a statement does beside configuring, if anything."""
  if isinstance(statement, config_parser.IncludeStatement):
    return f"it includes {statement.filename!r}"
  if isinstance(statement, config_parser.ImportStatement):
    module = statement.module
    # Modules that are loaded do nothing when they are imported again.
    if module.split(".")[0] in _PACKAGES or module in sys.modules:
      return None
    return f"it imports {module!r}"
  if isinstance(statement, config_parser.BindingStatement):
    for reference in _references(statement.value):
      if _acts(reference):
        return f"it calls {reference.name!r}"
  return None


def _references(value: Any) -> Iterator[gin_sources.Reference]:
  """The configurables that a value refers to."""
  if isinstance(value, gin_sources.Reference):
    if not value.is_macro:
      yield value
  elif isinstance(value, Mapping):
    yield from _references([*value.keys(), *value.values()])
  elif isinstance(value, (list, tuple)):
    for part in value:
      yield from _references(part)


def _acts(reference: gin_sources.Reference) -> bool:
  """Whether a configurable does more than to make a part of a model."""
  registry = gin_values.registry()
  for selector in registry.matching_selectors(reference.name.split("/")[-1]):
    wrapped = registry[selector].wrapped
    path = f"{wrapped.__module__}.{wrapped.__name__}"
    name = path.removeprefix(_OF_UTILS)
    if path.startswith(_OF_PROGRAMS) or (
        name != path and name.startswith(_WRITING)
    ):
      return True
  return False
