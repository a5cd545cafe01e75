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

"""Vocabularies: trained ones, the user's own and published ones."""

import copy
import pathlib
import pickle
import re

import gin
import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from t5.data import preprocessors
import tensorflow.compat.v2 as tf

from tasks import corpus
from tasks import errors
from tasks import vocabulary
from tests import small_corpus

pytestmark = pytest.mark.usefixtures("small_corpus")


def test_the_vocabulary_is_like_t5s():
  words = vocabulary.LateVocabulary(corpus.docstrings)
  assert (words.pad_id, words.eos_id, words.unk_id) == (0, 1, 2)
  assert words.vocab_size == small_corpus.NUM_PIECES + 100
  assert words.tokenizer.bos_id() == -1
  assert preprocessors.sentinel_id(words) == small_corpus.NUM_PIECES + 99
  assert words.encode("<extra_id_0> <extra_id_99>") == [
      small_corpus.NUM_PIECES + 99,
      small_corpus.NUM_PIECES,
  ]
  text = "Returns the number of elements in the array."
  ids = words.encode(text)
  assert words.decode(ids) == text and len(ids) < 20
  np.testing.assert_array_equal(words.encode_tf(tf.constant(text)), ids)
  assert words.decode_tf(tf.constant(ids)).numpy().decode() == text


def test_a_vocabulary_is_created_copied_and_compared_without_its_text():
  words = vocabulary.LateVocabulary(small_corpus.never)
  assert pickle.loads(pickle.dumps(words)) == copy.deepcopy(words) == words
  assert words != vocabulary.LateVocabulary(corpus.docstrings)
  with pytest.raises(AssertionError, match="The text was asked for"):
    _ = words.vocab_size


def test_a_copy_from_before_use_equals_one_from_after():
  words = vocabulary.LateVocabulary(corpus.docstrings)
  before = pickle.dumps(words)
  assert words.vocab_size == small_corpus.NUM_PIECES + 100
  after = pickle.dumps(words)
  assert pickle.loads(before) == pickle.loads(after) == words
  assert pickle.loads(before).encode("array") == words.encode("array")


def test_a_vocabulary_follows_gin():
  words = vocabulary.LateVocabulary(corpus.docstrings)
  assert words.vocab_size == small_corpus.NUM_PIECES + 100
  gin.parse_config("tasks.vocabulary.size = 900")
  assert words.vocab_size == 1000


def test_training_repeats_bit_for_bit():
  lines = list(vocabulary.sample_lines(corpus.docstrings(), 30_000))
  model = vocabulary.train(lines, 500)
  assert vocabulary.train(iter(lines), 500) == model
  assert vocabulary.train(lines[9:], 500) != model


def test_a_vocabulary_is_trained_on_the_training_split_once(monkeypatch):
  text = corpus.docstrings()
  lines = set(vocabulary.sample_lines(text, 10**9))
  train = "\n".join(text.documents("train")).splitlines()
  assert lines == set(filter(None, train))
  path = pathlib.Path(vocabulary.trained_on(text, small_corpus.NUM_PIECES))
  model = vocabulary.train(
      vocabulary.sample_lines(text, vocabulary.SAMPLE_BYTES),
      small_corpus.NUM_PIECES,
  )
  assert path.read_bytes() == model
  monkeypatch.setattr(vocabulary, "train", small_corpus.never)
  assert vocabulary.trained_on(text, small_corpus.NUM_PIECES) == str(path)


