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

"""Where the files of published datasets are within a directory of the user's.

The archives of the publishers and the repositories of the Hugging Face hub
differ in their folders and names. LAYOUTS has all of a dataset's; the first one
that is there is read.
"""

from collections.abc import Mapping, Sequence
import os
import re
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from tasks import errors

# Endings of tables; in this order, if a split is there in several forms.
TABLES = (".jsonl", ".json", ".csv", ".parquet")

_ARCHIVES = (".zip", ".tgz", ".tar.gz", ".tar", ".bz2", ".7z")
_MAX_NAMES = 8

# The names of the splits in the hub's and others' tables.
_SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "dev", "val"),
    "test": ("test",),
}
_DEV = {"train": "train", "validation": "dev", "test": "test"}


class Layout(NamedTuple):
  """The places of a dataset's files, without their endings.

  A file may be cut in parts: "train-00000-of-00003.parquet", as in the hub's
  repositories, or "train/0000.parquet", as in its converted ones.

  Attributes:
    own: the publisher's, with {config} and {split}.
    words: the publisher's names of the splits.
    folders: the folders of the configuration in the hub, with {config}.
    prefixes: what may stand before the split in the names of tables.
    suffix: what follows the split there.
    endings: of the publisher's files; tables may have those of TABLES.
  """

  own: Sequence[str]
  words: Mapping[str, str] = _DEV
  folders: Sequence[str] = ("plain_text",)
  prefixes: Sequence[str] = ("",)
  suffix: str = ""
  endings: Sequence[str] = TABLES

  def own_stems(self, config: str, split: str) -> list[str]:
    """Returns the places of the publisher's files."""
    word = self.words[split]
    return [stem.format(config=config, split=word) for stem in self.own]

  def table_stems(self, config: str, split: str) -> list[str]:
    """Returns the places of tables."""
    folders = [folder.format(config=config) for folder in self.folders]
    return [
        os.path.join(folder, f"{prefix}{name}{self.suffix}")
        for folder in (*folders, "data", "default", "")
        for name in _SPLIT_NAMES[split.partition("_")[0]]
        for prefix in (text.format(config=config) for text in self.prefixes)
    ]


LAYOUTS = {
    "anli": Layout(
        own=("R3/{split}", "anli_v1.0/R3/{split}", "anli_v0.1/R3/{split}"),
        suffix="_r3",
    ),
    "ai2_arc": Layout(
        own=(
            "{config}/{config}-{split}",
            "ARC-V1-Feb2018-2/{config}/{config}-{split}",
            "ARC-V1-Feb2018/{config}/{config}-{split}",
            "{config}-{split}",
        ),
        words={"train": "Train", "validation": "Dev", "test": "Test"},
        folders=("{config}",),
        prefixes=("", "{config}_"),
    ),
    "winogrande": Layout(
        own=("{split}", "winogrande_1.1/{split}"),
        words={**_DEV, "train_xl": "train_xl"},
        folders=("winogrande_xl",),
    ),
    "natural_questions_open": Layout(
        own=("NQ-open.{split}", "nq_open/NQ-open.{split}"),
        folders=("nq_open",),
    ),
    "trivia_qa": Layout(
        own=(
            "unfiltered-web-{split}",
            "triviaqa-unfiltered/unfiltered-web-{split}",
        ),
        words={**_DEV, "test": "test-without-answers"},
        folders=("unfiltered.nocontext", "unfiltered"),
    ),
    "web_questions": Layout(own=("webquestions.examples.{split}",)),
    "xsum": Layout(
        own=("XSum-TRAINING-DEV-TEST-SPLIT-90-5-5",),
        prefixes=("", "xsum-"),
    ),
    "cnn_dailymail": Layout(
        own=("url_lists/all_{split}", "all_{split}"),
        words={**_DEV, "validation": "val"},
        folders=("3.0.0", "2.0.0", "1.0.0", "cnn_dailymail"),
        endings=(".txt",),
    ),
    "definite_pronoun_resolution": Layout(
        own=("{split}.c",), endings=(".txt",)
    ),
}


