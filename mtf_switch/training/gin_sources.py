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

"""The texts of gin files and parameters, statement by statement.

Gin reads files through the reader of this module, so that names of T5's that
are gone can stay in them (t5_names.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import contextvars
import io
import os
from typing import Any, NamedTuple

import gin
from gin import config_parser
from gin import resource_reader
import tensorflow.compat.v1 as tf

from mtf_switch.training import t5_names

# In front of a file's name, it leaves the file to the reader here.
READ_HERE = "mtf_switch:"

# Whose a file is. What stands in front of all others is for T5's programs.
FILE_OF_USER = "the user's file"
RECORD = "what a run has read"
PARAMETER = "the user's parameter"
PROJECT = "this project's file"
T5 = "T5's file"
DEFAULTS = "defaults"
WRITTEN = (FILE_OF_USER, PARAMETER)
OWN = (*WRITTEN, RECORD)
FILES = (FILE_OF_USER, RECORD, PROJECT, T5, DEFAULTS)
# In the operative_config.gin of a run.
_MARK_OF_RECORD = "# Parameters for "

_more_directories: contextvars.ContextVar[Sequence[str]] = (
    contextvars.ContextVar("more_directories", default=())
)


@contextlib.contextmanager
def searching(directories: Sequence[str]) -> Iterator[None]:
  """Has files looked for in more directories, after gin's search paths."""
  before = _more_directories.set(directories)
  try:
    yield
  finally:
    _more_directories.reset(before)


class Reference(NamedTuple):
  """A macro or a configurable that a value refers to.

  Attributes:
    name: as written, without % or @; macros too.
    is_macro: whether it is a macro.
  """

  name: str
  is_macro: bool


class Binding(NamedTuple):
  """A binding, as written.

  Attributes:
    scope: for example "encoder", or "".
    selector: a configurable's name; of a macro, the macro's name.
    parameter: the parameter's name; "" for a macro.
    value: the value, in which references are Reference.
    origin: whose the file is: one of the names below.
  """

  scope: str
  selector: str
  parameter: str
  value: Any
  origin: str


# The names of files by those that gin is given.
_names: dict[str, str] = {}


def bindings(
    files: Sequence[str],
    params: Sequence[str],
    directories: Mapping[str, Sequence[str]],
    origin: str = FILE_OF_USER,
) -> Iterator[Binding]:
  """Returns the bindings of files, their includes and parameters, in order.

  What is not there, or is not gin, is left out: gin's own errors say more.

  Args:
    files: names of files, for gin's search paths.
    params: bindings.
    directories: those whose files are of another origin, by that.
    origin: that of the other files.
  """
  origins = [
      (os.path.realpath(place) + os.sep, of)
      for of, places in directories.items()
      for place in places
  ]

  def origin_of(path):
    path = path if "://" in path else os.path.realpath(path)
    matches = (of for place, of in origins if path.startswith(place))
    return next(matches, origin)

  for file in files:
    yield from _of_file(file, origin_of, ())
  for param in params:
    yield from _of_text(param, PARAMETER, origin_of, ())


def parse_file(name: str):
  """Has gin parse a file of that name."""
  # TensorFlow's reader, which gin asks too, takes names in UTF-8 only.
  shown = name.encode(errors="backslashreplace").decode()
  _names[shown] = name
  gin.parse_config_file(READ_HERE + shown)


def parse_text(text: str):
  """Has gin parse a text."""
  gin.parse_config(t5_names.readable(text, is_known, READ_HERE))


def statements(name: str) -> Iterator[Any]:
  """Returns gin's statements of a file as gin reads it, references as written.

  Args:
    name: the file's; without one there are none, as after what is not gin.
  """
  path = find(name)
  if path is None:
    return iter(())
  try:
    text = _text_of(path)
  except (OSError, ValueError, tf.errors.OpError):
    return iter(())
  text = t5_names.readable(text, is_known)
  return t5_names.statements(text, _References())


def find(name: str) -> str | None:
  """Returns the path of a gin file; None if there is none.

  Args:
    name: as on the command line; gin's search paths are tried in order, then
      those of `searching`.
  """
  # Gin has no public function for its search paths.
  prefixes = gin.config._LOCATION_PREFIXES  # pylint: disable=protected-access
  prefixes = (*prefixes, *_more_directories.get())
  for prefix in prefixes if not os.path.isabs(name) else [""]:
    path = os.path.join(prefix, name)
    if "://" not in path:
      if os.path.isfile(path):
        return path
    elif tf.io.gfile.exists(path):
      return path
  if resource_reader.system_path_file_exists(name):  # In a Python package.
    with resource_reader.system_path_reader(name) as file:
      return file.name
  return None


def is_known(name: str) -> bool:
  """Whether gin has a configurable of that name."""
  registry = gin.config._REGISTRY  # pylint: disable=protected-access
  return bool(registry.matching_selectors(name))


def _of_file(
    name: str, origin_of: Callable[[str], str], including: tuple[str, ...]
) -> Iterator[Binding]:
  path = find(name)
  if path is None or path in including:
    return
  try:
    text = _text_of(path)
  except (OSError, ValueError, tf.errors.OpError):
    return
  origin = origin_of(path)
  if origin == FILE_OF_USER and _MARK_OF_RECORD in text:
    origin = RECORD
  yield from _of_text(text, origin, origin_of, (*including, path))


def _of_text(
    text: str,
    origin: str,
    origin_of: Callable[[str], str],
    including: tuple[str, ...],
) -> Iterator[Binding]:
  for statement in t5_names.statements(text, _References()):
    if isinstance(statement, config_parser.IncludeStatement):
      yield from _of_file(statement.filename, origin_of, including)
    elif isinstance(statement, config_parser.BindingStatement):
      scope, selector, parameter, value, _ = statement
      if not parameter and scope:
        scope, selector = "", f"{scope}/{selector}"
      yield Binding(scope, selector, parameter, value, origin)


class _References(config_parser.ParserDelegate):
  """Keeps references as they are written."""

  def configurable_reference(self, name, unused_evaluate):
    """Returns a Reference."""
    return Reference(name, False)

  def macro(self, name):
    """Returns a Reference."""
    return Reference(name, True)


def _text_of(path: str) -> str:
  """Reads a file as gin does: a local one may have any name."""
  with tf.io.gfile.GFile(path) if "://" in path else open(path) as file:
    return file.read().removeprefix("\ufeff")  # As some editors begin files.


class _Text(io.StringIO):
  """A text with the name of its file, for gin's messages."""

  def __init__(self, text: str, name: str):
    super().__init__(text)
    self.name = name


def _read(name: str) -> _Text:
  """The reader for gin, of names that start with READ_HERE."""
  path = _find_read_here(name)
  return _Text(t5_names.readable(_text_of(path), is_known, READ_HERE), path)


def _is_read_here(name: str) -> bool:
  return name.startswith(READ_HERE) and bool(_find_read_here(name))


def _find_read_here(name: str) -> str | None:
  shown = name.removeprefix(READ_HERE)
  return find(_names.get(shown, shown))


gin.config.register_file_reader(_read, _is_read_here)
