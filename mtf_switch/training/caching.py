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

"""Preprocessed examples on disk, in seqio's format for cached tasks.

The steps of a task before its seqio.CacheDatasetPlaceholder, above all
tokenization, are run once. seqio's own program for it needs apache_beam. For
each split a directory has the files <split>.tfrecord-<i>-of-<n>,
info.<split>.json and stats.<split>.json; COMPLETED is added once all of them
are there.
"""

from collections.abc import Mapping
import os
from typing import Any
import warnings

import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import cached_split
from mtf_switch.training import progress
from mtf_switch.training import strict_gin
from mtf_switch.training import vocabulary_record

_MANIFEST = "cache.json"
_COMPLETED = "COMPLETED"


def check(provider, split: str, reader: str):
  """Refuses a run whose cache is missing or has other vocabularies.

  Args:
    provider: the Task or Mixture.
    split: the split that the run reads.
    reader: "mesh_train_dataset_fn" or "mesh_eval_dataset_fn", T5's gin names.

  Raises:
    UserError: gin's <reader>.use_cached is True, and a task has no cache in
      --additional_task_cache_dirs, or one with other vocabularies.
  """
  for task in _cached_tasks(provider, split, reader):
    if not task.cache_dir or not tf.io.gfile.exists(
        seqio.get_cached_stats_path(task.cache_dir, split)
    ):
      directories = ", ".join(seqio.get_global_cache_dirs()) or "not set"
      raise errors.UserError(
          f"{reader}.use_cached = True, but --additional_task_cache_dirs "
          f"({directories}) has no complete cache of {task.name!r} with a "
          f"{split!r} split; write it with --mode=cache --task={task.name} "
          "--output_dir=DIR."
      )
    manifest = _read_manifest(task.cache_dir)
    if manifest:  # seqio's own program writes none.
      _check_vocabularies(task.cache_dir, manifest, _vocabularies(task))


def warn_of_order(provider, split: str):
  """Says which tasks an evaluation reads in another order than the data's.

  Args:
    provider: the Task or Mixture, after `check`.
    split: the split that the run reads.
  """
  for task in _cached_tasks(provider, split, "mesh_eval_dataset_fn"):
    manifest = _read_manifest(task.cache_dir)
    if not manifest or manifest["splits"][split]["files"] > 1:
      warnings.warn(
          f"the cache of {task.name} has its {split} split in another order "
          f"than the data; predictions lie beside {task.name}_inputs.",
          errors.UserNotice,
          stacklevel=2,
      )


def _cached_tasks(provider, split: str, reader: str) -> list[seqio.Task]:
  """The tasks that a run reads from a cache."""
  if not strict_gin.value(f"{reader}.use_cached"):
    return []
  return [  # seqio preprocesses others during the run, or leaves them out.
      task
      for task in seqio.get_subtasks(provider)
      if task.supports_caching and split in task.splits
  ]


def write(task: seqio.Task, directory: str, display: progress.Display):
  """Writes the cache of a task, or continues to write it.

  Args:
    task: the task.
    directory: the parent of the caches of all tasks.
    display: shows the progress.

  Raises:
    UserError: the task cannot be cached, or the directory has other content.
    DataError: the data is missing or broken.
  """
  if not task.supports_caching:
    raise errors.UserError(
        f"{task.name!r} cannot be cached: there is no "
        "seqio.CacheDatasetPlaceholder among its preprocessors."
    )
  root = os.path.join(directory, seqio.get_task_dir_from_name(task.name))
  splits = _splits(task, display)
  _claim(root, _manifest(task, splits))
  if _is_complete(root):
    display.note(f"{task.name}: the cache in {root} is complete")
    return
  unfinished = os.path.join(root, cached_split.UNFINISHED)
  tf.io.gfile.makedirs(unfinished)
  for split in splits.values():
    cached_split.write(split, root, display)
  if tf.io.gfile.exists(unfinished):
    tf.io.gfile.rmtree(unfinished)
  files.write_lines(os.path.join(root, _COMPLETED), [])
  display.note(f"{task.name}: the cache is in {root}")


def _splits(
    task: seqio.Task, display: progress.Display
) -> dict[str, cached_split.Split]:
  """Returns the splits that have data.

  Raises:
    DataError: there are none, or the data of one is broken.
  """
  # Here and not above, where it could be the user's own module of that name.
  from tasks import errors as task_errors  # pylint: disable=g-import-not-at-top

  splits, missing = {}, None
  for name in task.splits:
    try:
      with display.working(f"{task.name} {name}: counting the records"):
        splits[name] = cached_split.Split(task, name)
    except task_errors.DataError as error:
      knows_missing = hasattr(task.source, "missing_splits")
      is_broken = knows_missing and name not in task.source.missing_splits()
      if is_broken and not isinstance(error, task_errors.EmptySplitError):
        raise
      missing = error
      display.note(f"{task.name} {name}: left out. {error}")
  if not splits and missing:
    raise missing
  return splits


def _manifest(
    task: seqio.Task, splits: Mapping[str, cached_split.Split]
) -> dict[str, Any]:
  """Returns all that the content of a cache depends on."""
  source = task.source
  describe = getattr(source, "describe", lambda: type(source).__name__)
  return {
      "task": task.name,
      "source": describe(),
      "splits": {name: split.identity() for name, split in splits.items()},
      "vocabularies": _vocabularies(task),
  }


def _claim(root: str, manifest: Mapping[str, Any]):
  """Writes the manifest of a new cache; refuses one with other content."""
  written = _read_manifest(root)
  if written is None:
    if tf.io.gfile.exists(root) and tf.io.gfile.listdir(root):
      raise errors.UserError(
          f"{root} has files that do not belong to a cache of this program; "
          "choose another --output_dir."
      )
    path = os.path.join(root, _MANIFEST)
    files.write_json(path, manifest, sort_keys=True)
    return
  _check_vocabularies(root, written, manifest["vocabularies"])
  if written["source"] != manifest["source"]:
    change = f"{written['source']}, and the task has {manifest['source']}"
  elif _data(written) != _data(manifest):
    change = f"{written['source']}, which has changed"
  elif written["splits"] == manifest["splits"] or _is_complete(root):
    return
  else:
    change = f"{written['source']}, begun by another version in other files"
  raise errors.UserError(
      f"the cache in {root} is of {change}; delete it or take another "
      "directory."
  )


def _data(manifest: Mapping[str, Any]) -> dict[str, Any]:
  """The data of each split, without its distribution over files."""
  return {
      name: {"source": split["source"], "records": split["records"]}
      for name, split in manifest["splits"].items()
  }


def _is_complete(root: str) -> bool:
  return tf.io.gfile.exists(os.path.join(root, _COMPLETED))


def _vocabularies(task: seqio.Task) -> dict[str, Any]:
  return {
      name: vocabulary_record.describe(feature.vocabulary)
      for name, feature in task.output_features.items()
  }


def _check_vocabularies(
    root: str, manifest: Mapping[str, Any], vocabularies: Mapping[str, Any]
):
  vocabulary_record.check_equal(
      f"the cache in {root} is", manifest["vocabularies"], vocabularies
  )


def _read_manifest(root: str) -> dict[str, Any] | None:
  return files.read_json(
      os.path.join(root, _MANIFEST),
      {
          "source": str,
          "splits": {str: {"source": Any, "records": Any, "files": int}},
          "vocabularies": vocabulary_record.SHAPE,
      },
  )
