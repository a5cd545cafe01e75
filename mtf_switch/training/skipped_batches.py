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

"""The batches that a run leaves out, because a step with them failed.

Batches are numbered from 0, as they come from the data. A batch that is left
out takes no step: the step takes the next one. Which batch a step takes is
thus a function of the step and of the list, which stays in model_dir, so that
a resumed run takes the same ones.
"""

from collections.abc import Sequence
import os
from typing import Any

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import values

_NAME = "skipped_batches.json"


def read(model_dir: str) -> list[int]:
  """Returns the numbers of the batches that a run leaves out, in order.

  Args:
    model_dir: the run's directory.

  Raises:
    UserError: the file is damaged.
  """
  return sorted({record["batch"] for record in _records(model_dir)})


def add(model_dir: str, batch: int, step: int):
  """Leaves a batch out from now on.

  Args:
    model_dir: the run's directory.
    batch: the batch's number.
    step: the step that failed with it.
  """
  records = [*_records(model_dir), {"batch": batch, "step": step}]
  files.write_json(os.path.join(model_dir, _NAME), records)


def batch_of(first_step: int, skipped: Sequence[int]) -> int:
  """Returns the number of the batch that the step after `first_step` takes.

  Args:
    first_step: updates made so far.
    skipped: the numbers of the batches that are left out, in order.
  """
  batch = first_step
  for number in skipped:
    batch += number <= batch
  return batch


def steps_before(batch: int, skipped: Sequence[int]) -> int:
  """Returns the number of steps that the batches before one are enough for.

  Args:
    batch: the batch's number.
    skipped: the numbers of the batches that are left out.
  """
  return batch - sum(number < batch for number in skipped)


def _records(model_dir: str) -> list[dict[str, Any]]:
  path = os.path.join(model_dir, _NAME)
  try:
    return files.read_json(path, [{"batch": values.CountOrZero}]) or []
  except errors.UserError as error:
    raise errors.UserError(
        f"{path} is no list of objects with a 'batch'; mend it, or remove it "
        "to take all batches again."
    ) from error
