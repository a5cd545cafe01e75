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

"""vocabulary.json: which vocabularies the checkpoints of a directory are of.

A checkpoint's embedding has a row for each token id. With another vocabulary
the ids mean something else, and nothing but the results would show it.
"""

from collections.abc import Sequence
import json
import os
from typing import Any

import seqio

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import checkpoints
from mtf_switch.training import identity

_FEATURES = ("inputs", "targets")


def check(directory: str, vocabularies: Sequence[seqio.Vocabulary]):
  """Refuses vocabularies that the checkpoints of a directory are not of.

  Args:
    directory: that of a run. One without a record or checkpoints takes any.
    vocabularies: of inputs and targets.

  Raises:
    UserError: the record names another vocabulary.
  """
  record = _read(directory) or {}
  for feature, vocabulary in zip(_FEATURES, vocabularies):
    if feature not in record:
      continue
    then, now = record[feature], identity.of_vocabulary(vocabulary)
    if not identity.are_equal(then, now):
      raise errors.UserError(
          f"the checkpoints in {directory!r} are of {identity.name_of(then)} "
          f"for the {feature}, but the task has {identity.name_of(now)}; "
          f"{identity.how_to_set(then)}, or take another directory."
      )


def keep(directory: str, vocabularies: Sequence[seqio.Vocabulary]):
  """Writes the record before the first training, and checks it before others.

  Args:
    directory: that of the run; one with checkpoints that is older than these
      records gets its record now.
    vocabularies: of inputs and targets.

  Raises:
    UserError: as `check`.
  """
  check(directory, vocabularies)
  if _read(directory) is None:
    record = dict(zip(_FEATURES, map(identity.of_vocabulary, vocabularies)))
    files.write_lines(_path(directory), [json.dumps(record)])


def _path(directory: str) -> str:
  return os.path.join(directory, "vocabulary.json")


def _read(directory: str) -> dict[str, Any] | None:
  """The record; None where no checkpoint rests on one."""
  if not checkpoints.steps(directory):
    return None
  return files.read_json(_path(directory))
