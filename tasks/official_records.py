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

"""The records of the official SuperGLUE, GLUE and SQuAD files.

They are converted to the examples that TensorFlow Datasets makes of the same
files, so that T5's preprocessors work with both. Each dataset has two
functions: `*_entries` yields the place and the content of each record of a
file, and `*_examples` converts a content to examples, or raises one of BROKEN.
"""

from collections.abc import Iterator, Mapping, Sequence
import json
import os
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.text import super_glue as tfds_super_glue

from tasks import errors
from tasks import records

# Raised by conversions when a field is missing or has another type. TFDS turns
# some of these into RuntimeErrors, and asserts that spans are found.
BROKEN = (ArithmeticError, AssertionError, AttributeError, LookupError)
BROKEN += (RuntimeError, TypeError, ValueError)

Example = dict[str, Any]

# Of the name of a question, in its place.
_MAX_CHARACTERS = 100

_COLA_HEADER = ("source", "is_acceptable", "author", "sentence")
# MRPC as it was published, before GLUE's script cut it.
MRPC = "msr_paraphrase_"
_MRPC_DEV_IDS = ("dev_ids.tsv", "mrpc_dev_ids.tsv")
_MRPC_COLUMNS = {"sentence1": "#1 String", "sentence2": "#2 String"}


def is_labelled(split: str) -> bool:
  """Returns whether the records of a split of a benchmark must have labels."""
  return not split.startswith("test")


def problem(error: Exception) -> str:
  """Describes one of BROKEN in one line."""
  if isinstance(error, KeyError):
    return f"there is no {error}"
  return " ".join(str(error).split()) or f"it causes {error!r}"


def super_glue_entries(
    config: tfds.core.BuilderConfig, file: str, split: str
) -> Iterator[tuple[str, Any]]:
  """Yields the objects of a jsonl file."""
  del config, split  # All files are alike.
  return records.json_objects(file)


