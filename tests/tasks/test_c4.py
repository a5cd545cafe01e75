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

"""C4: repeated lines, the two sources, and errors in them."""

import re
import sys

import gin
import hypothesis
from hypothesis import strategies
import pytest
import seqio
from seqio import test_utils
import tensorflow.compat.v2 as tf
import tensorflow_datasets as tfds

from tasks import c4
from tasks import errors
from tasks import records
from tasks import shards as shards_lib
from tests import c4_data


@pytest.fixture(autouse=True)
def bytes_only():
  """Uses a vocabulary that loads fast."""
  gin.parse_config("tasks.vocabulary.name = 'bytes'")


def read(split):
  return c4_data.read("c4_span_corruption", split)


# Repeated lines.


def without_repeated_lines(text):
  return c4.without_repeated_lines(tf.constant(text)).numpy().decode("utf-8")


def test_a_page_by_hand():
  """The second "add to cart" and the second empty line are removed."""
  page = [
      "Rye bread, 750 g",
      "",
      "Add to cart",
      "  Jeden Tag frisch: Brötchen.",
      "",
      "ADD TO CART \t",
      "Add to cart now",
      "JEDEN TAG FRISCH: BRÖTCHEN. ",
  ]
  kept = [page[i] for i in (0, 1, 2, 3, 6)]
  assert without_repeated_lines("\n".join(page)) == "\n".join(kept)


def oracle(text):
  """Removes repeated lines as TFDS's c4_utils does, in Python."""
  seen, kept = set(), []
  for line in text.split("\n"):
    key = line.strip().lower()
    if key not in seen:
      kept.append(line)
    seen.add(key)
  return "\n".join(kept)


# Few letters, so that lines repeat: some with a special lower case, several
# kinds of space, and a character that looks like a space but is not.
LINES = strategies.text(
    "aA\u0130\u03a3\u03c3\u00df\r\t\v\x1f \x85\u3000\u200b", max_size=3
)


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(strategies.lists(LINES, max_size=8))
def test_lines_are_removed_as_tfds_does(lines):
  text = "\n".join(lines)
  assert without_repeated_lines(text) == oracle(text)
  assert without_repeated_lines(oracle(text)) == oracle(text)


def test_all_whitespace_of_python_is_stripped():
  spaces = [chr(i) for i in range(sys.maxunicode + 1) if chr(i).isspace()]
  for space in set(spaces) - {"\n"}:
    assert without_repeated_lines(f"a\n{space}a\na{space}") == "a", repr(space)


def test_other_features_stay():
  dataset = tf.data.Dataset.from_tensors({"text": "a\nA\nb", "url": "u"})
  test_utils.assert_dataset(
      c4.remove_repeated_lines(dataset), {"text": "a\nb", "url": "u"}
  )


@pytest.mark.parametrize("wanted, text", [(True, "a\nb"), (False, "a\nA\nb")])
def test_gin_decides_whether_lines_are_removed(wanted, text):
  gin.parse_config(f"tasks.c4.remove_repeated_lines = {wanted}")
  output = test_utils.test_preprocessing_single(
      "c4_full_lm",
      {"train": {"text": "a\nA\nb", **c4_data.REST}},
      seed=0,
      sequence_length={"targets": 32},
  )
  assert seqio.ByteVocabulary().decode(output["targets"].tolist()) == text


# The tasks.


def test_a_record_becomes_an_example_of_span_corruption():
  """Worked by hand.

  15% of 20 bytes are 3, in one span, the last: a sentinel replaces "ily" in the
  inputs, and the rest in the targets. The ids are 3 special ones, 256 bytes and
  100 sentinels, of which the first has the last id.
  """
  raw = {"validation": {"text": "Bread is baked daily", **c4_data.REST}}
  kwargs = dict(sequence_length={"inputs": 19, "targets": 5})
  output = test_utils.test_preprocessing_single(
      "c4_span_corruption", raw, seed=0, **kwargs
  )
  sentinel = 3 + 256 + 100 - 1
  assert {feature: ids.tolist() for feature, ids in output.items()} == {
      "inputs": [*(3 + byte for byte in b"Bread is baked da"), sentinel, 1],
      "targets": [sentinel, *(3 + byte for byte in b"ily"), 1],
  }
  vocabulary = seqio.ByteVocabulary(extra_ids=100)
  metrics = test_utils.test_postprocessing(
      "c4_span_corruption",
      raw,
      predict_output=[vocabulary.decode(output["targets"].tolist())],
      **kwargs,
  )
  assert metrics["sequence_accuracy"] == 100
  assert metrics["mean_edit"] == 0


