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

"""Checks of a run's data before the model is built."""

import seqio

from mtf_switch import errors
from mtf_switch.training import caching
from mtf_switch.training import strict_gin


def check_split(provider: seqio.Task | seqio.Mixture, split: str, reader: str):
  """Refuses a run whose split is missing.

  Args:
    provider: the Task or Mixture.
    split: the split that the run reads.
    reader: "mesh_train_dataset_fn" or "mesh_eval_dataset_fn", T5's gin names.

  Raises:
    UserError: no task has such a split, or its cache or its files are missing.
    DataError: the files of a task of this project are missing.
  """
  tasks = [x for x in seqio.get_subtasks(provider) if split in x.splits]
  if not tasks:
    raise errors.UserError(
        f"{provider.name!r} has no {split!r} split; it has "
        f"{', '.join(sorted(provider.splits)) or 'none'}."
    )
  caching.check(provider, split, reader)
  use_cached = strict_gin.value(f"{reader}.use_cached")
  for task in tasks:
    is_cached = use_cached and task.supports_caching
    if not is_cached:
      check_files(task, split)


def check_files(task: seqio.Task, split: str):
  """Raises a UserError if no file of a task's split is there."""
  if not task.source.list_shards(split):
    raise errors.UserError(
        f"{task.name!r} has no files of its {split!r} split."
    )


def check_rates(provider: seqio.Task | seqio.Mixture):
  """Refuses a mixture whose rates depend on counts that are not known.

  Args:
    provider: the Task or Mixture that the run trains on.

  Raises:
    UserError: names the first such task.
  """
  if not isinstance(provider, seqio.Mixture):
    return
  for task in seqio.get_subtasks(provider):
    if "train" not in task.splits:
      continue
    try:
      provider.get_rate(task)
    except TypeError as error:
      if task.source.num_input_examples("train") is not None:
        raise
      raise errors.UserError(
          f"the rate of {task.name!r} in the mixture {provider.name!r} depends "
          "on its number of examples, which its source does not know; give a "
          "number as the rate, or write its cache, which has the number "
          f"(--mode=cache --task={task.name} --output_dir=DIR, then "
          "--additional_task_cache_dirs=DIR)."
      ) from error