def test_the_sample_is_from_all_over_the_text():
  text = corpus.docstrings()
  size = text.num_bytes("train")
  sampled = set(vocabulary.sample_lines(text, size // 4))
  # Lines repeat, and one in four of the distinct ones is taken.
  assert sum(len(line) for line in sampled) < 0.4 * size
  documents = list(text.documents("train"))
  for part in (documents[:20], documents[-20:]):
    lines = set("\n".join(part).splitlines()) - {""}
    assert 0.15 < len(lines & sampled) / len(lines) < 0.35


def test_a_short_text_makes_a_small_vocabulary():
  model = sentencepiece.SentencePieceProcessor(
      model_proto=vocabulary.train(["a few words", "a few more words"], 8000)
  )
  assert 10 < model.get_piece_size() < 50
  assert model.decode(model.encode("more words")) == "more words"


def test_a_vocabulary_that_cannot_be_trained():
  with pytest.raises(errors.DataError) as raised:
    vocabulary.train(["abcdef"], 5)
  assert re.fullmatch(
      r"No vocabulary of 5 pieces can be trained on this text: Vocabulary size "
      r"is smaller than required_chars\. 5 vs \d+\. .*",
      str(raised.value),
  )


def write_model(path: pathlib.Path, **options) -> str:
  """Trains a small SentencePiece model as a user might."""
  with path.open("wb") as file:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["some words of one's own"] * 9),
        model_writer=file,
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
  return str(path)


def test_the_users_own_model(tmp_path):
  path = write_model(
      tmp_path / "own.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1
  )
  gin.parse_config(f"tasks.vocabulary.path = {path!r}")
  words = vocabulary.LateVocabulary(small_corpus.never)
  assert words.sentencepiece_model_file == path
  pieces = sentencepiece.SentencePieceProcessor(model_file=path)
  assert words.vocab_size == pieces.get_piece_size() + 100
  assert words.encode("own words") == pieces.encode("own words")


def test_models_that_cannot_be_used(tmp_path):
  def complaint(path):
    gin.parse_config(f"tasks.vocabulary.path = {path!r}")
    with pytest.raises(errors.DataError) as raised:
      _ = vocabulary.LateVocabulary(small_corpus.never).vocab_size
    return str(raised.value)

  (tmp_path / "text.model").write_text("This is no model.")
  for name in ("absent.model", "text.model"):
    path = str(tmp_path / name)
    assert complaint(path) == (
        f"vocabulary.path = {path!r} is not a SentencePiece model that can be "
        "read."
    )
  path = write_model(tmp_path / "other.model")
  assert complaint(path) == (
      f"vocabulary.path = {path!r} has (-1, 2, 0) as ids of padding, end and "
      "unknown; T5 needs (0, 1, 2)."
  )


def test_gin_chooses_a_vocabulary_by_name():
  words = vocabulary.LateVocabulary("t5")
  gin.parse_config("tasks.vocabulary.name = 'embedded'")
  assert words.vocab_size == small_corpus.NUM_PIECES + 100
  own = vocabulary.LateVocabulary(corpus.docstrings)
  assert words.encode("the array") == own.encode("the array")
  gin.parse_config("tasks.vocabulary.name = 'bytes'")
  # 3 special ids, 256 bytes, 100 sentinels.
  assert words.vocab_size == own.vocab_size == 3 + 256 + 100
  assert words.encode("ab") == [100, 101]
  assert preprocessors.sentinel_id(words) == 358
  np.testing.assert_array_equal(words.encode_tf(tf.constant("ab")), [100, 101])
  assert words.decode([100, 101, words.eos_id]) == "ab"


def test_a_vocabulary_of_an_unknown_name():
  gin.parse_config("tasks.vocabulary.name = 't6'")
  with pytest.raises(errors.DataError) as raised:
    _ = vocabulary.LateVocabulary("t5").vocab_size
  assert str(raised.value) == (
      "vocabulary.name = 't6' is not known; use 't5', 'mt5', 'embedded' or "
      "'bytes', or set vocabulary.path."
  )


def test_a_published_vocabulary_that_is_not_reachable(monkeypatch, tmp_path):
  place = str(tmp_path / "absent.model")
  monkeypatch.setitem(vocabulary.PUBLISHED, "mt5", place)
  words = vocabulary.LateVocabulary("mt5")
  assert words.vocab_size == 250_100  # For planning, without the file.
  with pytest.raises(errors.DataError) as raised:
    words.encode("a")
  assert str(raised.value) == (
      f"The vocabulary 'mt5' cannot be read from {place}; set vocabulary.path "
      "to a copy of it, or vocabulary.name = 'embedded' or 'bytes' to do "
      "without."
  )


def test_a_model_that_has_sentinels_gets_no_more(tmp_path):
  """Like mT5's, with the first sentinel as the last piece."""
  sentinels = [f"\u2581<extra_id_{i}>" for i in reversed(range(3))]
  path = write_model(
      tmp_path / "own.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1
  )
  model = sentencepiece_model_pb2.ModelProto()
  model.ParseFromString(pathlib.Path(path).read_bytes())
  num_pieces = len(model.pieces)
  for sentinel in sentinels:
    user_defined = model.SentencePiece.USER_DEFINED
    model.pieces.add(piece=sentinel, score=0.0, type=user_defined)
  pathlib.Path(path).write_bytes(model.SerializeToString())
  gin.parse_config(f"tasks.vocabulary.path = {path!r}")
  words = vocabulary.LateVocabulary("mt5")
  assert words.vocab_size == num_pieces + 3
  assert words.encode("<extra_id_0>") == [num_pieces + 2]
  assert preprocessors.sentinel_id(words) == num_pieces + 2
