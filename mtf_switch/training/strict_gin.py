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

"""Strict parsing of gin files and parameters.

Gin itself reports an unknown name with a traceback; here the message is one
line, with the place of the mistake and similar names. Gin takes a misspelt
macro for a new, unused one; here it is an error.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import copy
import functools
import inspect
import os
import re
import tokenize
from typing import Any

import gin
from gin import config_parser
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import spelling
from mtf_switch.training import gin_values
from mtf_switch.training import unread_bindings


def parse(
    files: Sequence[str],
    params: Sequence[str],
    search_paths: Sequence[str],
    defaults: Mapping[str, Any] | None = None,
) -> set[unread_bindings.Key]:
  """Parses gin files, then parameters, and closes the configuration.

  Args:
    files: names of gin files, relative to the working directory or to a search
      path.
    params: bindings such as "train.steps = 100", which override the files'.
    search_paths: the directories of this project's files.
    defaults: values of macros, as gin binds them, for those that are used and
      not set.

  Returns:
    the bindings that are the user's own: those of the parameters, and of files
    that are not the project's.

  Raises:
    UserError: the syntax is not gin's, a name is unknown, or a value is missing
      or without meaning.
  """
  for path in search_paths:
    gin.add_config_file_search_path(path)
  parsed = [
      _call(functools.partial(gin.parse_config_file, file), file)
      for file in files
  ]
  of_files = set(_macros())
  for param in params:
    _call(functools.partial(gin.parse_config, param), f"--gin_param={param!r}")
  for name in _missing_macros() & set(defaults or ()):
    gin.bind_parameter(f"{name}/gin.macro.value", defaults[name])
  _check_macros(of_params=set(_macros()) - of_files)
  _call(gin.finalize, "gin")
  gin_values.check(_bindings())
  texts = [*params]
  for path in _own_files(parsed, [os.path.realpath(x) for x in search_paths]):
    with _open(path) as file:
      texts.append(file.read())
  return {key for text in texts for key in _keys(text)}


def macros() -> dict[str, Any]:
  """Returns the values of the macros by name, as gin binds them."""
  return {name: _bindings()[name, "gin.macro"]["value"] for name in _macros()}


def value(name: str) -> Any:
  """Returns the value of a parameter or a macro, after `parse`.

  Args:
    name: "function.parameter", or "%macro".

  Returns:
    the value with its references evaluated; None if it is not set.
  """
  try:
    bound = gin.query_parameter(name)
  except ValueError:
    return None
  return copy.deepcopy(bound)  # Copying is how gin evaluates references.


def explain(error: BaseException) -> str | None:
  """Returns one line for an error that gin raised when it called a function.

  Args:
    error: any exception.

  Returns:
    the line; None if the error is not about missing parameters.
  """
  missing = re.match(
      r"Required bindings for `(.+?)` not provided in config: \[(.*?)\]",
      str(error),
  )
  if not missing:
    return None
  function = missing[1].split(".")[-1]
  names = [f"{function}.{name}" for name in re.findall(r"'(.+?)'", missing[2])]
  return (
      f"{' and '.join(names)} must be set in a gin file or with --gin_param; "
      "the files in gin/runs ask for all that a run needs."
  )


def _own_files(parsed, directories: Sequence[str]) -> Iterator[str]:
  """The paths of files and their includes that are not in directories.

  Args:
    parsed: what gin.parse_config_file returned for each file.
    directories: absolute paths.
  """
  for file in parsed:
    path = _path(file.filename)
    if not any(path.startswith(f"{place}{os.sep}") for place in directories):
      yield path
    yield from _own_files(file.includes, directories)


def _path(name: str) -> str:
  """The path of a file that gin has found."""
  for prefix in gin.config._LOCATION_PREFIXES:  # pylint: disable=protected-access
    path = os.path.join(prefix, name)
    if "://" not in path:
      if os.path.exists(path):
        return os.path.realpath(path)
    elif tf.io.gfile.exists(path):
      return path
  return name


def _open(path: str):
  """Opens a file as gin does: a local one may have any name."""
  return tf.io.gfile.GFile(path) if "://" in path else open(path)


def _keys(text: str) -> Iterator[unread_bindings.Key]:
  """The bindings of a text that gin has parsed, without those of includes."""
  for statement in config_parser.ConfigParser(text, _NoReferences()):
    if not isinstance(statement, config_parser.BindingStatement):
      continue
    scope, selector, parameter = statement[:3]
    if not parameter:
      macro = f"{scope}/{selector}" if scope else selector
      yield macro, "gin.macro", "value"
    # Names that the text itself imports as something else are left out.
    elif found := gin_values.registry().get_match(selector):
      yield scope, found.selector, parameter


class _NoReferences(config_parser.ParserDelegate):
  """Reads references and macros without looking them up."""

  def configurable_reference(self, unused_name, unused_evaluate):
    """Returns nothing."""

  def macro(self, unused_name):
    """Returns nothing."""


def _call(parse_: Callable[[], Any], where: str) -> Any:
  """Calls gin and turns its errors into a UserError of one line."""
  try:
    return parse_()
  except SyntaxError as error:
    if error.filename:
      where = f"{error.filename}:{error.lineno}"
    text = (error.text or "").strip()
    raise errors.UserError(f"{where}: this is not gin: {text}") from error
  except tokenize.TokenError as error:
    message = f"{where}: this is not gin: {error.args[0]}"
    raise errors.UserError(message) from error
  except (ImportError, OSError, RuntimeError, ValueError) as error:
    place = re.search(r'In file "(.+?)", line (\d+)', str(error))
    if place:
      where = f"{place[1]}:{place[2]}"
    message = str(error).split("\n")[0]
    # Gin appends all search paths, which may be many.
    message = re.sub(
        r"Unable to open file: (.+?)\. .*", r"\1 is not there.", message
    )
    raise errors.UserError(f"{where}: {message}{_advice(message)}") from error


def _advice(message: str) -> str:
  """Suggests names for the unknown one in a message of gin's, if any."""
  unknown = re.search(r"No configurable matching \D*?'@?(.+?)(\(\))?'", message)
  if unknown:
    name = unknown[1].split("/")[-1]
    num_parts = name.count(".") + 1
    names = [known for known, _ in gin_values.registry().items()]
    return _did_you_mean(
        name, {".".join(known.split(".")[-num_parts:]) for known in names}
    )
  unknown = re.search(
      r"'(.+?)' doesn't have a parameter named '(.+?)'", message
  )
  if unknown:
    function = gin.get_configurable(unknown[1])
    return _did_you_mean(unknown[2], inspect.signature(function).parameters)
  return ""


