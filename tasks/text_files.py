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

"""The user's own text: plain or JSON files, as documents in two splits."""

import array
import collections
from collections.abc import Iterator, Sequence
import dataclasses
import functools
import os
import pathlib

import gin
import tensorflow.compat.v1 as tf

from tasks import cache
from tasks import errors
from tasks import json_documents
from tasks import paths
from tasks import prepared_text
from tasks import records
from tasks import text_notes

# The files that are read from a directory; ".gz" may follow.
SUFFIXES = (".txt", ".json", ".jsonl")

# Limits memory; longer documents are a sign of other separators.
MAX_DOCUMENT_BYTES = 16 * 2**20

# Part of the cache key; increased when the same files give different text.
_FORMAT = 2


def find_files(path: str) -> list[str]:
  """Returns the files that a path denotes, sorted.

  Args:
    path: a file, a directory (all files below it that end in one of SUFFIXES)
      or a glob pattern; any that tf.io.gfile can read, local or remote. Hidden
      files are left out unless named.

  Raises:
    DataError: there are no files.
  """
  path = os.path.expanduser(path)
  if problem := paths.problem_of_pattern(path):
    raise errors.DataError(f"text_files.path = {path!r} {problem}.")
  try:
    if tf.io.gfile.isdir(path):
      files = _files_below(path)
      reason = f"the directory has no file that ends in {', '.join(SUFFIXES)}"
    elif tf.io.gfile.exists(path):  # Even if it looks like a pattern.
      return [path]
    else:
      files = [
          file
          for file in tf.io.gfile.glob(path)
          if not tf.io.gfile.isdir(file)
          and not _is_hidden(os.path.basename(file))
      ]
      reason = "no file matches"
  except tf.errors.OpError as error:
    raise errors.DataError(
        f"text_files.path = {path!r}: {error.message}"
    ) from error
  if not files:
    raise errors.DataError(f"text_files.path = {path!r}: {reason}.")
  return sorted(files)


def _files_below(directory: str) -> list[str]:
  """Returns the text files in a directory and its subdirectories."""
  files = [
      os.path.join(parent, name)
      for parent, _, names in tf.io.gfile.walk(directory)
      for name in names
      if _suffix(name) in SUFFIXES
  ]
  return [file for file in files if not _is_hidden(file[len(directory) :])]


def _is_hidden(path: str) -> bool:
  return any(part.startswith(".") for part in path.split(os.sep))


def _suffix(name: str) -> str:
  name = name[: -len(".gz")] if name.endswith(".gz") else name
  return os.path.splitext(name)[1]


def read_documents(file: str, document: str) -> Iterator[str]:
  """Yields the documents of a file, without the empty ones.

  Args:
    file: in UTF-8. Its name determines its format: .json and .jsonl hold a JSON
      object in each line, or one array of objects, with the document under
      "text"; all others are plain text. A final .gz means compression.
    document: the unit of plain text, "paragraph" (lines up to an empty one) or
      "line". Broken records are skipped.

  Raises:
    DataError: the file cannot be read, is no JSON, or has too many broken
      records.
  """
  lines = records.numbered_lines(file, skip_broken=True)
  if _suffix(file) in (".json", ".jsonl"):
    documents = json_documents.read(file, lines)
  elif document == "line":
    documents = (line for _, line in lines)
  else:
    documents = _paragraphs(file, lines)
  for text in documents:
    if text.strip():
      yield text


