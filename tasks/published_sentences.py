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

"""The records of ANLI, Winogrande and DPR: files of their publishers and hub.

They become the examples that TensorFlow Datasets makes; see official_records.
"""

from collections.abc import Iterator, Mapping, Sequence
import itertools
from typing import Any

import tensorflow.compat.v1 as tf

from tasks import official_records
from tasks import records
from tasks import tables

Example = dict[str, Any]

# ANLI's labels in its files, where the hub has their numbers.
_ANLI_LABELS = ("e", "n", "c")


def class_of(
    label: Any, classes: Sequence[str], labelled: bool, first: int = 0
) -> int:
  """Returns the number of a class; -1 for a label that may be missing.

  Args:
    label: one of the classes, its number, or its number as text.
    classes: the names.
    labelled: whether there must be a label.
    first: the number of the first class in the files.
  """
  if not labelled and label in (None, "", -1, "-1"):
    return -1
  numbers = [str(n) for n in range(first, first + len(classes))]
  text = str(label)
  if text in numbers and not isinstance(label, (bool, float)):
    return numbers.index(text)
  return official_records.class_of(label, classes)


def anli_examples(
    config: Any, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of a record of ANLI."""
  del config  # All rounds are alike.
  return [
      {
          "uid": entry.get("uid", ""),
          "context": entry["premise" if "premise" in entry else "context"],
          "hypothesis": entry["hypothesis"],
          "label": class_of(
              entry["label"] if labelled else entry.get("label"),
              _ANLI_LABELS,
              labelled,
          ),
      }
  ]


def winogrande_entries(
    config: Any, file: str, split: str
) -> Iterator[tuple[str, Example]]:
  """Yields the records; answers may be in dev-labels.lst beside dev.jsonl."""
  del config, split
  beside = f"{file.removesuffix('.gz').removesuffix('.jsonl')}-labels.lst"
  labels = itertools.repeat(None)
  if file != beside and tf.io.gfile.exists(beside):
    labels = (line.strip() for _, line in records.numbered_lines(beside))
  for place, entry in tables.rows(file):
    label = next(labels, None)
    yield place, entry if "answer" in entry else {**entry, "answer": label}


def winogrande_examples(
    config: Any, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of a record of Winogrande."""
  del config
  answer = entry["answer"]
  if labelled and answer is None:
    raise KeyError("answer")
  return [
      {
          "sentence": entry["sentence"],
          "option1": entry["option1"],
          "option2": entry["option2"],
          "label": class_of(answer, ("1", "2"), labelled, first=1),
      }
  ]


def dpr_entries(
    config: Any, file: str, split: str
) -> Iterator[tuple[str, Example]]:
  """Yields the records of Rahman and Ng's text files, or of a table.

  A record has four lines and an empty one: the sentence, the pronoun, the
  candidates and the correct candidate.
  """
  del config, split
  if tables.ending(file) != ".txt":
    yield from tables.rows(file)
    return
  lines = records.numbered_lines(file, skip_broken=True)
  for is_text, block in itertools.groupby(lines, lambda x: bool(x[1].strip())):
    if not is_text:
      continue
    block = list(block)
    place = f"{file}, line {block[0][0]}"
    if len(block) != 4:
      records.skip(
          place, f"a record has 4 lines and an empty one, not {len(block)}"
      )
      continue
    sentence, pronoun, candidates, correct = (text.strip() for _, text in block)
    candidates = [name.strip() for name in candidates.split(",")]
    yield place, {
        "sentence": sentence,
        "pronoun": pronoun,
        "candidates": candidates,
        "label": correct,
    }


def dpr_examples(
    config: Any, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of a record of DPR."""
  del config, labelled  # Both splits have labels.
  candidates = tables.texts(entry["candidates"])
  return [
      {
          "sentence": entry["sentence"],
          "pronoun": entry["pronoun"],
          "candidates": candidates,
          "label": class_of(entry["label"], candidates, labelled=True),
      }
  ]
