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

"""Reads gin files and parameters strictly.

Gin itself stops at an unknown name, with a traceback; here the message is one
line, with the place and the names that are spelt like it. A misspelt macro is
to gin a new one that nothing uses; here it is an error too.
"""

from collections.abc import Callable, Iterable, Sequence
import copy
import functools
import inspect
import re
import tokenize
from typing import Any

import gin

from mtf_switch import errors
from mtf_switch import spelling


def parse(
    files: Sequence[str], params: Sequence[str], search_paths: Sequence[str]
):
  """Parses gin files, then parameters, and closes the configuration.

  Args:
    files: names of gin files, as seen from the working directory or from a
      search path.
    params: bindings such as "train.steps = 100", which override the files'.
    search_paths: directories.

  Raises:
    UserError: a name is unknown, a value is missing, or it is not gin.
  """
  for path in search_paths:
    gin.add_config_file_search_path(path)
  for file in files:
    _call(functools.partial(gin.parse_config_file, file), file)
  of_files = set(_macros())
  for param in params:
    _call(functools.partial(gin.parse_config, param), f"--gin_param={param!r}")
  _check_macros(of_params=set(_macros()) - of_files)
  _call(gin.finalize, "gin")


def value(name: str) -> Any:
  """The value that gin has for something, after `parse`.

  Args:
    name: "function.parameter", or "%macro".

  Returns:
    the value, references in it evaluated; None if there is none.
  """
  try:
    bound = gin.query_parameter(name)
  except ValueError:
    return None
  return copy.deepcopy(bound)  # Copying is how gin evaluates references.


def explain(error: BaseException) -> str | None:
  """One line for what gin raises when it calls a function.

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


def _call(parse_: Callable[[], None], where: str):
  """Calls gin and turns what it raises into one line."""
  try:
    parse_()
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
    # Gin adds all search paths, of which there may be many.
    message = re.sub(
        r"Unable to open file: (.+?)\. .*", r"\1 is not there.", message
    )
    raise errors.UserError(f"{where}: {message}{_advice(message)}") from error


def _advice(message: str) -> str:
  """The known names that are near the one that gin does not know."""
  unknown = re.search(r"No configurable matching \D*?'@?(.+?)(\(\))?'", message)
  if unknown:
    name = unknown[1].split("/")[-1]
    num_parts = name.count(".") + 1
    # The registry has no public reader.
    registry = gin.config._REGISTRY._selector_map  # pylint: disable=protected-access
    return _did_you_mean(
        name, {".".join(known.split(".")[-num_parts:]) for known in registry}
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
  """The advice as a sentence of its own, or nothing."""
  advice = spelling.did_you_mean(name, known, similarity)
  return f" {advice[0].upper()}{advice[1:]}" if advice else ""


def _bindings():
  """Gin's bindings so far, which have no public reader."""
  return gin.config._CONFIG  # pylint: disable=protected-access


def _macros() -> list[str]:
  """The names of the macros that are set, to gin.REQUIRED or to a value."""
  return [name for name, kind in _bindings() if kind == "gin.macro"]


def _check_macros(of_params: set[str]):
  """Refuses macros without a value, and those whose name is misspelt.

  Args:
    of_params: macros that only parameters set. Each of them must be used; a
      file may set one that is not, unless the name is near one that is.

  Raises:
    UserError: names all macros that lack a value, or one that is misspelt.
  """
  macros = _macros()
  used = {
      "/".join(reference.scopes)
      for reference in gin.config.iterate_references(
          _bindings(), to=gin.get_configurable("gin.macro")
      )
  }
  for name in macros:
    if name in used:
      continue
    if name in of_params:
      advice = _did_you_mean(name, used)
      raise errors.UserError(f"Nothing in gin uses {name!r}.{advice}")
    # A file may set what a model has no use for. The names in gin/ are less
    # alike than a name and its misspelling.
    advice = _did_you_mean(name, used, similarity=0.85)
    if advice:
      raise errors.UserError(f"Nothing in gin uses {name!r}.{advice}")
  missing = sorted(
      {name for name in used if name not in macros}
      | {
          name
          for name in macros
          if repr(_bindings()[name, "gin.macro"]["value"]) == "%gin.REQUIRED"
      }
  )
  if missing:
    raise errors.UserError(
        f"{' and '.join(missing)} must be set, in a gin file or for example "
        f'with --gin_param="{missing[0]} = ...".'
    )
