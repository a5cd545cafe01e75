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

"""Where records come from: prepared text, files, or TensorFlow Datasets."""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import itertools

import seqio
import tensorflow.compat.v2 as tf
import tensorflow_datasets as tfds

from tasks import errors
from tasks import prepared_text

# Documents are shuffled among as many as this holds; all, for most texts.
SHUFFLE_BYTES = 256 * 2**20

# Records that cross from Python to TensorFlow at a time.
_CHUNK = 64

# Files that are read side by side when shuffled, and records of each at a time.
_CYCLE_LENGTH = 16
_BLOCK_LENGTH = 16


class Source(seqio.DataSource):
  """A data source that can say what it is and whether its data is there."""

  @abc.abstractmethod
  def describe(self) -> str:
    """Where the data comes from, in a few words."""

  @abc.abstractmethod
  def is_present(self) -> bool:
    """Whether it is on the disk; builds and downloads nothing."""

  @property
  def supports_arbitrary_sharding(self) -> bool:
    """As seqio.FileDataSource: no."""
    return False


class PreparedTextSource(Source):
  """Documents of a prepared text, which is prepared on first use."""

  def __init__(
      self,
      text: Callable[[], prepared_text.PreparedText],
      describe: Callable[[], str],
      is_present: Callable[[], bool] = lambda: True,
  ):
    """Does no work.

    Args:
      text: returns the text.
      describe: says where the text comes from.
      is_present: whether what the text is made of is there.
    """
    super().__init__(splits=prepared_text.SPLITS)
    self._text = text
    self._describe = describe
    self._is_present = is_present

  def describe(self) -> str:
    """See base class."""
    return self._describe()

  def is_present(self) -> bool:
    """See base class."""
    return self._is_present()

  def list_shards(self, split: str) -> Sequence[str]:
    """Returns one name: there is one file for each split."""
    return [split]

  def num_input_examples(self, split: str) -> int:
    """Returns the number of documents in a split."""
    return self._text().num_documents(split)

  def get_dataset(
      self,
      split: str = "train",
      shuffle: bool = True,
      seed: int | None = None,
      shard_info: seqio.ShardInfo | None = None,
      **unused,
  ) -> tf.data.Dataset:
    """Returns the documents.

    Args:
      split: one of prepared_text.SPLITS.
      shuffle: whether to shuffle the documents.
      seed: of the shuffling.
      shard_info: a part to take; seqio asks for one only of as many as there
        are in `list_shards`, that is for all.
      **unused: what seqio hands to every source.

    Returns:
      Examples with one feature, "text".

    Raises:
      DataError: there is no such split.
    """
    _check_split(split, self.splits)
    text = self._text()
    dataset = tf.data.TFRecordDataset(text.path(split))
    if shuffle:
      num_documents = text.num_documents(split)
      bytes_a_document = text.num_bytes(split) / num_documents
      buffer_size = min(num_documents, int(SHUFFLE_BYTES / bytes_a_document))
      dataset = dataset.shuffle(max(1, buffer_size), seed=seed)
    return dataset.map(lambda document: {"text": document})


class TfdsSource(Source, seqio.TfdsDataSource):
  """A prepared dataset of TensorFlow Datasets; never downloads."""

  def __init__(
      self,
      tfds_name: str | Callable[[], str],
      splits: Mapping[str, str] | Iterable[str],
  ):
    """Does no work.

    Args:
      tfds_name: with config and version, "super_glue/cb:1.0.2"; or a function
        that returns it when the source is used.
      splits: the names of splits, or TFDS's name of each.
    """
    self._name = tfds_name if callable(tfds_name) else lambda: tfds_name
    if not isinstance(splits, Mapping):
      splits = {split: split for split in splits}
    self._split_map = dict(splits)
    seqio.DataSource.__init__(self, splits=self._split_map)

  @property
  def tfds_dataset(self) -> seqio.LazyTfdsLoader:
    """seqio's loader, which remembers the builders of the process."""
    return seqio.LazyTfdsLoader(
        self._name(), split_map=self._split_map, read_only=True
    )

  def describe(self) -> str:
    """See base class."""
    return f"TFDS {self._name()}"

  def is_present(self) -> bool:
    """See base class."""
    try:
      return self.tfds_dataset.builder.is_prepared()
    except AssertionError:  # Of a version that TFDS does not know.
      return False

  def get_dataset(self, split: str = "train", *args, **kwargs):
    """As seqio.TfdsDataSource; a DataError if the dataset is not prepared."""
    self._check(split)
    return super().get_dataset(split, *args, **kwargs)

  def num_input_examples(self, split: str) -> int:
    """As seqio.TfdsDataSource; a DataError if the dataset is not prepared."""
    self._check(split)
    return super().num_input_examples(split)

  def list_shards(self, split: str) -> Sequence[str]:
    """As seqio.TfdsDataSource; a DataError if the dataset is not prepared."""
    self._check(split)
    return [
        str(instruction.filename)
        for instruction in self.tfds_dataset.files(split)
    ]

  def _check(self, split: str):
    _check_split(split, self.splits)
    if not self.is_present():
      name = self._name()
      directory = self.tfds_dataset.data_dir or tfds.core.constants.DATA_DIR
      raise errors.DataError(
          f"The dataset {name} is not prepared in {directory}; where there is "
          'internet, python -c "import tensorflow_datasets as tfds; '
          f"tfds.load('{name}')\" prepares it; if it is elsewhere, say so with "
          "--t5_tfds_data_dir."
      )


