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

"""C4, from TensorFlow Datasets or from shards of JSON.

The tasks `c4_span_corruption` and `c4_full_lm` read TFDS's c4/en, or the shards
in which C4 is distributed:

  c4-train.00000-of-01024.json.gz ... c4-validation.00007-of-00008.json.gz

A name contains its split, the word train or validation delimited by ".", "-" or
"_", and ends in .json or .jsonl, optionally with .gz.
"""

from collections.abc import Sequence
import dataclasses
import re

import gin
import tensorflow.compat.v1 as tf

from tasks import pretraining
from tasks import shards
from tasks import sources
from tasks import vocabulary

SPLITS = ("train", "validation")

_NAME = re.compile(
    r"(?:.*[-._])?(train|validation)(?:[-._].*)?\.jsonl?(?:\.gz)?"
)

# Whitespace as in Python, except for the line feed.
_SPACES = r"[\t\v-\r\x1c-\x20\x85\p{Z}]+"


@gin.configurable("c4", module="tasks")
@dataclasses.dataclass(frozen=True)
class Options:
  """Options of C4, set with gin.

  Attributes:
    files: one or several glob patterns of JSON shards; None for TFDS.
    tfds_name: the dataset with its version. Since 2.3.0 no line of a page
      repeats another, as in the paper; T5 used 2.2.0.
    remove_repeated_lines: whether to remove repeated lines. Without any, as in
      c4/en since 2.3.0 and in shards made from it, this changes nothing and
      costs about a tenth of the time of tokenization.
  """

  files: str | Sequence[str] | None = None
  tfds_name: str = "c4/en:3.1.0"
  remove_repeated_lines: bool = True


def split_of(name: str) -> str | None:
  """Returns the split in the name of a shard, or None if there is none."""
  match = _NAME.fullmatch(name)
  return match and match[1]


def find_files(split: str) -> list[str]:
  """Returns the shards of a split; a DataError if c4.files has none."""
  example = f"c4-{split}.00000-of-00008.json.gz"
  return shards.find("c4.files", Options().files, split_of, split, example)


def without_repeated_lines(text: tf.Tensor) -> tf.Tensor:
  """Returns a text with the first occurrence of each line only.

  Lines are equal if they differ only in case or in surrounding whitespace.
  Empty lines count as lines.

  Args:
    text: a string scalar, in UTF-8.
  """

  def split(text):
    return tf.strings.split([text], "\n").values

  lines = split(text)
  stripped = tf.strings.regex_replace(text, f"(?m)^{_SPACES}|{_SPACES}$", "")
  distinct, index = tf.unique(
      split(tf.strings.lower(stripped, encoding="utf-8"))
  )
  first = tf.math.unsorted_segment_min(
      tf.range(tf.size(lines)), index, tf.size(distinct)
  )
  return tf.strings.reduce_join(tf.gather(lines, first), separator="\n")


def remove_repeated_lines(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Removes lines that repeat an earlier line of the same page.

  The paper's C4 has no duplication within examples. This removes it as TFDS
  does since c4/en 2.3.0, except that pages that become short are kept.

  Args:
    dataset: examples with "text".

  Source: the paper's improved C4, after Lee et al. 2021.
  """
  return dataset.map(
      lambda example: {
          **example,
          "text": without_repeated_lines(example["text"]),
      },
      num_parallel_calls=tf.data.AUTOTUNE,
  )


def clean(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Applies `remove_repeated_lines`, unless the option is off."""
  if Options().remove_repeated_lines:
    return remove_repeated_lines(dataset)
  return dataset


pretraining.register(
    "c4",
    shards.source(
        "c4.files",
        lambda: Options().files,
        find_files,
        sources.TfdsSource(lambda: Options().tfds_name, SPLITS),
    ),
    vocabulary.LateVocabulary("t5"),
    [clean],
)
