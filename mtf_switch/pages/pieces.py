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

"""What tokens are: their pieces of text, and the classes of these."""

from collections.abc import Sequence
import unicodedata

import numpy as np
import seqio

from mtf_switch.training import vocabulary_record

# SentencePiece's sign for a blank, which begins a word.
_BLANK = "\u2581"
START = "start"
# What a decoder reads first.
START_PIECE = "<start>"
CLASSES = (
    START,
    "end",
    "sentinel",
    "unknown",
    "blank",
    "digits",
    "punctuation",
    "word start",
    "within a word",
)


class Pieces:
  """The tokens of a vocabulary as text."""

  def __init__(self, vocabulary: seqio.Vocabulary):
    """Creates the texts as they are asked for.

    Args:
      vocabulary: the vocabulary; sentinels are the last of its ids.
    """
    # This project's are found when they are first used; here that is now.
    vocabulary = vocabulary_record.found_of(vocabulary)
    self._vocabulary = vocabulary
    self._unk_id = vocabulary.unk_id
    self._is_of_bytes = isinstance(vocabulary, seqio.ByteVocabulary)
    self._texts: dict[int, str] = {}

  def text(self, token: int) -> str:
    """Returns a token's text; a blank in it is the sign U+2581.

    Args:
      token: the id; 0 is what a decoder reads first.
    """
    if token not in self._texts:
      self._texts[token] = self._make_text(token)
    return self._texts[token]

  def _make_text(self, token: int) -> str:
    vocabulary = self._vocabulary
    if token == 0:
      return START_PIECE
    if token == vocabulary.eos_id:
      return "</s>"
    if self._sentinel(token) is not None:
      return f"<extra_id_{self._sentinel(token)}>"
    if token == self._unk_id:
      return "<unk>"
    if self._is_of_bytes:
      byte = token - 3  # After the padding, the end and the unknown.
      if byte == ord(" "):
        return _BLANK
      return chr(byte) if 32 < byte < 127 else f"\\x{byte:02x}"
    tokenizer = getattr(vocabulary, "tokenizer", None)
    if hasattr(tokenizer, "IdToPiece") and token < tokenizer.GetPieceSize():
      return tokenizer.IdToPiece(token)
    return vocabulary.decode([token])

  def _sentinel(self, token: int) -> int | None:
    number = self._vocabulary.vocab_size - 1 - token
    return number if 0 <= number < self._vocabulary.extra_ids else None

  def classes(self, tokens: Sequence[int]) -> np.ndarray:
    """Returns the class of each token of a sequence, indices of CLASSES.

    Args:
      tokens: ids, in their order.
    """
    names = []
    before = ""
    for token in map(int, tokens):
      names.append(self._class(token, before))
      before = names[-1]
    return np.array([CLASSES.index(name) for name in names], np.int8)

  def _class(self, token: int, before: str) -> str:
    """The class of a token after one of a class."""
    text = self.text(token)
    if token == 0:
      return START
    if token == self._vocabulary.eos_id:
      return "end"
    if self._sentinel(token) is not None:
      return "sentinel"
    if token == self._unk_id:
      return "unknown"
    inner = text.strip(f"{_BLANK} ")
    if not inner:
      return "blank"
    # A byte above 127 is a part of a letter, for the most part.
    is_byte = self._is_of_bytes and len(inner) > 1
    if inner.isdigit():
      return "digits"
    if not is_byte and all(unicodedata.category(x)[0] in "PS" for x in inner):
      return "punctuation"
    if self._is_of_bytes:
      is_within = before in ("word start", "within a word")
      return "within a word" if is_within else "word start"
    return "word start" if text[0] in f"{_BLANK} " else "within a word"


def position_bin(positions: np.ndarray) -> np.ndarray:
  """Returns the bins of positions: 0, 1, 2 to 3, 4 to 7, 8 to 15, and so on.

  Args:
    positions: integers of at least 0.
  """
  return np.ceil(np.log2(np.asarray(positions) + 1)).astype(np.int8)


def bin_name(number: int) -> str:
  """Returns what positions a bin has, for example "4 to 7"."""
  low, high = (1 << number) // 2, (1 << number) - 1
  return str(low) if low >= high else f"{low} to {high}"
