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

"""Small copies of the SuperGLUE, GLUE and SQuAD files, and two readers."""

import json
import os

import gin
import numpy as np
import tensorflow_datasets as tfds

from tasks import official_datasets
from tasks import official_files

SUPER_GLUE = tfds.builder_cls("super_glue").builder_configs
GLUE = tfds.builder_cls("glue").builder_configs

PAIR = {"premise": "It rains.", "hypothesis": "It is wet.", "idx": 3}
WSC = {
    "text": "Ann called Bea because she was late .",
    "target": {
        "span1_text": "Bea",
        "span1_index": 2,
        "span2_text": "She",  # In lower case in the text.
        "span2_index": 4,
    },
    "idx": 5,
}
# A line of each task as in the official file, without its label.
LINES = {
    "boolq": {"question": "is it é", "passage": "It is.", "idx": 0},
    "cb": PAIR,
    "copa": {
        "premise": "I fell.",
        "choice1": "It hurt.",
        "choice2": "It rained.",
        "question": "effect",
        "idx": 7,
    },
    "multirc": {
        "idx": 6,
        "version": 1.1,
        "passage": {
            "text": "A text.",
            "questions": [
                {
                    "question": "Who?",
                    "idx": 1,
                    "answers": [
                        {"text": "I", "idx": 2},
                        {"text": "U", "idx": 3},
                    ],
                },
                {"question": "Why?", "idx": 4, "answers": []},
            ],
        },
    },
    "record": {
        "source": "Daily mail",
        "idx": 8,
        "passage": {
            "text": "Rome and Paris and Rome",
            "entities": [
                {"start": 9, "end": 13},
                {"start": 0, "end": 3},
                {"start": 19, "end": 22},
            ],
        },
        "qas": [{"query": "@placeholder is old", "idx": 9}],
    },
    "rte": PAIR,
    "wic": {
        "word": "bank",
        "sentence1": "A bank.",
        "sentence2": "The bank.",
        "start1": 2,
        "start2": 4,
        "end1": 6,
        "end2": 8,
        "idx": 1,
        "version": 1.1,
    },
    "wsc": WSC,
    "wsc.fixed": WSC,
    "axb": {"sentence1": "A.", "sentence2": "B.", "idx": 2, "logic": ""},
    "axg": PAIR,
}
LABELS = {
    "boolq": (True, False),
    "cb": ("neutral", "entailment"),
    "copa": (0, 1),
    "rte": ("not_entailment", "entailment"),
    "wic": (False, True),
    "wsc": (True, False),
    "wsc.fixed": (True, False),
}


def labelled_lines(name):
  if name == "multirc":
    line = json.loads(json.dumps(LINES[name]))
    for label, answer in enumerate(line["passage"]["questions"][0]["answers"]):
      answer["label"] = label
    return [line]
  if name == "record":
    line = json.loads(json.dumps(LINES[name]))
    line["qas"][0]["answers"] = [
        {"start": 19, "end": 22, "text": "Rome"},
        {"start": 0, "end": 3, "text": "Rome"},
        {"start": 9, "end": 13, "text": "Paris"},
    ]
    return [line]
  return [{**LINES[name], "label": label} for label in LABELS[name]]


def write_super_glue(directory, name):
  config = SUPER_GLUE[name]
  splits = {"train": labelled_lines, "val": labelled_lines}
  splits["test"] = lambda name: [LINES[name]]
  if name in ("axb", "axg"):
    del splits["train"], splits["val"]
  for split, lines in splits.items():
    tfds_name = split.replace("val", "validation")
    path = directory / official_datasets.super_glue_files(config, tfds_name)[0]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines(name)))


