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

"""The bodies of requests: from JSON to examples, or to a line about them."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import orjson
from werkzeug import exceptions

from mtf_switch import errors
from mtf_switch import spelling


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one request may ask for.

  Attributes:
    examples: the most examples.
    characters: the most characters of each text.
  """

  examples: int
  characters: int


def read(body: bytes, keys: Sequence[str]) -> dict[str, Any]:
  """Returns the object that a body is.

  Args:
    body: JSON.
    keys: the keys that it may have.

  Raises:
    BadRequest: it is no JSON, no object, or has other keys.
  """
  try:
    content = orjson.loads(body)
  except orjson.JSONDecodeError as error:
    raise bad(f"the body is not JSON: {error}.") from error
  if not isinstance(content, dict):
    raise bad(f"the body is not a JSON object with {_listed(keys)}.")
  for key in content:
    if key not in keys:
      advice = spelling.did_you_mean(key, keys)
      raise bad(
          f"{errors.shown(repr(key))} is not a key of this request, which has "
          f"{_listed(keys)}" + (f"; {advice}" if advice else ".")
      )
  return content


def examples(
    content: Mapping[str, Any], inputs: Sequence[str], limits: Limits
) -> list[tuple[str, ...]]:
  """Returns the examples of a request.

  Args:
    content: from `read`.
    inputs: the keys of the texts, each a text or a list of texts.
    limits: what is allowed.

  Returns:
    a text for each of the inputs, for each example.

  Raises:
    BadRequest: a key is missing, has another type, or is beyond the limits.
  """
  columns = [_texts(content, key, limits) for key in inputs]
  sizes = {len(column) for column in columns}
  if len(sizes) > 1:
    counts = " and ".join(
        f"{len(column):,} {key}" for key, column in zip(inputs, columns)
    )
    raise bad(f"the request has {counts}; they must be as many.")
  return list(zip(*columns))


def instances(
    rows: Any, inputs: Sequence[str], limits: Limits
) -> list[tuple[str, ...]]:
  """Returns the examples of a request in TensorFlow Serving's row format.

  Args:
    rows: the value of "instances": an object with a text for each of the inputs
      for each example, or the texts alone where there is one input.
    inputs: the inputs.
    limits: what is allowed.

  Returns:
    as `examples`.

  Raises:
    BadRequest: as `examples`.
  """
  if not isinstance(rows, list):
    raise bad('"instances" is not a list.')
  if len(inputs) == 1 and all(isinstance(row, str) for row in rows):
    rows = [{inputs[0]: row} for row in rows]
  for row in rows:
    if not isinstance(row, dict) or set(row) != set(inputs):
      raise bad(
          f'each of "instances" must be an object with {_listed(inputs)}.'
      )
  columns = {key: [row[key] for row in rows] for key in inputs}
  return examples(columns, inputs, limits)


def bad(text: str) -> exceptions.BadRequest:
  """The error for a mistake of a client."""
  return exceptions.BadRequest(text)


def _texts(content: Mapping[str, Any], key: str, limits: Limits) -> list[str]:
  if key not in content:
    raise bad(f'"{key}" is missing, a text or a list of texts.')
  texts = content[key]
  if isinstance(texts, str):
    texts = [texts]
  if not isinstance(texts, list) or not all(isinstance(x, str) for x in texts):
    raise bad(f'"{key}" must be a text or a list of texts.')
  if not texts:
    raise bad(f'"{key}" is empty.')
  if len(texts) > limits.examples:
    raise bad(
        f'"{key}" has {len(texts):,} examples, and a request may have '
        f"{limits.examples:,}."
    )
  longest = max(texts, key=len)
  if len(longest) > limits.characters:
    raise bad(
        f'"{key}" has a text of {len(longest):,} characters, and texts may have'
        f" {limits.characters:,}."
    )
  return texts


def _listed(keys: Sequence[str]) -> str:
  return " and ".join(f'"{key}"' for key in keys)
