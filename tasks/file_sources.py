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

"""Sources of records in files, alone or in place of TensorFlow Datasets."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import functools
import itertools

import seqio
import tensorflow.compat.v2 as tf

from tasks import errors
from tasks import shared_preprocessing
from tasks import sources
from tasks import waits

# Records handed from Python to TensorFlow at a time.
_CHUNK = 64

# When shuffled: files read in parallel, and records of each at a time.
_CYCLE_LENGTH = 16
_BLOCK_LENGTH = 16


class FilesSource(sources.Source):
  """Records of files, read in Python, in an order that depends on the seed."""

  def __init__(
      self,
      find_files: Callable[[str], Sequence[str]],
      read: Callable[[str], Iterator[bytes]],
      parse: Callable[[tf.Tensor], Mapping[str, tf.Tensor]],
      splits: Iterable[str],
      describe: Callable[[], str],
      count: bool = False,
  ):
    """Stores the arguments; reads nothing.

    Args:
      find_files: returns the files of a split; a DataError if there are none.
      read: yields the records of a file.
      parse: converts a record, a string scalar, to an example, in graph
        operations.
      splits: the names of the splits.
      describe: describes the origin of the data.
      count: whether `num_input_examples` reads the files to count the records;
        for small data.
    """
    super().__init__(splits=splits)
    self._find_files = find_files
    self._read = read
    self._parse = parse
    self._describe = describe
    self._count = count
    self._counts: dict[tuple[str, ...], int] = {}

  def read(self, file: str, split: str) -> Iterator[bytes]:
    """Yields the records of a file; a subclass may have it depend on the split.

    Args:
      file: one of those of the split.
      split: the name of the split.
    """
    del split
    return self._read(file)

  def describe(self) -> str:
    """See base class."""
    return self._describe()

  def is_present(self) -> bool:
    """See base class."""
    return len(self.missing_splits()) < len(self.splits)

  def missing_splits(self) -> list[str]:
    """See base class."""
    return [
        split for split in self.splits if not _is_there(self._find_files, split)
    ]

  def list_shards(self, split: str) -> Sequence[str]:
    """Returns the files of a split."""
    sources.check_split(split, self.splits)
    return list(self._find_files(split))

  def num_input_examples(self, split: str) -> int | None:
    """Returns the number of records; None if counting would take long."""
    if not self._count:
      return None
    files = self.list_shards(split)
    key = (split, *files)
    if key not in self._counts:
      self._counts[key] = sum(1 for f in files for _ in self.read(f, split))
    return self._counts[key]

  def get_dataset(
      self,
      split: str = "train",
      shuffle: bool = True,
      seed: int | None = None,
      shard_info: seqio.ShardInfo | None = None,
      **unused,
  ) -> tf.data.Dataset:
    """Returns the examples.

    Args:
      split: the name of a split.
      shuffle: whether to shuffle the files and to read several in parallel.
      seed: of the shuffling.
      shard_info: the part of the files to read.
      **unused: other arguments of seqio.

    Raises:
      DataError: there are no files. Errors found when the dataset is read are
        raised within TensorFlow (see `errors.in_dataset`).
    """
    paths = self.list_shards(split)
    waits.source_opened()
    files = tf.data.Dataset.from_tensor_slices(paths)
    if shard_info:
      files = files.shard(shard_info.num_shards, shard_info.index)
    if shuffle:
      files = files.shuffle(len(paths), seed=seed)

    # The reader is the source itself if a subclass reads in its own way.
    reader = self._read if type(self).read is FilesSource.read else self
    return shared_preprocessing.traced_once(
        (reader, self._parse, split, shuffle),
        functools.partial(self._examples, split=split, shuffle=shuffle),
        files,
    )

  def _examples(
      self, files: tf.data.Dataset, split: str, shuffle: bool
  ) -> tf.data.Dataset:
    """The examples of files, in the order of the files unless shuffled."""

    def chunks(file):
      with errors.in_dataset():
        records = self.read(file.decode("utf-8"), split)
        while chunk := list(itertools.islice(records, _CHUNK)):
          yield chunk

    def records(file):
      return tf.data.Dataset.from_generator(
          chunks,
          args=(file,),
          output_signature=tf.TensorSpec([None], tf.string),
      ).unbatch()

    return files.interleave(
        records,
        cycle_length=_CYCLE_LENGTH if shuffle else 1,
        block_length=_BLOCK_LENGTH,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    ).map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)


class EitherSource(sources.Source):
  """Files if gin names them, otherwise TensorFlow Datasets."""

  def __init__(
      self,
      files: FilesSource,
      tfds_source: sources.TfdsSource,
      use_files: Callable[[], bool],
  ):
    """Stores the arguments; reads nothing.

    Args:
      files: the source of files.
      tfds_source: the source in TFDS, with the same splits.
      use_files: returns whether to use the files; called at each use.
    """
    super().__init__(splits=files.splits)
    self._files = files
    self._tfds_source = tfds_source
    self._use_files = use_files

  @property
  def chosen(self) -> sources.Source:
    """The source in use."""
    return self._files if self._use_files() else self._tfds_source

  def describe(self) -> str:
    """See base class."""
    return self.chosen.describe()

  def is_present(self) -> bool:
    """See base class."""
    return self.chosen.is_present()

  def missing_splits(self) -> list[str]:
    """See `chosen`."""
    return self.chosen.missing_splits()

  def list_shards(self, split: str) -> Sequence[str]:
    """See `chosen`."""
    return self.chosen.list_shards(split)

  def num_input_examples(self, split: str) -> int | None:
    """See `chosen`."""
    return self.chosen.num_input_examples(split)

  def get_dataset(self, split: str = "train", *args, **kwargs):
    """See `chosen`."""
    return self.chosen.get_dataset(split, *args, **kwargs)


def _is_there(find_files, split: str) -> bool:
  try:
    return bool(find_files(split))
  except errors.DataError:
    return False
