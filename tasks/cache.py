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

"""The cache directory, whose entries are whole or absent."""

from collections.abc import Callable, Sequence
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any, IO

from absl import logging

from tasks import errors
from tasks import waits


def cache_directory() -> pathlib.Path:
  """Returns the directory of prepared texts and vocabularies.

  It is $MTF_SWITCH_CACHE, else $XDG_CACHE_HOME/mtf_switch, else
  ~/.cache/mtf_switch. Deleted entries are built again when they are needed.
  """
  chosen = os.environ.get("MTF_SWITCH_CACHE")
  if chosen:
    return pathlib.Path(chosen).expanduser().absolute()
  base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return pathlib.Path(base).expanduser() / "mtf_switch"


def build_once(
    name: str, key: Any, build: Callable[[pathlib.Path], None]
) -> pathlib.Path:
  """Returns the directory of a cache entry, and builds the entry if missing.

  The entry is built beside its place and then renamed, so that a killed build
  leaves no entry. Of several processes one builds and the others wait.

  Args:
    name: the kind of entry; its directory's name starts with it.
    key: all that the entry depends on, in JSON types.
    build: writes the entry into the empty directory that it gets.

  Raises:
    DataError: the cache directory is not writable.
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
        f"The cache directory {entry.parent} is not writable "
        f"({error.strerror}); set MTF_SWITCH_CACHE to one that is."
    ) from error
  with lock:
    _take(lock, name)
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


def read_json(path: pathlib.Path, names: Sequence[str]) -> dict[str, Any]:
  """Returns the object in a file of a cache entry.

  Args:
    path: the file.
    names: what the object must have.

  Raises:
    DataError: the file has been damaged.
  """
  try:
    content = json.loads(path.read_bytes())
  except (OSError, ValueError, RecursionError):
    content = None
  if not isinstance(content, dict) or not set(names) <= set(content):
    raise errors.DataError(
        f"{path} is damaged; remove {path.parent}, and it is made again."
    )
  return content


def _take(lock: IO[bytes], name: str):
  """Takes a lock, which the end of the process releases too."""
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    with waits.work(f"waiting for another process, which prepares {name}"):
      fcntl.flock(lock, fcntl.LOCK_EX)
