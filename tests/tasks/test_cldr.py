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

"""CLDR's names: their languages, their splits and their mixture."""

import hashlib
import itertools

import babel
from babel import localedata
import gin
import pytest
import seqio

from tasks import cldr
from tasks import errors
from tasks import mc4
from tasks import prepared_text
from tasks import vocabulary

pytestmark = pytest.mark.usefixtures("cache_directory")


@pytest.fixture(autouse=True)
def byte_vocabulary():
  gin.parse_config("tasks.vocabulary.name = 'bytes'")


def lines(text, split):
  """Returns all names of a split."""
  documents = text.documents(split)
  return list(itertools.chain(*(d.split("\n") for d in documents)))


# Names.


def test_names_of_a_language():
  names = cldr.names_of("de")
  assert {
      "language en": "Englisch",
      "territory JP": "Japan",
      "script Cyrl": "Kyrillisch",
      "currency CHF": "Schweizer Franken",
      "month 3": "März",
      "day 0": "Montag",
      "city Europe/Rome": "Rom",
  }.items() <= names.items()


def test_hebrew_has_the_code_of_mc4():
  assert cldr.names_of("iw")["territory DE"] == "גרמניה"
  assert babel.Locale.parse("he").territories["DE"] == "גרמניה"


def test_names_of_another_language_are_left_out():
  """Where Hindi in Latin script lacks a name, Babel has the English one."""
  assert babel.Locale.parse("hi_Latn").territories["DE"] == "Germany"
  assert "territory DE" not in cldr.names_of("hi-Latn")
  assert cldr.names_of("hi-Latn")["day 0"] == "Somwaar"


def test_languages_are_those_with_names_in_babel():
  assert len(cldr.LANGUAGES) == 98
  assert cldr.WITHOUT_NAMES < set(mc4.COUNTS)
  assert all(len(cldr.names_of(language)) > 70 for language in cldr.LANGUAGES)
  for language in cldr.WITHOUT_NAMES:
    if localedata.exists(language.replace("-", "_")):
      assert len(cldr.names_of(language)) < 30


# Splits.


def is_validation(key):
  """By hand: the smallest tenth of all 64-bit hashes."""
  return int(hashlib.sha256(key.encode()).hexdigest()[:16], 16) < 2**64 // 10


def test_the_key_of_a_name_decides_its_split():
  seen = {}
  for language in ("de", "ja", "sw"):
    names = cldr.names_of(language)
    split = cldr.split(names)
    for key, name in names.items():
      expected = "validation" if is_validation(key) else "train"
      if list(names.values()).count(name) == 1:
        assert name in split[expected]
      seen.setdefault(key, set()).add(expected)
    assert sorted({*split["train"], *split["validation"]}) == sorted(
        set(names.values())
    )
  assert all(len(splits) == 1 for splits in seen.values())


def test_kinds_are_mixed():
  names = cldr.names_of("de")
  first = set(cldr.split(names)["train"][:30])
  kinds = {key.split()[0] for key, name in names.items() if name in first}
  assert {"language", "territory", "script", "currency"} <= kinds


def test_a_name_with_two_keys_occurs_once_and_in_training():
  keys = [f"city {i}" for i in range(100)]
  validation = [key for key in keys if is_validation(key)]
  train = [key for key in keys if not is_validation(key)]
  split = cldr.split(
      {
          train[0]: "Luxemburg",
          train[1]: "Luxemburg",
          validation[0]: "Luxemburg",
          validation[1]: "Monaco",
          validation[2]: "Monaco",
      }
  )
  assert split == {"train": ["Luxemburg"], "validation": ["Monaco"]}


# Prepared text.


def test_every_language_has_both_splits_and_all_is_their_sum():
  everything = cldr.all_languages()
  for split in prepared_text.SPLITS:
    texts = [cldr.text_of(language) for language in cldr.LANGUAGES]
    assert all(text.num_documents(split) for text in texts)
    assert everything.num_documents(split) == sum(
        text.num_documents(split) for text in texts
    )
    assert list(everything.documents(split)) == list(
        itertools.chain(*(text.documents(split) for text in texts))
    )


