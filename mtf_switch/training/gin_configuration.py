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

"""A configuration of gin beside the program's own.

Gin has one configuration for a program. Two models that bind the same names
differently, such as a student and its teacher, need two, and each must be in
place while its model is built and called.
"""

from collections.abc import Callable, Iterator
import contextlib
from typing import Any

import gin

# What gin keeps of a configuration, each a dictionary or a set. It has no
# public functions for them.
_PARTS = ("_CONFIG", "_IMPORTS", "_OPERATIVE_CONFIG", "_SINGLETONS")


class Configuration:
  """Bindings of gin that are in place only where they are asked for."""

  def __init__(self, parse: Callable[[], Any]):
    """Reads the bindings.

    Args:
      parse: reads them; what it raises is raised.
    """
    self._parts = {name: type(_part(name))() for name in _PARTS}
    self._is_locked = False
    with self.in_place():
      parse()

  @contextlib.contextmanager
  def in_place(self) -> Iterator[None]:
    """Puts these bindings in the place of the program's while it is open."""
    outer, was_locked = _take(), gin.config_is_locked()
    _put(self._parts, self._is_locked)
    try:
      yield
    finally:
      self._parts, self._is_locked = _take(), gin.config_is_locked()
      _put(outer, was_locked)


def _part(name: str) -> dict | set:
  return getattr(gin.config, name)


def _take() -> dict[str, dict | set]:
  return {name: _part(name).copy() for name in _PARTS}


def _put(parts: dict[str, dict | set], is_locked: bool):
  """Replaces the contents: gin's functions hold the objects themselves."""
  for name, content in parts.items():
    _part(name).clear()
    _part(name).update(content)
  gin.config._set_config_is_locked(is_locked)  # pylint: disable=protected-access
