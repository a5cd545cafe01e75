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
in which C4 circulates:

  c4-train.00000-of-01024.json.gz ... c4-validation.00007-of-00008.json.gz

A name tells its split by the word train or validation, set off by ".", "-" or
"_", and ends in .json, .jsonl or either with .gz.
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

# What Python calls whitespace, but for the end of a line.
_SPACES = r"[\t\v-\r\x1c-\x20\x85\p{Z}]+"


@gin.configurable("c4", module="tasks")
@dataclasses.dataclass(frozen=True)
class Options:
  """What gin decides about C4.

  Attributes:
    files: a glob pattern of JSON shards, or several; None for TFDS.
    tfds_name: the dataset, with its version. Since 2.3.0 no line of a page
      repeats another, as in the paper; T5's own was 2.2.0.
    remove_repeated_lines: whether to remove the lines that do. Where there are
      none, as in c4/en since 2.3.0 and the shards made from it, this changes
      nothing, and costs about a tenth of what the tokenization does.
  """

  files: str | Sequence[str] | None = None
  tfds_name: str = "c4/en:3.1.0"
  remove_repeated_lines: bool = True


def split_of(name: str) -> str | None:
  """Returns the split that the name of a shard tells, None if it tells none."""
  match = _NAME.fullmatch(name)
  return match and match[1]


def find_files(split: str) -> list[str]:
  """Returns the shards of a split; a DataError if gin's files have none."""
  example = f"c4-{split}.00000-of-00008.json.gz"
  return shards.find("c4.files", Options().files, split_of, split, example)


def without_repeated_lines(text: tf.Tensor) -> tf.Tensor:
  """Returns a text in which each line is there once, where it was first.

  Lines are the same if they differ in case or in the spaces around them only.
  An empty line is one as well.

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
  """Removes lines that repeat an earlier one of the same page.

  The paper's C4 has no duplication inside of examples; this removes it as TFDS
  does since c4/en 2.3.0, except that no page is left out for being short then.

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
  """Applies `remove_repeated_lines`, unless gin says otherwise."""
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