MNLI = "index promptID pairID genre x x x x sentence1 sentence2 label1".split()
# The columns of each task's files in the official order. Test files lack the
# label, which is the last column except in CoLA.
COLUMNS = {
    "cola": ["source", "label", "author", "sentence"],
    "sst2": ["sentence", "label"],
    "qqp": ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
    "stsb": ["index", "genre", "sentence1", "sentence2", "score"],
    "mnli": [*MNLI, "gold_label"],
    "mnli_matched": [*MNLI, "gold_label"],
    "mnli_mismatched": [*MNLI, "gold_label"],
    "qnli": ["index", "question", "sentence", "label"],
    "rte": ["index", "sentence1", "sentence2", "label"],
    "wnli": ["index", "sentence1", "sentence2", "label"],
    "ax": ["index", "sentence1", "sentence2"],
}


def row(columns, label, number):
  values = {"label": label, "is_duplicate": label, "score": label}
  values["gold_label"] = label
  return [values.get(name, f'{name} "{number}" é') for name in columns]


def write_glue(directory, name, split):
  """Writes the file of a split and returns its path."""
  path = directory / official_datasets.glue_files(GLUE[name], split)[0]
  path.parent.mkdir(exist_ok=True)
  columns = COLUMNS[name]
  classes = GLUE[name].label_classes
  labels = classes or ["1.8", "5.000"]
  if name in ("cola", "sst2", "qqp", "wnli"):
    labels = ["0", "1"]
  lines = [row(columns, label, n) for n, label in enumerate(labels)]
  if split.startswith("test") and name != "ax":
    columns = ["index", "sentence"] if name == "cola" else columns[:-1]
    lines = [line[: len(columns)] for line in lines]
  if name != "cola" or split == "test":
    lines.insert(0, columns)
  path.write_text("".join("\t".join(line) + "\n" for line in lines))
  return path


def split_of(file):
  """Returns TFDS's name of the split that a benchmark's file has."""
  name = os.path.basename(file)
  if name.startswith("train"):
    return "train"
  return "validation" if name.startswith(("val", "dev")) else "test"


def as_read(name, config, file, split=None):
  """Returns the records of a file, as the project reads them."""
  features = official_files.builder(name, config).info.features
  split = split or split_of(file)
  return [
      features.deserialize_example_np(record)
      for record in official_files.read(name, config, str(file), split)
  ]


def in_directory(name, config, directory, split):
  """Returns the records of a split, as the project reads a directory."""
  gin.bind_parameter(
      f"tasks.{official_datasets.DATASETS[name].setting}", str(directory)
  )
  return [
      record
      for file in official_files.files_of(name, config, split)
      for record in as_read(name, config, file, split)
  ]


def as_in_tfds(builder, **generator):
  """Returns the records of a file, as TFDS generates and stores them."""
  features = builder.info.features
  return [
      features.deserialize_example_np(
          features.serialize_example(features.encode_example(example))
      )
      for _, example in builder._generate_examples(**generator)
  ]


def assert_same(ours, theirs):
  assert len(ours) == len(theirs) > 0
  for own, other in zip(ours, theirs):
    assert own.keys() == other.keys()
    for feature in own:
      np.testing.assert_equal(own[feature], other[feature])


SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Rome",
            "paragraphs": [
                {
                    "context": "Rome is é old.",
                    "qas": [
                        {
                            "id": "a",
                            "question": "What is old?",
                            "answers": [
                                {"text": "Rome", "answer_start": 0},
                                {"text": "é", "answer_start": 8},
                            ],
                        },
                        {
                            "id": "b",
                            "question": "How is Rome?",
                            "answers": [{"text": "old", "answer_start": 10}],
                        },
                    ],
                }
            ],
        },
        {"paragraphs": []},
    ],
}


def write(directory):
  """Writes the files of all three into directories of their names."""
  for name in ("super_glue", "glue", "squad"):
    (directory / name).mkdir()
  for name in SUPER_GLUE:
    write_super_glue(directory / "super_glue", name)
  write_glue(directory / "glue", "stsb", "train")
  write_glue(directory / "glue", "mnli", "validation_matched")
  (directory / "squad" / "dev-v1.1.json").write_text(json.dumps(SQUAD))
