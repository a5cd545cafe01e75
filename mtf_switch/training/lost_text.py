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

"""Notices of text that is lost before it reaches the model.

Positions beyond the length are cut off, and the vocabulary does not know some
pieces. Both are counted, and the first place is named.
"""

from collections.abc import Sequence
import warnings

import numpy as np
import seqio

from mtf_switch import errors
from mtf_switch.training import alarms

CUT = "texts are cut"
UNKNOWN = "many unknown pieces"
# A vocabulary knows all but a few of 10,000 pieces of the texts that it was
# made for; one of a hundred is too many for a feature to be understood.
MANY_UNKNOWN = 0.01

# Of an unknown piece, in a notice.
_MAX_CHARACTERS = 20


class Tally:
  """The losses of one feature: "inputs" or "targets"."""

  def __init__(self, feature: str, vocabulary: seqio.Vocabulary, length: int):
    """Starts with none.

    Args:
      feature: its name.
      vocabulary: its vocabulary.
      length: its positions.
    """
    self._feature = feature
    self._vocabulary = vocabulary
    # Found once: where a vocabulary is, depends on gin and files.
    self._unk_id = vocabulary.unk_id
    self._length = length
    self._num_texts = 0
    self._num_cut = 0
    self._first_cut = ""
    self._num_pieces = 0
    self._num_unknown = 0
    self._first_unknown = ""

  def add(self, place: str, ids: Sequence[int], room: int, text: str | None):
    """Counts the losses of a text.

    Args:
      place: where the text is, for example "line 3".
      ids: all of its ids.
      room: the positions that it may take.
      text: the text itself, if it is known.
    """
    self._num_texts += 1
    if len(ids) > room:
      self._num_cut += 1
      self._first_cut = self._first_cut or place
    self._num_pieces += len(ids)
    num_unknown = np.count_nonzero(np.equal(ids, self._unk_id))
    self._num_unknown += num_unknown
    if num_unknown and not self._first_unknown:
      piece = _first_unknown_piece(self._vocabulary, text) if text else None
      named = f": {piece[:_MAX_CHARACTERS]!r}" if piece else ""
      self._first_unknown = f"{place} first{named}"

  def warn(self, where: str = ""):
    """Warns of each kind of loss that there was.

    Args:
      where: what the texts are of, for example "train split: ".
    """
    if self._num_cut:
      are, were = ("is", "was") if self._num_cut == 1 else ("are", "were")
      _warn(
          f"{where}{self._num_cut:,} of {self._num_texts:,} {self._feature} "
          f"{are} longer than the {self._length} tokens of "
          f"Experiment.sequence_length and {were} cut, the first is "
          f"{self._first_cut}."
      )
    if self._num_unknown:
      are = "is" if self._num_unknown == 1 else "are"
      _warn(
          f"{where}{self._num_unknown:,} of {self._num_pieces:,} pieces of the "
          f"{self._feature} {are} unknown to the vocabulary "
          f"({self._first_unknown})."
      )

  def changes(self, where: str) -> list[alarms.Change]:
    """Returns the losses as warnings of a run, which do not end.

    Args:
      where: what the texts are.
    """
    found = []
    if self._num_cut:
      numbers = {"cut": self._num_cut, "of": self._num_texts}
      found.append(alarms.Change(CUT, where, "began", numbers))
    if self._num_unknown > MANY_UNKNOWN * self._num_pieces:
      numbers = {"unknown": int(self._num_unknown), "of": self._num_pieces}
      found.append(alarms.Change(UNKNOWN, where, "began", numbers))
    return found


def _warn(message: str):
  warnings.warn(message, errors.UserNotice, stacklevel=3)


def _first_unknown_piece(vocabulary, text: str) -> str | None:
  """The first piece that a SentencePiece vocabulary does not know."""
  tokenizer = getattr(vocabulary, "tokenizer", None)
  if not hasattr(tokenizer, "EncodeAsPieces"):
    return None
  pieces = zip(tokenizer.EncodeAsPieces(text), tokenizer.EncodeAsIds(text))
  unknown = (piece for piece, i in pieces if i == vocabulary.unk_id)
  return next(unknown, "").lstrip("\u2581")