def super_glue_examples(
    config: tfds.core.BuilderConfig, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the examples of a line of SuperGLUE.

  Args:
    config: TFDS's, of the task.
    entry: the object in the line.
    labelled: whether it must have a label; an optional label that is missing
      becomes -1, as in TFDS.
  """
  if config.name == "multirc":
    return _multirc_examples(entry, labelled)
  if config.name == "record":
    return _record_examples(entry, labelled)
  fields = {**entry, **entry.get("target", {})}  # WSC has its spans there.
  example = {name: fields[name] for name in [*config.features, "idx"]}
  if config.name == "wsc.fixed":
    example = tfds_super_glue._fix_wst(example)
  if not labelled and "label" not in fields:
    label = -1
  elif config.name == "copa":
    label = class_of(fields["label"], (0, 1))
  else:
    label = fields["label"]
    label = class_of(
        str(label) if isinstance(label, bool) else label, config.label_classes
    )
  return [{**example, "label": label}]


def _multirc_examples(
    entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns an example for each answer to each question of a passage."""
  return [
      {
          "paragraph": entry["passage"]["text"],
          "question": question["question"],
          "answer": answer["text"],
          "label": (
              str(bool(answer["label"]))
              if labelled or "label" in answer
              else -1
          ),
          "idx": {
              "paragraph": entry["idx"],
              "question": question["idx"],
              "answer": answer["idx"],
          },
      }
      for question in entry["passage"]["questions"]
      for answer in question["answers"]
  ]


def _record_examples(entry: Mapping[str, Any], labelled: bool) -> list[Example]:
  """Returns an example for each query about a passage of ReCoRD."""
  text = entry["passage"]["text"]
  entities = {
      text[entity["start"] : entity["end"] + 1]
      for entity in entry["passage"]["entities"]
  }
  return [
      {
          "passage": text,
          "query": query["query"],
          "entities": sorted(entities),
          "answers": sorted(
              {answer["text"] for answer in query["answers"]}
              if labelled or "answers" in query
              else ()
          ),
          "idx": {"passage": entry["idx"], "query": query["idx"]},
      }
      for query in entry["qas"]
  ]


def class_of(label: Any, classes: Sequence[Any]) -> int:
  """Returns the number of a class; a ValueError if it is none of them."""
  if label not in classes:
    raise ValueError(
        f"the label {label!r} is none of {', '.join(map(str, classes))}"
    )
  return classes.index(label)


def glue_entries(
    config: tfds.core.BuilderConfig, file: str, split: str
) -> Iterator[tuple[str, Example]]:
  """Yields the rows of a tsv file, with their numbers as "idx".

  As in TFDS, the numbers include broken rows but not empty lines, and of MRPC's
  original file those of the other split.

  Raises:
    DataError: the header lacks a column, or the list of MRPC's development set
      is missing.
  """
  is_original = os.path.basename(file).startswith(f"{MRPC}train")
  dev_ids = _mrpc_dev_ids(file) if is_original else frozenset()
  header = None
  if config.name == "cola" and is_labelled(split):
    header = _COLA_HEADER  # Only these files have no header.
  number_of_row = last_number = 0
  for number, line in records.numbered_lines(file, skip_broken=True):
    if header is not None:
      number_of_row += number - last_number - 1  # Those that are not UTF-8.
    last_number = number
    if not line:
      continue
    columns = line.split("\t")
    if header is None:
      header = columns
      _check_header(config, file, header, is_labelled(split))
      continue
    # A row that is too short lacks its last columns.
    row = dict(zip(header, columns))
    is_dev = (row.get("#1 ID"), row.get("#2 ID")) in dev_ids
    if not is_original or is_dev == (split == "validation"):
      yield f"{file}, line {number}", {**row, "idx": number_of_row}
    number_of_row += 1


def _mrpc_dev_ids(file: str) -> frozenset[tuple[str, ...]]:
  """Returns the ids of the rows of MRPC's development set within GLUE.

  Args:
    file: the original training set, which the list is beside.

  Raises:
    DataError: there is no list.
  """
  for name in _MRPC_DEV_IDS:
    path = os.path.join(os.path.dirname(file), name)
    if tf.io.gfile.exists(path):
      lines = records.numbered_lines(path)
      return frozenset(tuple(line.split("\t")[:2]) for _, line in lines)
  raise errors.DataError(
      f"{file}: GLUE has cut this set in two; {' or '.join(_MRPC_DEV_IDS)}, "
      "the list of its development set that GLUE's download script fetches, "
      "is not beside it."
  )


def _glue_columns(config: tfds.core.BuilderConfig) -> Mapping[str, str]:
  """Returns the column of each text feature."""
  # TFDS reads MRPC from other files, which its columns do not describe.
  return _MRPC_COLUMNS if config.name == "mrpc" else config.text_features


def _check_header(
    config: tfds.core.BuilderConfig,
    file: str,
    header: Sequence[str],
    labelled: bool,
):
  needed = list(_glue_columns(config).values())
  if labelled:
    needed.append(config.label_column)
  for column in needed:
    if column not in header:
      raise errors.DataError(
          f"{file}, line 1: there is no column {column!r} for {config.name}; "
          f"there are {', '.join(map(repr, header))}."
      )


def glue_examples(
    config: tfds.core.BuilderConfig, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of a row of GLUE.

  Args:
    config: TFDS's, of the task.
    entry: the row's columns by their names.
    labelled: whether it must have a label; a column of labels that is missing
      becomes -1, as in TFDS.
  """
  example = {
      feature: entry[column]
      for feature, column in _glue_columns(config).items()
  }
  # TFDS reads MRPC's test set from a file whose labels it leaves out.
  if labelled or (config.label_column in entry and config.name != "mrpc"):
    label = entry[config.label_column]
  else:
    label = "-1"
  if not config.label_classes:
    label = np.float32(label)
  elif not labelled and label == "-1":
    label = -1
  else:
    classes = config.label_classes
    numbers = [str(number) for number in range(len(classes))]
    label = class_of(label, numbers if label in numbers else classes)
  return [{**example, "idx": entry["idx"], "label": label}]


def squad_entries(
    config: tfds.core.BuilderConfig, file: str, split: str
) -> Iterator[tuple[str, Any]]:
  """Yields the questions of a SQuAD file, with their title and context.

  Broken articles and paragraphs are skipped.

  Raises:
    DataError: the file is not JSON, or not in SQuAD's format.
  """
  del config, split  # There is one form.
  text = "\n".join(line for _, line in records.numbered_lines(file))
  try:
    content = json.loads(text)
  except (RecursionError, ValueError) as error:
    line = f", line {error.lineno}" if hasattr(error, "lineno") else ""
    raise errors.DataError(
        f"{file}{line}: {records.not_json(error)}."
    ) from error
  try:
    articles = list(content["data"])
  except BROKEN as error:
    raise errors.DataError(
        f"{file} is not in SQuAD's form: {problem(error)}."
    ) from error
  for number, article in enumerate(articles, 1):
    yield from _squad_questions(f"{file}, article {number}", article)


def _squad_questions(
    place: str, article: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
  """Yields an article's questions; skips paragraphs that have none."""
  try:
    paragraphs = list(article["paragraphs"])
  except BROKEN as error:
    records.skip(place, problem(error))
    return
  for number, paragraph in enumerate(paragraphs, 1):
    try:
      title, context = article.get("title", ""), paragraph["context"]
      questions = list(paragraph["qas"])
    except BROKEN as error:
      records.skip(f"{place}, paragraph {number}", problem(error))
      continue
    for question in questions:
      name = str(question)
      if isinstance(question, Mapping):
        name = str(question.get("id", question.get("question", name)))
      yield f"{place}, question {name[:_MAX_CHARACTERS]}", {
          "question": question,
          "title": title,
          "context": context,
      }


def squad_examples(
    config: tfds.core.BuilderConfig, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of a question of SQuAD 1.1."""
  del config, labelled  # There is one form, always with answers.
  question = entry["question"]
  answers = question["answers"]
  if not answers:
    raise ValueError("it has no answers; is this SQuAD 2.0 instead of 1.1?")
  return [
      {
          "id": question["id"],
          "title": entry["title"],
          "context": entry["context"],
          "question": question["question"],
          "answers": {
              "text": [answer["text"] for answer in answers],
              "answer_start": [answer["answer_start"] for answer in answers],
          },
      }
  ]
