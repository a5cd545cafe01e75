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

"""mC4: 107 tasks, the names of their files, and their mixture."""

import gin
import pytest
import seqio
from seqio import test_utils
from tensorflow_datasets.text import c4 as tfds_c4

from tasks import errors
from tasks import mc4
from tasks import records
from tasks import vocabulary
from tests import c4_data


@pytest.fixture(autouse=True)
def bytes_only():
  """Uses a vocabulary that loads fast."""
  gin.parse_config("tasks.vocabulary.name = 'bytes'")


def test_the_languages_are_those_of_tfds():
  assert list(mc4.COUNTS) == tfds_c4.MC4_LANGUAGES
  assert len(mc4.COUNTS) == 107
  assert len({language.split("-")[0] for language in mc4.COUNTS}) == 101
  assert not {"he", "und"} & set(mc4.COUNTS)


def test_every_language_is_a_task_of_the_mixture():
  mixture = seqio.get_mixture_or_task("mc4")
  assert [task.name for task in mixture.tasks] == [
      "mc4." + language.replace("-", "_") for language in mc4.COUNTS
  ]
  assert all(
      tuple(task.splits) == ("train", "validation") for task in mixture.tasks
  )
  feature = seqio.Feature(vocabulary.LateVocabulary("mt5"), add_eos=True)
  assert mixture.output_features == {"inputs": feature, "targets": feature}


# Mixing.


def test_the_table_has_the_pages_of_mt5():
  """3.1 of 6.6 billion pages are English, and 46,214 are Yoruba."""
  assert round(sum(mc4.COUNTS.values()) / 1e9, 2) == 6.66
  assert max(mc4.COUNTS, key=mc4.COUNTS.get) == "en"
  assert mc4.COUNTS["en"] == 3_079_081_989
  assert min(mc4.COUNTS, key=mc4.COUNTS.get) == "yo"
  assert mc4.COUNTS["yo"] == 46_214


def rates(*languages):
  mixture = seqio.get_mixture_or_task("mc4")
  tasks = {task.name: task for task in mixture.tasks}
  return [mixture.get_rate(tasks[f"mc4.{language}"]) for language in languages]


def test_rates_by_hand():
  """With 3,079,081,989, 397,006,993 and 46,214 pages.

  The logarithms are 21.84790, 19.79944 and 10.74103; 0.3 of them are 6.55437,
  5.93984 and 3.22231, whose exponentials are these.
  """
  assert rates("en", "de", "yo") == pytest.approx(
      [702.31, 379.87, 25.086], rel=2e-5
  )


@pytest.mark.parametrize("alpha, ratio", [(1, 3079081989 / 46214), (0, 1)])
def test_gin_sets_alpha(alpha, ratio):
  gin.parse_config(f"tasks.mc4.alpha = {alpha}")
  english, yoruba = rates("en", "yo")
  assert english / yoruba == pytest.approx(ratio)


# Fewer languages.


@pytest.mark.parametrize(
    "chosen, names",
    [
        ("['sw', 'de']", ["mc4.de", "mc4.sw"]),
        ("('ru_Latn',)", ["mc4.ru_Latn"]),
        ("['ru-Latn', 'ru']", ["mc4.ru", "mc4.ru_Latn"]),
        ("'yo'", ["mc4.yo"]),
    ],
)
def test_gin_chooses_languages(chosen, names):
  everything = rates("de", "sw", "yo", "ru")
  gin.parse_config(f"tasks.mc4.languages = {chosen}")
  mixture = seqio.get_mixture_or_task("mc4")
  assert [task.name for task in mixture.tasks] == names
  assert list(mixture.rate_per_task_name) == names
  for name in {"mc4.de", "mc4.sw", "mc4.yo", "mc4.ru"} & set(names):
    task = seqio.get_mixture_or_task(name)
    index = ["mc4.de", "mc4.sw", "mc4.yo", "mc4.ru"].index(name)
    assert mixture.get_rate(task) == everything[index]
  assert mixture.total_rate == pytest.approx(
      sum(mixture.get_rate(task) for task in mixture.tasks)
  )


