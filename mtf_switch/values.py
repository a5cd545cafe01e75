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

"""Values of parameters, checked by the annotations of those who take them.

A parameter says what it takes in its annotation: a plain type, a union, a
Literal, a list or dictionary of these, or one of the types below, which have
bounds. Annotations of other classes are not checked. bool is no number here,
numbers are finite, and NumPy's numbers are numbers.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import inspect
import math
import numbers
import types
import typing
from typing import Annotated, Any, Literal, NamedTuple, Union

import numpy as np
import wrapt

from mtf_switch import errors
from mtf_switch import spelling

# Stands for a value that is not made yet, and has every type.
UNKNOWN = object()


class Bound(NamedTuple):
  """A condition on a value, beside its type.

  Attributes:
    text: the condition, to follow "a number".
    holds: whether a value fulfils it.
  """

  text: str
  holds: Callable[[Any], bool]


def at_least(least: float) -> Bound:
  """The numbers from `least` on."""
  return Bound(f"of at least {least:,}", lambda x: x >= least)


def at_most(most: float) -> Bound:
  """The numbers up to `most`."""
  return Bound(f"of at most {most:,}", lambda x: x <= most)


def above(least: float) -> Bound:
  """The numbers greater than `least`."""
  return Bound(f"above {least:,}", lambda x: x > least)


def below(most: float) -> Bound:
  """The numbers less than `most`."""
  return Bound(f"below {most:,}", lambda x: x < most)


def takes(*names: str, by_position: bool = False) -> Bound:
  """The functions that can be called with these arguments and no more.

  Args:
    *names: of the arguments; for a class, those of its constructor.
    by_position: whether the call gives no names, so that others will do.
  """
  args, kwargs = (names, {}) if by_position else ((), dict.fromkeys(names))

  def holds(function):
    try:
      inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
      return False
    except ValueError:  # One of Python's own that has no signature.
      pass
    return True

  return Bound(f"of {' and '.join(names) or 'nothing'}", holds)


# Of a list.
NOT_EMPTY = Bound("that is not empty", bool)

# A text instead of a bound replaces the description of a type.
Count = Annotated[int, at_least(1)]
CountOrZero = Annotated[int, at_least(0)]
# Of a run, which lists its sessions.
Steps = Annotated[int, at_least(1), at_most(10**9)]
Positive = Annotated[float, above(0)]
NotNegative = Annotated[float, at_least(0)]
Share = Annotated[float, at_least(0), at_most(1)]
# Of what is left out: with all of it left out nothing would be left.
DropoutRate = Annotated[float, at_least(0), below(1)]


def accepts(annotation: Any, value: Any) -> bool:
  """Returns whether a value is what an annotation says.

  Args:
    annotation: a type or one of typing's; of others, everything is.
    value: the value; UNKNOWN is accepted by all.
  """
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if value is UNKNOWN:
    return True
  if origin is Annotated:
    annotation, *notes = args
    return accepts(annotation, value) and all(
        note.holds(value) for note in notes if isinstance(note, Bound)
    )
  if origin in (Union, types.UnionType):
    return any(accepts(arg, value) for arg in args)
  if origin is Literal:
    return any(type(value) is type(arg) and value == arg for arg in args)
  if origin is tuple and Ellipsis not in args:
    return (
        isinstance(value, (list, tuple))
        and len(value) == len(args)
        and all(map(accepts, args, value))
    )
  if origin in (Sequence, list, tuple):
    allowed = list if origin is list else (list, tuple)
    return isinstance(value, allowed) and all(
        accepts(args[0], x) for x in value
    )
  if origin in (Mapping, dict):
    return isinstance(value, Mapping) and all(
        accepts(args[0], key) and accepts(args[1], x)
        for key, x in value.items()
    )
  if Callable in (annotation, origin):
    return callable(value)
  return _is_a(annotation, value)


def _is_a(annotation: Any, value: Any) -> bool:
  """Returns whether a value is of a type without parts."""
  is_bool = isinstance(value, (bool, np.bool_))
  if annotation is bool:
    return is_bool
  if annotation is int:
    return isinstance(value, numbers.Integral) and not is_bool
  if annotation is float:
    return (
        isinstance(value, numbers.Real)
        and not is_bool
        and (isinstance(value, numbers.Integral) or math.isfinite(value))
    )
  if annotation is str:
    return isinstance(value, str)
  if annotation in (None, types.NoneType):
    return value is None
  return True


def has_shape(content: Any, shape: Any) -> bool:
  """Returns whether the content of a JSON file has a shape.

  Args:
    content: in JSON types.
    shape: an annotation; a dictionary of shapes for an object that has these
      keys, where a type stands for any key; or a list with one shape for a list
      of such.
  """
  if isinstance(shape, list):
    return isinstance(content, list) and all(
        has_shape(x, shape[0]) for x in content
    )
  if not isinstance(shape, dict):
    return accepts(shape, content)
  if not isinstance(content, dict):
    return False
  if str in shape:
    return all(has_shape(x, shape[str]) for x in content.values())
  return all(
      name in content and has_shape(content[name], expected)
      for name, expected in shape.items()
  )


def describe(annotation: Any) -> str:
  """Returns what an annotation takes, in words that follow "must be"."""
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is Annotated:
    annotation, *notes = args
    text = next((note for note in notes if isinstance(note, str)), None)
    bounds = " and ".join(x.text for x in notes if isinstance(x, Bound))
    return text or f"{describe(annotation)} {bounds}"
  if origin in (Union, types.UnionType):
    return " or ".join(map(describe, args))
  if origin is Literal:
    return " or ".join(map(repr, args))
  if origin is tuple and Ellipsis not in args:
    return "a pair of " + " and ".join(map(describe, args))
  if origin in (Sequence, list, tuple):
    return f"a list in which each is {describe(args[0])}"
  if origin in (Mapping, dict):
    return f"a dictionary in which each is {describe(args[1])}"
  if Callable in (annotation, origin):
    return "a function"
  return _WORDS.get(annotation, str(annotation))


_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    types.NoneType: "None",
}


def check(name: str, value: Any, annotation: Any, note: str = ""):
  """Refuses a value that is not what an annotation says.

  Args:
    name: the parameter's name, in the user's words.
    value: its value.
    annotation: see `accepts`.
    note: a sentence about the parameter, to follow.

  Raises:
    UserError: says what is allowed.
  """
  if accepts(annotation, value):
    return
  text = f"{name} = {errors.shown(shown(value))}"
  names = _literals(annotation)
  listed = value if isinstance(value, (list, tuple)) else [value]
  unknown = [x for x in listed if isinstance(x, str) and x not in names]
  if unknown and names:
    message = f"{text} is not known; use one of {', '.join(map(str, names))}."
    advice = spelling.did_you_mean(unknown[0], map(str, names))
    if advice:
      message += f" {advice[0].upper()}{advice[1:]}"
  else:
    message = f"{text} must be {describe(annotation)}."
  raise errors.UserError(f"{message} {note}".strip())


def shown(value: Any) -> str:
  """A value as one would write it in gin."""
  if isinstance(value, (list, tuple)):
    return f"[{', '.join(map(shown, value))}]"
  return f"@{value.__name__}" if hasattr(value, "__name__") else repr(value)


def _literals(annotation: Any) -> list[Any]:
  """The values that an annotation lists, if it lists texts."""
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if origin in (Union, types.UnionType):
    return [value for arg in args for value in _literals(arg)]
  found = list(args) if origin is Literal else []
  return found if any(isinstance(value, str) for value in found) else []


def check_fields(record: Any, name: str):
  """Refuses fields of a record that are not what their annotations say.

  Args:
    record: a dataclass's instance, in its `__post_init__`.
    name: the record's name, in the user's words.

  Raises:
    UserError: as `check`.
  """
  annotations = annotations_of(type(record))
  for field in record.__dataclass_fields__:
    if field in annotations:
      check(f"{name}.{field}", getattr(record, field), annotations[field])


@wrapt.decorator
def checked(function, instance, args, kwargs):
  """Has a function refuse arguments that are not what its annotations say.

  To be applied before gin's decorator, which finds the function's signature and
  passes none on: a subclass of a configurable class takes the bindings of both.

  Args:
    function: the function, or the __init__ of a class, whose name the messages
      then have.
    instance: the object that the function is bound to; None if it is not.
    args: the arguments of a call.
    kwargs: those with names.

  Returns:
    what the function returns.

  Raises:
    UserError: as `check`.
  """
  owner = function.__name__
  given = args
  if instance is not None:
    given = (instance, *args)
  if owner == "__init__":
    owner = type(given[0]).__name__
  # wrapt binds a method to its instance in one of two ways.
  function_itself = inspect.unwrap(getattr(function, "__func__", function))
  annotations = annotations_of(function_itself)
  signature = inspect.signature(function_itself)
  for name, value in signature.bind_partial(*given, **kwargs).arguments.items():
    check(f"{owner}.{name}", value, annotations.get(name, Any))
  return function(*args, **kwargs)


@functools.cache
def annotations_of(made: Callable[..., Any]) -> dict[str, Any]:
  """Returns the annotations of a function's or a class's parameters by name."""
  annotations = typing.get_type_hints(made, include_extras=True)
  if inspect.isclass(made):
    of_init = typing.get_type_hints(made.__init__, include_extras=True)
    annotations |= of_init
  return annotations
