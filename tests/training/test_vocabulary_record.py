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

"""Checkpoints are used only with their vocabularies."""

import mtf_switch  # isort: skip  # noqa: F401
import hashlib
import json
import pathlib
import shutil

import gin
import pytest
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.training import vocabulary_record
from tasks import text_files
from tasks import vocabulary
from tasks import vocabulary_training

TEXT = ["one two three four five six seven", "eight nine ten and so on", "zero"]
BYTES = seqio.ByteVocabulary()
BYTES_AND_SENTINELS = seqio.ByteVocabulary(extra_ids=100)


def sentencepiece(path, size=30):
  path.write_bytes(vocabulary_training.train(TEXT * 5, size))
  return seqio.SentencePieceVocabulary(str(path), extra_ids=100)


def save_checkpoint(directory):
  with tf.Graph().as_default(), tf.Session() as session:
    variable = tf.get_variable("v", initializer=0)
    session.run(variable.initializer)
    tf.train.Saver([variable]).save(session, str(directory / "model.ckpt-7"))


@pytest.fixture
def trained(tmp_path):
  """A directory with a checkpoint that was trained on bytes."""
  vocabulary_record.keep(str(tmp_path), (BYTES, BYTES))
  save_checkpoint(tmp_path)
  return tmp_path


def test_the_record_describes_the_vocabularies(tmp_path):
  words = sentencepiece(tmp_path / "a.model")
  vocabulary_record.keep(str(tmp_path / "run"), (words, BYTES_AND_SENTINELS))
  record = json.loads((tmp_path / "run" / "vocabulary.json").read_text())
  model = (tmp_path / "a.model").read_bytes()
  assert record["inputs"] == {
      "kind": "SentencePiece",
      "size": words.vocab_size,
      "extra_ids": 100,
      "sha256": hashlib.sha256(model).hexdigest(),
      "path": str(tmp_path / "a.model"),
  }
  # Padding, EOS and unknown; 256 bytes; 100 sentinels.
  of_targets = record["targets"]
  assert (of_targets["kind"], of_targets["size"]) == ("Byte", 3 + 256 + 100)
  assert of_targets["path"] is None


@pytest.mark.parametrize(
    "inputs, targets, feature",
    [
        (BYTES_AND_SENTINELS, BYTES, "inputs"),
        (BYTES, BYTES_AND_SENTINELS, "targets"),
    ],
    ids=["inputs", "targets"],
)
@pytest.mark.parametrize(
    "function", [vocabulary_record.check, vocabulary_record.keep]
)
def test_another_vocabulary_is_refused(
    trained, function, inputs, targets, feature
):
  before = (trained / "vocabulary.json").read_text()
  with pytest.raises(errors.UserError) as error:
    function(str(trained), (inputs, targets))
  message = str(error.value)
  assert "of a Byte vocabulary of 259 (sha256" in message
  assert f"for the {feature}, but the task has a Byte vocab" in message
  assert "of 359 (sha256" in message
  assert message.endswith(
      "use a task with that one, or take another directory."
  )
  assert "\n" not in message
  assert (trained / "vocabulary.json").read_text() == before


def test_a_sentencepiece_model_is_identified_by_its_bytes(tmp_path):
  first = sentencepiece(tmp_path / "first.model")
  copy = sentencepiece(tmp_path / "copy.model")
  # Of equal size, but with other pieces.
  other = seqio.SentencePieceVocabulary(str(tmp_path / "other.model"), 100)
  (tmp_path / "other.model").write_bytes(
      vocabulary_training.train([text.upper() for text in TEXT] * 5, 30)
  )
  assert other.vocab_size == first.vocab_size
  run = tmp_path / "run"
  vocabulary_record.keep(str(run), (first, first))
  save_checkpoint(run)
  vocabulary_record.check(str(run), (copy, copy))
  with pytest.raises(
      errors.UserError, match="vocabulary.path = .*run/vocabulary/sentence"
  ):
    vocabulary_record.check(str(run), (other, other))
  # On another machine, and without the copy.
  (tmp_path / "first.model").unlink()
  (copy,) = (run / "vocabulary").iterdir()
  copy.unlink()
  with pytest.raises(errors.UserError, match=f"; restore {copy}, or take "):
    vocabulary_record.check(str(run), (other, other))


def test_a_copy_without_its_record_is_refused(tmp_path):
  words = sentencepiece(tmp_path / "a.model")
  vocabulary_record.keep(str(tmp_path), (words, words))
  record = tmp_path / "vocabulary.json"
  record.unlink()
  vocabulary_record.check(str(tmp_path), (words, words))
  save_checkpoint(tmp_path)
  with pytest.raises(errors.UserError) as error:
    vocabulary_record.find([str(tmp_path)], (words, words))
  assert str(error.value) == (
      f"{record} is missing, which says what the vocabulary in "
      f"{tmp_path}/vocabulary is; restore it from a copy, or remove both."
  )


def test_a_vocabulary_without_a_model_is_identified_by_its_pieces(tmp_path):
  unigrams = [seqio.UnigramVocabulary([x, "b", "c"]) for x in "az"]
  vocabulary_record.keep(str(tmp_path), (unigrams[0],) * 2)
  save_checkpoint(tmp_path)
  vocabulary_record.check(str(tmp_path), (unigrams[0],) * 2)
  with pytest.raises(errors.UserError, match="of a Unigram vocabulary of"):
    vocabulary_record.check(str(tmp_path), (unigrams[1],) * 2)


