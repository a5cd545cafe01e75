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

"""A directory that is complete or not there."""

from collections.abc import Iterator
import contextlib
import os
import shutil

from mtf_switch import errors
from mtf_switch.planning import units

_UNFINISHED = ".new"
# What is written beside the weights: configuration, vocabulary, account.
_BYTES_BESIDE = 16 * 2**20


def check_new(path: str, setting: str):
  """Refuses a directory that has something in it.

  Args:
    path: the directory.
    setting: the flag that names it, with its value.

  Raises:
    UserError: it is remote, no directory, or not empty.
  """
  if "://" in path:
    raise errors.UserError(
        f"{setting} is remote; write to a local directory and copy it, so that "
        "it is never there in part."
    )
  if not os.path.lexists(path):
    return
  if not os.path.isdir(path):
    raise errors.UserError(f"{setting} is no directory.")
  found = sorted(os.listdir(path))
  if found:
    raise errors.UserError(
        f"{setting} is not empty: it has {errors.some(found, most=1)}; name a "
        "new directory."
    )


def check_space(path: str, num_bytes: int, setting: str):
  """Refuses a disk without room for what is to be written.

  Args:
    path: the directory, which need not be there; of a remote one the room is
      not known.
    num_bytes: of the weights.
    setting: the flag that names it, with its value.

  Raises:
    UserError: with what is needed and what is free.
  """
  if "://" in path:
    return
  place = os.path.abspath(path)
  while not os.path.isdir(place):
    place = os.path.dirname(place)
  needed, free = num_bytes + _BYTES_BESIDE, shutil.disk_usage(place).free
  if free < needed:
    raise errors.UserError(
        f"{setting} needs {units.bytes_(needed)} and its disk has "
        f"{units.bytes_(free)} free; nothing has been written."
    )


@contextlib.contextmanager
def written(path: str) -> Iterator[str]:
  """Names a directory to write into, which takes its own name at the end.

  Args:
    path: its own name: a new directory, or an empty one.

  Yields:
    the name to write to; after an error nothing is left there. What a program
    that was killed has left there is removed first.
  """
  path = os.path.realpath(path)
  name = path + _UNFINISHED
  shutil.rmtree(name, ignore_errors=True)
  os.makedirs(name)
  try:
    yield name
    os.rename(name, path)  # In the place of an empty directory, too.
  except BaseException:
    shutil.rmtree(name, ignore_errors=True)
    raise
