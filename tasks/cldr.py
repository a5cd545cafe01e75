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

"""Multilingual text without a download: the names in Unicode's CLDR.

CLDR has each language's names of languages, countries, scripts, currencies,
months, days and cities; they come with Babel, which t5 needs. Where mC4 is not
available they replace it: 98 tasks `cldr.<language>`, with mC4's codes, and
their mixture `cldr`. A document is a list of names.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import functools
import hashlib
import pathlib
import pickle

import babel
from babel import localedata
import gin
import seqio

from tasks import cache
from tasks import mc4
from tasks import mixtures
from tasks import prepared_text
from tasks import pretraining
from tasks import sources
from tasks import vocabulary
from tasks import waits

# The languages of mC4 for which Babel has no names, or too few for two splits.
# Its Haitian names are French.
WITHOUT_NAMES = frozenset(
    ["bg-Latn", "el-Latn", "hmn", "ht", "ja-Latn", "ny", "ru-Latn", "sm"]
    + ["zh-Latn"]
)
LANGUAGES = tuple(code for code in mc4.COUNTS if code not in WITHOUT_NAMES)

NAMES_IN_A_DOCUMENT = 30

# More than for other texts, because most languages have fewer than 2000 names.
VALIDATION_SHARE = 0.1

# Part of the cache key; increased when the same names give different text.
_FORMAT = 1


def names_of(language: str) -> dict[str, str]:
  """Returns the names in a language.

  Args:
    language: one of `LANGUAGES`.

  Returns:
    names by kind and code, for example "territory DE" for Germany. Names that
    Babel inherits from another locale are left out, as their language may
    differ.
  """
  locale = {"iw": "he"}.get(language, language).replace("-", "_")
  # The cache of localedata.load ignores whether inherited names were merged.
  with open(localedata.resolve_locale_filename(locale), "rb") as file:
    data = pickle.load(file)
  tables = {
      "language": data.get("languages", {}),
      "territory": data.get("territories", {}),
      "script": data.get("scripts", {}),
      "variant": data.get("variants", {}),
      "currency": data.get("currency_names", {}),
      "month": data.get("months", {}).get("format", {}).get("wide", {}),
      "day": data.get("days", {}).get("format", {}).get("wide", {}),
      "city": {
          zone: names["city"]
          for zone, names in data.get("time_zones", {}).items()
          if "city" in names
      },
  }
  return {
      f"{kind} {code}": name
      for kind, table in tables.items()
      for code, name in table.items()
      if isinstance(name, str)  # Others are references to other tables.
  }


def _hash(key: str) -> int:
  return int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big")


def split(names: dict[str, str]) -> dict[str, list[str]]:
  """Returns the names of each split, in an order that mixes their kinds.

  The split depends on the key and is the same in all languages, so that no
  validation text is a translation of training text. A name with several keys
  occurs once, in training if one of its keys is there.

  Args:
    names: as returned by `names_of`.
  """
  keys = sorted(names, key=_hash)
  limit = int(VALIDATION_SHARE * 2**64)
  seen = set()
  names_in = {}
  for name_of_split, chosen in (
      ("train", [key for key in keys if _hash(key) >= limit]),
      ("validation", [key for key in keys if _hash(key) < limit]),
  ):
    distinct = dict.fromkeys(names[key] for key in chosen)
    names_in[name_of_split] = [name for name in distinct if name not in seen]
    seen.update(distinct)
  return names_in


def documents(language: str) -> Iterator[tuple[str, str]]:
  """Yields the documents of a language, as pairs of split and text."""
  for name_of_split, names in split(names_of(language)).items():
    for start in range(0, len(names), NAMES_IN_A_DOCUMENT):
      lines = names[start : start + NAMES_IN_A_DOCUMENT]
      yield name_of_split, "\n".join(lines)


def build(directory: pathlib.Path, languages: Sequence[str]) -> None:
  """Writes the names as prepared text.

  Args:
    directory: an existing, empty directory; it receives the text of all
      languages, and a subdirectory for each language that of this one.
    languages: some of `LANGUAGES`.
  """
  description = {"babel": babel.__version__}
  texts = {language: list(documents(language)) for language in languages}
  with waits.work(
      "preparing CLDR's names", len(languages), "languages"
  ) as report:
    for number, (language, text) in enumerate(texts.items(), start=1):
      (directory / language).mkdir()
      prepared_text.write(directory / language, text, description)
      report(number)
  everything = [document for text in texts.values() for document in text]
  prepared_text.write(directory, everything, description)


@gin.configurable("cldr", module="tasks")
@dataclasses.dataclass(frozen=True)
class Options:
  """Options of CLDR's names, set with gin.

  Attributes:
    languages: the codes of those that the mixture `cldr` has, and that its
      vocabulary is trained on; None for all.
  """

  languages: mixtures.Choice = None


def chosen_languages() -> list[str]:
  """Returns the codes of the mixture's languages; a DataError if unknown."""
  return mixtures.choose("cldr.languages", Options().languages, LANGUAGES)


def all_languages() -> prepared_text.PreparedText:
  """Returns the text of all chosen languages, which the first use prepares."""
  return prepared_text.PreparedText(
      _entry(cache.cache_directory(), tuple(chosen_languages()))
  )


def text_of(language: str) -> prepared_text.PreparedText:
  """Returns the text of a language; the first use prepares all languages."""
  return prepared_text.PreparedText(_entry(cache.cache_directory()) / language)


@functools.cache
def _entry(
    cache_directory: pathlib.Path, languages: Sequence[str] = LANGUAGES
) -> pathlib.Path:
  """Returns the cache entry, found once per process and cache directory."""
  del cache_directory  # cache.build_once reads it.
  key = {
      "format": _FORMAT,
      "babel": babel.__version__,
      "languages": languages,
      "names_in_a_document": NAMES_IN_A_DOCUMENT,
      "validation_share": VALIDATION_SHARE,
  }
  return cache.build_once("cldr", key, lambda path: build(path, languages))


def rate(task: seqio.Task) -> float:
  """Returns a language's rate in the mixture: mC4's rule with CLDR's counts."""
  return mc4.rate(task.source.num_input_examples("train"))


for _language in LANGUAGES:
  pretraining.register_span_corruption(
      mc4.task_name(_language, "cldr"),
      sources.PreparedTextSource(
          functools.partial(text_of, _language),
          lambda: f"CLDR's names in Babel {babel.__version__}",
      ),
      vocabulary.LateVocabulary(all_languages),
      shuffle_buffer_size=mc4.SHUFFLE_BUFFER_SIZE,
  )
seqio.MixtureRegistry.add_provider(
    "cldr",
    mixtures.LanguagesMixture(
        "cldr",
        {language: mc4.task_name(language, "cldr") for language in LANGUAGES},
        rate,
        chosen_languages,
    ),
)
