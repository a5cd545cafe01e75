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

"""Texts to ids and back in TensorFlow, as vocabularies do it in Python."""

from collections.abc import Sequence

import seqio
import tensorflow.compat.v2 as tf
import tensorflow_text

from mtf_switch import errors
from mtf_switch.training import vocabulary_record

# Python's white space.
_BLANK = (
    r"[\t-\r\x{1c}-\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}"
    r"\x{202f}\x{205f}\x{3000}]*"
)
_BYTES = 256
_SPECIAL = 3  # The ids of padding, end and unknown are before those of bytes.


class Vocabulary(tf.Module):
  """A vocabulary in graphs.

  Attributes:
    needs: the module whose operations its graphs have; None for TensorFlow's.
  """

  needs: str | None = None

  def __init__(self, vocabulary: seqio.Vocabulary):
    """Reads the vocabulary.

    Args:
      vocabulary: as a task has it.
    """
    super().__init__()
    self._known_ids = vocabulary._base_vocab_size
    self._eos_id = vocabulary.eos_id
    self._unk_id = vocabulary.unk_id

  def encode(
      self, texts: tf.Tensor, length: int, add_eos: bool
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns ids as inputs.encode_lines does.

    Args:
      texts: `[rows]` strings.
      length: positions.
      add_eos: whether each text has an end.

    Returns:
      `[rows, length]` int32, cut or padded; and `[rows]` int32, the number of
      ids before they are cut.
    """
    ids = self._ids(texts)
    lengths = tf.cast(ids.row_lengths(), tf.int32)
    ids = ids[:, : length - add_eos]
    if add_eos:
      ends = tf.fill([ids.nrows(), 1], self._eos_id)
      ids = tf.concat([ids, ends], axis=1)
    return ids.to_tensor(shape=[None, length]), lengths + add_eos

  def decode(self, ids: tf.Tensor) -> tf.Tensor:
    """Returns texts as vocabulary.decode does.

    Args:
      ids: `[rows, length]` int32.

    Returns:
      `[rows]` strings.
    """
    ids = tf.where(ids < self._known_ids, ids, self._unk_id)
    is_end = tf.cast(tf.equal(ids, self._eos_id), tf.int32)
    is_before = tf.equal(tf.cumsum(is_end, axis=1, exclusive=True), 0)
    return self._texts(tf.ragged.boolean_mask(ids, is_before))

  def _ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
    raise NotImplementedError

  def _texts(self, ids: tf.RaggedTensor) -> tf.Tensor:
    raise NotImplementedError


class _Pieces(Vocabulary):
  """A SentencePiece model, whose operations TensorFlow Text has."""

  needs = "tensorflow_text"

  def __init__(self, vocabulary: seqio.SentencePieceVocabulary):
    super().__init__(vocabulary)
    # With the sentinels that the vocabulary adds.
    self._tokenizer = tensorflow_text.SentencepieceTokenizer(
        vocabulary.sp_model
    )

  def _ids(self, texts):
    return self._tokenizer.tokenize(texts)

  def _texts(self, ids):
    return self._tokenizer.detokenize(ids)


class _OfBytes(Vocabulary):
  """ByT5's vocabulary."""

  def _ids(self, texts):
    characters = tf.strings.bytes_split(texts)
    codes = tf.io.decode_raw(characters.flat_values, tf.uint8)
    codes = tf.cast(tf.reshape(codes, [-1]), tf.int32)
    return characters.with_flat_values(codes + _SPECIAL)

  def _texts(self, ids):
    codes = ids.flat_values - _SPECIAL
    is_byte = (codes >= 0) & (codes < _BYTES)
    ids = tf.ragged.boolean_mask(ids, ids.with_flat_values(is_byte))
    every = tf.constant([bytes([code]) for code in range(_BYTES)])
    texts = tf.strings.reduce_join(
        tf.ragged.map_flat_values(tf.gather, every, ids - _SPECIAL), axis=-1
    )
    return tf.strings.unicode_transcode(
        texts, "UTF-8", "UTF-8", errors="ignore"
    )


def of(vocabulary: seqio.Vocabulary) -> Vocabulary:
  """Returns a vocabulary in graphs.

  Args:
    vocabulary: as a task has it.

  Raises:
    UserError: it is neither a SentencePiece model nor of bytes.
  """
  found = vocabulary_record.found_of(vocabulary)
  if isinstance(found, seqio.SentencePieceVocabulary):
    return _Pieces(found)
  if isinstance(found, seqio.ByteVocabulary):
    return _OfBytes(found)
  raise errors.UserError(
      f"the vocabulary is a {type(found).__name__}, and graphs have "
      "SentencePiece models and bytes only."
  )


def all_of(vocabularies: Sequence[seqio.Vocabulary]) -> list[Vocabulary]:
  """Returns the vocabularies of inputs and targets, one if they are equal.

  Args:
    vocabularies: as an Experiment has them.

  Raises:
    UserError: see `of`.
  """
  inputs, targets = vocabularies
  of_inputs = of(inputs)
  return [of_inputs, of_inputs if inputs == targets else of(targets)]


def are_blank(texts: tf.Tensor) -> tf.Tensor:
  """Whether texts are white space alone, which is not decoded.

  Args:
    texts: strings.

  Returns:
    booleans of the same shape.
  """
  return tf.strings.regex_full_match(texts, _BLANK)
