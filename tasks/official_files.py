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

gin's `super_glue.directory`, `squad.directory`, `anli.directory` and so on name
their directories; without them, the data comes from TensorFlow Datasets.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import functools
import itertools
import os
import re
from typing import Any, NamedTuple
import warnings

import gin
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from tasks import errors
from tasks import file_sources
from tasks import official_records
from tasks import published_files
from tasks import published_news
from tasks import published_questions
from tasks import published_sentences
from tasks import records
from tasks import sources
from tasks import tables

# TFDS's name of a part of a split, "train[:100]" or "train[100:]".
_SECTION = re.compile(r"(\w+)\[(\d*):(\d*)\]")


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


def _from_gin(name: str) -> Callable[[], str | None]:
  """Returns gin's configurable for the directory of a dataset."""

  def configurable(directory: str | None = None) -> str | None:
    return directory

  return gin.external_configurable(configurable, name, module="tasks")


def super_glue_files(
    config: tfds.core.BuilderConfig, split: str
) -> tuple[str, ...]:
  """Returns the file of a split within SuperGLUE's directory."""
  folder = os.path.splitext(os.path.basename(config.data_url))[0]
  if folder.startswith("AX"):
    return (f"{folder}/{folder}.jsonl",)
  return (f"{folder}/{split.replace('validation', 'val')}.jsonl",)


def glue_files(
    config: tfds.core.BuilderConfig, split: str
) -> tuple[str, ...]:
  """Returns the files of a split within GLUE's directory; one is enough."""
  if config.name == "ax":
    return ("diagnostic/diagnostic.tsv",)
  name = split.replace("validation", "dev")
  kind = config.name.removeprefix("mnli")  # "_matched", "_mismatched" or "".
  if config.name.startswith("mnli") and not name.endswith(kind):
    name += kind
  files = (f"{config.data_dir}/{name}.tsv",)
  if config.name == "mrpc":
    original = "test" if split == "test" else "train"
    files += (f"{config.data_dir}/{official_records.MRPC}{original}.txt",)
  return files


def squad_files(
    config: tfds.core.BuilderConfig, split: str
) -> tuple[str, ...]:
  """Returns the file of a split within SQuAD's directory."""
  del config
  return (getattr(SquadFiles(), f"{split}_file"),)


class _Dataset(NamedTuple):
  """The places and the readers of a dataset's files; see official_records.

  Attributes:
    setting: gin's name for the directory.
    directory: returns gin's value.
    entries: yields the place and content of each record of a file of a split.
    examples: converts a content to TFDS's examples.
    files: returns the names of the file of a split, of which one is there; None
      for one of published_files.LAYOUTS.
    key: returns TFDS's key of a record, from its number, content and split.
  """

  setting: str
  directory: Callable[[], str | None]
  examples: Callable
  entries: Callable = lambda config, file, split: tables.rows(file)
  files: Callable | None = None
  key: Callable[[int, Any, str], Any] = lambda number, entry, split: number


def _published(name: str, *readers, **kwargs) -> _Dataset:
  return _Dataset(f"{name}.directory", _from_gin(name), *readers, **kwargs)


# By TFDS's names.
DATASETS = {
    "super_glue": _Dataset(
        "super_glue.directory",
        super_glue_directory,
        official_records.super_glue_examples,
        official_records.super_glue_entries,
        super_glue_files,
    ),
    "glue": _Dataset(
        "glue.directory",
        glue_directory,
        official_records.glue_examples,
        official_records.glue_entries,
        glue_files,
    ),
    "squad": _Dataset(
        "squad.directory",
        lambda: SquadFiles().directory,
        official_records.squad_examples,
        official_records.squad_entries,
        squad_files,
    ),
    "definite_pronoun_resolution": _published(
        "dpr",
        published_sentences.dpr_examples,
        published_sentences.dpr_entries,
    ),
    "anli": _published("anli", published_sentences.anli_examples),
    "winogrande": _published(
        "winogrande",
        published_sentences.winogrande_examples,
        published_sentences.winogrande_entries,
    ),
    "ai2_arc": _published("arc", published_questions.arc_examples),
    "natural_questions_open": _published(
        "natural_questions", published_questions.natural_questions_examples
    ),
    "web_questions": _published(
        "web_questions", published_questions.web_questions_examples
    ),
    "trivia_qa": _published(
        "trivia_qa",
        published_questions.trivia_qa_examples,
        published_questions.trivia_qa_entries,
        key=published_questions.trivia_qa_key,
    ),
    "xsum": _published(
        "xsum", published_news.xsum_examples, published_news.xsum_entries
    ),
    "cnn_dailymail": _published(
        "cnn_dailymail", published_news.cnn_examples, published_news.cnn_entries
    ),
}