def _paragraphs(file: str, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
  """Yields the paragraphs, between empty lines."""
  paragraph, size = [], 0
  for number, line in lines:
    if line.strip():
      paragraph.append(line)
      size += len(line)
      if size > MAX_DOCUMENT_BYTES:
        raise errors.DataError(
            f"{file}, line {number}: more than {MAX_DOCUMENT_BYTES} characters "
            "without an empty line; if each line is a document set "
            "text_files.document = 'line'."
        )
    else:
      yield "\n".join(paragraph)
      paragraph, size = [], 0
  yield "\n".join(paragraph)


def build(directory: pathlib.Path, files: Sequence[str], document: str) -> None:
  """Writes the documents of files as prepared text.

  Args:
    directory: an existing, empty directory.
    files: the files, read in this order.
    document: as for `read_documents`.

  Raises:
    DataError: the content of a file does not have the format of its name, or
      there are fewer than two different documents.
  """
  hashes = array.array("Q")
  counts = collections.Counter()

  def documents(limit: int) -> Iterator[tuple[str, str]]:
    counts.clear()
    for file in files:
      for text in read_documents(file, document):
        counts.update(text_notes.count(text))
        hashes.append(prepared_text.text_hash(text))
        yield ("validation" if hashes[-1] < limit else "train"), text

  num_bytes = sum(tf.io.gfile.stat(file).length for file in files)
  description = {"files": files, "document": document, "counts": counts}

  def write(limit: int):
    prepared_text.write(
        directory, documents(limit), description, num_bytes=num_bytes
    )

  limit = prepared_text.VALIDATION_LIMIT
  write(limit)
  if not hashes:
    raise errors.DataError(
        f"There is no text in {_names(files)}{_broken_records()}."
    )
  if min(hashes) == max(hashes):
    raise errors.DataError(
        f"There is only one document in {_names(files)}, and at least two are "
        "needed, to train on and to validate with; text_files.document sets "
        f"the unit of plain text ({document!r} now, or "
        f"{'line' if document == 'paragraph' else 'paragraph'!r})."
    )
  if prepared_text.validation_limit(hashes) != limit:
    limit = prepared_text.validation_limit(hashes)
    write(limit)
  text_notes.warn(_names(files), counts)


def _broken_records() -> str:
  """Returns a remark about the broken records so far, if there are any."""
  skipped = records.skipped()
  if not skipped:
    return ""
  place, problem = next(iter(skipped.items()))
  return f"; {len(skipped):,} broken records, first {place}: {problem}"


def _names(files: Sequence[str]) -> str:
  return files[0] if len(files) == 1 else f"{files[0]} to {files[-1]}"


@gin.configurable("text_files", module="tasks")
@dataclasses.dataclass(frozen=True)
class Options:
  """Options of the user's text, set with gin.

  Attributes:
    path: a file, directory or glob pattern, see `find_files`; for the formats
      see `read_documents`.
    document: the unit of plain text, "paragraph" (lines up to an empty one) or
      "line".
  """

  path: str | None = None
  document: str = "paragraph"


def text_files() -> prepared_text.PreparedText:
  """Returns the user's text; a new process reads changed files again.

  2.5% of the documents, chosen by a hash of their text, are for validation.

  Raises:
    DataError: there is no text, or it is broken.
  """
  options = Options()
  if options.path is None:
    raise errors.DataError(
        "text_files.path is not set; give the text to train on, for example "
        "--gin_param=\"text_files.path = '/data/*.txt'\"."
    )
  if options.document not in ("paragraph", "line"):
    raise errors.DataError(
        f"text_files.document = {options.document!r} is not known; use "
        "'paragraph' (lines up to an empty one) or 'line'."
    )
  return _prepared(cache.cache_directory(), options.path, options.document)


def describe() -> str:
  """Returns the path of the user's text, or says that it is not set."""
  return Options().path or "text_files.path, which is not set"


def is_present() -> bool:
  """Returns whether there are files at the path that gin sets."""
  path = Options().path
  try:
    return bool(path and find_files(path))
  except errors.DataError:
    return False


@functools.cache
def _prepared(
    cache_directory: pathlib.Path, path: str, document: str
) -> prepared_text.PreparedText:
  """Implements `text_files`, once per process and cache directory."""
  del cache_directory  # cache.build_once reads it.
  files = find_files(path)
  stats = {file: tf.io.gfile.stat(file) for file in files}
  key = {
      "format": _FORMAT,
      "files": {file: [s.length, s.mtime_nsec] for file, s in stats.items()},
      "directory": os.getcwd(),  # The base of relative paths.
      "document": document,
  }
  return prepared_text.PreparedText(
      cache.build_once(
          "text_files", key, lambda directory: build(directory, files, document)
      )
  )