# Files.


@pytest.mark.parametrize(
    "name, split",
    [
        ("c4-train.00000-of-01024.json.gz", "train"),
        ("c4-validation.00007-of-00008.json.gz", "validation"),
        ("c4-train.00000-of-00002.json", "train"),
        ("validation.jsonl", "validation"),
        ("my_train_0.jsonl.gz", "train"),
        ("c4-training.00000-of-00001.json", None),
        ("c4-train.00000-of-01024.tfrecord", None),
        ("c4-train.json.gz.partial", None),
        ("pages.json", None),
    ],
)
def test_a_name_contains_the_split(name, split):
  assert c4.split_of(name) == split


@pytest.fixture
def shards(tmp_path):
  """Two training shards, one of them compressed, and a validation shard."""
  c4_data.write(
      tmp_path / "c4-train.00000-of-00002.json.gz", ["one", "zwei \u4e09"]
  )
  c4_data.write(tmp_path / "c4-train.00001-of-00002.json", ["three"])
  c4_data.write(tmp_path / "c4-validation.00000-of-00001.json.gz", ["four"])
  (tmp_path / "README.md").write_text("no shard")
  return tmp_path


def use(*patterns):
  gin.bind_parameter("tasks.c4.files", [str(pattern) for pattern in patterns])


def test_shards_are_read_by_split(shards):
  gin.parse_config(f"tasks.c4.files = '{shards}/*'")
  assert read("train") == ["one", "zwei \u4e09", "three"]
  assert read("validation") == ["four"]
  source = seqio.get_mixture_or_task("c4_span_corruption").source
  assert source.describe() == f"c4.files = '{shards}/*'"
  assert source.is_present()
  assert [len(source.list_shards(split)) for split in c4.SPLITS] == [2, 1]


def test_several_patterns(shards):
  use(shards / "*-train.00001*", shards / "c4-val*.gz", shards / "c4-val*")
  assert read("train") == ["three"]
  assert read("validation") == ["four"]


def test_a_home_directory_is_found(shards, monkeypatch):
  monkeypatch.setenv("HOME", str(shards))
  use("~/c4-validation*")
  assert read("validation") == ["four"]


def test_a_pattern_that_matches_nothing(shards):
  use(shards / "c4-*", shards / "c5-*.json.gz")
  with pytest.raises(errors.DataError) as error:
    read("train")
  assert str(error.value) == (
      f"c4.files = '{shards}/c5-*.json.gz': no file matches."
  )
  source = seqio.get_mixture_or_task("c4_span_corruption").source
  assert not source.is_present()


def test_a_split_without_shards(shards):
  use(shards / "c4-train*", shards / "README.md")
  with pytest.raises(errors.DataError) as error:
    read("validation")
  assert str(error.value) == (
      f"c4.files = '{shards}/c4-train*', '{shards}/README.md': of the 3 files "
      "that match, none has a name such as "
      "c4-validation.00000-of-00008.json.gz."
  )


def test_no_such_split(shards):
  use(shards / "c4-*")
  with pytest.raises(errors.DataError, match="no split 'test'"):
    read("test")


