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

"""SuperGLUE, GLUE and SQuAD from the official files, unpacked on disk.

gin's `super_glue.directory`, `glue.directory` and `squad.directory` name their
directories; without them, the data comes from TensorFlow Datasets.
"""

from collections.abc import Callable, Iterator, Sequence
import functools
import os
from typing import NamedTuple

import gin
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from tasks import errors
from tasks import file_sources
from tasks import official_records
from tasks import records
from tasks import sources


@gin.configurable("super_glue", module="tasks")
def super_glue_directory(directory: str | None = None) -> str | None:
  """Returns the directory of SuperGLUE (BoolQ/train.jsonl ...), from gin."""
  return directory


@gin.configurable("glue", module="tasks")
def glue_directory(directory: str | None = None) -> str | None:
  """Returns the directory of GLUE (CoLA/train.tsv ...), from gin."""
  return directory


@gin.configurable("squad", module="tasks")
class SquadFiles(NamedTuple):
  """The files of SQuAD, from gin.

  Attributes:
    directory: the directory of the files.
    train_file: the file of the training set.
    validation_file: the file of the development set.
  """

  directory: str | None = None
  train_file: str = "train-v1.1.json"
  validation_file: str = "dev-v1.1.json"


def super_glue_file(config: tfds.core.BuilderConfig, split: str) -> str:
  """Returns the file of a split within SuperGLUE's directory."""
  folder = os.path.splitext(os.path.basename(config.data_url))[0]
  if folder.startswith("AX"):
    return f"{folder}/{folder}.jsonl"
  return f"{folder}/{split.replace('validation', 'val')}.jsonl"


def glue_file(config: tfds.core.BuilderConfig, split: str) -> str:
  """Returns the file of a split within GLUE's directory."""
  if config.name == "ax":
    return "diagnostic/diagnostic.tsv"
  name = split.replace("validation", "dev")
  kind = config.name.removeprefix("mnli")  # "_matched", "_mismatched" or "".
  if config.name.startswith("mnli") and not name.endswith(kind):
    name += kind
  return f"{config.data_dir}/{name}.tsv"


def squad_file(config: tfds.core.BuilderConfig, split: str) -> str:
  """Returns the file of a split within SQuAD's directory."""
  del config
  return getattr(SquadFiles(), f"{split}_file")


class _Dataset(NamedTuple):
  """The layout and the readers of a dataset's files; see official_records."""

  directory: Callable[[], str | None]
  file: Callable
  entries: Callable
  examples: Callable


DATASETS = {
    "super_glue": _Dataset(
        super_glue_directory,
        super_glue_file,
        official_records.super_glue_entries,
        official_records.super_glue_examples,
    ),
    "glue": _Dataset(
        glue_directory,
        glue_file,
        official_records.glue_entries,
        official_records.glue_examples,
    ),
    "squad": _Dataset(
        lambda: SquadFiles().directory,
        squad_file,
        official_records.squad_entries,
        official_records.squad_examples,
    ),
}


@functools.cache
def builder(name: str, config: str) -> tfds.core.DatasetBuilder:
  """Returns TFDS's builder, for its configuration and features only."""
  # At a path that cannot exist, so that it does not search for data.
  return tfds.builder_cls(name)(config=config, data_dir=os.devnull)


def read(name: str, config: str, file: str) -> Iterator[bytes]:
  """Yields the examples of an official file, serialized as TFDS does.

  Broken records are skipped.

  Args:
    name: a key of DATASETS.
    config: TFDS's name of the task.
    file: any path that tf.io.gfile can read, local or remote.

  Raises:
    DataError: the file cannot be read, or too many records are broken.
  """
  dataset = DATASETS[name]
  info = builder(name, config)
  features = info.info.features
  labelled = official_records.is_labelled(file)
  for place, entry in dataset.entries(info.builder_config, file):
    try:
      examples = [
          features.serialize_example(features.encode_example(example))
          for example in dataset.examples(info.builder_config, entry, labelled)
      ]
    except official_records.BROKEN as error:
      records.skip(place, official_records.problem(error))
    else:
      yield from examples


def source(tfds_name: str, splits: Sequence[str]) -> file_sources.EitherSource:
  """Returns a source of the official files if gin names their directory.

  Args:
    tfds_name: the dataset to read otherwise, "super_glue/cb:1.0.2".
    splits: the names of the splits.
  """
  name, config = tfds_name.partition(":")[0].split("/")
  dataset = DATASETS[name]

  def find_files(split: str) -> list[str]:
    directory = os.path.expanduser(dataset.directory())
    file = dataset.file(builder(name, config).builder_config, split)
    path = os.path.join(directory, file)
    if not tf.io.gfile.exists(path):
      raise errors.DataError(
          f"{name}.directory = {directory!r}: there is no {file}, which the "
          f"{split} split of {name}/{config} is read from."
      )
    return [path]

  return file_sources.EitherSource(
      file_sources.FilesSource(
          find_files,
          read=functools.partial(read, name, config),
          parse=lambda record: builder(
              name, config
          ).info.features.deserialize_example(record),
          splits=splits,
          describe=lambda: f"{config} of {dataset.directory()}",
          count=True,
      ),
      sources.TfdsSource(tfds_name, splits),
      use_files=lambda: dataset.directory() is not None,
  )
