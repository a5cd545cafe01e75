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

import collections
import pathlib
import re
import warnings

import pytest
import sentencepiece

from tasks import corpus
from tasks import errors
from tasks import prepared_text
from tasks import vocabulary_training
from tests import small_corpus


@pytest.mark.usefixtures("small_corpus")
def test_training_repeats_bit_for_bit():
  lines = list(vocabulary_training.sample_lines(corpus.docstrings(), 30_000))
  model = vocabulary_training.train(lines, 500)
  assert vocabulary_training.train(iter(lines), 500) == model
  assert vocabulary_training.train(lines[9:], 500) != model


@pytest.mark.usefixtures("small_corpus")
def test_a_vocabulary_is_trained_on_the_training_split_once(monkeypatch):
  text = corpus.docstrings()
  lines = set(vocabulary_training.sample_lines(text, 10**9))
  train = "\n".join(text.documents("train")).splitlines()
  assert lines == set(filter(None, train))
  path = pathlib.Path(
      vocabulary_training.trained_on(text, small_corpus.NUM_PIECES)
  )
  model = vocabulary_training.train(
      vocabulary_training.sample_lines(text, 2_000_000, 4096),
      small_corpus.NUM_PIECES,
      vocabulary_training.choose_characters(
          vocabulary_training.count_characters(text), small_corpus.NUM_PIECES
      ),
  )
  assert path.read_bytes() == model
  monkeypatch.setattr(vocabulary_training, "train", small_corpus.never)
  assert vocabulary_training.trained_on(text, small_corpus.NUM_PIECES) == str(
      path
  )


