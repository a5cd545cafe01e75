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

"""What annotations accept, and what is said about the rest."""

import mtf_switch  # isort: skip  # noqa: F401
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import inspect
import math
from typing import Annotated, Any, Literal

import gin
import numpy as np
import pytest

from mtf_switch import errors
from mtf_switch import values

PAIR = tuple[str, values.Count]
ADDS = Annotated[Callable, values.takes("a", "b")]
POINT = Annotated[Callable, values.takes("re", "im", by_position=True)]
LENGTHS = values.Count | Mapping[str, values.Count]


@pytest.mark.parametrize(
    "annotation, accepted, refused",
    [
        (int, [0, -3, np.int64(2)], [True, 1.0, "1", None, np.bool_(True)]),
        (values.Count, [1, 10**400], [0, -1, 10.5, "60", None, True]),
        (values.CountOrZero, [0, 1], [-1, False]),
        (
            float,
            [1, 0.5, -2.0, np.float32(3), 10**400],
            [True, math.nan, math.inf, -math.inf, "0.1", None, np.nan],
        ),
        (values.Positive, [1e-9, 2], [0, 0.0, -1, math.inf]),
        (values.NotNegative, [0, 1.5], [-1e-9, math.nan]),
        (values.Share, [0, 1, 0.5], [1.1, -0.1]),
        (values.DropoutRate, [0, 0.999], [1.0, 1, 1.5, -0.1, "0.1"]),
        (bool, [True, np.bool_(False)], [0, 1, "True", None]),
        (str, ["", "a"], [None, 1, b"a"]),
        (None, [None], [0, ""]),
        (Literal["a", 1], ["a", 1], ["b", True, 1.0, None, ["a"]]),
        (values.Count | None, [None, 3], [0, "3"]),
        (Sequence[str], [[], ["a"], ("a", "b")], ["a", [1], None]),
        (PAIR, [("a", 1), ["a", 1]], [("a", 0), ("a",), (1, "a"), "a1"]),
        (LENGTHS, [24, {"a": 1}], ["24", 0, {"a": "x"}, {1: 1}, [24]]),
        (Annotated[Sequence[int], values.NOT_EMPTY], [[1]], [[], 1]),
        (list[str], [[], ["a"]], [("a",), "a"]),
        (Callable, [len, int], [1, "len"]),
        (ADDS, [max, lambda a, b: 0, int], [lambda a: 0, lambda b, c: 0, 1]),
        (POINT, [complex, lambda x, y, z=0: 0], [lambda x: 0]),
        (Any, [1, None, len], []),
        (np.ndarray, [1], []),  # Not checked.
    ],
)
def test_accepts(annotation, accepted, refused):
  for value in [*accepted, values.UNKNOWN]:
    assert values.accepts(annotation, value), value
  for value in refused:
    assert not values.accepts(annotation, value), value


@pytest.mark.parametrize(
    "annotation, words",
    [
        (values.Count, "a whole number of at least 1"),
        (values.DropoutRate, "a number of at least 0 and below 1"),
        (values.Count | None, "a whole number of at least 1 or None"),
        (bool, "True or False"),
        (Annotated[int | str, "a step or 'all'"], "a step or 'all'"),
        (Sequence[str], "a list in which each is a text in quotes"),
        (ADDS, "a function of a and b"),
        (PAIR, "a pair of a text in quotes and a whole number of at least 1"),
    ],
)
def test_describe(annotation, words):
  assert values.describe(annotation) == words


def test_the_error_has_name_value_and_what_is_allowed():
  with pytest.raises(errors.UserError) as error:
    values.check("train.steps", "60", values.Count)
  assert str(error.value) == (
      "train.steps = '60' must be a whole number of at least 1."
  )


@pytest.mark.parametrize("value", ["botom", ["top", "botom"]])
def test_names_are_listed_and_compared(value):
  heats = Annotated[Sequence[Literal["top", "bottom"]], "a list of such names"]
  with pytest.raises(errors.UserError) as error:
    values.check("oven.heat", value, Literal["top", "bottom"] | None | heats)
  assert str(error.value) == (
      f"oven.heat = {value!r} is not known; use one of top, bottom. Did you "
      "mean bottom?"
  )


def test_functions_are_shown_as_gin_writes_them():
  with pytest.raises(errors.UserError, match=r"a = \[@bake, 3\] must be a num"):
    values.check("a", [bake, 3], float)


@values.checked
def bake(minutes: values.Count, eggs: int | None = None, **others: Any):
  return minutes, eggs, others


class Oven:

  @values.checked
  def __init__(self, heat: values.Positive = 200.0):
    self.heat = heat


@dataclasses.dataclass
class Cake:
  layers: values.Count = 1
  icing: str | None = None

  def __post_init__(self):
    values.check_fields(self, "cake")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bake(True), "bake.minutes = True must be a whole number of"),
        (
            lambda: bake(1, eggs=2.0),
            "bake.eggs = 2.0 must be a whole number or",
        ),
        (lambda: Oven(0), "Oven.heat = 0 must be a number above 0"),
        (lambda: Cake(0), "cake.layers = 0 must be a whole number of"),
        (lambda: Cake(icing=3), "cake.icing = 3 must be a text in quotes or"),
    ],
)
def test_calls_and_records_are_checked(call, message):
  with pytest.raises(errors.UserError, match=message):
    call()


def test_gin_sees_the_parameters_of_a_checked_function():
  function = gin.configurable("baked_by_gin")(bake)
  assert list(inspect.signature(bake).parameters) == [
      "minutes",
      "eggs",
      "others",
  ]
  gin.parse_config("baked_by_gin.minutes = 3\nbaked_by_gin.eggs = 2")
  assert function() == (3, 2, {})
  assert function(eggs=1, salt=0) == (3, 1, {"salt": 0})


def test_a_subclass_has_the_bindings_of_both():
  @gin.configurable("Oven")
  class Oven:

    @values.checked
    def __init__(self, degrees: values.Count = gin.REQUIRED):
      self.degrees = degrees

  @gin.configurable("FanOven")
  class FanOven(Oven):
    pass

  gin.parse_config("Oven.degrees = 180")
  assert FanOven().degrees == Oven().degrees == 180
  with pytest.raises(errors.UserError, match="FanOven.degrees = 0 must be"):
    FanOven(0)
