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

"""Preprocessed examples on disk, in seqio's form of a cached task.

What a task does before its seqio.CacheDatasetPlaceholder, tokenizing above
all, is done once. seqio's own program for it needs apache_beam. A directory
holds for each split the files <split>.tfrecord-<i>-of-<n>, info.<split>.json
and stats.<split>.json, and COMPLETED when all of them are there.

Each file is a function of the task and its number: it is written beside its
place and then renamed, so that it is whole or absent, and a run that was
killed goes on with the next one.
"""

from collections.abc import Mapping, Sequence
import functools
import hashlib
import json
import os
from typing import Any

import numpy as np
import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import identity
from mtf_switch.training import inputs
from mtf_switch.training import progress
from mtf_switch.training import strict_gin

# As many as seqio reads side by side; more if the source has more.
MIN_FILES = 16
# Examples between two looks at the display.
_EXAMPLES_A_REPORT = 1000
_MANIFEST = "cache.json"
_COMPLETED = "COMPLETED"
_UNFINISHED = "unfinished"


def check(provider, split: str, reader: str):
  """Refuses a run that asks for a cache that is not there, or another one.

  Args:
    provider: the Task or Mixture.
    split: the split that is read.
    reader: "mesh_train_dataset_fn" or "mesh_eval_dataset_fn", T5's gin names.

  Raises:
    UserError: gin's <reader>.use_cached is True, and a task has no cache in
      --additional_task_cache_dirs, or one with other vocabularies.
  """
  if not strict_gin.value(f"{reader}.use_cached"):
    return
  for task in seqio.get_subtasks(provider):
    if not task.supports_caching or split not in task.splits:
      continue  # seqio preprocesses it on the way, or leaves it out.
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
    if manifest:  # Else seqio's own program has written it.
      _check_vocabularies(task.cache_dir, manifest, _vocabularies(task))


def write(task: seqio.Task, directory: str, display: progress.Display):
  """Writes the cache of a task, or goes on writing it.

  Args:
    task: the task.
    directory: of the caches; that of the task is in it.
    display: where progress is shown.

  Raises:
    UserError: the task cannot be cached, or the directory has something else.
    DataError: the data is missing, or not what it should be.
  """
  if not task.supports_caching:
    raise errors.UserError(
        f"{task.name!r} cannot be cached: there is no "
        "seqio.CacheDatasetPlaceholder among its preprocessors."
    )
  root = os.path.join(directory, seqio.get_task_dir_from_name(task.name))
  splits = _splits(task, display)
  _claim(root, _manifest(task, splits))
  if tf.io.gfile.exists(os.path.join(root, _COMPLETED)):
    display.note(f"{task.name}: the cache in {root} is complete")
    return
  unfinished = os.path.join(root, _UNFINISHED)
  tf.io.gfile.makedirs(unfinished)
  for split in splits.values():
    _write_split(split, root, display)
  if tf.io.gfile.exists(unfinished):
    tf.io.gfile.rmtree(unfinished)
  files.write_lines(os.path.join(root, _COMPLETED), [])
  display.note(f"{task.name}: the cache is in {root}")


def _splits(task: seqio.Task, display: progress.Display) -> dict[str, "_Split"]:
  """The splits whose data is there; a DataError if there are none."""
  # Here and not above, where it could be the user's own module of that name.
  from tasks import errors as task_errors  # pylint: disable=g-import-not-at-top

  splits, missing = {}, None
  for name in task.splits:
    try:
      splits[name] = _Split(task, name)
    except task_errors.DataError as error:
      missing = error
      display.note(f"{task.name} {name}: left out. {error}")
  if not splits and missing:
    raise missing
  return splits