@pytest.mark.usefixtures("small_corpus")
def test_the_sample_is_from_all_over_the_text():
  text = corpus.docstrings()
  size = text.num_bytes("train")
  sampled = set(vocabulary_training.sample_lines(text, size // 4))
  # Lines repeat, and one in four of the distinct ones is taken.
  assert sum(len(line) for line in sampled) < 0.4 * size
  documents = list(text.documents("train"))
  for part in (documents[:20], documents[-20:]):
    lines = set("\n".join(part).splitlines()) - {""}
    assert 0.15 < len(lines & sampled) / len(lines) < 0.35


def test_a_short_text_makes_a_small_vocabulary():
  model = sentencepiece.SentencePieceProcessor(
      model_proto=vocabulary_training.train(
          ["a few words", "a few more words"], 8000
      )
  )
  assert 10 < model.get_piece_size() < 50
  assert model.decode(model.encode("more words")) == "more words"


def test_a_vocabulary_that_cannot_be_trained():
  with pytest.raises(errors.DataError) as raised:
    vocabulary_training.train(["abcdef"], 5)
  assert re.fullmatch(
      r"No vocabulary of 5 pieces can be trained on this text: Vocabulary size "
      r"is smaller than required_chars\. 5 vs \d+\. .*",
      str(raised.value),
  )


def text_of(directory: pathlib.Path, documents) -> prepared_text.PreparedText:
  directory.mkdir()
  pairs = [("train", document) for document in documents]
  prepared_text.write(directory, [*pairs, ("validation", "v")], {})
  return prepared_text.PreparedText(directory)


def unknown(path: str, text: str) -> int:
  model = sentencepiece.SentencePieceProcessor(model_file=path)
  return model.encode(text).count(model.unk_id())


RARE = "? $ % & Q Z @ ^ ~ 0 9 X \u00e9 \u4e2d"
PROSE = ["plain words of some text about nothing at all"] * 3000


def test_characters_that_are_rare_are_kept(tmp_path, empty_cache):
  del empty_cache
  text = text_of(tmp_path / "text", [*PROSE, RARE])
  with pytest.warns(errors.DataNotice) as caught:
    path = vocabulary_training.trained_on(text, 200)
  assert not unknown(path, RARE)
  assert unknown(vocabulary_training.trained_before(text, 200), RARE) > 10
  report = vocabulary_training.report_of(path)
  kept = len(set("".join(PROSE) + RARE) - {" "})
  assert report["characters"] == report["characters_kept"] == kept
  assert report["unknown_share"] == 0
  assert report["size"] == 200 and not report["byte_fallback"]
  assert str(caught[0].message) == (f"{vocabulary_training.describe(report)}.")


def test_a_character_outside_the_sample_is_kept(
    tmp_path, empty_cache, monkeypatch
):
  del empty_cache
  monkeypatch.setattr(vocabulary_training, "SAMPLE_BYTES", 2000)
  lines = [f"words {chr(97 + i % 26)}{chr(97 + i % 25)}" for i in range(3000)]
  lines[2000] += "\u00e9"
  text = text_of(tmp_path / "text", ["\n".join(lines)])
  sample = "".join(vocabulary_training.sample_lines(text, 2000))
  assert "\u00e9" not in sample
  assert not unknown(vocabulary_training.trained_on(text, 60), "\u00e9")


def test_many_characters_that_do_not_fit_become_bytes(tmp_path, empty_cache):
  del empty_cache
  script = [chr(0x4E00 + i) for i in range(600)]
  text = text_of(tmp_path / "text", ["".join(script[i:]) for i in range(300)])
  path = vocabulary_training.trained_on(text, 800)
  report = vocabulary_training.report_of(path)
  assert report["characters"] == 600 and report["characters_kept"] == 400
  assert report["byte_fallback"] and report["unknown_share"] == 0
  assert ", and bytes for the others" in vocabulary_training.describe(report)
  model = sentencepiece.SentencePieceProcessor(model_file=path)
  assert model.decode(model.encode(script[0])) == script[0]
  assert not unknown(path, "\u0416 and all others")


@pytest.mark.parametrize(
    "counts, size, kept, as_bytes",
    [
        ([9, 8, 7], 6, 3, False),  # All fit in half.
        # Of those that do not fit, a quarter, as it makes up enough.
        ([10**6] * 9 + [1] * 200, 400, 100, False),
        # What makes up 99.95%, as a quarter does not.
        ([100] * 150 + [1] * 100, 400, 243, False),
        ([100] * 500, 600, 300, True),
        ([100] * 500, 516, 500, False),  # No room for the bytes.
    ],
    ids=["all", "a quarter", "99.95%", "bytes", "no room"],
)
def test_the_characters_that_get_pieces(counts, size, kept, as_bytes):
  counts = {chr(0x4E00 + i): count for i, count in enumerate(counts)}
  found = vocabulary_training.choose_characters(counts, size)
  assert (len(found.kept), found.as_bytes) == (kept, as_bytes)
  assert found.kept + found.dropped == "".join(counts)


def test_characters_are_counted_as_sentencepiece_sees_them(tmp_path):
  text = text_of(tmp_path / "text", ["a\tb\nb \ufb01 e\u0301\0"])
  assert vocabulary_training.count_characters(text) == collections.Counter(
      {"a": 1, "b": 2, "f": 1, "i": 1, "\u00e9": 1}
  )


def test_one_long_line_is_sampled_in_parts(tmp_path, empty_cache):
  """SentencePiece leaves a longer line out, and a hash takes all or none."""
  del empty_cache
  words = [f"{chr(97 + i % 26)}word{i % 1000}" for i in range(120_000)]
  text = text_of(tmp_path / "text", [" ".join(words), "A short line."])
  size = text.num_bytes("train")
  assert size > 2**20
  for share in (0.25, 1):
    sample = list(vocabulary_training.sample_lines(text, share * size, 4096))
    assert max(map(len, sample)) <= 4096
    sampled = sum(map(len, sample))
    assert sampled == pytest.approx(share * size, rel=0.15)
    assert {word for line in sample for word in line.split()} <= {
        *words,
        "A",
        "short",
        "line.",
    }
  path = vocabulary_training.trained_on(text, 300)
  report = vocabulary_training.report_of(path)
  assert report["pieces"] > 250 and report["unknown_share"] == 0


def test_the_parts_of_a_line_are_the_line():
  for line in ("", "a" * 25, "ab cd " * 9, " " * 30, "a" * 11 + " b"):
    parts = list(vocabulary_training._parts(line, 10))
    assert "".join(parts) == line
    assert max(map(len, parts)) <= 10


def test_unknown_pieces_are_said_in_each_run(tmp_path, monkeypatch):
  monkeypatch.setenv("MTF_SWITCH_CACHE", str(tmp_path / "cache"))
  text = text_of(tmp_path / "text", ["a few words", "a few more words"])
  good = text_of(tmp_path / "good", PROSE[:99] + ["Other words and letters."])

  def notices(text, size):
    vocabulary_training._notified.clear()  # As in a new run.
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always")
      vocabulary_training.trained_on(text, size)
    return [str(warning.message) for warning in caught]

  first = notices(text, 8000)
  assert len(first) == 1
  assert re.fullmatch(
      r"the vocabulary trained on this text has \d\d pieces instead of 8,000, "
      r"9 of the text's 9 characters among them; 0% of the text's pieces are "
      r"unknown\.",
      first[0],
  )
  assert not notices(text, 8000)
  with monkeypatch.context() as patch:
    patch.setattr(vocabulary_training, "UNKNOWN_SHARE", -1.0)
    assert notices(text, 8000) == first
  assert len(notices(good, 26)) == 1
  assert not notices(good, 26)
