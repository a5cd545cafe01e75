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

"""Vocabularies of models that are converted."""

import json
import os
from typing import Any

import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import vocabulary_record

_MODEL = "spiece.model"
_CONFIG = "tokenizer_config.json"
_OF_BYTES = "ByT5Tokenizer"
# Mesh TensorFlow rounds the rows of an embedding up to a multiple of this.
_DIVISOR = 128


def read(directory: str) -> seqio.Vocabulary:
  """Returns the vocabulary of a directory: SentencePiece's, or ByT5's bytes.

  Args:
    directory: Hugging Face's.

  Raises:
    UserError: it has another tokenizer, or none.
    DataError: its SentencePiece model is damaged, or none that T5 can use.
  """
  # Here and not above, where it could be the user's own module of that name.
  from tasks import vocabulary  # pylint: disable=g-import-not-at-top

  path = os.path.join(directory, _MODEL)
  if os.path.exists(path):
    return vocabulary.load(path)
  kind = _class_of(directory)
  if kind == _OF_BYTES:
    return vocabulary.of_bytes()
  named = f", and its tokenizer is a {errors.shown(kind)}" if kind else ""
  raise errors.UserError(
      f"{directory} has no {_MODEL}{named}; a tokenizer is converted if it is "
      f"a SentencePiece model or ByT5's bytes ({_OF_BYTES} in {_CONFIG}). "
      f"Tokenizers saved without {_MODEL} have it in the directory that they "
      "are from."
  )


def of_gin() -> seqio.Vocabulary:
  """Returns the vocabulary that gin names, for a source that has none.

  Raises:
    UserError: gin names none.
    DataError: it names one that is not there, or damaged.
  """
  from tasks import vocabulary  # pylint: disable=g-import-not-at-top

  options = vocabulary.Options()
  if options.path is None and options.name is None:
    raise errors.UserError(
        "a checkpoint of T5X has no vocabulary; name its model's: "
        "--gin_param=\"vocabulary.path = 'sentencepiece.model'\", or "
        "vocabulary.name = 't5', 'mt5' or 'bytes'."
    )
  return vocabulary.LateVocabulary(options.name).found


def check_rows(vocabulary: seqio.Vocabulary, rows: int, directory: str):
  """Refuses an embedding with other rows than the vocabulary needs here.

  Args:
    vocabulary: of `read`.
    rows: of the embedding.
    directory: of the weights.

  Raises:
    UserError: with both numbers.
  """
  needed = -(-vocabulary.vocab_size // _DIVISOR) * _DIVISOR
  if rows != needed:
    raise errors.UserError(
        f"the embedding in {directory} has {rows:,} rows, and the vocabulary "
        f"has {vocabulary.vocab_size:,} ids, for which Mesh TensorFlow has "
        f"{needed:,} rows (a multiple of {_DIVISOR}), all of them in the "
        "softmax; a model with other rows would be another function."
    )


def write(directory: str, vocabulary: seqio.Vocabulary, rows: int):
  """Writes the files by which Hugging Face's library finds a vocabulary.

  Args:
    directory: where to write.
    vocabulary: of inputs and targets.
    rows: of the embedding.

  Raises:
    UserError: Hugging Face's T5 has no such vocabulary.
  """
  found = vocabulary_record.found_of(vocabulary)
  if isinstance(found, seqio.SentencePieceVocabulary):
    # Not found.sp_model, which has the sentinels that T5Tokenizer adds.
    with tf.io.gfile.GFile(found.sentencepiece_model_file, "rb") as file:
      files.write_bytes(os.path.join(directory, _MODEL), file.read())
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": found.extra_ids}
  elif isinstance(found, seqio.ByteVocabulary):
    # Ids of padding, end and unknown, and one for each byte, come first.
    config = {"tokenizer_class": _OF_BYTES, "extra_ids": rows - 3 - 256}
  else:
    raise errors.UserError(
        f"the vocabulary is a {type(found).__name__}, and Hugging Face's "
        "tokenizers of T5 are SentencePiece models or bytes."
    )
  files.write_json(os.path.join(directory, _CONFIG), config)


def _class_of(directory: str) -> str | None:
  """The class that tokenizer_config.json names, if it can be read."""
  try:
    path = os.path.join(directory, _CONFIG)
    with open(path, encoding="utf-8") as file:
      config: Any = json.load(file)
  except (OSError, ValueError, RecursionError):
    return None
  kind = config.get("tokenizer_class") if isinstance(config, dict) else None
  return kind if isinstance(kind, str) else None
