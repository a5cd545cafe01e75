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

"""A mistake on the command line, and the line that answers it."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

from tests import small_model

# A run that would train, but for the mistake.
GIN = f"""
{small_model.RUN}
train_steps = 2
train.steps_per_block = 2
"""

# What makes a file at a path: its text or bytes, or a function such as
# os.mkfifo.
_Made = str | bytes | Callable[[pathlib.Path], Any]


@dataclasses.dataclass(frozen=True)
class Mistake:
  """A command that ends in one line.

  It runs in an empty directory, with the gin file above and the tasks of
  tests/toy_tasks.py.

  Attributes:
    contains: texts that the line must have.
    params: gin bindings.
    flags: further flags; a --model_dir replaces "m".
    files: what else is in the directory, by name.
    exit_status: that of the program.
    is_whole: whether the flags are the whole command.
  """

  contains: Sequence[str]
  params: Sequence[str] = ()
  flags: Sequence[str] = ()
  files: Mapping[str, _Made] = dataclasses.field(default_factory=dict)
  exit_status: int = 1
  is_whole: bool = False

  def __str__(self) -> str:
    return " ".join([*self.params, *self.flags])

  @property
  def arguments(self) -> list[str]:
    """The command line."""
    if self.is_whole:
      return list(self.flags)
    has_model_dir = any(x.startswith("--model_dir=") for x in self.flags)
    return [
        "--gin_file=mine.gin",
        "--module_import=tests.toy_tasks",
        *([] if has_model_dir else ["--model_dir=m"]),
        *[f"--gin_param={param}" for param in self.params],
        *self.flags,
    ]

  def make_files(self, directory: pathlib.Path):
    """Makes the files that the command finds."""
    for name, made in {"mine.gin": GIN, **self.files}.items():
      path = directory / name
      path.parent.mkdir(parents=True, exist_ok=True)
      if callable(made):
        made(path)
      elif isinstance(made, bytes):
        path.write_bytes(made)
      else:
        path.write_text(made)


def values_of(
    parameter: str,
    values: Sequence[str],
    allowed: str,
    name: str = "",
    flags: Sequence[str] = (),
) -> list[Mistake]:
  """Values of a parameter that are refused, each in a line with the value.

  Args:
    parameter: a parameter or a macro.
    values: in gin's syntax.
    allowed: what the line says of the values that are taken.
    name: the parameter that a macro sets.
    flags: further flags.

  Returns:
    a mistake for each value.
  """
  return [
      Mistake(
          [f"{name or parameter} = {value} {allowed}"],
          [f"{parameter} = {value}"],
          flags,
      )
      for value in values
  ]


def unknown(parameter: str, value: str, name: str, names: str) -> Mistake:
  """A text that is none of those that a parameter takes."""
  return Mistake(
      [f"{name} = {value} is not known; use one of {names}"],
      [f"{parameter} = {value}"],
  )


def refused(params: Sequence[str], *contains: str) -> Mistake:
  """Values that do not go together."""
  return Mistake(contains, params)
