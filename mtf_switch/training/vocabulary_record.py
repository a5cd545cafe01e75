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

"""Records of vocabularies, beside checkpoints and in caches.

A checkpoint's embedding has one row for each token id, and a cache holds token
ids. With another vocabulary the ids mean something else, which only bad results
would reveal; hence the record, and its comparison with the task's vocabularies.

Beside checkpoints there are also copies of the SentencePiece models, so that a
directory needs nothing else on another machine.
"""

from collections.abc import Mapping, Sequence
import hashlib
import json
import os
from typing import Any

import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import checkpoints

_FEATURES = ("inputs", "targets")

# What is recorded, as files.read_json takes it.
SHAPE = {
    str: {
        "kind": str,
        "size": int,
        "extra_ids": int,
        "sha256": str,
        "path": str | None,
    }
}

# The properties in which equal vocabularies agree.
_IDENTITY = ("kind", "size", "extra_ids", "sha256")


def found_of(vocabulary: seqio.Vocabulary) -> seqio.Vocabulary:
  """Returns the vocabulary itself of one that is found when it is first used.

  Args:
    vocabulary: one of this project's, or any other, which is returned.
  """
  return getattr(vocabulary, "found", vocabulary)


def describe(vocabulary: seqio.Vocabulary) -> dict[str, Any]:
  """Returns the properties that distinguish a vocabulary from others.

  Args:
    vocabulary: any; a late one is resolved now.

  Returns:
    "kind", the class without "Vocabulary"; "size", the number of all ids;
    "extra_ids", the number of sentinels; "sha256", of the SentencePiece model
    as `sha256sum` prints it, or of the pieces of a vocabulary without a model;
    and "path", the model's or None, which may differ for equal vocabularies.
    One that was trained on a text has "training", what was found out then, such
    as the share of the text's pieces that are unknown.
  """
  if kept := getattr(vocabulary, "kept_description", None):
    return dict(kept)
  report = getattr(vocabulary, "training_report", None)
  found = found_of(vocabulary)
  path = getattr(found, "sentencepiece_model_file", None)
  if path:
    content = _content(path)
  else:
    pieces = [found.decode([i]) for i in range(found.vocab_size)]
    content = json.dumps(pieces, default=str).encode()
  return {
      "kind": type(found).__name__.removesuffix("Vocabulary"),
      "size": int(found.vocab_size),
      "extra_ids": found.extra_ids,
      "sha256": hashlib.sha256(content).hexdigest(),
      "path": path,
      **({"training": report} if report else {}),
  }


def describe_all(
    vocabularies: Sequence[seqio.Vocabulary],
) -> dict[str, dict[str, Any]]:
  """Returns the descriptions by feature.

  Args:
    vocabularies: of inputs and targets.
  """
  return dict(zip(_FEATURES, map(describe, vocabularies)))


def check_equal(
    subject: str,
    record: Mapping[str, Mapping[str, Any]],
    descriptions: Mapping[str, Mapping[str, Any]],
    directory: str | None = None,
):
  """Refuses vocabularies that differ from those of a record.

  Args:
    subject: the owner of the record and its verb, "the cache in /a is".
    record: descriptions by feature, as recorded.
    descriptions: the task's, by feature.
    directory: that of the record, if it has copies.

  Raises:
    UserError: a vocabulary differs from the recorded one.
  """
  for feature, now in descriptions.items():
    then = record.get(feature, now)
    if any(then.get(name) != now[name] for name in _IDENTITY):
      raise errors.UserError(
          f"{subject} of {_name_of(then)} for the {feature}, but the task has "
          f"{_name_of(now)}; {_how_to_set(then, directory)}, or take another "
          "directory."
      )


def check(directory: str, vocabularies: Sequence[seqio.Vocabulary]):
  """Refuses vocabularies other than those of a directory's checkpoints.

  Args:
    directory: a run's. Without a record or without checkpoints any vocabulary
      passes.
    vocabularies: of inputs and targets.

  Raises:
    UserError: a vocabulary differs from the recorded one.
  """
  record = _read(directory)
  if record is not None:
    _keep_to(directory, record, vocabularies)
    check_equal(
        f"the checkpoints in {directory!r} are",
        record,
        describe_all(vocabularies),
        directory,
    )


def find(directories: Sequence[str], vocabularies: Sequence[seqio.Vocabulary]):
  """Lets the tasks of this project find the vocabularies of a record.

  To be called before their first use, which trains one where none is found.

  Args:
    directories: those of runs. The first one with a record counts.
    vocabularies: of inputs and targets.

  Raises:
    UserError: a copy in the directory is not what the record says.
  """
  for directory in directories:
    record = _read(directory)
    if record is not None:
      _keep_to(directory, record, vocabularies)
      return


