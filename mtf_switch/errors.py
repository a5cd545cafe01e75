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

"""Errors and notices for the user, each on one line."""

from collections.abc import Sequence
import os
import pathlib
import sysconfig
import traceback

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# Where modules are that a user did not write.
OF_OTHERS = (
    "<frozen ",
    *(f"{sysconfig.get_path(x)}{os.sep}" for x in ("stdlib", "purelib")),
    *(
        f"{_ROOT / package}{os.sep}"
        for package in ("mtf_switch", "switch_command", "tasks")
    ),
)
_LONGEST = 200


class UserError(ValueError):
  """A mistake that the user can correct; the message says how, on one line."""


class Stopped(Exception):
  """A run was asked to stop, has saved all it did, and can go on.

  Attributes:
    exit_status: that of the program: "try again", by which a scheduler knows.
  """

  exit_status = os.EX_TEMPFAIL


class UserNotice(UserWarning):
  """Information that asks for no correction, on one line."""


def shown(text: str) -> str:
  """Returns a user's text for a message: its beginning, in one line."""
  cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
  return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


def some(names: Sequence[str], most: int = 3) -> str:
  """Returns the first of some names for a message, and how many more there are.

  Args:
    names: all of them.
    most: how many are named.
  """
  named = ", ".join(map(shown, names[:most]))
  more = len(names) - most
  return f"{named} and {more} more" if more > 0 else named


def sizes(shape: Sequence[int]) -> str:
  """Returns a shape for a message: 3 x 4."""
  return " x ".join(map(str, shape))


def in_module(error: BaseException, name: str) -> str:
  """Returns a sentence about an error in a user's module, with its line.

  Args:
    error: what an import has raised.
    name: the module's name.
  """
  if isinstance(error, SyntaxError):
    return f"{error.filename or name}:{error.lineno or 1}: {error.msg}."
  places = [
      f"{frame.filename}:{frame.lineno}: "
      for frame in traceback.extract_tb(error.__traceback__)
      if not frame.filename.startswith(OF_OTHERS)
  ]
  place = places[-1] if places else ""
  if isinstance(error, ModuleNotFoundError):
    first, *_ = str(error).splitlines()  # Gin appends lines.
    return f"{place}{first}."
  if isinstance(error, SystemExit):
    return (
        f"{place}the module ends the program when it is imported; put what is "
        'to be done only when it is run under if __name__ == "__main__".'
    )
  line, *_ = traceback.format_exception_only(error)[-1].splitlines()
  return f"{place}{line}"


def check_one_of(value: str, legal, what: str):
  """Refuses an unknown name.

  Args:
    value: the name.
    legal: the known names.
    what: the option, in the user's words.

  Raises:
    UserError: value is not among the legal names, which the message lists.
  """
  if value not in legal:
    raise UserError(
        f"{what} = {value!r} is not known; use one of {', '.join(legal)}."
    )


def check_divides(mesh_axis_size: int, size: int, what: str):
  """Refuses a mesh axis that cannot split a dimension evenly.

  Args:
    mesh_axis_size: the number of parts that the layout asks for.
    size: the dimension's size.
    what: the dimension, in the user's words.

  Raises:
    UserError: the mesh axis does not divide the size.
  """
  if size % mesh_axis_size:
    divisors = [n for n in range(1, mesh_axis_size) if size % n == 0]
    raise UserError(
        f"{what} = {size} cannot be split over a mesh axis of "
        f"{mesh_axis_size}; use a mesh axis of {divisors[-1]} or make {what} a "
        f"multiple of {mesh_axis_size}."
    )
