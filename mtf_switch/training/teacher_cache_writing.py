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

"""Writes what teacher_cache.py reads, with the teacher's run."""

from collections.abc import Iterable, Mapping
import functools
import itertools
import os
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import checkpoint_fit
from mtf_switch.training import checkpoints
from mtf_switch.training import counted_lowering
from mtf_switch.training import estimators
from mtf_switch.training import inputs
from mtf_switch.training import prediction_functions
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import teacher_cache
from mtf_switch.training import vocabulary_record


def write(
    run: run_lib.Run,
    directory: str,
    record: Mapping[str, Any],
    display: progress.Display,
):
  """Writes a cache, or continues to write it.

  Args:
    run: the teacher's run, with the batches.
    directory: of the cache.
    record: see teacher_cache.describe.
    display: shows the progress.

  Raises:
    UserError: the directory has another cache, or the checkpoint is of another
      model.
  """
  paths = teacher_cache.paths(directory, record)
  found = teacher_cache.read_record(directory)
  # A record alone may be that of a first try.
  if found and any(
      map(tf.io.gfile.exists, teacher_cache.paths(directory, found))
  ):
    _check_equal(directory, found, record)
  else:
    files.write_json(os.path.join(directory, teacher_cache.RECORD), record)
  missing = [i for i, x in enumerate(paths) if not tf.io.gfile.exists(x)]
  for _, group in itertools.groupby(enumerate(missing), lambda x: x[1] - x[0]):
    numbers = [number for _, number in group]
    _write_files(run, {i: paths[i] for i in numbers}, record, display)
  display.note(f"the teacher's {record['steps']:,} batches are in {directory}")


def _check_equal(
    directory: str, found: Mapping[str, Any], record: Mapping[str, Any]
):
  """Refuses to go on with a directory that has the files of another cache."""
  for name, value in record.items():
    if name != "vocabularies" and found[name] != value:
      raise errors.UserError(
          f"{directory!r} has a teacher's cache with {name} = {found[name]!r}, "
          f"and this one has {value!r}; take another --output_dir."
      )
  vocabulary_record.check_equal(
      f"the teacher's cache in {directory!r} is",
      found["vocabularies"],
      record["vocabularies"],
  )


def _write_files(
    run: run_lib.Run,
    paths: Mapping[int, str],
    record: Mapping[str, Any],
    display: progress.Display,
):
  """Writes consecutive files, by their numbers."""
  steps_per_file, steps = record["steps_per_file"], record["steps"]
  first = min(paths) * steps_per_file
  end = min(steps, (max(paths) + 1) * steps_per_file)
  display.status("building the model")
  path = checkpoints.path(run.model_dir, record["teacher_step"])
  rows = estimators.make(
      run,
      prediction_functions.teaching_model_fn(
          run,
          record["choices"],
          record["temperature"],
          counted_lowering.shown_by(display),
      ),
  ).predict(
      lambda params: batches(record, first, end),
      hooks=[checkpoint_fit.CheckHook(path)],
      checkpoint_path=path,
  )
  step = first
  for path in paths.values():
    with (
        files.unfinished(path) as name,
        tf.io.TFRecordWriter(name, teacher_cache.COMPRESSION) as writer,
    ):
      for _ in range(min(steps_per_file, end - step)):
        of_batch = itertools.islice(rows, record["batch_size"])
        writer.write(serialize(of_batch, teacher_cache.dtypes(record)))
        step += 1
        display.steps("taught", step, steps)


def batches(record: Mapping[str, Any], first: int, end: int) -> tf.data.Dataset:
  """Returns a training's batches, over the ends of its blocks.

  Args:
    record: see teacher_cache.describe.
    first: the number of the first batch.
    end: that after the last one.
  """
  parts = []
  while first < end:
    block = record["steps_per_block"]
    last = min(end, (first // block + 1) * block)
    part = inputs.training_batches(
        record["task"],
        record["sequence_length"],
        record["batch_size"],
        record["seed"],
        first,
        block,
    )
    parts.append(part.take(last - first))
    first = last
  return functools.reduce(lambda x, y: x.concatenate(y), parts)


def serialize(
    rows: Iterable[Mapping[str, np.ndarray]], dtypes: Mapping[str, tf.DType]
) -> bytes:
  """Returns a batch's predictions as a tf.train.Example of raw numbers.

  Args:
    rows: arrays by name, for each row of the batch.
    dtypes: see teacher_cache.dtypes.
  """
  rows = list(rows)
  features = {}
  for name, dtype in dtypes.items():
    array = np.stack([row[name] for row in rows]).astype(dtype.as_numpy_dtype)
    features[name] = tf.train.Feature(
        bytes_list=tf.train.BytesList(value=[array.tobytes()])
    )
  features = tf.train.Features(feature=features)
  return tf.train.Example(features=features).SerializeToString()