@pytest.mark.parametrize(
    "chosen, unknown, advice",
    [
        ("['de', 'he']", "he", "did you mean 'iw'?"),
        ("['zh_Latm']", "zh_Latm", "did you mean 'zh-Latn' or "),
        ("'%'", "%", "they are af, am, ar, "),
    ],
)
def test_unknown_languages(chosen, unknown, advice):
  gin.parse_config(f"tasks.mc4.languages = {chosen}")
  with pytest.raises(errors.DataError) as error:
    _ = seqio.get_mixture_or_task("mc4").tasks
  assert str(error.value).startswith(
      f"mc4.languages: {unknown!r} is none of the 107 languages; {advice}"
  )


def test_no_language():
  gin.parse_config("tasks.mc4.languages = []")
  with pytest.raises(errors.DataError) as error:
    _ = seqio.get_mixture_or_task("mc4").tasks
  assert str(error.value) == (
      "mc4.languages = [] names no language; None stands for all 107."
  )


def test_a_vocabulary_is_trained_on_the_chosen_languages(
    tmp_path, monkeypatch, cache_directory
):
  """Each has its share of the sample, as in the mixture."""
  monkeypatch.setattr(mc4, "SAMPLE_BYTES", 1000)
  pages = {"de": "ae" * 5, "sw": "oo" * 5, "en": "xx" * 5}
  for language, page in pages.items():
    c4_data.write(tmp_path / f"{language}.json", [page] * 200)
  gin.parse_config(f"""
      tasks.mc4.files = '{tmp_path}/*.json'
      tasks.mc4.languages = ['sw', 'de']
      tasks.vocabulary.name = 'mc4'
      tasks.vocabulary.size = 20
  """)
  words = seqio.get_mixture_or_task("mc4").output_features["inputs"].vocabulary
  assert [words.decode(words.encode(x)) for x in ("aeo", "x")] == [
      "aeo",
      words.decode([words.unk_id]),
  ]
  documents = list(mc4.training_text().documents("train"))
  german, swahili = rates("de", "sw")
  assert documents.count(pages["de"]) == pytest.approx(
      100 * german / (german + swahili), abs=1
  )
  assert len(documents) == pytest.approx(100, abs=1)
  # Other files, another vocabulary.
  text = mc4.training_text().directory
  c4_data.write(tmp_path / "sw.json", ["uu" * 5] * 201)  # Of another size.
  mc4._training_text.cache_clear()  # As in a new process.
  assert mc4.training_text().directory != text


# Names of files.


@pytest.mark.parametrize(
    "name, language, split",
    [
        ("c4-de.tfrecord-00000-of-02048.json.gz", "de", "train"),
        (
            "c4-de-validation.tfrecord-00001-of-00002.json.gz",
            "de",
            "validation",
        ),
        ("c4-de.validation.00000-of-00001.json", "de", "validation"),
        ("c4-de.train.00000-of-00001.json.gz", "de", "train"),
        ("de.json", "de", "train"),
        ("de-validation.json.gz", "de", "validation"),
        ("c4-fil.tfrecord-00000-of-00016.json.gz", "fil", "train"),
        ("c4-ru-Latn.tfrecord-00000-of-00008.json.gz", "ru-Latn", "train"),
        ("ru-Latn-validation.jsonl", "ru-Latn", "validation"),
        ("c4-iw.tfrecord-00000-of-00512.json.gz", "iw", "train"),
    ],
)
def test_a_name_contains_language_and_split(name, language, split):
  assert mc4.part_of(name) == (language, split)
  assert language in mc4.COUNTS


@pytest.mark.parametrize(
    "name",
    [
        "c4-train.00000-of-01024.json.gz",
        "c4-de.tfrecord-00000-of-02048",
        "c4-de-test.json",
        "c4-de.tfrecord-00000-of-02048.json.gz.partial",
        "deutsch.json",
    ],
)
def test_names_of_other_files(name):
  assert mc4.part_of(name) is None


