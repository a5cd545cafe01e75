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

"""A teacher's cache: aligned with the batches of a training, or refused."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.training import cached_teacher
from mtf_switch.training import inputs
from mtf_switch.training import skipped_batches
from mtf_switch.training import teacher_cache
from mtf_switch.training import teacher_cache_writing
from mtf_switch.transformer import distillation
from tests import toy_tasks  # noqa: F401

IDS, LOG_PROBS, LABEL_LOG_PROBS = distillation.CACHED
LENGTHS = {"inputs": 16, "targets": 8}
RECORD = {
    "teacher_step": 4,
    "teacher_sha256": "0",
    "task": "toy_reverse",
    "features": ["inputs", "targets"],
    "seed": 0,
    "sequence_length": LENGTHS,
    "batch_size": 2,
    "steps_per_block": 3,
    "steps": 8,
    "choices": 2,
    "steps_per_file": 3,
}


def values(dataset):
  """The elements of a dataset; the error that ends it early, if any."""
  found = []
  with tf.Session() as session:
    element = tf.data.make_one_shot_iterator(dataset).get_next()
    while True:
      try:
        found.append(session.run(element))
      except tf.errors.OutOfRangeError:
        return found, None
      except tf.errors.OpError as error:
        return found, error


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  """A cache in which all numbers are those of the batches, and the batches."""
  directory = tmp_path_factory.mktemp("cache")
  with tf.Graph().as_default():
    batches, _ = values(teacher_cache_writing.batches(RECORD, 0, 8))
  records = []
  for number, batch in enumerate(batches):
    rows = [
        {
            "inputs": batch["inputs"][i],
            "targets": batch["targets"][i],
            IDS: np.full([8, 2], number),
            LOG_PROBS: np.full([8, 2], number),
            LABEL_LOG_PROBS: np.full([8], number),
        }
        for i in range(2)
    ]
    records.append(
        teacher_cache_writing.serialize(rows, teacher_cache.dtypes(RECORD))
    )
  assert len(records) == 8
  for i, path in enumerate(teacher_cache.paths(str(directory), RECORD)):
    write(path, records[3 * i : 3 * i + 3])
  return directory, batches


def write(path, records):
  with tf.io.TFRecordWriter(str(path), teacher_cache.COMPRESSION) as writer:
    for record in records:
      writer.write(record)


def teacher_of(directory):
  return cached_teacher.CachedTeacher(
      str(directory), RECORD, distillation.Mix()
  )


def read(directory, batches):
  """The first batches' numbers, and what the teacher says of an error."""
  teacher = teacher_of(directory)
  arrays = {x: np.stack([batch[x] for batch in batches]) for x in batches[0]}
  with tf.Graph().as_default():
    dataset = tf.data.Dataset.from_tensor_slices(arrays)
    found, error = values(teacher.change_batches(dataset, 0, []))
  return [x[IDS][0, 0, 0] for x in found], error and teacher.explain(error)


def lessons(directory, first_step, skipped):
  """The batches' numbers of a session."""
  with tf.Graph().as_default():
    batches = inputs.training_batches(
        RECORD["task"], LENGTHS, 2, 0, first_step, 3, skipped
    )
    first_batch = skipped_batches.batch_of(first_step, skipped)
    found, error = values(
        teacher_of(directory).change_batches(batches, first_batch, skipped)
    )
  assert error is None
  for lesson in found:
    assert lesson[IDS].shape == lesson[LOG_PROBS].shape == (2, 8, 2)
    number = lesson[IDS][0, 0, 0]
    for name in distillation.CACHED:
      assert (lesson[name] == number).all()
  return [x[IDS][0, 0, 0] for x in found]


@pytest.mark.parametrize(
    "first_step, skipped, expected",
    [
        (1, [], [1, 2]),
        (0, [1], [0, 2]),
        (2, [1], [3, 4, 5]),  # The block ends a step earlier.
        (2, [1, 3], [4, 5]),
    ],
)
def test_lessons_are_those_of_the_batches(cache, first_step, skipped, expected):
  # That the tokens are equal is checked in the graph.
  assert lessons(cache[0], first_step, skipped) == expected


def test_other_batches_are_refused(cache):
  directory, batches = cache
  changed = [{**batch, "inputs": batch["inputs"] + 1} for batch in batches]
  found, said = read(directory, changed)
  assert not found and "is of other batches" in said


def test_a_cache_that_ends_early_is_refused(tmp_path, cache):
  directory, batches = cache
  paths = teacher_cache.paths(str(directory), RECORD)
  options = tf.io.TFRecordOptions(teacher_cache.COMPRESSION)
  first, second, _ = tf.io.tf_record_iterator(paths[0], options)
  cut = teacher_cache.paths(str(tmp_path), RECORD)
  write(cut[0], [first, second])
  for path in cut[1:]:
    write(path, [])
  found, said = read(tmp_path, batches)
  assert found == [0, 1]
  assert "has no more batches" in said


@pytest.mark.parametrize(
    "damage, share",
    [("cut", 0.6), ("flipped", 0.1), ("flipped", 0.6)],
)
def test_damaged_files_are_named(tmp_path, cache, damage, share):
  directory, batches = cache
  paths = teacher_cache.paths(str(directory), RECORD)
  damaged = teacher_cache.paths(str(tmp_path), RECORD)
  for source, path in zip(paths, damaged):
    with open(source, "rb") as file:
      content = bytearray(file.read())
    if path == damaged[1]:
      place = int(share * len(content))
      if damage == "flipped":
        content[place] ^= 1
      else:
        content = content[:place]
    with open(path, "wb") as file:
      file.write(content)
  found, said = read(tmp_path, batches)
  assert found[:3] == [0, 1, 2]
  assert said == (
      f"{damaged[1]} is damaged; remove it, and run --mode=teach again."
  )
