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
import hashlib
import pathlib
import pickle

import gin
import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from t5.data import preprocessors
import tensorflow.compat.v2 as tf

from mtf_switch.training import vocabulary_record
from tasks import corpus
from tasks import errors
from tasks import vocabulary
from tasks import vocabulary_training
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


T5S_IDS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}


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
  path = write_model(tmp_path / "own.model", **T5S_IDS)
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

  whole = pathlib.Path(write_model(tmp_path / "whole.model", **T5S_IDS))
  content = whole.read_bytes()
  (tmp_path / "text.model").write_text("This is no model.")
  (tmp_path / "empty.model").touch()
  (tmp_path / "directory.model").mkdir()
  (tmp_path / "cut.model").write_bytes(content[: len(content) // 2])
  # Cut between two pieces, what is left is a message of its own.
  proto = sentencepiece_model_pb2.ModelProto.FromString(content)
  pieces = sentencepiece_model_pb2.ModelProto(pieces=proto.pieces[:9])
  (tmp_path / "pieces.model").write_bytes(pieces.SerializeToString())
  for name, problem in (
      ("absent", "does not exist"),
      ("directory", "is a directory"),
  ):
    path = str(tmp_path / f"{name}.model")
    assert complaint(path) == f"vocabulary.path = {path!r} {problem}."
  names = ("text", "empty", "cut", "pieces")
  for name in (f"{name}.model" for name in names):
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
      "vocabulary.name = 't6' is not known; use 't5', 'mt5', 'embedded', "
      "'mc4' or 'bytes', or set vocabulary.path."
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


def write_with_sentinels(
    path: pathlib.Path, before=(), after=(), kind="USER_DEFINED"
) -> int:
  """Writes a model with more pieces; returns the number of its own."""
  write_model(path, **T5S_IDS)
  model = sentencepiece_model_pb2.ModelProto()
  model.ParseFromString(path.read_bytes())
  own = list(model.pieces)
  del model.pieces[:]

  def add(pieces):
    for piece in pieces:
      model.pieces.add(
          piece=piece, score=0.0, type=model.SentencePiece.Type.Value(kind)
      )

  model.pieces.extend(own[:3])
  add(before)
  model.pieces.extend(own[3:])
  add(after)
  path.write_bytes(model.SerializeToString())
  gin.parse_config(f"tasks.vocabulary.path = {str(path)!r}")
  return len(own)


ASCENDING = [f"\u2581<extra_id_{i}>" for i in range(100)]
DESCENDING = ASCENDING[::-1]


@pytest.mark.parametrize("more", [0, 20])
def test_a_model_that_has_t5s_sentinels_gets_no_more(tmp_path, more):
  sentinels = [f"\u2581<extra_id_{i}>" for i in reversed(range(100 + more))]
  own = write_with_sentinels(tmp_path / "own.model", after=sentinels)
  words = vocabulary.LateVocabulary("mt5")
  assert words.vocab_size == own + 100 + more
  last = words.vocab_size - 1
  assert words.encode("<extra_id_0> <extra_id_99>") == [last, last - 99]
  assert preprocessors.sentinel_id(words) == last


def test_a_model_whose_sentinels_have_no_space_is_t5s_as_well(tmp_path):
  sentinels = [piece[1:] for piece in DESCENDING]
  own = write_with_sentinels(tmp_path / "own.model", after=sentinels)
  words = vocabulary.LateVocabulary("mt5")
  assert words.vocab_size == own + 100
  assert words.encode("<extra_id_0>")[-1] == own + 99


@pytest.mark.parametrize(
    "arguments",
    [
        {"after": ASCENDING},
        {"before": ASCENDING},
        {"before": DESCENDING},
        {"after": DESCENDING[-10:]},
        {"after": [*DESCENDING, "more"]},
        {"before": ["<extra_id_0>"], "after": DESCENDING},
        {"after": DESCENDING, "kind": "CONTROL"},
        {"after": DESCENDING, "kind": "NORMAL"},
        {"after": [f"\u2581<extra_id_{i}>" for i in reversed(range(1, 101))]},
    ],
    ids=[
        "ascending",
        "in front",
        "in front, descending",
        "only ten",
        "not the last",
        "one twice",
        "control symbols",
        "ordinary pieces",
        "without the first",
    ],
)
def test_sentinels_that_are_not_t5s_are_refused(tmp_path, arguments):
  path = tmp_path / "own.model"
  write_with_sentinels(path, **arguments)
  with pytest.raises(errors.DataError) as raised:
    vocabulary.LateVocabulary("t5").encode("<extra_id_0>")
  message = str(raised.value)
  assert message.startswith(f"vocabulary.path = {str(path)!r} has ")
  assert message.endswith(
      "as user-defined symbols: train the model without sentinels, and they "
      "are added."
  )


def test_the_message_about_sentinels_has_the_numbers(tmp_path):
  own = write_with_sentinels(tmp_path / "own.model", before=ASCENDING)
  with pytest.raises(errors.DataError) as raised:
    _ = vocabulary.LateVocabulary("t5").vocab_size
  assert (
      "has 100 sentinels of its own, <extra_id_0> as id 3 to <extra_id_99> as "
      f"id 102 of {own + 100}; T5 needs <extra_id_0> to <extra_id_99> as ids "
      f"{own + 99} down to {own}"
  ) in str(raised.value)


def test_a_run_of_an_earlier_version_keeps_its_vocabulary(monkeypatch):
  words = vocabulary.LateVocabulary(corpus.docstrings)
  now = vocabulary_record.describe(words)
  earlier = vocabulary_training.trained_before(
      corpus.docstrings(), small_corpus.NUM_PIECES
  )
  content = pathlib.Path(earlier).read_bytes()
  sha256 = hashlib.sha256(content).hexdigest()
  assert sha256 != now["sha256"]
  assert now["training"]["unknown_share"] == 0
  monkeypatch.setattr(vocabulary, "_kept", {})
  for other in ("0" * 64, now["sha256"]):
    words.keep_to({"sha256": other, "path": "there"})
    assert vocabulary_record.describe(words) == now
  words.keep_to({"sha256": sha256, "path": "there"})
  then = vocabulary_record.describe(words)
  assert then["sha256"] == sha256 and "training" not in then
  assert words.sentencepiece_model_file == earlier
  # The earlier vocabulary lacks characters that the new one has.
  own = sentencepiece.SentencePieceProcessor(model_file=now["path"])
  for pieces, number in ((words, 1), (own, 0)):
    assert pieces.encode("Why?").count(words.unk_id) == number


def test_other_vocabularies_have_nothing_to_keep_to():
  record = {"sha256": "0" * 64, "path": "there"}
  vocabulary.LateVocabulary("t5").keep_to(record)
  # A later version finds its own; bytes are in no file.
  never = vocabulary.LateVocabulary(small_corpus.never)
  never.keep_to({**record, "training": {"size": 100}})
  never.keep_to({**record, "path": None})
  gin.parse_config("tasks.vocabulary.name = 'bytes'")
  never.keep_to(record)


def test_a_copy_is_the_vocabulary_where_gin_may_mean_it(monkeypatch, tmp_path):
  monkeypatch.setattr(vocabulary, "_kept", {})
  path = tmp_path / "copy.model"
  path.write_bytes(vocabulary_training.train(["a few words"] * 9, 40))
  trained = {"sha256": "0", "path": "/gone", "training": {"size": 50}}
  published = {"sha256": "0", "path": vocabulary.PUBLISHED["t5"]}
  own = {"sha256": "0", "path": "/gone/my.model"}
  here = {"sha256": "0", "path": __file__}
  for record, binding, default, is_kept in [
      (trained, "size = 50", small_corpus.never, True),
      (trained, "size = 51", small_corpus.never, False),
      (trained, "name = 'embedded'", "t5", False),
      (trained, "name = 'bytes'", small_corpus.never, False),
      (trained, f"path = '{path}'", small_corpus.never, False),
      (published, "size = 52", "t5", True),
      (published, "name = 't5'", small_corpus.never, True),
      (published, "size = 53", "mt5", False),
      (published, "name = 'embedded'", "t5", True),  # Its record tells no size.
      (own, "path = '/gone/my.model'", "t5", True),
      (own, "path = '/gone/other.model'", "t5", False),
      (here, f"path = '{__file__}'", "t5", False),
  ]:
    gin.clear_config()
    gin.parse_config(f"tasks.vocabulary.{binding}")
    words = vocabulary.LateVocabulary(default)
    words.keep_to(record, str(path))
    assert (words.kept_description == record) == is_kept, (record, binding)
    if is_kept:
      assert words.sentencepiece_model_file == str(path)
