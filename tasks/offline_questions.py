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
"""Questions and answers of the offline tasks, as prepared text in splits.

A record is the inputs and the targets, each on a line.
"""

from collections.abc import Iterable, Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

import tensorflow.compat.v2 as tf

from tasks import docstring_documents
from tasks import prepared_text

SPLITS = docstring_documents.SPLITS

# Of the things that questions are about, for each of validation and test.
HELD_OUT_SHARE = 0.12

# The largest number of questions of a task.
SIZES = {"train": 6000, "validation": 500, "test": 500}


class Question(NamedTuple):
  """An example.

  Attributes:
    inputs: what the model reads, on one line.
    targets: what it is to write, on one line.
  """

  inputs: str
  targets: str


def split_of(thing: str) -> str:
  """Returns the split of all questions about a thing, from a hash of it."""
  # Not the hash of the thing alone, in the order of which files are read.
  share = prepared_text.text_hash(f"split of {thing}") / 2**64
  if share < HELD_OUT_SHARE:
    return "test"
  return "validation" if share < 2 * HELD_OUT_SHARE else "train"


def in_hash_order(questions: Iterable[Question]) -> list[Question]:
  """Returns questions in an order that mixes what they are about."""
  return sorted(questions, key=lambda q: (prepared_text.text_hash(q.inputs), q))


def write(
    directory: pathlib.Path,
    questions: Mapping[str, Sequence[Question]],
    description: Mapping[str, Any],
) -> None:
  """Writes questions as prepared text.

  Args:
    directory: as for prepared_text.write; it is made.
    questions: those of each of SPLITS.
    description: as for prepared_text.write.
  """
  directory.mkdir()
  records = (
      (split, f"{question.inputs}\n{question.targets}")
      for split in SPLITS
      for question in questions[split]
  )
  prepared_text.write(directory, records, dict(description), SPLITS)


def read(text: prepared_text.PreparedText, split: str) -> list[Question]:
  """Returns the questions of a split that `write` has written."""
  return [Question(*record.split("\n")) for record in text.documents(split)]


def parse(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Returns "inputs", "targets" and "answers", a list, of records in "text"."""

  def question(record):
    lines = tf.strings.split(record["text"], "\n")
    return {"inputs": lines[0], "targets": lines[1], "answers": lines[1:]}

  return dataset.map(question, num_parallel_calls=tf.data.AUTOTUNE)
