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

"""Shards of text: files of JSON objects with a "text", one in each line."""

from collections.abc import Callable, Hashable, Iterator, Sequence
import functools
import os

import tensorflow.compat.v2 as tf

from tasks import errors
from tasks import file_sources
from tasks import paths
from tasks import records
from tasks import sources


def find(
    option: str,
    patterns: str | Sequence[str],
    part_of: Callable[[str], Hashable],
    part: Hashable,
    example: str,
) -> list[str]:
  """Returns the files of one part of a data set, sorted.

  Args:
    option: the gin option of the patterns.
    patterns: one or several glob patterns, local or remote, that tf.io.gfile
      can read.
    part_of: returns the part that the name of a file, without its directory,
      indicates; None if it indicates none.
    part: the part to find.
    example: a valid file name, for the message.

  Raises:
    DataError: a pattern matches no file, or no file belongs to the part.
  """
  patterns = [patterns] if isinstance(patterns, str) else patterns
  files = {file for pattern in patterns for file in _glob(option, pattern)}
  found = [file for file in files if part_of(os.path.basename(file)) == part]
  if not found:
    raise errors.DataError(
        f"{option} = {', '.join(map(repr, patterns))}: of the {len(files)} "
        f"files that match, none has a name such as {example}."
    )
  return sorted(found)


@functools.lru_cache(maxsize=16)  # All languages of mC4 share one pattern.
def _glob(option: str, pattern: str) -> list[str]:
  """Returns the files that match a pattern; a DataError if there are none."""
  path = os.path.expanduser(pattern)
  if problem := paths.problem_of_pattern(path):
    raise errors.DataError(f"{option} = {pattern!r} {problem}.")
  try:
    files = tf.io.gfile.glob(path)
  except tf.errors.OpError as error:
    raise errors.DataError(
        f"{option} = {pattern!r}: {error.message}"
    ) from error
  if not files:
    raise errors.DataError(f"{option} = {pattern!r}: no file matches.")
  return files


def source(
    option: str,
    patterns: Callable[[], str | Sequence[str] | None],
    find_files: Callable[[str], Sequence[str]],
    tfds_source: sources.TfdsSource,
) -> file_sources.EitherSource:
  """Returns a source of "text" from shards, or from TFDS if gin names none.

  Args:
    option: the gin option of the patterns.
    patterns: returns its value, None for TFDS.
    find_files: returns the shards of a split.
    tfds_source: the source in TFDS.
  """
  return file_sources.EitherSource(
      file_sources.FilesSource(
          find_files,
          texts,
          _example,
          tfds_source.splits,
          lambda: f"{option} = {patterns()!r}",
      ),
      tfds_source,
      lambda: patterns() is not None,
  )


def _example(text: tf.Tensor) -> dict[str, tf.Tensor]:
  """The same object for all sources, which share what it is traced to."""
  return {"text": text}


def texts(file: str) -> Iterator[bytes]:
  """Yields the text of each line of a shard, in UTF-8.

  Args:
    file: JSON objects, one in each line, compressed if the name ends in .gz.
      Keys other than "text" (timestamp, url) are ignored. Lines without "text"
      are broken records, and so is a file without lines.

  Raises:
    DataError: as records.json_objects.
  """
  place = None
  for place, entry in records.json_objects(file):
    text = records.text_of(place, entry)
    if text is not None:
      yield text.encode("utf-8")
  if place is None:
    records.skip(file, "there is no JSON object in it")
