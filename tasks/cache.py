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

"""The cache directory, in which an entry is whole or absent."""

from collections.abc import Callable
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

from absl import logging

from tasks import errors


def cache_directory() -> pathlib.Path:
  """Returns where prepared text and vocabularies are kept.

  It is $MTF_SWITCH_CACHE, else $XDG_CACHE_HOME/mtf_switch, else
  ~/.cache/mtf_switch. Deleting it costs the time to build its entries again.
  """
  chosen = os.environ.get("MTF_SWITCH_CACHE")
  if chosen:
    return pathlib.Path(chosen).expanduser().absolute()
  base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return pathlib.Path(base).expanduser() / "mtf_switch"


def build_once(
    name: str, key: Any, build: Callable[[pathlib.Path], None]
) -> pathlib.Path:
  """Returns the directory of a cache entry, which is built if it is not there.

  The entry is built beside its place and then renamed, so that a build that is
  killed leaves no entry. Of several processes one builds and the others wait.

  Args:
    name: what the entry is; its directory's name starts with it.
    key: what the entry depends on, in JSON types.
    build: writes the entry into the empty directory that it is given.

  Raises:
    DataError: the cache directory cannot be written.
  """
  digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
  entry = cache_directory() / f"{name}-{digest[:16]}"
  if entry.is_dir():
    return entry
  try:
    entry.parent.mkdir(parents=True, exist_ok=True)
    lock = open(entry.with_name(f".{entry.name}.lock"), "wb")
  except OSError as error:
    raise errors.DataError(
        f"The cache directory {entry.parent} cannot be written "
        f"({error.strerror}); set MTF_SWITCH_CACHE to one that can."
    ) from error
  with lock:
    fcntl.flock(lock, fcntl.LOCK_EX)  # Released when the process ends, too.
    if entry.is_dir():
      return entry
    partial = entry.with_name(f".{entry.name}.partial")
    if partial.exists():  # A killed build left it.
      shutil.rmtree(partial)
    partial.mkdir()
    logging.info("Building %s.", entry)
    try:
      build(partial)
      os.replace(partial, entry)
    except BaseException:
      shutil.rmtree(partial)
      raise
  return entry
