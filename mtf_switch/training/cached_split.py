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

"""The files of one split of a cached task.

Each file is a function of the task and its number. It is written beside its
place and then renamed, so that it is whole or absent and a killed run continues
with the next one.

The split to train on is shuffled and in many files, which seqio interleaves.
Files that are sections of one shuffled order are written in one pass over it.
Every other split is one file, which has the order of the data whoever reads it.
"""

from collections.abc import Iterable, Mapping, Sequence
import functools
import hashlib
import json
import os
from typing import Any

import numpy as np
import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import files
from mtf_switch.training import inputs
from mtf_switch.training import one_pass
from mtf_switch.training import progress

# Of the training split: as many as seqio reads in parallel; more if the source
# has more.
MIN_FILES = 16
# The directory of files that are not complete, below that of the task.
UNFINISHED = "unfinished"
# Examples between two updates of the display.
_EXAMPLES_A_REPORT = 1000


class Split:
  """A split of a task, and the distribution of its records over files."""

  def __init__(self, task: seqio.Task, name: str):
    self.task = task
    self.name = name
    self._shards = task.source.list_shards(name)
    self._is_in_order = name != "train"
    self._num_records = None  # Counting those of many files takes long.
    if len(self._shards) < MIN_FILES:
      self._num_records = _count_records(task.source, name)
    if self._is_in_order:
      self.num_files = 1
    elif self._num_records is None:
      self.num_files = len(self._shards)
    else:
      self.num_files = min(MIN_FILES, max(1, self._num_records))

  def identity(self) -> dict[str, Any]:
    """Returns the properties that distinguish the records from others."""
    return {
        "files": self.num_files,
        "source": [
            [shard, tf.io.gfile.stat(shard).length]
            if tf.io.gfile.exists(shard)
            else shard
            for shard in self._shards
        ],
        "records": self._num_records,
    }

  def dataset(self, number: int) -> tf.data.Dataset:
    """Returns the preprocessed examples of a file, in a graph of their own."""
    # tf.data mixes the graph's seed into each of its own.
    tf.set_random_seed(0)
    key = f"{self.task.name}/{self.name}/"
    seed = _seed(f"{key}{number}")
    if self._is_in_order:
      records = self.task.source.get_dataset(self.name, shuffle=False)
      seed = inputs.EVALUATION_SEED  # As without the cache.
    elif self._num_records is None:
      records = self.task.source.get_dataset(
          self.name,
          shuffle=True,
          seed=seed,
          shard_info=seqio.ShardInfo(number, self.num_files),
      )
    else:
      start, stop = self.section(number)
      records = self.shuffled().skip(start).take(stop - start)
    return self.preprocessed(records, seed)

  @property
  def is_in_sections(self) -> bool:
    """Whether the files are sections of one order of the records."""
    return not self._is_in_order and self._num_records is not None

  def section(self, number: int) -> tuple[int, int]:
    """Returns the numbers of a file's first record and of the next file's."""
    start, stop = (
        self._num_records * n // self.num_files for n in (number, number + 1)
    )
    return start, stop

  def shuffled(self) -> tf.data.Dataset:
    """Returns the records in the order that all files share."""
    return self.task.source.get_dataset(
        self.name, shuffle=True, seed=_seed(f"{self.task.name}/{self.name}/")
    )

  def preprocessed(
      self, records: tf.data.Dataset, seed: int
  ) -> tf.data.Dataset:
    """Returns the examples of records, in their order.

    Args:
      records: some of the source.
      seed: of the steps that draw numbers.
    """
    return self.task.preprocess_precache(
        one_pass.in_order(records), seed=seed
    ).prefetch(tf.data.AUTOTUNE)


def _count_records(source: seqio.DataSource, split: str) -> int:
  num_records = source.num_input_examples(split)
  if num_records is None:
    with tf.Graph().as_default():
      records = source.get_dataset(split, shuffle=False)
      num_records = sum(1 for _ in tfds.as_numpy(records))
  return num_records


def write(split: Split, root: str, display: progress.Display):
  """Writes the missing files of a split, then seqio's info and stats.

  Args:
    split: the split.
    root: the directory of the task's cache.
    display: shows the progress.
  """
  stats_path = seqio.get_cached_stats_path(root, split.name)
  if tf.io.gfile.exists(stats_path):  # It is written last.
    return
  title = f"{split.task.name} {split.name}: file"
  records = []
  missing = (
      number
      for number in range(split.num_files)
      if not tf.io.gfile.exists(_path(split, number, root))
  )
  first = next(missing, split.num_files)
  with one_pass.opener(split, first) as open_file:
    for number in range(split.num_files):
      report = functools.partial(display.steps, title, number, split.num_files)
      records.append(_write_file(split, number, root, open_file, report))
      num_examples = sum(record["stats"]["examples"] for record in records)
      display.steps(
          title, number + 1, split.num_files, f"{num_examples:,} examples"
      )
  info = {
      "num_shards": split.num_files,
      "features": records[-1]["features"],
      "seqio_version": seqio.__version__,
  }
  info_path = seqio.get_cached_info_path(root, split.name)
  files.write_json(info_path, info, sort_keys=True)
  stats = _merged([record["stats"] for record in records])
  files.write_json(stats_path, stats, sort_keys=True)


def _path(split: Split, number: int, root: str) -> str:
  """Returns the path of a file."""
  prefix = seqio.get_cached_tfrecord_prefix(root, split.name)
  return f"{prefix}-{number:05d}-of-{split.num_files:05d}"


def _write_file(
    split: Split, number: int, root: str, open_file, report
) -> dict[str, Any]:
  """Writes a file and its record, unless they are there.

  Args:
    split: the split.
    number: the file's.
    root: the directory of the task's cache.
    open_file: one_pass.opener's.
    report: shows a text about the progress within the file.

  Returns:
    the record: "features" and "stats", as in seqio's info and stats.
  """
  path = _path(split, number, root)
  unfinished = os.path.join(root, UNFINISHED, os.path.basename(path))
  if not tf.io.gfile.exists(path):
    with open_file(number) as (features, examples):
      stats = _write_examples(
          unfinished, examples, split.task.output_features, report
      )
    record = {"features": features, "stats": stats}
    # Written before the rename, so that every file has a record.
    files.write_lines(f"{unfinished}.json", [json.dumps(record)])
    tf.io.gfile.rename(unfinished, path, overwrite=True)
  return files.read_json(f"{unfinished}.json")


def _write_examples(
    path: str,
    examples: Iterable[Mapping[str, Any]],
    output_features: Mapping[str, seqio.Feature],
    report,
) -> dict[str, int]:
  """Writes examples to a TFRecord file and returns their statistics."""
  stats = {"examples": 0}
  with tf.io.TFRecordWriter(path) as writer:
    for example in examples:
      writer.write(_serialized(example))
      _count_tokens(stats, example, output_features)
      if stats["examples"] % _EXAMPLES_A_REPORT == 0:
        report(f"{stats['examples']:,} examples")
  return stats


def _serialized(example: Mapping[str, Any]) -> bytes:
  """Returns a tf.train.Example: the same bytes for equal examples."""
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
  """Returns the statistics of all files together."""
  return {
      name: (max if name.endswith("_max_tokens") else sum)(
          stats.get(name, 0) for stats in all_stats
      )
      for name in sorted(set().union(*all_stats))
  }


def _seed(key: str) -> int:
  """Returns 31 bits of a hash of a text."""
  digest = hashlib.sha256(key.encode()).digest()
  return int.from_bytes(digest[:4], "big") >> 1
