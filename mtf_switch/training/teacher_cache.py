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

"""A teacher's most probable tokens for the batches of a training, on disk.

A training's batches are a function of the task, the seed and a few numbers, so
that a teacher can be asked once for many students. A directory has a record,
teacher.json, and files of TensorFlow records, one record a batch, in order.
"""

from collections.abc import Iterable, Mapping, Sequence
import hashlib
import itertools
import os
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import checkpoint_fit
from mtf_switch.training import checkpoints
from mtf_switch.training import estimators
from mtf_switch.training import inputs
from mtf_switch.training import prediction_functions
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import vocabulary_record
from mtf_switch.transformer import distillation

OTHER_BATCHES = "was made for other batches than this run's"

_VERSION = 1
_RECORD = "teacher.json"
_UNFINISHED = ".unfinished"
_COMPRESSION = "GZIP"
# Of the records, beside the targets.
_DTYPES = {
    "targets": tf.int32,
    **dict(zip(distillation.CACHED, (tf.int32, tf.float32, tf.float32))),
}


def describe(
    run: run_lib.Run,
    directory: str,
    step: int,
    *,
    steps: int,
    choices: int,
    temperature: float,
    steps_per_block: int,
    steps_per_file: int,
) -> dict[str, Any]:
  """Returns the record of a cache: all that its content depends on.

  Args:
    run: the run whose batches they are.
    directory: the teacher's model_dir.
    step: the step of its checkpoint.
    steps: the batches.
    choices: the tokens of each target.
    temperature: divides the logits.
    steps_per_block: see train.steps_per_block.
    steps_per_file: the batches in a file.
  """
  with tf.io.gfile.GFile(
      f"{checkpoints.path(directory, step)}.index", "rb"
  ) as f:
    sha256 = hashlib.sha256(f.read()).hexdigest()
  return {
      "version": _VERSION,
      "teacher_dir": directory,
      "teacher_step": step,
      "teacher_sha256": sha256,
      **_of_batches(run, steps_per_block),
      "steps": steps,
      "choices": choices,
      "temperature": temperature,
      "steps_per_file": steps_per_file,
      "vocabularies": vocabulary_record.describe_all(
          run.experiment.vocabularies
      ),
  }


