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

"""The articles of XSum and CNN/DailyMail: the publishers' files and the hub's.

They become the examples that TensorFlow Datasets makes; see official_records.
"""

from collections.abc import Iterable, Iterator, Mapping
import hashlib
import json
import os
import re
from typing import Any
import warnings

import tensorflow.compat.v2 as tf
from tensorflow_datasets.summarization import cnn_dailymail as tfds_cnn
from tensorflow_datasets.summarization import xsum as tfds_xsum

from tasks import errors
from tasks import published_files
from tasks import records
from tasks import sources
from tasks import tables

Example = dict[str, Any]

XSUM_SPLITS = "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5"

# The folders of XSum's articles and the endings of their names: those of the
# publisher's archive, and those that its scripts write.
_XSUM_FOLDERS = {
    "bbc-summary-data": ".summary",
    "xsum-extracts-from-downloads": ".data",
    "": ".summary",
}
_XSUM_SECTION = re.compile(r"\[(?:SN|XSUM)\]")

_CNN_FOLDERS = {
    "cnn": ("cnn/stories", "cnn_stories/cnn/stories"),
    "dm": ("dailymail/stories", "dailymail_stories/dailymail/stories"),
}

# The space before periods that the hub's script has added to highlights.
_ADDED_PERIOD = re.compile(r" \.$", re.MULTILINE)


def xsum_entries(
    config: Any, file: str, split: str
) -> Iterator[tuple[str, Example]]:
  """Yields the articles of a split, from the list of splits or a table."""
  del config
  if not os.path.basename(file).startswith(XSUM_SPLITS):
    yield from tables.rows(file)
    return
  text = "\n".join(line for _, line in records.numbered_lines(file))
  try:
    names = list(json.loads(text)[split])
  except (LookupError, RecursionError, TypeError, ValueError) as error:
    raise errors.DataError(
        f"{file}: this is no list of the articles of each split ({error!r})."
    ) from error
  directory = os.path.dirname(file)
  paths = {}
  for folder, ending in _XSUM_FOLDERS.items():
    folder = os.path.join(directory, folder)
    for name in published_files.names_in(folder):
      if name.endswith(ending):
        paths.setdefault(name.removesuffix(ending), os.path.join(folder, name))
  for name in _present(file, split, names, paths, _XSUM_FOLDERS):
    yield paths[name], {"text": _text_of(paths[name])}


def _text_of(path: str) -> str:
  """Returns the lines of a text that are neither empty nor of BBC's pages."""
  lines = (line for _, line in records.numbered_lines(path, skip_broken=True))
  return "".join(
      f"{line}\n"
      for line in lines
      if line.strip() and f"{line}\n" not in tfds_xsum._REMOVE_LINES
  )


def _present(
    file: str,
    split: str,
    names: Iterable[str],
    paths: Mapping[str, str],
    folders: Iterable[str],
) -> list[str]:
  """Returns the articles of a split that are there, in TFDS's order.

  Raises:
    DataError: there are none.
  """
  names = list(dict.fromkeys(names))
  present = [name for name in names if name in paths]
  if not present:
    raise errors.DataError(
        f"{file}: none of the {len(names):,} articles of the {split} split is "
        f"in {', '.join(filter(None, folders))} in "
        f"{os.path.dirname(file) or '.'}; "
        f"{published_files.found(os.path.dirname(file) or '.')}."
    )
  if len(present) < len(names):
    warnings.warn(
        f"{file}: {len(names) - len(present):,} of the {len(names):,} articles "
        f"of the {split} split are not there.",
        errors.DataNotice,
        stacklevel=2,
    )
  return [present[n] for n in sources.in_tfds_order(split, present)]


def xsum_examples(
    config: Any, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of an article of XSum."""
  del config, labelled  # All splits have summaries.
  if "text" not in entry:
    return [{"document": entry["document"], "summary": entry["summary"]}]
  parts = _XSUM_SECTION.split(entry["text"])
  sections = dict(zip(parts[1::2], map(str.strip, parts[2::2])))
  summary = "FIRST-SENTENCE" if "[SN]" in entry["text"] else "INTRODUCTION"
  return [{"document": sections["RESTBODY"], "summary": sections[summary]}]


def cnn_entries(
    config: Any, file: str, split: str
) -> Iterator[tuple[str, Example]]:
  """Yields the articles of a split, from its list of addresses or a table.

  A story's name is the SHA-1 of its address.
  """
  del config
  if tables.ending(file) != ".txt":
    yield from tables.rows(file)
    return
  addresses = (line.strip() for _, line in records.numbered_lines(file))
  names = [  # They are TFDS's keys, too.
      f"{hashlib.sha1(address.encode()).hexdigest()}.story"
      for address in addresses
      if address
  ]
  directory = os.path.dirname(file)
  if os.path.basename(directory) == "url_lists":
    directory = os.path.dirname(directory)
  paths, publishers = {}, {}
  for publisher, folders in _CNN_FOLDERS.items():
    for folder in folders:
      folder = os.path.join(directory, folder)
      for name in published_files.names_in(folder):
        paths[name] = os.path.join(folder, name)
        publishers[name] = publisher
  folders = [folders[0] for folders in _CNN_FOLDERS.values()]
  for name in _present(file, split, names, paths, folders):
    yield paths[name], {"path": paths[name], "publisher": publishers[name]}


def cnn_examples(
    config: Any, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of an article; none of one without text, as TFDS."""
  del config, labelled  # All splits have highlights.
  if "path" not in entry:
    return [
        {
            "article": entry["article"],
            "highlights": _ADDED_PERIOD.sub(".", entry["highlights"]),
            "publisher": entry.get("publisher", ""),
            "id": entry.get("id", ""),
        }
    ]
  try:
    article, highlights = tfds_cnn._get_art_abs(entry["path"])
  except tf.errors.OpError as error:
    raise ValueError(f"it cannot be read: {error.message}") from error
  if not article or not highlights:
    return []
  return [
      {
          "article": article,
          "highlights": highlights,
          "publisher": entry["publisher"],
          "id": os.path.basename(entry["path"]).removesuffix(".story"),
      }
  ]
