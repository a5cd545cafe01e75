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

"""Data sources of tasks: prepared text and TensorFlow Datasets."""

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import seqio
import tensorflow.compat.v2 as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import hashing

from tasks import errors
from tasks import prepared_text
from tasks import waits

# The size of the shuffle buffer, which holds all documents of most texts.
SHUFFLE_BYTES = 256 * 2**20


class Source(seqio.DataSource):
  """A data source that knows its origin and whether its data is present."""

  @abc.abstractmethod
  def describe(self) -> str:
    """Returns the origin of the data, in a few words."""

  @abc.abstractmethod
  def is_present(self) -> bool:
    """Returns whether the data is present; builds and downloads nothing."""

  def missing_splits(self) -> list[str]:
    """Returns the splits whose data is not present; as `is_present`."""
    return [] if self.is_present() else list(self.splits)

  @property
  def supports_arbitrary_sharding(self) -> bool:
    """False, as for seqio.FileDataSource."""
    return False


class PreparedTextSource(Source):
  """The documents of a text, which is prepared on first use."""

  def __init__(
      self,
      text: Callable[[], prepared_text.PreparedText],
      describe: Callable[[], str],
      is_present: Callable[[], bool] = lambda: True,
      splits: Sequence[str] = prepared_text.SPLITS,
  ):
    """Stores the arguments; reads nothing.

    Args:
      text: returns the text.
      describe: describes the origin of the text.
      is_present: returns whether the data to prepare the text from is present.
      splits: the names of the text's splits.
    """
    super().__init__(splits=splits)
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
    """Returns a single name, as each split has one file."""
    return [split]

  def num_input_examples(self, split: str) -> int:
    """Returns the number of documents; an EmptySplitError without any."""
    return self._text_with(split).num_documents(split)

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
      split: one of the text's.
      shuffle: whether to shuffle the documents.
      seed: of the shuffling.
      shard_info: unused, because seqio asks for as many parts as `list_shards`
        has, that is one.
      **unused: other arguments of seqio.

    Returns:
      examples with one feature, "text".

    Raises:
      DataError: there is no such split, or an EmptySplitError.
    """
    check_split(split, self.splits)
    waits.source_opened()
    text = self._text_with(split)
    dataset = tf.data.TFRecordDataset(text.path(split))
    if shuffle:
      num_documents = text.num_documents(split)
      bytes_a_document = text.num_bytes(split) / num_documents
      buffer_size = min(num_documents, int(SHUFFLE_BYTES / bytes_a_document))
      dataset = dataset.shuffle(max(1, buffer_size), seed=seed)
    return dataset.map(lambda document: {"text": document})

  def _text_with(self, split: str) -> prepared_text.PreparedText:
    """Returns the text, whose split has documents."""
    text = self._text()
    if not text.num_documents(split):
      raise errors.EmptySplitError(
          f"{self.describe()}: with {text.num_bytes('train')} bytes to train "
          f"on there is nothing for the {split!r} split; take more text "
          "(docstrings.max_bytes of the embedded corpus)."
      )
    return text


class TfdsSource(Source, seqio.TfdsDataSource):
  """A prepared dataset of TensorFlow Datasets; never downloads."""

  def __init__(
      self,
      tfds_name: str | Callable[[], str],
      splits: Mapping[str, str] | Iterable[str],
      instead: str = "",
  ):
    """Stores the arguments; reads nothing.

    Args:
      tfds_name: with config and version, "super_glue/cb:1.0.2"; or a function
        that returns it, called at each use.
      splits: the names of the splits, or TFDS's name of each.
      instead: gin's name for files that can be read instead.
    """
    self._instead = instead
    self._name = tfds_name if callable(tfds_name) else lambda: tfds_name
    if not isinstance(splits, Mapping):
      splits = {split: split for split in splits}
    self._split_map = dict(splits)
    seqio.DataSource.__init__(self, splits=self._split_map)

  @property
  def tfds_dataset(self) -> seqio.LazyTfdsLoader:
    """seqio's loader, which caches the builders in this process."""
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
    except AssertionError:  # TFDS does not know the version.
      return False

  def missing_splits(self) -> list[str]:
    """See base class."""
    if not self.is_present():
      return list(self.splits)
    there = self.tfds_dataset.builder.info.splits
    return [
        split
        for split, name in self._split_map.items()
        if name.partition("[")[0] not in there  # "train[90%:]" is a part.
    ]

  def get_dataset(self, split: str = "train", *args, **kwargs):
    """As seqio.TfdsDataSource; a DataError if the dataset is not prepared."""
    self._check(split)
    waits.source_opened()
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
    check_split(split, self.splits)
    if not self.is_present():
      name = self._name()
      directory = self.tfds_dataset.data_dir or tfds.core.constants.DATA_DIR
      raise errors.DataError(
          f"The dataset {name} is not prepared in {directory}; with internet "
          'access, python -c "import tensorflow_datasets as tfds; '
          f"tfds.load('{name}')\" prepares it; if it is in another directory, "
          "set --t5_tfds_data_dir"
          + (
              f"; {self._instead} reads published files instead (docs/data.md)."
              if self._instead
              else "."
          )
      )
    if split in self.missing_splits():
      there = ", ".join(self.tfds_dataset.builder.info.splits)
      raise errors.DataError(
          f"The dataset {self._name()} in "
          f"{self.tfds_dataset.builder.data_path} has no "
          f"{self._split_map[split]!r} split; it has {there}."
      )


def check_split(split: str, splits: Iterable[str]):
  """Raises a DataError if there is no such split."""
  if split not in splits:
    raise errors.DataError(
        f"There is no split {split!r}; there are {' and '.join(splits)}."
    )


def in_tfds_order(split: str, keys: Sequence[Any]) -> list[int]:
  """Returns the numbers of records in the order that TFDS writes them in.

  Args:
    split: TFDS's name of the split, which salts the order.
    keys: TFDS's key of each record, an integer or text.
  """
  hasher = hashing.Hasher(split)
  return sorted(range(len(keys)), key=lambda n: hasher.hash_key(keys[n]))