def num_bytes(record: Mapping[str, Any]) -> int:
  """Returns the bytes that a cache has before compression."""
  positions = record["batch_size"] * record["sequence_length"]["targets"]
  return record["steps"] * positions * (8 * record["choices"] + 8)


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
    record: see `describe`.
    display: shows the progress.

  Raises:
    UserError: the directory has another cache, or one file more than enough.
  """
  path = os.path.join(directory, _RECORD)
  found = _read_record(directory)
  if found is None:
    files.write_json(path, record)
  else:
    for name, value in record.items():
      if found.get(name) != value and name != "vocabularies":
        raise errors.UserError(
            f"{directory!r} has a teacher's cache with {name} = "
            f"{found.get(name)!r}, and this one has {value!r}; take another "
            "--output_dir."
        )
  paths = file_paths(directory, record)
  missing = [i for i, x in enumerate(paths) if not tf.io.gfile.exists(x)]
  for _, group in itertools.groupby(enumerate(missing), lambda x: x[1] - x[0]):
    numbers = [number for _, number in group]
    _write_files(run, {i: paths[i] for i in numbers}, record, display)
  display.note(f"the teacher's {record['steps']:,} batches are in {directory}")


def check(
    run: run_lib.Run,
    directory: str,
    steps: int,
    temperature: float,
    steps_per_block: int,
) -> dict[str, Any]:
  """Refuses a cache that is not complete, or not of a run's batches.

  Args:
    run: the student's.
    directory: of the cache.
    steps: the batches that the run needs.
    temperature: the run's.
    steps_per_block: the run's.

  Returns:
    the cache's record.

  Raises:
    UserError: says what differs.
  """
  subject = f"distill.teacher_cache = {directory!r}"
  record = _read_record(directory)
  if record is None:
    raise errors.UserError(
        f"{subject} has no {_RECORD}; write one with --mode=teach."
    )
  expected = {
      "version": _VERSION,
      **_of_batches(run, steps_per_block),
      "temperature": temperature,
  }
  for name, value in expected.items():
    if record.get(name) != value:
      raise errors.UserError(
          f"{subject} has {name} = {record.get(name)!r}, but this run has "
          f"{value!r}; they must be equal."
      )
  vocabulary_record.check_equal(
      f"{subject} is",
      record["vocabularies"],
      vocabulary_record.describe_all(run.experiment.vocabularies),
  )
  if record["steps"] < steps:
    raise errors.UserError(
        f"{subject} has {record['steps']:,} batches, but this run needs "
        f"{steps:,}; train so many steps, or write more in another directory."
    )
  missing = [
      x for x in file_paths(directory, record) if not tf.io.gfile.exists(x)
  ]
  if missing:
    raise errors.UserError(
        f"{subject} lacks {len(missing)} of its files, the first is "
        f"{os.path.basename(missing[0])}; run the same --mode=teach again."
    )
  return record


def add_lessons(
    batches: tf.data.Dataset,
    directory: str,
    record: Mapping[str, Any],
    first_batch: int,
    skipped: Sequence[int],
) -> tf.data.Dataset:
  """Adds distillation.CACHED to the batches of a training.

  Args:
    batches: dicts of `[batch_size, length]` integers.
    directory: of the cache.
    record: the cache's.
    first_batch: the number of the first batch.
    skipped: the numbers of the batches that are left out, in order.

  Returns:
    the batches with what the teacher says of them. If a batch is another one
    than the teacher's, TensorFlow raises an error with OTHER_BATCHES.
  """
  first_file, start = divmod(first_batch, record["steps_per_file"])
  cached = tf.data.TFRecordDataset(
      file_paths(directory, record)[first_file:], compression_type=_COMPRESSION
  ).skip(start)
  if skipped:
    cached = (
        cached.enumerate(first_batch)
        .filter(lambda i, _: tf.reduce_all(tf.not_equal(i, list(skipped))))
        .map(lambda _, x: x)
    )
  shape = [record["batch_size"], record["sequence_length"]["targets"]]

  def add(batch, serialized):
    lesson = _parse(serialized, shape, record["choices"])
    targets = tf.cast(batch["targets"], tf.int32)
    check_equal = tf.debugging.assert_equal(
        targets,
        lesson.pop("targets"),
        message=f"{directory} {OTHER_BATCHES}",
    )
    with tf.control_dependencies([check_equal]):
      return {**{x: tf.identity(y) for x, y in batch.items()}, **lesson}

  batches = tf.data.Dataset.zip((batches, cached)).map(add)
  return batches.prefetch(tf.data.AUTOTUNE)


def _of_batches(run: run_lib.Run, steps_per_block: int) -> dict[str, Any]:
  """What decides the batches of a training, beside the data."""
  experiment = run.experiment
  return {
      "task": experiment.task,
      "seed": run.seed,
      "sequence_length": dict(experiment.lengths),
      "batch_size": experiment.sequences_per_batch,
      "steps_per_block": steps_per_block,
  }


def _read_record(directory: str) -> dict[str, Any] | None:
  return files.read_json(os.path.join(directory, _RECORD))


def file_paths(directory: str, record: Mapping[str, Any]) -> list[str]:
  """The files of a cache, in order.

  Args:
    directory: of the cache.
    record: of which "steps" and "steps_per_file" are read.
  """
  number = -(-record["steps"] // record["steps_per_file"])
  return [
      os.path.join(directory, f"teacher.tfrecord-{i:05}-of-{number:05}")
      for i in range(number)
  ]


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
          run, record["choices"], record["temperature"]
      ),
  ).predict(
      lambda params: _batches(run, record, first, end),
      hooks=[checkpoint_fit.CheckHook(path)],
      checkpoint_path=path,
  )

  def batches(first, end):
    for step in range(first, end):
      yield list(itertools.islice(rows, record["batch_size"]))
      display.steps("taught", step + 1, steps)

  for number, path in paths.items():
    start = number * steps_per_file
    write_file(path, batches(start, min(start + steps_per_file, end)))


def write_file(
    path: str, batches: Iterable[Sequence[Mapping[str, np.ndarray]]]
):
  """Writes a file of a cache; it has its name when it is whole.

  Args:
    path: one of file_paths.
    batches: each a list of rows with "targets" and distillation.CACHED.
  """
  unfinished = path + _UNFINISHED
  with tf.io.TFRecordWriter(unfinished, _COMPRESSION) as writer:
    for rows in batches:
      writer.write(_serialize(rows))
  tf.io.gfile.rename(unfinished, path, overwrite=True)


def _batches(
    run: run_lib.Run, record: Mapping[str, Any], first: int, end: int
) -> tf.data.Dataset:
  """The batches from one step to another, over the ends of blocks."""
  batches = None
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
    ).take(last - first)
    batches = part if batches is None else batches.concatenate(part)
    first = last
  return batches


def _serialize(rows: Sequence[Mapping[str, np.ndarray]]) -> bytes:
  """A batch's predictions as a tf.train.Example of raw numbers."""
  features = {}
  for name, dtype in _DTYPES.items():
    array = np.stack([row[name] for row in rows]).astype(dtype.as_numpy_dtype)
    features[name] = tf.train.Feature(
        bytes_list=tf.train.BytesList(value=[array.tobytes()])
    )
  features = tf.train.Features(feature=features)
  return tf.train.Example(features=features).SerializeToString()


def _parse(
    serialized: tf.Tensor, shape: Sequence[int], choices: int
) -> dict[str, tf.Tensor]:
  """The inverse of _serialize."""
  spec = {name: tf.io.FixedLenFeature([], tf.string) for name in _DTYPES}
  parsed = tf.io.parse_single_example(serialized, spec)
  ids, log_probs, _ = distillation.CACHED
  return {
      name: tf.reshape(
          tf.io.decode_raw(parsed[name], dtype),
          [*shape, choices] if name in (ids, log_probs) else shape,
      )
      for name, dtype in _DTYPES.items()
  }
