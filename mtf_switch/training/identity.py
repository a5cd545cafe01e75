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

"""What tells one vocabulary from another, for records on disk."""

from collections.abc import Mapping
import hashlib
import json
from typing import Any

import seqio
import tensorflow.compat.v1 as tf


def of_vocabulary(vocabulary: seqio.Vocabulary) -> dict[str, Any]:
  """Describes a vocabulary.

  Args:
    vocabulary: any; one that is found when it is used is found now.

  Returns:
    "kind", the class without "Vocabulary"; "size", of all ids; "extra_ids", the
    sentinels; "sha256", of the SentencePiece model as `sha256sum` prints it, or
    of the pieces of a vocabulary without one; and "path", that of the model or
    None, which may differ for equal vocabularies.
  """
  found = getattr(vocabulary, "found", vocabulary)
  path = getattr(found, "sentencepiece_model_file", None)
  if path:
    with tf.io.gfile.GFile(path, "rb") as file:
      content = file.read()
  else:
    pieces = [found.decode([i]) for i in range(found.vocab_size)]
    content = json.dumps(pieces, default=str).encode()
  return {
      "kind": type(found).__name__.removesuffix("Vocabulary"),
      "size": int(found.vocab_size),
      "extra_ids": found.extra_ids,
      "sha256": hashlib.sha256(content).hexdigest(),
      "path": path,
  }


def are_equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
  """Whether two descriptions are of the same vocabulary, wherever it is."""
  return {**one, "path": None} == {**other, "path": None}


def name_of(description: Mapping[str, Any]) -> str:
  """For example: a Byte vocabulary of 259 (sha256 d60acb12...)."""
  return (
      f"a {description['kind']} vocabulary of {description['size']:,} (sha256 "
      f"{description['sha256'][:8]}...)"
  )


def how_to_set(description: Mapping[str, Any]) -> str:
  """How a run gets the vocabulary that is described."""
  if description["path"]:
    return f"set vocabulary.path = {description['path']!r}"
  if description["kind"] == "Byte" and description["extra_ids"]:
    return "set vocabulary.name = 'bytes'"
  return "use a task with that one"