def test_a_document_has_30_names_and_the_last_the_rest():
  text = cldr.text_of("de")
  *full, last = text.documents("train")
  assert {document.count("\n") + 1 for document in full} == {30}
  assert 1 <= last.count("\n") + 1 <= 30
  names = lines(text, "train")
  assert names == cldr.split(cldr.names_of("de"))["train"]
  assert not set(names) & set(lines(text, "validation"))


def test_the_text_is_prepared_once(cache_directory):
  cldr.all_languages()
  cldr._entry.cache_clear()  # As in a new process.
  cldr.text_of("de")
  assert len(list(cache_directory.glob("cldr-*"))) == 1


# Tasks.


def test_every_language_is_a_task_of_the_mixture():
  mixture = seqio.get_mixture_or_task("cldr")
  assert [task.name for task in mixture.tasks] == [
      "cldr." + language.replace("-", "_") for language in cldr.LANGUAGES
  ]
  feature = seqio.Feature(
      vocabulary.LateVocabulary(cldr.all_languages), add_eos=True
  )
  assert mixture.output_features == {"inputs": feature, "targets": feature}


def test_rates_follow_the_number_of_documents():
  mixture = seqio.get_mixture_or_task("cldr")
  task = seqio.get_mixture_or_task("cldr.de")
  num_documents = cldr.text_of("de").num_documents("train")
  assert mixture.get_rate(task) == pytest.approx(num_documents**0.3)
  gin.parse_config("tasks.mc4.alpha = 1.0")
  assert mixture.get_rate(task) == num_documents


def test_gin_chooses_languages_and_their_vocabulary():
  gin.parse_config("tasks.cldr.languages = ['sw', 'de']")
  mixture = seqio.get_mixture_or_task("cldr")
  assert [task.name for task in mixture.tasks] == ["cldr.de", "cldr.sw"]
  for split in prepared_text.SPLITS:
    assert list(cldr.all_languages().documents(split)) == [
        *cldr.text_of("de").documents(split),
        *cldr.text_of("sw").documents(split),
    ]
  gin.clear_config()
  gin.parse_config("tasks.cldr.languages = ['de', 'ht']")
  with pytest.raises(errors.DataError) as error:
    _ = mixture.tasks
  assert str(error.value).startswith(
      "cldr.languages: 'ht' is none of the 98 languages; did you mean "
  )


def test_names_become_span_corruption():
  """The examples of a language have as many tokens as its text has bytes."""
  task = seqio.get_mixture_or_task("cldr.de")
  assert task.source.is_present()
  assert task.source.describe() == f"CLDR's names in Babel {babel.__version__}"
  lengths = {"inputs": 128, "targets": 29}
  examples = list(
      task.get_dataset(lengths, "validation", shuffle=False).as_numpy_iterator()
  )
  assert {(e["inputs"].size, e["targets"].size) for e in examples[:-1]} == {
      (128, 29)
  }
  real = sum(
      (example[feature] < 259).sum() - 1  # Without sentinels and EOS.
      for example in examples
      for feature in example
  )
  assert real == cldr.text_of("de").num_bytes("validation")


def test_languages_are_sampled_by_their_rates():
  """With three languages; the graphs of all 98 take a minute."""
  languages = ["de", "st", "ja"]
  mixture = seqio.Mixture(
      "some_languages",
      [(mc4.task_name(code, "cldr"), cldr.rate) for code in languages],
  )
  dataset = mixture.get_dataset(
      {"inputs": 32, "targets": 10}, "train", shuffle=True, seed=0
  )
  batch = next(dataset.batch(300).as_numpy_iterator())
  # Bytes of three-byte letters are almost only in Japanese examples.
  japanese = ((batch["inputs"] - 3 >= 0xE3) & (batch["inputs"] < 259)).any(1)
  rates = [
      cldr.text_of(code).num_documents("train") ** 0.3 for code in languages
  ]
  assert japanese.mean() == pytest.approx(rates[2] / sum(rates), abs=0.1)