class _Split:
  """How the records of a split are spread over files."""

  def __init__(self, task: seqio.Task, split: str):
    self.task = task
    self.name = split
    self._shards = task.source.list_shards(split)
    self.is_sharded = len(self._shards) >= MIN_FILES
    if self.is_sharded:
      self.num_files = len(self._shards)
    else:
      self._num_records = task.source.num_input_examples(split)
      if self._num_records is None:
        with tf.Graph().as_default():
          records = task.source.get_dataset(split, shuffle=False)
          self._num_records = sum(1 for _ in tfds.as_numpy(records))
      self.num_files = min(MIN_FILES, max(1, self._num_records))

  def identity(self) -> dict[str, Any]:
    """What tells the records from others: the files' names and sizes."""
    return {
        "files": self.num_files,
        "source": [
            [shard, tf.io.gfile.stat(shard).length]
            if tf.io.gfile.exists(shard)
            else shard
            for shard in self._shards
        ],
        "records": None if self.is_sharded else self._num_records,
    }

  def dataset(self, number: int) -> tf.data.Dataset:
    """The preprocessed examples of a file; call it in a graph of its own."""
    # tf.data mixes the graph's seed into each of its own.
    tf.set_random_seed(0)
    key = f"{self.task.name}/{self.name}/"
    if self.is_sharded:
      records = self.task.source.get_dataset(
          self.name,
          shuffle=True,
          seed=_seed(f"{key}{number}"),
          shard_info=seqio.ShardInfo(number, self.num_files),
      )
    else:
      # One order for all files; each takes a run of it.
      records = self.task.source.get_dataset(
          self.name, shuffle=True, seed=_seed(key)
      )
      start, stop = (
          self._num_records * n // self.num_files for n in (number, number + 1)
      )
      records = records.skip(start).take(stop - start)
    options = tf.data.Options()
    options.deterministic = True
    return self.task.preprocess_precache(
        records.with_options(options), seed=_seed(f"{key}{number}")
    ).prefetch(tf.data.AUTOTUNE)


def _write_split(split: _Split, root: str, display: progress.Display):
  """Writes the files of a split that are not there yet, and what is in all."""
  prefix = seqio.get_cached_tfrecord_prefix(root, split.name)
  info_path = seqio.get_cached_info_path(root, split.name)
  stats_path = seqio.get_cached_stats_path(root, split.name)
  if tf.io.gfile.exists(stats_path):  # The last thing that is written.
    return
  title = f"{split.task.name} {split.name}: file"
  all_stats = []
  for number in range(split.num_files):
    path = f"{prefix}-{number:05d}-of-{split.num_files:05d}"
    unfinished = os.path.join(root, _UNFINISHED, os.path.basename(path))
    if not tf.io.gfile.exists(path):
      stats = {"examples": 0}
      with tf.Graph().as_default():
        dataset = inputs.without_autograph(
            functools.partial(split.dataset, number)
        )
        features = _features(split.task, dataset)
        with tf.io.TFRecordWriter(unfinished) as writer:
          for example in tfds.as_numpy(dataset):
            writer.write(_serialized(example))
            _count_tokens(stats, example, split.task.output_features)
            if stats["examples"] % _EXAMPLES_A_REPORT == 0:
              details = f"{stats['examples']:,} examples"
              display.steps(title, number, split.num_files, details)
      record = {"features": features, "stats": stats}
      # The file is there only when this is.
      files.write_lines(f"{unfinished}.json", [json.dumps(record)])
      tf.io.gfile.rename(unfinished, path, overwrite=True)
    record = files.read_json(f"{unfinished}.json")
    all_stats.append(record["stats"])
    num_examples = sum(stats["examples"] for stats in all_stats)
    display.steps(
        title, number + 1, split.num_files, f"{num_examples:,} examples"
    )
  info = {
      "num_shards": split.num_files,
      "features": record["features"],
      "seqio_version": seqio.__version__,
  }
  files.write_json(info_path, info, sort_keys=True)
  files.write_json(stats_path, _merged(all_stats), sort_keys=True)


def _features(task: seqio.Task, dataset: tf.data.Dataset) -> dict[str, Any]:
  """Shape and dtype of each feature, as seqio's reader wants them."""
  features = {}
  for name, spec in tf.data.experimental.get_structure(dataset).items():
    if not isinstance(spec, tf.TensorSpec) or None in spec.shape[1:]:
      raise errors.UserError(
          f"{task.name!r} cannot be cached: the shape of {name!r} is not known "
          "beyond its first axis."
      )
    shape = spec.shape.as_list()
    features[name] = {
        "shape": [None, *shape[1:]] if shape else [],
        "dtype": spec.dtype.name,
    }
  return features