def _did_you_mean(
    name: str, known: Iterable[str], similarity: float = 0.6
) -> str:
  """Returns the suggestion as a sentence to append, or ""."""
  advice = spelling.did_you_mean(name, known, similarity)
  return f" {advice[0].upper()}{advice[1:]}" if advice else ""


def _bindings():
  """Returns gin's bindings, for which it has no public function."""
  return gin.config._CONFIG  # pylint: disable=protected-access


def _macros() -> list[str]:
  """Returns the names of the macros that are set, even to gin.REQUIRED."""
  return [name for name, kind in _bindings() if kind == "gin.macro"]


def _used_macros() -> set[str]:
  """Returns the names of the macros that bindings use."""
  return {
      "/".join(reference.scopes)
      for reference in gin.config.iterate_references(
          _bindings(), to=gin.get_configurable("gin.macro")
      )
  }


def _missing_macros() -> set[str]:
  """Returns the names of the macros that must have a value and have none."""
  values = macros()
  return {
      name
      for name in _used_macros() | values.keys()
      if name not in values or repr(values[name]) == "%gin.REQUIRED"
  }


def _check_macros(of_params: set[str]):
  """Refuses misspelt macros and macros without a value.

  Args:
    of_params: macros that only parameters set.

  Raises:
    UserError: a macro is misspelt, or macros lack a value.
  """
  used = _used_macros()
  for name in _macros():
    if name not in used:
      _check_unused(name, used, is_param=name in of_params)
  missing = sorted(_missing_macros())
  if missing:
    raise errors.UserError(
        f"{' and '.join(missing)} must be set, in a gin file or for example "
        f'with --gin_param="{missing[0]} = ...".'
    )


def _check_unused(name: str, used: set[str], is_param: bool):
  """Refuses an unused macro of a parameter, or one that seems misspelt.

  Args:
    name: the unused macro.
    used: the macros that are used.
    is_param: whether a parameter has set it. A file may set macros that a model
      does not use.

  Raises:
    UserError: a parameter has set the macro, or it resembles a used one.
  """
  # The names in gin/ are less similar to each other than to their misspellings.
  advice = _did_you_mean(name, used, similarity=0.6 if is_param else 0.85)
  if is_param or advice:
    raise errors.UserError(f"Nothing in gin uses {name!r}.{advice}")
