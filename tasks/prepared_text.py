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

"""Prepared text, the format that tasks read: documents in splits.

A directory holds a TFRecord file for each split, whose records are documents in
UTF-8, and a manifest that describes the text. tf.data reads TFRecord files at
the speed of the disk and without Python.
"""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
import struct
from typing import Any

import tensorflow.compat.v1 as tf

from tasks import cache
from tasks import waits

# Those of a text unless it has others.
SPLITS = ("train", "validation")

# Documents between two reports of progress.
_DOCUMENTS_A_REPORT = 1000
_MEGABYTE = 10**6

# 2.5% of the documents are for validation.
VALIDATION_LIMIT = int(0.025 * 2**64)


@dataclasses.dataclass(frozen=True)
class PreparedText:
  """Documents on disk.

  Attributes:
    directory: the argument of `write`.
  """

  directory: pathlib.Path

  @functools.cached_property
  def manifest(self) -> dict[str, Any]:
    """The description of the text; see `write` for its entries."""
    return cache.read_json(self.directory / "manifest.json", ["splits"])

  @property
  def splits(self) -> list[str]:
    """The names of the splits."""
    return list(self.manifest["splits"])

  def path(self, split: str) -> str:
    """Returns the TFRecord file of a split."""
    return str(self.directory / f"{split}.tfrecord")

  def num_documents(self, split: str) -> int:
    """Returns the number of documents in a split."""
    return self.manifest["splits"][split]["documents"]

  def num_bytes(self, split: str) -> int:
    """Returns the number of bytes of text in a split."""
    return self.manifest["splits"][split]["bytes"]

  def sha256(self, split: str) -> str:
    """Returns a hash of a split's documents in their order."""
    return self.manifest["splits"][split]["sha256"]

  def documents(self, split: str) -> Iterator[str]:
    """Yields the documents of a split in order."""
    # Unlike tf.data, this works both in graphs and under eager execution.
    with open(self.path(split), "rb") as file:
      while header := file.read(12):  # The record's length and its checksum.
        (length,) = struct.unpack("<Q4x", header)
        yield file.read(length).decode("utf-8")
        file.read(4)  # The record's checksum.


def text_hash(text: str) -> int:
  """Returns a 64-bit hash of the words of a text, ignoring its layout."""
  digest = hashlib.sha256(" ".join(text.split()).encode("utf-8")).digest()
  return int.from_bytes(digest[:8], "big")


def validation_limit(hashes: Iterable[int]) -> int:
  """Returns the `text_hash` below which a document is for validation.

  These are 2.5% of the documents. If that would leave a split empty, which
  happens with few documents, only the document with the smallest hash is.

  Args:
    hashes: the `text_hash` of each document; at least one.
  """
  smallest, largest = min(hashes), max(hashes)
  if smallest < VALIDATION_LIMIT <= largest:
    return VALIDATION_LIMIT
  return smallest + 1


def write(
    directory: pathlib.Path,
    documents: Iterable[tuple[str, str]],
    description: dict[str, Any],
    splits: Sequence[str] = SPLITS,
    num_bytes: int | None = None,
) -> None:
  """Writes documents and their manifest.

  The manifest consists of "splits", with the number of documents, the bytes of
  text and a hash of each split, and the entries of the description.

  Args:
    directory: an existing directory, whose text is replaced.
    documents: pairs of split and text.
    description: further entries of the manifest, in JSON types.
    splits: the names of the splits, also of those without a document.
    num_bytes: of the files that the documents are read from, to show how much
      is left; None if they come from elsewhere.
  """
  text = PreparedText(directory)
  writers = {split: tf.io.TFRecordWriter(text.path(split)) for split in splits}
  hashes = {split: hashlib.sha256() for split in splits}
  entries = {split: {"documents": 0, "bytes": 0} for split in splits}
  with _shown(num_bytes) as report:
    for number, (split, document) in enumerate(documents, start=1):
      record = document.encode("utf-8")
      writers[split].write(record)
      hashes[split].update(len(record).to_bytes(8, "big") + record)
      entries[split]["documents"] += 1
      entries[split]["bytes"] += len(record)
      if number % _DOCUMENTS_A_REPORT == 0:
        report(number)
  for split in splits:
    writers[split].close()
    entries[split]["sha256"] = hashes[split].hexdigest()
  manifest = {**description, "splits": entries}
  (directory / "manifest.json").write_text(json.dumps(manifest, indent=2))


@contextlib.contextmanager
def _shown(num_bytes: int | None) -> Iterator[waits.Report]:
  """Shows the reading of files or, if their size is not known, of documents.

  Args:
    num_bytes: of the files.

  Yields:
    a function to be called with the number of documents.
  """
  if num_bytes is None:
    with waits.work("preparing the text", unit="documents") as report:
      yield report
    return
  total = -(-num_bytes // _MEGABYTE)
  with (
      waits.work("preparing the text", total, "MB") as report,
      waits.counting_bytes(lambda done: report(done // _MEGABYTE)),
  ):
    yield lambda number: None