def _serialized(example: Mapping[str, Any]) -> bytes:
  """A tf.train.Example, the same bytes for the same example."""
  features = {}
  for name, value in example.items():
    value = np.asarray(value)
    if value.dtype.kind in "OS":
      feature = {"bytes_list": tf.train.BytesList(value=value.ravel())}
    elif value.dtype.kind == "f":
      feature = {"float_list": tf.train.FloatList(value=value.ravel())}
    else:
      feature = {"int64_list": tf.train.Int64List(value=value.ravel())}
    features[name] = tf.train.Feature(**feature)
  return tf.train.Example(
      features=tf.train.Features(feature=features)
  ).SerializeToString(deterministic=True)


def _count_tokens(
    stats: dict[str, int],
    example: Mapping[str, Any],
    output_features: Mapping[str, seqio.Feature],
):
  """Adds an example to the statistics that seqio keeps of a cache."""
  stats["examples"] += 1
  for name, feature in output_features.items():
    ids = np.asarray(example.get(name, ""))
    if ids.dtype.kind == "i":
      special = [feature.vocabulary.pad_id, feature.vocabulary.eos_id]
      count = int(np.isin(ids, special, invert=True).sum())
      stats[f"{name}_tokens"] = stats.get(f"{name}_tokens", 0) + count
      longest = f"{name}_max_tokens"
      stats[longest] = max(stats.get(longest, 0), count)


def _merged(all_stats: Sequence[Mapping[str, int]]) -> dict[str, int]:
  """The statistics of all files."""
  return {
      name: (max if name.endswith("_max_tokens") else sum)(
          stats.get(name, 0) for stats in all_stats
      )
      for name in sorted(set().union(*all_stats))
  }


def _manifest(task: seqio.Task, splits: Mapping[str, _Split]) -> dict[str, Any]:
  """What the content of a cache depends on."""
  source = task.source
  describe = getattr(source, "describe", lambda: type(source).__name__)
  return {
      "task": task.name,
      "source": describe(),
      "splits": {name: split.identity() for name, split in splits.items()},
      "vocabularies": _vocabularies(task),
  }


def _claim(root: str, manifest: Mapping[str, Any]):
  """Writes the manifest, unless it is there; refuses another content."""
  written = _read_manifest(root)
  if written is None:
    if tf.io.gfile.exists(root) and tf.io.gfile.listdir(root):
      raise errors.UserError(
          f"{root} has files that are not of a cache of this program; take "
          "another --output_dir."
      )
    path = os.path.join(root, _MANIFEST)
    files.write_json(path, manifest, sort_keys=True)
    return
  _check_vocabularies(root, written, manifest["vocabularies"])
  if written["source"] != manifest["source"]:
    change = f"{written['source']}, and the task has {manifest['source']}"
  elif written["splits"] != manifest["splits"]:
    change = f"{written['source']}, which has changed"
  else:
    return
  raise errors.UserError(
      f"the cache in {root} is of {change}; delete it or take another "
      "directory."
  )


def _vocabularies(task: seqio.Task) -> dict[str, Any]:
  return {
      name: identity.of_vocabulary(feature.vocabulary)
      for name, feature in task.output_features.items()
  }


def _check_vocabularies(
    root: str, written: Mapping[str, Any], vocabularies: Mapping[str, Any]
):
  """Refuses vocabularies that a cache is not of."""
  for name, now in vocabularies.items():
    then = written["vocabularies"][name]
    if not identity.are_equal(then, now):
      raise errors.UserError(
          f"the cache in {root} is of {identity.name_of(then)} for the {name}, "
          f"but the task has {identity.name_of(now)}; "
          f"{identity.how_to_set(then)}, or take another directory."
      )


def _read_manifest(root: str) -> dict[str, Any] | None:
  return files.read_json(os.path.join(root, _MANIFEST))


def _seed(key: str) -> int:
  """31 bits that depend on a text."""
  digest = hashlib.sha256(key.encode()).digest()
  return int.from_bytes(digest[:4], "big") >> 1
