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

"""A teacher that has left its lessons on disk, in place of teacher.Teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow.compat.v1 as tf

from mtf_switch.training import teacher_cache
from mtf_switch.transformer import distillation
from mtf_switch.transformer import loss as loss_lib

# Of errors in a session, which quote an apostrophe.
_OTHER_BATCHES = "is of other batches than this run has"
_TOO_FEW = "has no more batches"


class CachedTeacher:
  """A teacher that has left its lessons on disk; see teacher.Teacher.

  Attributes:
    step: of the teacher's checkpoint.
    sha256: see teacher_cache.sha256_of.
  """

  def __init__(
      self, directory: str, record: Mapping[str, Any], mix: distillation.Mix
  ):
    """Creates the teacher.

    Args:
      directory: of the cache.
      record: the cache's.
      mix: the mix of the loss.
    """
    self._directory = directory
    self._record = record
    self._mix = mix
    self.step = record["teacher_step"]
    self.sha256 = record["teacher_sha256"]

  def change_loss_at(self, step: tf.Tensor) -> loss_lib.ChangeLoss:
    """See teacher.Teacher."""
    return self._mix.change_loss(step, distillation.lesson_of_cache)

  def change_batches(
      self, batches: tf.data.Dataset, first_batch: int, skipped: Sequence[int]
  ) -> tf.data.Dataset:
    """Adds distillation.CACHED to the batches of a training.

    Args:
      batches: dicts of `[batch_size, length]` integers.
      first_batch: the number of the first batch.
      skipped: the numbers of the batches that are left out, in order.

    Returns:
      the batches with what the teacher says of them. For those that it does not
      fit, TensorFlow raises an error that `explain` knows.
    """
    first_file, start = divmod(first_batch, self._record["steps_per_file"])
    cached = tf.data.TFRecordDataset(
        teacher_cache.paths(self._directory, self._record)[first_file:],
        compression_type=teacher_cache.COMPRESSION,
    ).skip(start)
    # Training would end without a word where a part of the cache is lost.
    cached = cached.concatenate(tf.data.Dataset.from_tensors(b""))
    if skipped:
      cached = (
          cached.enumerate(first_batch)
          .filter(lambda i, _: tf.reduce_all(tf.not_equal(i, list(skipped))))
          .map(lambda _, x: x)
      )
    return (
        tf.data.Dataset.zip((batches, cached))
        .map(self._add)
        .prefetch(tf.data.AUTOTUNE)
    )

  def explain(self, error: tf.errors.OpError) -> str | None:
    """Returns one line for an error of a session that is the cache's fault."""
    subject = f"distill.teacher_cache = {self._directory!r}"
    for reason, cause in (
        (_OTHER_BATCHES, "the data has changed since, or a file has lost some"),
        (_TOO_FEW, "its last file has lost some, or this run leaves out many"),
    ):
      if reason in str(error):
        return (
            f"{subject} {reason}: {cause}; remove it, and write it anew with "
            "--mode=teach."
        )
    if isinstance(error, tf.errors.DataLossError):
      for path in teacher_cache.paths(self._directory, self._record):
        if not _is_whole(path):
          return f"{path} is damaged; remove it, and run --mode=teach again."
    return None

  def _add(self, batch, serialized):
    """Adds what a record says to the batch that it is of."""
    is_there = tf.debugging.assert_greater(
        tf.strings.length(serialized), 0, message=_TOO_FEW
    )
    with tf.control_dependencies([is_there]):
      lesson = self._parse(tf.identity(serialized))
    checks = [
        tf.debugging.assert_equal(
            tf.cast(batch[name], tf.int32),
            lesson.pop(name),
            message=_OTHER_BATCHES,
        )
        for name in self._record["features"]
    ]
    with tf.control_dependencies(checks):
      return {**{x: tf.identity(y) for x, y in batch.items()}, **lesson}

  def _parse(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """A record's arrays by name."""
    record = self._record
    types = teacher_cache.dtypes(record)
    parsed = tf.io.parse_single_example(
        serialized,
        {name: tf.io.FixedLenFeature([], tf.string) for name in types},
    )
    ids, log_probs, _ = distillation.CACHED
    return {
        name: tf.reshape(
            tf.io.decode_raw(parsed[name], dtype),
            [
                record["batch_size"],
                record["sequence_length"][name.split("_")[0]],
                *[record["choices"]] * (name in (ids, log_probs)),
            ],
        )
        for name, dtype in types.items()
    }


def _is_whole(path: str) -> bool:
  """Whether all records of a file can be read."""
  options = tf.io.TFRecordOptions(teacher_cache.COMPRESSION)
  try:
    for _ in tf.io.tf_record_iterator(path, options):
      pass
  except tf.errors.DataLossError:
    return False
  return True
