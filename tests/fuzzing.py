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

"""Damaged files for tests of readers, and what a reader may answer."""

from collections.abc import Callable
import json
from typing import Any
import warnings

import hypothesis
from hypothesis import strategies

from mtf_switch import errors
from tasks import errors as task_errors

_LINES = (errors.UserError, task_errors.DataError)
QUICK = hypothesis.settings(
    deadline=None, max_examples=60, database=None, derandomize=True
)
_NUMBERS = strategies.sampled_from(
    [0, -1, 1.5, 1e308, 10**400, float("nan"), float("inf"), True, 2**63]
)
TEXTS = strategies.text(max_size=4) | strategies.sampled_from(
    ["\ud83d", "\0", "a\r\nb", "\u2028"]
)
JSON = strategies.recursive(
    strategies.none() | _NUMBERS | TEXTS,
    lambda inner: strategies.lists(inner, max_size=3)
    | strategies.dictionaries(strategies.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def damaged(content) -> strategies.SearchStrategy[bytes]:
  """JSON with another value somewhere, or other bytes."""

  def with_other(path_and_value):
    path, value = path_and_value
    changed = json.loads(json.dumps(content))
    if not path:
      return json.dumps(value).encode()
    owner = changed
    for key in path[:-1]:
      owner = owner[key]
    if value is _GONE:
      del owner[path[-1]]
    else:
      owner[path[-1]] = value
    return json.dumps(changed).encode()

  def with_bytes(at_and_noise):
    at, noise = at_and_noise
    text = json.dumps(content).encode()
    at %= len(text)
    return text[:at] + noise + text[at + 1 :]

  values = strategies.tuples(
      strategies.sampled_from(list(_paths(content))), JSON
  )
  gone = strategies.tuples(
      strategies.sampled_from([x for x in _paths(content) if x]),
      strategies.just(_GONE),
  )
  noise = strategies.tuples(
      strategies.integers(0, 999), strategies.binary(max_size=3)
  )
  return (
      values.map(with_other)
      | gone.map(with_other)
      | noise.map(with_bytes)
      | strategies.binary(max_size=20)
      | strategies.sampled_from([b"[" * 5_000, b"9" * 5000])
  )


_GONE = object()


def _paths(content, path=()):
  """The places in JSON, the whole first."""
  yield path
  keys = ()
  if isinstance(content, dict):
    keys = content
  elif isinstance(content, list):
    keys = range(len(content))
  for key in keys:
    yield from _paths(content[key], (*path, key))


def answered(function: Callable[..., Any], *arguments) -> Any:
  """Calls a function; an error must be one line of ours."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
      return function(*arguments)
    except _LINES as error:
      assert str(error).split("\n")[0].strip()
    except ValueError as error:
      # Gin's copy of one of ours, with the place in a second line.
      assert isinstance(error.__context__, _LINES), repr(error)


def noisy(content: bytes) -> strategies.SearchStrategy[bytes]:
  """A binary file that is cut, or has other bytes somewhere."""
  places = strategies.integers(0, len(content) - 1)
  noise = strategies.tuples(places, strategies.binary(max_size=4)).map(
      lambda x: content[: x[0]] + x[1] + content[x[0] + len(x[1]) :]
  )
  return (
      noise | places.map(lambda x: content[:x]) | strategies.binary(max_size=20)
  )
