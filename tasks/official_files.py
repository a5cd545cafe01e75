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

"""Published datasets from files on disk, in place of TensorFlow Datasets.

Those whose directory gin names (official_datasets.py) come from there.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
import itertools
import os
import re
from typing import Any
import warnings

import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from tasks import errors
from tasks import file_sources
from tasks import official_datasets
from tasks import official_records
from tasks import paths
from tasks import published_files
from tasks import records
from tasks import sources
from tasks import tables

# TFDS's name of a part of a split, "train[:100]" or "train[100:]".
_SECTION = re.compile(r"(\w+)\[(\d*):(\d*)\]")


@functools.cache
def builder(name: str, config: str) -> tfds.core.DatasetBuilder:
  """Returns TFDS's builder, for its configuration and features only."""
  # At a path that cannot exist, so that it does not search for data.
  return tfds.builder_cls(name)(config=config or None, data_dir=os.devnull)


def directory_of(name: str) -> str | None:
  """Returns the user's directory of a dataset; None if gin has none.

  Args:
    name: a key of official_datasets.DATASETS.
  """
  directory = official_datasets.DATASETS[name].directory()
  return None if directory is None else os.path.expanduser(directory)


def files_of(name: str, config: str, split: str) -> list[str]:
  """Returns the files of a split; a DataError if there are none.

  Args:
    name: a key of official_datasets.DATASETS.
    config: TFDS's name of the configuration, or "".
    split: TFDS's name of the split.
  """
  dataset = official_datasets.DATASETS[name]
  directory = directory_of(name)
  if problem := paths.problem_of_remote(directory):
    raise errors.DataError(f"{dataset.setting} = {directory!r} {problem}.")
  if dataset.files is None:
    return published_files.find(name, dataset.setting, directory, config, split)
  files = dataset.files(builder(name, config).builder_config, split)
  for file in files:
    for path in (os.path.join(directory, file + end) for end in ("", ".gz")):
      if tf.io.gfile.exists(path):
        return [path]
  hub = published_files.find_hub_parquet(
      dataset.setting, directory, config, split
  )
  if hub:
    return hub
  raise errors.DataError(
      f"{dataset.setting} = {directory!r}: there is no {' or '.join(files)}, "
      f"which the {split} split of {name}/{config} is read from; "
      f"{published_files.found(directory, files[0])}."
  )


def read(name: str, config: str, file: str, split: str) -> Iterator[bytes]:
  """Yields the examples of a file, serialized as TFDS does.

  Broken records are skipped.

  Args:
    name: a key of official_datasets.DATASETS.
    config: TFDS's name of the configuration, or "".
    file: any path that tf.io.gfile can read, local or remote.
    split: TFDS's name of the split, or of a section of it, for which all files
      of the split are read.

  Raises:
    DataError: the file cannot be read, or too many records are broken.
  """
  dataset = official_datasets.DATASETS[name]
  info = builder(name, config)
  features = info.info.features
  section = _SECTION.fullmatch(split)
  split = section[1] if section else split
  labelled = not split.startswith("test")
  to_examples = dataset.examples
  if dataset.files is not None and tables.ending(file) == ".parquet":
    entries = tables.rows(file)  # The hub's, which have TFDS's features.
    to_examples = functools.partial(_hub_examples, features)
  else:
    entries = dataset.entries(info.builder_config, file, split)
  if section:
    entries = _section(name, config, *section.groups())
  for place, entry in entries:
    try:
      examples = [
          features.serialize_example(features.encode_example(example))
          for example in to_examples(info.builder_config, entry, labelled)
      ]
    except official_records.BROKEN as error:
      records.skip(place, official_records.problem(error))
    else:
      yield from examples


def _hub_examples(
    features: Mapping[str, Any],
    config: tfds.core.BuilderConfig,
    entry: Mapping[str, Any],
    labelled: bool,
) -> list[dict[str, Any]]:
  """Returns the example of a row of the hub, which has TFDS's features."""
  del config
  example = {name: entry[name] for name in features}
  if labelled and example.get("label") == -1:
    raise ValueError("it has no label")
  return [example]


def _section(
    name: str, config: str, split: str, start: str, stop: str
) -> list[tuple[str, Any]]:
  """Returns the records of "split[start:stop]", in TFDS's order.

  Of a split that is shorter than where it is cut, the last tenth is the second
  section.
  """
  dataset = official_datasets.DATASETS[name]
  config_of = builder(name, config).builder_config
  entries = list(
      itertools.chain.from_iterable(
          dataset.entries(config_of, file, split)
          for file in files_of(name, config, split)
      )
  )
  cut = int(start or stop)
  if len(entries) <= cut:
    shorter = max(1, len(entries) * 9 // 10)
    warnings.warn(
        f"{dataset.setting}: the {split} split has {len(entries):,} records "
        f"and not more than {cut:,}, after which the validation split would "
        f"start; it starts after {shorter:,}.",
        errors.DataNotice,
        stacklevel=2,
    )
    cut = shorter
  keys = [dataset.key(n, entry, split) for n, (_, entry) in enumerate(entries)]
  order = sources.in_tfds_order(split, keys)
  return [entries[n] for n in (order[cut:] if start else order[:cut])]


class _PublishedSource(file_sources.FilesSource):
  """The splits of a dataset, or sections of them, in the user's files."""

  def __init__(self, name: str, config: str, splits: Mapping[str, str]):
    """Stores the arguments; reads nothing.

    Args:
      name: a key of official_datasets.DATASETS.
      config: TFDS's name of the configuration, or "".
      splits: TFDS's name of each split.
    """
    super().__init__(
        self._files,
        read=lambda file: self.read(file, "train"),
        parse=lambda record: builder(
            name, config
        ).info.features.deserialize_example(record),
        splits=splits,
        describe=lambda: f"{config or name} of {directory_of(name)}",
        count=True,
    )
    self._name = name
    self._config = config
    self._of_tfds = splits

  def _files(self, split: str) -> list[str]:
    """Returns the files of a split."""
    split = self._of_tfds[split]
    section = _SECTION.fullmatch(split)
    files = files_of(self._name, self._config, section[1] if section else split)
    return files[:1] if section else files  # `read` reads them all.

  def read(self, file: str, split: str) -> Iterator[bytes]:
    """See base class."""
    return read(self._name, self._config, file, self._of_tfds[split])


def source(
    tfds_name: str, splits: Mapping[str, str] | Sequence[str]
) -> file_sources.EitherSource:
  """Returns a source of published files if gin names their directory.

  Args:
    tfds_name: the dataset to read otherwise, "super_glue/cb:1.0.2".
    splits: the names of the splits, or TFDS's name of each.
  """
  name, _, config = tfds_name.partition(":")[0].partition("/")
  if not isinstance(splits, Mapping):
    splits = {split: split for split in splits}
  return file_sources.EitherSource(
      _PublishedSource(name, config, splits),
      sources.TfdsSource(
          tfds_name, splits, official_datasets.DATASETS[name].setting
      ),
      use_files=lambda: directory_of(name) is not None,
  )