def test_files_are_read_by_language(tmp_path):
  for name in [
      "c4-de.tfrecord-00000-of-00002.json.gz",
      "c4-de.tfrecord-00001-of-00002.json.gz",
      "c4-de-validation.tfrecord-00000-of-00001.json.gz",
      "en.json",
      "c4-ru.tfrecord-00000-of-00001.json",
      "c4-ru-Latn.tfrecord-00000-of-00001.json",
      "he.json",
      "c4-und.tfrecord-00000-of-00001.json.gz",
  ]:
    c4_data.write(tmp_path / name, [name])
  gin.parse_config(f"tasks.mc4.files = '{tmp_path}/*.json*'")
  assert c4_data.read("mc4.de", "train") == [
      "c4-de.tfrecord-00000-of-00002.json.gz",
      "c4-de.tfrecord-00001-of-00002.json.gz",
  ]
  for task, split, name in [
      ("de", "validation", "c4-de-validation.tfrecord-00000-of-00001.json.gz"),
      ("en", "train", "en.json"),
      ("ru", "train", "c4-ru.tfrecord-00000-of-00001.json"),
      ("ru_Latn", "train", "c4-ru-Latn.tfrecord-00000-of-00001.json"),
  ]:
    assert c4_data.read(f"mc4.{task}", split) == [name]
  # Hebrew is iw; he.json is not read as Hebrew.
  source = seqio.get_mixture_or_task("mc4.iw").source
  assert not source.is_present()
  with pytest.raises(errors.DataError) as error:
    source.list_shards("validation")
  assert str(error.value) == (
      f"mc4.files = '{tmp_path}/*.json*': of the 8 files that match, none has "
      "a name such as c4-iw-validation.tfrecord-00000-of-00002.json.gz."
  )


def test_a_record_becomes_an_example():
  """As in test_c4.py: the span is the last 3 of 20 bytes, not letters."""
  text = "Käse täglich zart!".encode()
  output = test_utils.test_preprocessing_single(
      "mc4.de",
      {"train": {"text": text, **c4_data.REST}},
      seed=0,
      sequence_length={"inputs": 19, "targets": 5},
  )
  sentinel = 3 + 256 + 100 - 1
  assert {feature: ids.tolist() for feature, ids in output.items()} == {
      "inputs": [*(3 + byte for byte in text[:17]), sentinel, 1],
      "targets": [sentinel, *(3 + byte for byte in text[17:]), 1],
  }


# TensorFlow Datasets.


@pytest.mark.parametrize("version", ["3.1.0", "3.0.1"])
def test_tfds_is_read_by_language(version, tmp_path, monkeypatch):
  """mT5's version is 3.0.1, which the installed TFDS does not prepare."""
  name = f"c4/multilingual:{version}"
  if version != "3.1.0":
    gin.parse_config(f"tasks.mc4.tfds_name = '{name}'")
  splits = ["de", "de-validation", "ru-Latn", "ru-Latn-validation"]
  c4_data.store_in_tfds(tmp_path, name, {split: [split] for split in splits})
  seqio.set_tfds_data_dir_override(str(tmp_path))
  try:
    for task, prefix in [("mc4.de", "de"), ("mc4.ru_Latn", "ru-Latn")]:
      assert seqio.get_mixture_or_task(task).source.is_present()
      assert c4_data.read(task, "train") == [prefix]
      assert c4_data.read(task, "validation") == [f"{prefix}-validation"]
  finally:
    seqio.set_tfds_data_dir_override(None)


# Real data.


@pytest.mark.real_data
@pytest.mark.parametrize("language", ["de", "en"])
def test_real_pages_become_span_corruption(real_data, language):
  gin.parse_config(f"""
      tasks.mc4.files = '{real_data}/mc4/*.json'
      tasks.vocabulary.name = None
      tasks.vocabulary.path = '{real_data}/vocab/t5.spiece.model'
  """)
  assert len(c4_data.read(f"mc4.{language}", "validation")) == 500
  assert not records.skipped()
  task = seqio.get_mixture_or_task(f"mc4.{language}")
  dataset = task.get_dataset(
      {"inputs": 512, "targets": 114}, "validation", shuffle=False
  )
  batch = next(dataset.batch(4).as_numpy_iterator())
  assert batch["inputs"].shape == (4, 512)
  assert batch["targets"].shape == (4, 114)