def _keep_to(
    directory: str,
    record: Mapping[str, Mapping[str, Any]],
    vocabularies: Sequence[seqio.Vocabulary],
):
  """Lets tasks of this project find the vocabularies of other machines."""
  for feature, vocabulary in zip(_FEATURES, vocabularies):
    if feature not in record:
      continue
    copy = _copy_of(directory, record[feature])
    if hasattr(vocabulary, "keep_to"):
      vocabulary.keep_to(record[feature], copy)


def keep(directory: str, vocabularies: Sequence[seqio.Vocabulary]):
  """Writes the record before the first training and checks it before others.

  Args:
    directory: the run's; if it has checkpoints but no record, or no copies, as
      those of older versions, they are written now.
    vocabularies: of inputs and targets.

  Raises:
    UserError: as `check`.
  """
  check(directory, vocabularies)
  if _read(directory) is None:
    text = json.dumps(describe_all(vocabularies))
    files.write_lines(_path(directory), [text])
  for vocabulary in vocabularies:
    description = describe(vocabulary)
    if description["path"] and not _copy_of(directory, description):
      content = _content(found_of(vocabulary).sentencepiece_model_file)
      files.write_bytes(_copy_path(directory, description), content)


def bring(
    directory: str, vocabulary: seqio.Vocabulary, home: str
) -> str | None:
  """Writes the record and the copy for checkpoints that were made elsewhere.

  Args:
    directory: where to write, which has neither.
    vocabulary: of inputs and targets.
    home: the name that the directory will have.

  Returns:
    the path that the copy will have; None for a vocabulary without a model.
  """
  description = describe(vocabulary)
  if path := description["path"]:
    files.write_bytes(_copy_path(directory, description), _content(path))
    description["path"] = _copy_path(home, description)
  text = json.dumps(dict.fromkeys(_FEATURES, description))
  files.write_lines(_path(directory), [text])
  return description["path"]


def _name_of(description: Mapping[str, Any]) -> str:
  """For example: a Byte vocabulary of 259 (sha256 d60acb12...)."""
  return (
      f"a {description['kind']} vocabulary of {description['size']:,} (sha256 "
      f"{description['sha256'][:8]}...)"
  )


def _how_to_set(description: Mapping[str, Any], directory: str | None) -> str:
  """Advice on how a run gets a vocabulary."""
  if path := description["path"]:
    copy = directory and _copy_of(directory, description)
    if directory and not copy and not ("://" in path or os.path.exists(path)):
      return f"restore {_copy_path(directory, description)}"
    return f"set vocabulary.path = {(copy or path)!r}"
  if description["kind"] == "Byte" and description["extra_ids"]:
    return "set vocabulary.name = 'bytes'"
  return "use a task with that one"


def _copy_path(directory: str, description: Mapping[str, Any]) -> str:
  name = f"sentencepiece.{description['sha256'][:8]}.model"
  return os.path.join(directory, "vocabulary", name)


def _copy_of(directory: str, description: Mapping[str, Any]) -> str | None:
  """The path of the copy of a SentencePiece model; None if there is none.

  Raises:
    UserError: the copy is not what the record says.
  """
  path = _copy_path(directory, description)
  if not description["path"] or not tf.io.gfile.exists(path):
    return None
  sha256 = hashlib.sha256(_content(path)).hexdigest()
  if sha256 != description["sha256"]:
    raise errors.UserError(
        f"{path} has changed: its sha256 is {sha256[:8]}..., and "
        f"{_path(directory)} says {description['sha256'][:8]}...; restore it, "
        "or remove it to have the vocabulary looked for as for a new run."
    )
  return path


def _content(path: str) -> bytes:
  with tf.io.gfile.GFile(path, "rb") as file:
    return file.read()


def _path(directory: str) -> str:
  return os.path.join(directory, "vocabulary.json")


def _read(directory: str) -> dict[str, Any] | None:
  """Returns the record, or None if there is none or no checkpoint needs it.

  Raises:
    UserError: it cannot be read, or it is missing beside its copies.
  """
  if not checkpoints.saved_steps(directory):
    return None
  record = files.read_json(_path(directory), SHAPE)
  copies = os.path.join(directory, "vocabulary")
  if record is None and tf.io.gfile.exists(copies):
    raise errors.UserError(
        f"{_path(directory)} is missing, which says what the vocabulary in "
        f"{copies} is; restore it from a copy, or remove both."
    )
  return record
