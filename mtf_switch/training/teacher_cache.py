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
They are written by teacher_cache_writing.py and read by cached_teacher.py.
"""

from collections.abc import Mapping
import hashlib
import os
from typing import Any

import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import values
from mtf_switch.training import checkpoints
from mtf_switch.training import run as run_lib
from mtf_switch.training import vocabulary_record
from mtf_switch.transformer import distillation

RECORD = "teacher.json"
COMPRESSION = "GZIP"
_VERSION = 1
# As files.read_json takes it.
_SHAPE = {
    "version": int,
    "teacher_dir": str,
    "teacher_step": int,
    "teacher_sha256": str,
    "task": str,
    "features": [str],
    "seed": int,
    "sequence_length": {str: int},
    "batch_size": int,
    "steps_per_block": int,
    "steps": values.Count,
    "choices": int,
    "temperature": float | int,
    "steps_per_file": values.Count,
    "vocabularies": vocabulary_record.SHAPE,
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
  return {
      "version": _VERSION,
      "teacher_dir": directory,
      "teacher_step": step,
      "teacher_sha256": sha256_of(directory, step),
      **_of_batches(run, steps_per_block),
      "steps": steps,
      "choices": choices,
      "temperature": temperature,
      "steps_per_file": steps_per_file,
      "vocabularies": vocabulary_record.describe_all(
          run.experiment.vocabularies
      ),
  }


def sha256_of(directory: str, step: int) -> str | None:
  """Returns what tells a checkpoint from others, of whichever directory.

  Args:
    directory: the model_dir.
    step: the step of the checkpoint.

  Returns:
    the digest of its index, which has checksums of all tensors; None if there
    is no such checkpoint.
  """
  path = f"{checkpoints.path(directory, step)}.index"
  if not tf.io.gfile.exists(path):
    return None
  with tf.io.gfile.GFile(path, "rb") as file:
    return hashlib.sha256(file.read()).hexdigest()


def num_bytes(record: Mapping[str, Any]) -> int:
  """Returns the bytes that a cache has before compression."""
  lengths = {x: record["sequence_length"][x] for x in record["features"]}
  of_tokens = 4 * sum(lengths.values())
  of_teacher = lengths["targets"] * (8 * record["choices"] + 4)
  return record["steps"] * record["batch_size"] * (of_tokens + of_teacher)


def dtypes(record: Mapping[str, Any]) -> dict[str, tf.DType]:
  """Returns the types of what a record of a batch has, by name.

  The batch's own tokens are kept to be compared with those of a student.
  """
  types = (tf.int32, tf.float32, tf.float32)
  return {
      **dict.fromkeys(record["features"], tf.int32),
      **dict(zip(distillation.CACHED, types)),
  }


def paths(directory: str, record: Mapping[str, Any]) -> list[str]:
  """Returns the paths of a cache's files, in their order."""
  number = -(-record["steps"] // record["steps_per_file"])
  return [
      os.path.join(directory, f"teacher.tfrecord-{i:05}-of-{number:05}")
      for i in range(number)
  ]


def read_record(directory: str) -> dict[str, Any] | None:
  """Returns a cache's record, None if there is none."""
  return files.read_json(os.path.join(directory, RECORD), _SHAPE)


def check(
    run: run_lib.Run,
    directory: str,
    teacher_dir: str,
    teacher_step: int | None,
    steps: int,
    temperature: float,
    steps_per_block: int,
) -> dict[str, Any]:
  """Refuses a cache that is not complete, or of other batches or teachers.

  Args:
    run: the student's.
    directory: of the cache.
    teacher_dir: the teacher's directory, which need not be there any more.
    teacher_step: the step of its checkpoint; None for that of the cache.
    steps: the batches that the run needs.
    temperature: the run's.
    steps_per_block: the run's.

  Returns:
    the cache's record.

  Raises:
    UserError: says what differs.
  """
  subject = f"distill.teacher_cache = {directory!r}"
  record = read_record(directory)
  if record is None:
    raise errors.UserError(
        f"{subject} has no {RECORD}; write one with --mode=teach."
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
  _check_teacher(subject, record, teacher_dir, teacher_step)
  if record["steps"] < steps:
    raise errors.UserError(
        f"{subject} has {record['steps']:,} batches, but this run needs "
        f"{steps:,}; train so many steps, or write more in another directory."
    )
  missing = [x for x in paths(directory, record) if not tf.io.gfile.exists(x)]
  if missing:
    raise errors.UserError(
        f"{subject} lacks {len(missing)} of its files, the first is "
        f"{os.path.basename(missing[0])}; run the same --mode=teach again."
    )
  return record


def _check_teacher(
    subject: str,
    record: Mapping[str, Any],
    teacher_dir: str,
    teacher_step: int | None,
):
  """Refuses a cache of another teacher, or of one that has changed since."""
  step = record["teacher_step"]
  sha256 = sha256_of(teacher_dir, step)
  is_same_place = os.path.realpath(teacher_dir) == os.path.realpath(
      record["teacher_dir"]
  )
  if teacher_step not in (None, -1, step) or not (sha256 or is_same_place):
    raise errors.UserError(
        f"{subject} is of the teacher {record['teacher_dir']!r} at step {step},"
        f" but distill.teacher_dir = {teacher_dir!r} and teacher_step = "
        f"{teacher_step}."
    )
  if sha256 not in (None, record["teacher_sha256"]):
    raise errors.UserError(
        f"{subject} is of another checkpoint than {teacher_dir!r} has at step "
        f"{step}; write it anew with --mode=teach."
    )


def _of_batches(run: run_lib.Run, steps_per_block: int) -> dict[str, Any]:
  """What decides the batches of a training, beside the data."""
  experiment = run.experiment
  return {
      "task": experiment.task,
      "features": sorted(experiment.provider.output_features),
      "seed": run.seed,
      "sequence_length": dict(experiment.lengths),
      "batch_size": experiment.sequences_per_batch,
      "steps_per_block": steps_per_block,
  }