def find(
    name: str, setting: str, directory: str, config: str, split: str
) -> list[str]:
  """Returns the paths of the files of a split.

  Args:
    name: a key of LAYOUTS.
    setting: gin's name for the directory, "anli.directory".
    directory: the directory.
    config: TFDS's name of the configuration, or "".
    split: TFDS's name of the split.

  Raises:
    DataError: there is none, or not all parts of one.
  """
  layout = LAYOUTS[name]
  own = layout.own_stems(config, split)
  tables = layout.table_stems(config, split)
  listings: dict[str, list[str]] = {}
  for stems, endings in ((own, layout.endings), (tables, TABLES)):
    for stem in stems:
      paths = _files_at(
          setting, os.path.join(directory, stem), endings, listings
      )
      if paths:
        return paths
  raise errors.DataError(
      f"{setting} = {directory!r}: there is neither {own[0]} "
      f"({', '.join(layout.endings)}) nor {tables[0]} ({', '.join(TABLES)}), "
      f"which the {split} split of {name}{'/' if config else ''}{config} is "
      f"read from; {found(directory, own[0])}."
  )


def find_hub_parquet(
    setting: str, directory: str, config: str, split: str
) -> list[str]:
  """Returns the hub's files of a split of GLUE, SuperGLUE or SQuAD, if any."""
  for folder in (config, "plain_text"):
    stem = os.path.join(directory, folder, split)
    paths = _files_at(setting, stem, (".parquet",), {})
    if paths:
      return paths
  return []


def _files_at(
    setting: str,
    stem: str,
    endings: Sequence[str],
    listings: dict[str, list[str]],
) -> list[str]:
  """Returns the file, or all parts of the file, at a place; none if missing.

  Args:
    setting: see `find`.
    stem: the path without an ending.
    endings: those that the file may have; ".gz" may follow.
    listings: the names in the folders that were looked at, which this extends.
  """
  folder, name = os.path.split(stem)
  parts = r"(?:-\d{5}-of-(\d{5})(?:-[0-9a-f]+)?)?"
  for place, pattern in ((folder, re.escape(name) + parts), (stem, r"\d{4}()")):
    if place not in listings:
      listings[place] = names_in(place)
    for ending in endings:
      whole = re.compile(rf"{pattern}{re.escape(ending)}(?:\.gz)?")
      matches = [m for m in map(whole.fullmatch, listings[place]) if m]
      if not matches:
        continue
      total = matches[0][1]
      if total is None:
        matches = matches[:1]
      elif total and len(matches) != int(total):
        raise errors.DataError(
            f"{setting}: {len(matches)} of the {int(total)} parts of {name} "
            f"are in {place}: {', '.join(m[0] for m in matches[:_MAX_NAMES])}."
        )
      return [os.path.join(place, match[0]) for match in matches]
  return []


def names_in(folder: str) -> list[str]:
  """Returns the sorted names in a folder; none if there is no such folder."""
  try:
    names = tf.io.gfile.listdir(folder)
  except tf.errors.OpError:
    return []
  return sorted(name.rstrip("/") for name in names)


def found(directory: str, missing: str = "") -> str:
  """Says what is in a directory in which files are missing.

  Args:
    directory: the directory.
    missing: the place of one of them in it, whose folder counts if it is there.
  """
  folder = os.path.dirname(missing)
  if folder and tf.io.gfile.isdir(os.path.join(directory, folder)):
    directory = os.path.join(directory, folder)
  else:
    folder = ""
  if not tf.io.gfile.isdir(directory):
    if not tf.io.gfile.exists(directory):
      return "there is no such directory"
    if directory.endswith(_ARCHIVES):
      return "it is an archive, which has to be unpacked"
    return "it is a file, not a directory"
  names = [name for name in names_in(directory) if name[0] != "."]
  if not names:
    return f"{folder or 'the directory'} is empty"
  archives = [name for name in names if name.endswith(_ARCHIVES)]
  if archives:
    return f"{archives[0]} is there, which has to be unpacked"
  more = f" and {len(names) - _MAX_NAMES} more" * (len(names) > _MAX_NAMES)
  where = f"in {folder}" if folder else "there"
  return f"what is {where} is {', '.join(names[:_MAX_NAMES])}{more}"
