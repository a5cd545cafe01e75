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

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
import copy
import functools
import inspect
import os
import re
import tokenize
import traceback
from typing import Any
import warnings

import gin

from mtf_switch import errors
from mtf_switch import files as files_lib
from mtf_switch import spelling
from mtf_switch.training import gin_sources
from mtf_switch.training import gin_values
from mtf_switch.training import t5_configs
from mtf_switch.training import t5_translation
from mtf_switch.training import unread_bindings

# What gin adds to the errors of a statement, of a file or a parameter.
_STATEMENT = re.compile(
    r'In (?:file "(?P<file>.+?)",|bindings string) line (?P<line>\d+)\n'
    r" *(?:(?:import|from) +(?P<module>\S+))?"
)
# The modes that need no gin file, and macros of which they make use themselves.
_READ_BY_MODES = {
    "inspect": ("task", "sequence_length"),
    "cache": ("task",),
}


def parse(
    files: Sequence[str],
    params: Sequence[str],
    search_paths: Sequence[str],
    users_search_paths: Sequence[str] = (),
    mode: str | None = None,
    on_tpu: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> set[unread_bindings.Key]:
  """Parses gin files, then parameters, and closes the configuration.

  T5's own configurations are read as what they mean here, and a note says so.

  Args:
    files: names of gin files, relative to the working directory or to a search
      path.
    params: bindings such as "train.steps = 100", which override the files'.
    search_paths: the directories of this project's files. T5's own follow.
    users_search_paths: directories of the user's, which follow those.
    mode: the program's mode, for T5's configurations; None for any.
    on_tpu: whether the run is on a TPU, for them too.
    defaults: values of macros, as gin binds them, for those that are used and
      not set.

  Returns:
    the bindings that are the user's own: those of the parameters, and of files
    that are not the project's, without those of T5's program.

  Raises:
    UserError: the syntax is not gin's, a name is unknown, or a value is missing
      or without meaning.
  """
  for place in search_paths:
    gin.add_config_file_search_path(place)
  of_t5 = t5_configs.gin_directories()
  with gin_sources.searching([*of_t5, *users_search_paths]):
    bindings = [
        *gin_sources.bindings(
            files,
            params,
            {gin_sources.PROJECT: search_paths, gin_sources.T5: of_t5},
        )
    ]
    before = []
    if t5_configs.is_of_t5(bindings):
      before = t5_configs.files_before(bindings)
    _parse([*before, *files], params)
    _check_no_circle()
    bindings = [
        *gin_sources.bindings(before, (), {}, gin_sources.DEFAULTS),
        *bindings,
    ]
  own = _bound_by(bindings, gin_sources.OWN)
  of_params = _bound_by(bindings, [gin_sources.PARAMETER])
  of_params -= _bound_by(bindings, gin_sources.FILES)
  if before:
    done = _translate(bindings, mode, on_tpu)
    own = _bound_by(bindings, gin_sources.WRITTEN) - done
    of_params -= done
  for name in _missing_macros() & set(defaults or ()):
    gin.bind_parameter(f"{name}/gin.macro.value", defaults[name])
  _check_macros(of_params, _READ_BY_MODES.get(mode, ()))
  _call(gin.finalize, "gin")
  gin_values.check(_bindings())
  return own


def _bound_by(
    bindings: Sequence[gin_sources.Binding], origins: Collection[str]
) -> set[unread_bindings.Key]:
  """What bindings of some origins bind."""
  keys = {t5_configs.key_of(x) for x in bindings if x.origin in origins}
  return keys - {None}


def _parse(files: Sequence[str], params: Sequence[str]):
  """Has gin parse files, then parameters."""
  for file in files:
    _call(functools.partial(gin_sources.parse_file, file), file)
  for param in params:
    _call(
        functools.partial(gin_sources.parse_text, param),
        f"--gin_param={errors.shown(repr(param))}",
    )


def _translate(
    bindings: Sequence[gin_sources.Binding], mode: str | None, on_tpu: bool
) -> set[unread_bindings.Key]:
  """Has gin bind what a T5 configuration means here, and says so.

  Args:
    bindings: all of the configuration.
    mode: as for `parse`.
    on_tpu: as for `parse`.

  Returns:
    the bindings that need not be read: those of T5's program, macros that its
    files share among them, and scopes that only that program enters.
  """
  translation = t5_translation.translate(bindings, _bindings(), mode, on_tpu)
  for key, bound in translation.changes.items():
    gin.bind_parameter(key, bound)
  if translation.note:
    warnings.warn(translation.note, errors.UserNotice, stacklevel=4)
  in_files = {
      t5_configs.key_of(x)
      for x in bindings
      if x.origin != gin_sources.PARAMETER
  } - {None}
  macros = {key for key in in_files if key[1] == "gin.macro"}
  scoped = unread_bindings.in_unknown_scopes(in_files)
  return translation.done | macros | scoped


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
    the line; None if the error is not about what gin calls a function with.
  """
  if isinstance(error, RecursionError) and _is_raised_in_gin(error, 1000):
    return "a value in gin leads back to itself, such as f.x = @f()."
  called = re.findall(r"In call to configurable '(.+?)'", str(error))
  if isinstance(error, TypeError) and called and _is_raised_in_gin(error, 1):
    message, *_ = str(error).splitlines()
    return (
        f"@{called[0]} in gin stands where it does not fit: {message}; a name "
        "with () is called at once, one without when it is needed."
    )
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


def _is_raised_in_gin(error: BaseException, depth: int) -> bool:
  """Whether gin is in the last frames of an error's traceback."""
  frames = traceback.extract_tb(error.__traceback__)[-depth:]
  return any(frame.filename == gin.config.__file__ for frame in frames)


def _call(parse_: Callable[[], Any], where: str) -> Any:
  """Calls gin and turns its errors into a UserError of one line."""
  where = errors.shown(where)
  try:
    return parse_()
  except SyntaxError as error:
    if (error.filename or "").endswith(".py"):  # Of a module.
      message = f"{where}: {errors.in_module(error, where)}"
      raise errors.UserError(message) from error
    if error.filename:
      where = errors.shown(f"{error.filename}:{error.lineno}")
    text = errors.shown((error.text or "").strip())
    raise errors.UserError(f"{where}: this is not gin: {text}") from error
  except tokenize.TokenError as error:
    message = f"{where}: this is not gin: {error.args[0]}"
    raise errors.UserError(message) from error
  except (Exception, SystemExit) as error:
    place = _STATEMENT.search(str(error))
    if place and place["file"]:
      where = errors.shown(f"{place['file']}:{place['line']}")
    if isinstance(error, SystemExit) or (place and place["module"]):
      module = place["module"] if place else "a module"
      message = f"{where}: {errors.in_module(error, module)}"
      raise errors.UserError(message) from error
    if isinstance(error, RecursionError):
      message = "the file includes itself" if place else "too many brackets"
      raise errors.UserError(f"{where}: {message}.") from error
    message = str(error).split("\n")[0]
    # Gin appends all search paths, which may be many.
    message = message.replace(gin_sources.READ_HERE, "")
    if missing := re.match(r"Unable to open file: (.+?)\. ", message):
      if os.path.lexists(missing[1]):
        files_lib.check_readable(missing[1], f"{where}: {missing[1]}")
      message = f"{missing[1]} is not there."
    text = f"{where}: {errors.shown(message)}{_advice(message)}"
    raise errors.UserError(text) from error


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


def _check_macros(
    of_params: Collection[unread_bindings.Key], read: Collection[str]
):
  """Refuses misspelt macros and macros without a value.

  Args:
    of_params: what only parameters bind.
    read: macros that the mode reads itself.

  Raises:
    UserError: a macro is misspelt, or macros lack a value.
  """
  used = _used_macros() | set(read)
  for name in _macros():
    if name not in used:
      is_param = (name, "gin.macro", "value") in of_params
      _check_unused(name, used, is_param)
  missing = sorted(_missing_macros())
  if missing:
    raise errors.UserError(
        f"{' and '.join(missing)} must be set, in a gin file or for example "
        f'with --gin_param="{missing[0]} = ...".'
    )


def _check_no_circle():
  """Refuses macros that consist of themselves."""
  values = macros()
  for name in values:
    through = [name]
    while through[-1] in values:
      following = repr(values[through[-1]]).removeprefix("%")
      if following in through:
        raise errors.UserError(
            f"{' = %'.join([*through, following])} leads back to itself."
        )
      through.append(following)


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