@functools.cache
def builder(name: str, config: str) -> tfds.core.DatasetBuilder:
  """Returns TFDS's builder, for its configuration and features only."""
  # At a path that cannot exist, so that it does not search for data.
  return tfds.builder_cls(name)(config=config or None, data_dir=os.devnull)


def directory_of(name: str) -> str | None:
  """Returns the user's directory of a dataset; None if gin has none.

  Args:
    name: a key of DATASETS.

  Raises:
    DataError: it is no path.
  """
  dataset = DATASETS[name]
  directory = dataset.directory()
  if directory is None:
    return None
  if not isinstance(directory, (str, os.PathLike)) or not str(directory):
    raise errors.DataError(
        f"{dataset.setting} = {directory!r}: the path of a directory is needed."
    )
  return os.path.expanduser(directory)


def files_of(name: str, config: str, split: str) -> list[str]:
  """Returns the files of a split; a DataError if there are none.

  Args:
    name: a key of DATASETS.
    config: TFDS's name of the configuration, or "".
    split: TFDS's name of the split.
  """
  dataset = DATASETS[name]
  directory = directory_of(name)
  if dataset.files is None:
    return published_files.find(
        name, dataset.setting, directory, config, split
    )
  files = dataset.files(builder(name, config).builder_config, split)
  for file in files:
    for path in (os.path.join(directory, file + end) for end in ("", ".gz")):
      if tf.io.gfile.exists(path):
        return [path]
  raise errors.DataError(
      f"{dataset.setting} = {directory!r}: there is no {' or '.join(files)}, "
      f"which the {split} split of {name}/{config} is read from; "
      f"{published_files.found(directory)}."
  )


def read(name: str, config: str, file: str, split: str) -> Iterator[bytes]:
  """Yields the examples of a file, serialized as TFDS does.

  Broken records are skipped.

  Args:
    name: a key of DATASETS.
    config: TFDS's name of the configuration, or "".
    file: any path that tf.io.gfile can read, local or remote.
    split: TFDS's name of the split, or of a section of it, for which all files
      of the split are read.

  Raises:
    DataError: the file cannot be read, or too many records are broken.
  """
  dataset = DATASETS[name]
  info = builder(name, config)
  features = info.info.features
  section = _SECTION.fullmatch(split)
  split = section[1] if section else split
  labelled = not split.startswith("test")
  entries = dataset.entries(info.builder_config, file, split)
  if section:
    entries = _section(name, config, *section.groups())
  for place, entry in entries:
    try:
      examples = [
          features.serialize_example(features.encode_example(example))
          for example in dataset.examples(info.builder_config, entry, labelled)
      ]
    except official_records.BROKEN as error:
      records.skip(place, official_records.problem(error))
    else:
      yield from examples


def _section(
    name: str, config: str, split: str, start: str, stop: str
) -> list[tuple[str, Any]]:
  """Returns the records of "split[start:stop]", in TFDS's order.

  Of a split that is shorter than where it is cut, the last tenth is the second
  section.
  """
  dataset = DATASETS[name]
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

  def find_files(split: str) -> list[str]:
    section = _SECTION.fullmatch(splits[split])
    files = files_of(name, config, section[1] if section else splits[split])
    return files[:1] if section else files  # `read` reads them all.

  return file_sources.EitherSource(
      file_sources.FilesSource(
          find_files,
          read=lambda file, split: read(name, config, file, splits[split]),
          parse=lambda record: builder(
              name, config
          ).info.features.deserialize_example(record),
          splits=splits,
          describe=lambda: f"{config or name} of {directory_of(name)}",
          count=True,
          read_takes_split=True,
      ),
      sources.TfdsSource(tfds_name, splits, DATASETS[name].setting),
      use_files=lambda: directory_of(name) is not None,
  )