def test_without_checkpoints_the_record_is_replaced(tmp_path):
  """A run that stopped before its first checkpoint may change vocabulary."""
  vocabulary_record.keep(str(tmp_path), (BYTES, BYTES))
  first = (tmp_path / "vocabulary.json").read_text()
  vocabulary_record.check(str(tmp_path), (BYTES_AND_SENTINELS,) * 2)
  vocabulary_record.keep(str(tmp_path), (BYTES_AND_SENTINELS,) * 2)
  assert (tmp_path / "vocabulary.json").read_text() != first


def test_an_older_directory_gets_its_record_when_it_is_trained(tmp_path):
  save_checkpoint(tmp_path)
  vocabulary_record.check(str(tmp_path), (BYTES, BYTES))
  assert not (tmp_path / "vocabulary.json").exists()
  vocabulary_record.keep(str(tmp_path), (BYTES, BYTES))
  with pytest.raises(errors.UserError):
    vocabulary_record.check(str(tmp_path), (BYTES_AND_SENTINELS,) * 2)


def test_a_run_of_an_earlier_version_goes_on_with_its_vocabulary(
    tmp_path, monkeypatch
):
  """Versions up to 0.2.0 trained a vocabulary without rare characters."""
  monkeypatch.setenv("MTF_SWITCH_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(vocabulary, "_kept", {})
  text = tmp_path / "text.txt"
  text.write_text("\n\n".join(f"{i} {x}" for i, x in enumerate(TEXT * 900)))
  with text.open("a") as file:
    file.write("\n\nReally?")
  gin.parse_config([f"text_files.path = '{text}'", "vocabulary.size = 100"])
  words = vocabulary.LateVocabulary(text_files.text_files)
  earlier = vocabulary_training.trained_before(text_files.text_files(), 100)
  run = tmp_path / "run"
  vocabulary_record.keep(
      str(run), (seqio.SentencePieceVocabulary(earlier, 100),) * 2
  )
  shutil.rmtree(run / "vocabulary")  # They kept no copy.
  save_checkpoint(run)
  assert words.unk_id not in words.encode("?")  # That of a new run.
  vocabulary_record.check(str(run), (words, words))
  assert words.sentencepiece_model_file == earlier
  assert words.unk_id in words.encode("?")


def test_another_machine_needs_nothing_but_the_directory(tmp_path, monkeypatch):
  monkeypatch.setenv("MTF_SWITCH_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(vocabulary, "_kept", {})
  text = tmp_path / "text.txt"
  text.write_text("\n\n".join(f"{i} {x}" for i, x in enumerate(TEXT * 9)))
  gin.parse_config([f"text_files.path = '{text}'", "vocabulary.size = 100"])
  words = vocabulary.LateVocabulary(text_files.text_files)
  run = tmp_path / "run"
  vocabulary_record.keep(str(run), (words, words))
  save_checkpoint(run)
  record = json.loads((run / "vocabulary.json").read_text())
  (copy,) = (run / "vocabulary").iterdir()
  assert copy.name == f"sentencepiece.{record['inputs']['sha256'][:8]}.model"
  content = pathlib.Path(record["inputs"]["path"]).read_bytes()
  assert copy.read_bytes() == content
  ids = words.encode("seven of nine")

  shutil.rmtree(tmp_path / "cache")
  text.unlink()
  other = tmp_path / "home" / "run"
  run.rename(shutil.copytree(run, other).parent / "away")
  with pytest.raises(FileNotFoundError):
    words.encode("seven of nine")
  shutil.rmtree(tmp_path / "cache")
  # As a fine-tuning finds it, whose own directory is new.
  vocabulary_record.find([str(tmp_path / "new"), str(other)], (words, words))
  assert words.encode("seven of nine") == ids
  assert words.sentencepiece_model_file == str(other / "vocabulary" / copy.name)
  vocabulary_record.check(str(other), (words, words))
  vocabulary_record.keep(str(tmp_path / "new"), (words, words))
  assert (tmp_path / "new" / "vocabulary" / copy.name).exists()
  new = json.loads((tmp_path / "new" / "vocabulary.json").read_text())
  assert new == record  # It says what the vocabulary was trained on.
  assert not (tmp_path / "cache").exists()

  with pytest.raises(errors.UserError, match=f"path = '{other}.*model', or"):
    vocabulary_record.check(str(other), (BYTES, BYTES))
  path = other / "vocabulary" / copy.name
  path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
  with pytest.raises(errors.UserError) as error:
    vocabulary_record.find([str(other)], (words, words))
  assert str(error.value).startswith(f"{path} has changed: its sha256 is ")


def test_an_older_directory_gets_a_copy_when_it_is_trained(tmp_path):
  words = sentencepiece(tmp_path / "a.model")
  vocabulary_record.keep(str(tmp_path), (words, BYTES))
  save_checkpoint(tmp_path)
  (copy,) = (tmp_path / "vocabulary").iterdir()
  shutil.rmtree(tmp_path / "vocabulary")
  vocabulary_record.check(str(tmp_path), (words, BYTES))
  assert not (tmp_path / "vocabulary").exists()
  vocabulary_record.keep(str(tmp_path), (words, BYTES))
  assert copy.read_bytes() == (tmp_path / "a.model").read_bytes()