def test_broken_records_are_skipped_and_reported(shards):
  file = shards / "c4-train.00001-of-00002.json"
  lines = [
      '{"text": "good"}',
      '{"text": "cut',
      '"text"',
      '{"url": "https://example.org"}',
      '{"text": 7}',
      "",
      '{"text": "half of a pair: \\ud83d"}',
      '{"text": "", "url": ""}',
  ]
  file.write_text("\n".join(lines))
  empty = shards / "c4-train.00002-of-00002.json"
  empty.touch()
  use(file, empty)
  assert read("train") == ["good", ""]
  no_text = 'the object has no string under "text"'
  assert {
      place: re.split(r" \(|;", problem)[0]
      for place, problem in records.skipped().items()
  } == {
      f"{file}, line 2": "this is not JSON",
      f"{file}, line 3": "a JSON object is needed, not str",
      f"{file}, line 4": no_text,
      f"{file}, line 5": no_text,
      f"{file}, line 7": 'the string under "text" is not Unicode',
      str(empty): "there is no JSON object in it",
  }


def test_a_file_that_is_not_gzip_is_named(shards):
  file = shards / "c4-train.00000-of-00002.json.gz"
  file.write_text('{"text": "not compressed"}')
  use(file)
  with pytest.raises(tf.errors.OpError):
    read("train")
  assert str(errors.raised_in_dataset()).startswith(f"{file}, after line 0: ")


# TensorFlow Datasets.


@pytest.fixture
def tfds_directory(tmp_path):
  """TFDS's data directory, for a test to fill."""
  seqio.set_tfds_data_dir_override(str(tmp_path))
  yield tmp_path
  seqio.set_tfds_data_dir_override(None)


def test_tfds_is_read_by_split(tfds_directory):
  c4_data.store_in_tfds(
      tfds_directory,
      c4.Options().tfds_name,
      {"train": ["one", "two"], "validation": ["three"]},
  )
  assert sorted(read("train")) == ["one", "two"]
  assert read("validation") == ["three"]
  source = seqio.get_mixture_or_task("c4_full_lm").source
  assert source.is_present()
  assert source.describe() == f"TFDS {c4.Options().tfds_name}"
  assert source.num_input_examples("train") == 2


def test_a_dataset_that_is_not_prepared(tfds_directory):
  source = seqio.get_mixture_or_task("c4_full_lm").source
  assert not source.is_present()
  with pytest.raises(errors.DataError) as error:
    read("train")
  assert str(error.value).startswith("The dataset c4/en:3.1.0 is not prepared")


def test_the_installed_tfds_prepares_the_version_that_is_read():
  name, version = c4.Options().tfds_name.split(":")
  builder = tfds.builder(name)
  assert version in map(str, [builder.version, *builder.supported_versions])
  assert tfds.core.Version(version) >= "2.3.0"


# Real data.


@pytest.fixture
def real_c4(real_data):
  gin.parse_config(f"""
      tasks.c4.files = '{real_data}/c4/c4-*.json'
      tasks.vocabulary.name = None
      tasks.vocabulary.path = '{real_data}/vocab/t5.spiece.model'
  """)
  return real_data / "c4"


@pytest.mark.real_data
def test_real_shards_become_span_corruption(real_c4):
  """512 inputs and 114 targets, both full, from concatenated pages."""
  task = seqio.get_mixture_or_task("c4_span_corruption")
  lengths = {"inputs": 512, "targets": 114}
  dataset = task.get_dataset(lengths, "train", shuffle=True, seed=0)
  batch = next(dataset.batch(8).as_numpy_iterator())
  assert {key: ids.shape for key, ids in batch.items()} == {
      "inputs": (8, 512), "targets": (8, 114)
  }  # fmt: skip
  for inputs, targets in zip(batch["inputs"], batch["targets"]):
    sentinels = [id for id in inputs if id >= 32000]
    assert sentinels == list(range(32099, 32099 - len(sentinels), -1))
    assert [id for id in targets if id >= 32000] == sentinels
    assert inputs[-1] == targets[-1] == 1
  assert not records.skipped()


@pytest.mark.real_data
@pytest.mark.parametrize(
    "split, number", [("train", 1480), ("validation", 500)]
)
def test_real_shards_are_read_whole(real_c4, split, number):
  assert len(read(split)) == number


@pytest.mark.real_data
def test_the_official_format_is_read(real_c4):
  texts = list(shards_lib.texts(str(real_c4 / "official-form.first5.json")))
  assert len(texts) == 5 and all(texts)
