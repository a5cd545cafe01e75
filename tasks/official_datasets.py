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

"""The published datasets that are read from files, and their directories.

gin's `super_glue.directory`, `squad.directory`, `anli.directory` and so on name
them.
"""

from collections.abc import Callable
import os
from typing import Any, NamedTuple

import gin
import tensorflow_datasets as tfds

from tasks import official_records
from tasks import published_news
from tasks import published_questions
from tasks import published_sentences
from tasks import tables


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


def glue_files(config: tfds.core.BuilderConfig, split: str) -> tuple[str, ...]:
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


def squad_files(config: tfds.core.BuilderConfig, split: str) -> tuple[str, ...]:
  """Returns the file of a split within SQuAD's directory."""
  del config
  return (getattr(SquadFiles(), f"{split}_file"),)


class Dataset(NamedTuple):
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


def _published(name: str, *readers, **kwargs) -> Dataset:
  return Dataset(f"{name}.directory", _from_gin(name), *readers, **kwargs)


# By TFDS's names.
DATASETS = {
    "super_glue": Dataset(
        "super_glue.directory",
        super_glue_directory,
        official_records.super_glue_examples,
        official_records.super_glue_entries,
        super_glue_files,
    ),
    "glue": Dataset(
        "glue.directory",
        glue_directory,
        official_records.glue_examples,
        official_records.glue_entries,
        glue_files,
    ),
    "squad": Dataset(
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
