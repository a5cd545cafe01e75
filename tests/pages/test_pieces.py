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

"""Pieces of text and the classes of tokens."""

import mtf_switch  # isort: skip  # noqa: F401
import types

import numpy as np
import pytest
import seqio

from mtf_switch.pages import pieces as pieces_lib

BYTES = seqio.ByteVocabulary(extra_ids=5)
PIECES = ["<pad>", "</s>", "<unk>", "\u2581the", "ing", "\u258112", "7"]
PIECES += [",", "\u2581", "\u2581(", "\u00bd", "\u5b57", "x,"]
SENTENCES = types.SimpleNamespace(
    unk_id=2,
    eos_id=1,
    vocab_size=len(PIECES) + 2,
    extra_ids=2,
    tokenizer=types.SimpleNamespace(
        IdToPiece=lambda i: PIECES[i], GetPieceSize=lambda: len(PIECES)
    ),
)


def names(vocabulary, ids):
  classes = pieces_lib.Pieces(vocabulary).classes(ids)
  return [pieces_lib.CLASSES[i] for i in classes]


def test_bytes_are_letters_that_belong_to_words():
  text = "it is 42, \u00e9t\u00e9!"
  ids = [0, *BYTES.encode(text), 1, BYTES.vocab_size - 1]
  pieces = pieces_lib.Pieces(BYTES)
  assert "".join(map(pieces.text, ids)) == (
      "<start>it\u2581is\u258142,\u2581\\xc3\\xa9t\\xc3\\xa9!</s><extra_id_0>"
  )
  word = ["word start", "within a word"]
  assert names(BYTES, ids) == [
      *("start", *word, "blank", *word, "blank", "digits", "digits"),
      *("punctuation", "blank", word[0], *word[1:] * 4),
      *("punctuation", "end", "sentinel"),
  ]


@pytest.mark.parametrize(
    "piece, name",
    zip(
        range(len(PIECES) + 2),
        [
            *("start", "end", "unknown", "word start", "within a word"),
            *("digits", "digits", "punctuation", "blank", "punctuation"),
            *("within a word", "within a word", "within a word"),
            *("sentinel", "sentinel"),
        ],
    ),
)
def test_pieces_of_sentencepiece_have_classes(piece, name):
  assert names(SENTENCES, [3, piece])[1] == name


def test_sentinels_are_counted_from_the_end():
  pieces = pieces_lib.Pieces(SENTENCES)
  assert pieces.text(len(PIECES) + 1) == "<extra_id_0>"
  assert pieces.text(len(PIECES)) == "<extra_id_1>"
  assert pieces.text(3) == "\u2581the"


def test_positions_have_bins_that_double():
  bins = pieces_lib.position_bin(np.arange(9))
  assert [pieces_lib.bin_name(int(x)) for x in bins] == [
      *("0", "1", "2 to 3", "2 to 3"),
      *["4 to 7"] * 4,
      "8 to 15",
  ]
  last = pieces_lib.position_bin([1023, 1024])
  assert list(map(pieces_lib.bin_name, last.tolist())) == [
      *("512 to 1023", "1024 to 2047")
  ]
