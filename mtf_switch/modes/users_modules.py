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

"""The modules of --module_import."""

from collections.abc import Sequence
import importlib
import importlib.machinery
import importlib.util
import os
import pathlib
import sys
import traceback

from mtf_switch import errors

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_PROGRAM = str(_ROOT / "run_switch.py")
# Where modules are that a user's own may be named after.
_TAKEN = ("built-in", "frozen", f"{_ROOT}{os.sep}", *errors.OF_OTHERS)

# The modules that were asked for in this process.
_loaded: list[str] = []


def load(names: Sequence[str]):
  """Imports modules with the user's tasks or layers.

  Args:
    names: of modules, which may be in the working directory.

  Raises:
    UserError: there is no such module, or it cannot be imported; names the
      line.
  """
  sys.path.append(os.getcwd())
  _loaded.extend(names)
  for name in names:
    flag = f"--module_import={name}"
    _check_name(name, flag)
    _check_not_hidden(name, flag)
    try:
      module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
      message = f"{flag}: {errors.in_module(error, name)}"
      raise errors.UserError(message) from error
    if module.__spec__ and module.__spec__.origin is None:
      directory, *_ = module.__path__
      raise errors.UserError(
          f"{flag}: {directory} is a directory without __init__.py; name a "
          f"module in it, such as {name}.my_tasks."
      )


def explain(error: BaseException) -> str | None:
  """Returns one line for an error in the user's own code, None for others."""
  place = _place(error)
  if not _loaded or not place or not isinstance(error, Exception):
    return None
  return f"{place}: {_said_by(error)}"


def _said_by(error: Exception) -> str:
  """Returns the type of an error and the line that says what is wrong."""
  # Gin adds lines about the functions on the way.
  message, *_ = str(error).split("\n  In call to configurable")
  lines = [line.strip() for line in message.splitlines() if line.strip()]
  if lines[:1] == ["in user code:"]:  # TensorFlow's autograph: a traceback.
    return lines[-1]
  return ": ".join([type(error).__name__, *lines[:1]])


def _check_name(name: str, flag: str):
  """Refuses what is no name of a module, such as that of its file."""
  is_file = os.sep in name or name.endswith(".py")
  if all(name.split(".")) and not is_file:
    return
  advice = "a name is like my_tasks, or my_package.my_tasks"
  if is_file:
    directory, file = os.path.split(os.path.abspath(name))
    advice = f"write --module_import={file.removesuffix('.py')}"
    if directory != os.getcwd():
      advice += f", with {directory} on PYTHONPATH"
  raise errors.UserError(f"{flag} is not the name of a module; {advice}.")


def _check_not_hidden(name: str, flag: str):
  """Refuses a user's module that one of a library's comes before."""
  first = name.partition(".")[0]
  of_user = importlib.machinery.PathFinder.find_spec(first, [os.getcwd()])
  if of_user is None or of_user.origin is None:
    return
  found = sys.modules.get(first)
  spec = found.__spec__ if found else importlib.util.find_spec(first)
  origin = spec.origin if spec else None
  is_taken = origin is not None and origin.startswith(_TAKEN)
  if is_taken and not _is_same(origin, of_user.origin):
    raise errors.UserError(
        f"{flag} would import {origin}, not {of_user.origin}; rename yours."
    )


def _is_same(path: str, other: str) -> bool:
  return os.path.realpath(path) == os.path.realpath(other)


def _place(error: BaseException) -> str:
  """Returns "file:line" of the user's line that an error comes from, or ""."""
  places = [
      f"{frame.filename}:{frame.lineno}"
      for frame in traceback.extract_tb(error.__traceback__)
      if not frame.filename.startswith((_PROGRAM, *errors.OF_OTHERS))
      and os.path.exists(frame.filename)
      and "__autograph_generated_file" not in frame.filename
  ]
  return places[-1] if places else ""