class FilesSource(Source):
  """Records of files, read in Python, in an order that the seed decides."""

  def __init__(
      self,
      find_files: Callable[[str], Sequence[str]],
      read: Callable[[str], Iterator[bytes]],
      parse: Callable[[tf.Tensor], Mapping[str, tf.Tensor]],
      splits: Iterable[str],
      describe: Callable[[], str],
      count: bool = False,
  ):
    """Does no work.

    Args:
      find_files: returns the files of a split; a DataError if there are none.
      read: yields the records of a file.
      parse: makes an example of a record, a string scalar, in graph operations.
      splits: the names of the splits.
      describe: says where the data comes from.
      count: whether `num_input_examples` reads the files to count the records;
        for data that is small.
    """
    super().__init__(splits=splits)
    self._find_files = find_files
    self._read = read
    self._parse = parse
    self._describe = describe
    self._count = count
    self._counts: dict[tuple[str, ...], int] = {}

  def describe(self) -> str:
    """See base class."""
    return self._describe()

  def is_present(self) -> bool:
    """See base class."""
    return any(_is_there(self._find_files, split) for split in self.splits)

  def list_shards(self, split: str) -> Sequence[str]:
    """Returns the files of a split."""
    _check_split(split, self.splits)
    return list(self._find_files(split))

  def num_input_examples(self, split: str) -> int | None:
    """Returns the number of records; None where counting would take long."""
    if not self._count:
      return None
    files = tuple(self.list_shards(split))
    if files not in self._counts:
      self._counts[files] = sum(1 for file in files for _ in self._read(file))
    return self._counts[files]

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
      shuffle: whether to shuffle the files and to read several side by side.
      seed: of the shuffling.
      shard_info: which part of the files to take.
      **unused: what seqio hands to every source.

    Raises:
      DataError: there are no files; what is found wrong while the dataset is
        read is raised inside of it (see `errors.in_dataset`).
    """
    paths = self.list_shards(split)
    files = tf.data.Dataset.from_tensor_slices(paths)
    if shard_info:
      files = files.shard(shard_info.num_shards, shard_info.index)
    if shuffle:
      files = files.shuffle(len(paths), seed=seed)

    def chunks(file):
      with errors.in_dataset():
        records = self._read(file.decode("utf-8"))
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


class EitherSource(Source):
  """Files where gin names them, else TensorFlow Datasets."""

  def __init__(
      self,
      files: FilesSource,
      tfds_source: TfdsSource,
      use_files: Callable[[], bool],
  ):
    """Does no work.

    Args:
      files: one of the two.
      tfds_source: the other; has the same splits.
      use_files: says which; asked whenever the source is used.
    """
    super().__init__(splits=files.splits)
    self._files = files
    self._tfds_source = tfds_source
    self._use_files = use_files

  @property
  def chosen(self) -> Source:
    """The one that is used."""
    return self._files if self._use_files() else self._tfds_source

  def describe(self) -> str:
    """See base class."""
    return self.chosen.describe()

  def is_present(self) -> bool:
    """See base class."""
    return self.chosen.is_present()

  def list_shards(self, split: str) -> Sequence[str]:
    """See the one that is used."""
    return self.chosen.list_shards(split)

  def num_input_examples(self, split: str) -> int | None:
    """See the one that is used."""
    return self.chosen.num_input_examples(split)

  def get_dataset(self, split: str = "train", *args, **kwargs):
    """See the one that is used."""
    return self.chosen.get_dataset(split, *args, **kwargs)


def _is_there(find_files, split: str) -> bool:
  try:
    return bool(find_files(split))
  except errors.DataError:
    return False


def _check_split(split: str, splits: Iterable[str]):
  if split not in splits:
    raise errors.DataError(
        f"There is no split {split!r}; there are {' and '.join(splits)}."
    )
