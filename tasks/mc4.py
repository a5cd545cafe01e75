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

"""mC4, C4 in 101 languages: 107 tasks `mc4.<language>` and their mixture `mc4`.

Languages have TFDS's codes ("iw" is Hebrew). Six of them also exist in Latin
script, such as `mc4.ru_Latn`, with an underscore because seqio allows no hyphen
in a name. The data is TFDS's c4/multilingual, or shards of JSON with names such
as, for German,

  c4-de.tfrecord-00000-of-02048.json.gz   the training split
  c4-de-validation.tfrecord-00000-of-00002.json.gz
  c4-de.validation.00000-of-00001.json    either split, with or without "c4-",
  de.json, de-validation.json.gz          ".tfrecord", a number and ".gz"

with the code as in TFDS's splits, also "ru-Latn". Files with other names are
ignored, such as those with "he", which is not a code of mC4, or with "und",
pages in an undetermined language.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import functools
import pathlib
import re
from typing import Any

import gin
import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from tasks import cache
from tasks import mixtures
from tasks import prepared_text
from tasks import pretraining
from tasks import shards
from tasks import sources
from tasks import vocabulary
from tasks import waits

# Less than seqio's 1000: a hundred tasks fill their buffers before the mixture
# starts, and the mixture itself separates neighboring examples.
SHUFFLE_BUFFER_SIZE = 100

# Of the text that a vocabulary is trained on, all languages together.
SAMPLE_BYTES = 20_000_000

# Part of the cache key; increased when the same data gives different text.
_FORMAT = 1

_NAME = re.compile(
    r"(?:c4-)?([a-z]{2,3}(?:-Latn)?)(?:[-.](train|validation))?(?:\.tfrecord)?"
    r"(?:[-.]\d+-of-\d+)?\.jsonl?(?:\.gz)?"
)


@gin.configurable("mc4", module="tasks")
@dataclasses.dataclass(frozen=True)
class Options:
  """Options of mC4, set with gin.

  Attributes:
    files: one or several glob patterns of JSON shards; None for TFDS.
    tfds_name: the dataset with its version. mT5 used 3.0.1, which the installed
      TFDS reads but does not prepare.
    languages: the codes of those that the mixture `mc4` has; None for all.
    alpha: a language with n pages is sampled in proportion to n ** alpha: with
      1 as in the corpus, with 0 uniformly.
  """

  files: str | Sequence[str] | None = None
  tfds_name: str = "c4/multilingual:3.1.0"
  languages: mixtures.Choice = None
  alpha: float = 0.3


def read_counts() -> dict[str, int]:
  """Returns the number of training examples of each language of mC4."""
  table = pathlib.Path(__file__).with_name("mc4_counts.tsv")
  rows = [
      line.split("\t")
      for line in table.read_text(encoding="utf-8").splitlines()
      if not line.startswith("#")
  ]
  return {language: int(count) for language, count in rows}


COUNTS = read_counts()


def task_name(language: str, data: str = "mc4") -> str:
  """Returns the name of a language's task, as in mT5: "mc4.ru_Latn"."""
  return f"{data}.{language.replace('-', '_')}"


def part_of(name: str) -> tuple[str, str] | None:
  """Returns the language and the split in the name of a shard.

  Args:
    name: of a file; without a split in its name it is a training shard.

  Returns:
    language and split; None if the name has another form.
  """
  match = _NAME.fullmatch(name)
  return match and (match[1], match[2] or "train")


def find_files(language: str, split: str) -> list[str]:
  """Returns the shards of a language's split.

  Raises:
    DataError: mc4.files has none.
  """
  infix = "" if split == "train" else f"-{split}"
  example = f"c4-{language}{infix}.tfrecord-00000-of-00002.json.gz"
  part = (language, split)
  return shards.find("mc4.files", Options().files, part_of, part, example)


def chosen_languages() -> list[str]:
  """Returns the codes of the mixture's languages; a DataError if unknown."""
  return mixtures.choose("mc4.languages", Options().languages, list(COUNTS))


def rate(num_examples: int) -> float:
  """Returns a language's rate in the mixture, not normalized.

  Source: section 4.3 follows mT5 (Xue et al. 2020), whose alpha is 0.3.
  """
  return num_examples ** Options().alpha


def training_text() -> prepared_text.PreparedText:
  """Returns a sample of the chosen languages, to train a vocabulary on.

  Each language has a share of SAMPLE_BYTES as in the mixture, or all that there
  is: the first pages of its training split.

  Raises:
    DataError: as for `find_files`, or the dataset is not prepared.
  """
  return _training_text(cache.cache_directory(), repr(Options()))


@functools.cache
def _training_text(
    cache_directory: pathlib.Path, options: str
) -> prepared_text.PreparedText:
  """Implements `training_text`, once per process, cache and options."""
  del cache_directory, options  # Others read them.
  chosen = chosen_languages()
  sources_of = {
      language: seqio.TaskRegistry.get(task_name(language)).source
      for language in chosen
  }
  rates = {language: rate(COUNTS[language]) for language in chosen}
  key = {
      "format": _FORMAT,
      "source": sources_of[chosen[0]].describe(),
      "files": {
          language: [_identity(file) for file in source.list_shards("train")]
          for language, source in sources_of.items()
      },
      "bytes": {
          language: int(SAMPLE_BYTES * rates[language] / sum(rates.values()))
          for language in chosen
      },
  }

  def documents():
    with waits.work("reading mC4", len(chosen), "languages") as report:
      for number, (language, source) in enumerate(sources_of.items()):
        report(number)
        for text in _first_texts(source, key["bytes"][language]):
          yield "train", text

  return prepared_text.PreparedText(
      cache.build_once(
          "mc4",
          key,
          lambda directory: prepared_text.write(directory, documents(), key),
      )
  )


def _identity(file: str) -> list[Any]:
  """Returns what tells a file from others; of TFDS's only the name is known."""
  if not tf.io.gfile.exists(file):
    return [file]
  stat = tf.io.gfile.stat(file)
  return [file, stat.length, stat.mtime_nsec]


def _first_texts(source: seqio.DataSource, num_bytes: int) -> Iterator[str]:
  """Yields the first pages of a training split, of about so many bytes."""
  with tf.Graph().as_default():
    dataset = source.get_dataset("train", shuffle=False)
    for example in tfds.as_numpy(dataset):
      if num_bytes <= 0:
        break
      num_bytes -= len(example["text"])
      yield example["text"].decode("utf-8")


def _source(language: str) -> sources.Source:
  return shards.source(
      "mc4.files",
      lambda: Options().files,
      functools.partial(find_files, language),
      sources.TfdsSource(
          lambda: Options().tfds_name,
          {"train": language, "validation": f"{language}-validation"},
      ),
  )


for _language in COUNTS:
  pretraining.register_span_corruption(
      task_name(_language),
      _source(_language),
      vocabulary.LateVocabulary("mt5"),
      shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
  )
_LANGUAGES = {task_name(language): language for language in COUNTS}
seqio.MixtureRegistry.add_provider(
    "mc4",
    mixtures.LanguagesMixture(
        "mc4",
        {language: name for name, language in _LANGUAGES.items()},
        lambda task: rate(COUNTS[_LANGUAGES[task.name]]),
        chosen_languages,
    ),
)
vocabulary.add_text("mc4", training_text)
