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

"""Tests that no record, however broken, ends the reading of the others."""

import copy
import json
import pathlib
from typing import Any

import hypothesis
from hypothesis import strategies
import pytest

from tasks import official_files
from tasks import shards
from tasks import text_files
from tests import official_zips

_RECORD = {"text": "good", "timestamp": "", "url": None, "nested": {"a": [1]}}
_HALF = "\ud83d"  # Half of a surrogate pair.
_DEEP = "@deep@"  # A hundred thousand brackets, once it is written.
_NESTED = b"[" * 10**5 + b"]" * 10**5
_LONG = "@long@"  # A number of five thousand digits.
_VALUES = strategies.sampled_from(
    [None, True, -1, 7, 1e308, 10**30, "", "x", _HALF, _DEEP, _LONG]
    + [[], [_HALF], [[1]], {}, {"a": 1}, {_HALF: 1}, "a\tb\nc\0", "9" * 5000]
)


def _paths(value: Any) -> list[tuple]:
  """Returns the path of each part of a JSON value, the whole included."""
  children = []
  if isinstance(value, dict):
    children = list(value.items())
  elif isinstance(value, list):
    children = list(enumerate(value))
  return [()] + [
      (key, *path) for key, child in children for path in _paths(child)
  ]


@strategies.composite
def _broken(draw, record: Any) -> bytes:
  """Draws a record of which one part is another, is missing, or is cut."""
  record = {"": copy.deepcopy(record)}
  *path, last = ("", *draw(strategies.sampled_from(_paths(record[""]))))
  parent = record
  for key in path:
    parent = parent[key]
  parent[last] = draw(_VALUES)
  if draw(strategies.booleans()) and path:
    del parent[last]
  text = json.dumps(record[""]).replace(f'"{_DEEP}"', _NESTED.decode())
  line = text.replace(f'"{_LONG}"', "1" * 5000).encode()
  if draw(strategies.booleans()):
    return line
  at = draw(strategies.integers(0, len(line)))
  noise = draw(strategies.binary(max_size=3)).replace(b"\n", b"")
  return line[:at] + noise + line[at + draw(strategies.integers(0, 3)) :]


def _lines(records: list[bytes]) -> bytes:
  return b"\n".join(records)


def _array(records: list[bytes]) -> bytes:
  return b"[" + b",\n".join(records) + b"]"


def _question(record: dict[str, Any]) -> Any:
  """Returns a SQuAD file in which one of three questions is the record."""
  article = copy.deepcopy(official_zips.SQUAD["data"][0])
  article["paragraphs"][0]["qas"].insert(1, record)
  return {"data": [article]}


def _official(name: str, config: str):
  return lambda file: list(
      official_files.read(name, config, file, official_zips.split_of(file))
  )


def _documents(file: str) -> list[str]:
  return list(text_files.read_documents(file, "paragraph"))


_ARC = {
    "id": "1",
    "question": {
        "stem": "What?",
        "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}],
    },
    "answerKey": "B",
}
_TRIVIA = {
    "Question": "Who?",
    "QuestionId": "1",
    "QuestionSource": "",
    "Answer": {
        "Aliases": ["A"],
        "NormalizedAliases": ["a"],
        "NormalizedValue": "a",
        "Type": "",
        "Value": "A",
    },
}
_PUBLISHED = (
    ("ai2_arc", "ARC-Easy", "train", _ARC),
    (
        "ai2_arc",
        "ARC-Easy",
        "test",
        {
            "questionID": "1",
            "question": "What? (A) a (B) b",
            "AnswerKey": "A",
        },
    ),
    (
        "anli",
        "r3",
        "train",
        {"uid": "1", "context": "A.", "hypothesis": "B.", "label": "e"},
    ),
    (
        "winogrande",
        "",
        "train",
        {"sentence": "_.", "option1": "A", "option2": "B", "answer": "1"},
    ),
    (
        "natural_questions_open",
        "",
        "train",
        {"question": "who", "answer": ["A", "B"]},
    ),
    (
        "web_questions",
        "",
        "train",
        {
            "url": "",
            "utterance": "who?",
            "targetValue": '(list (description "A"))',
        },
    ),
    ("trivia_qa", "unfiltered.nocontext", "train", _TRIVIA),
    ("xsum", "", "train", {"document": "A.", "summary": "B."}),
    ("cnn_dailymail", "", "train", {"article": "A.", "highlights": "B ."}),
    (
        "definite_pronoun_resolution",
        "",
        "train",
        {
            "sentence": "A b.",
            "pronoun": "b",
            "candidates": ["A", "C"],
            "label": 1,
        },
    ),
)

# By the name of the file: a record, the form of the file and its reader.
_READERS = {
    "a.jsonl": (_RECORD, _lines, _documents),
    "a.json": (_RECORD, _array, _documents),
    "c4-train.json": (_RECORD, _lines, lambda file: list(shards.texts(file))),
    **{
        f"{config}/{name}": (
            lines[0],
            _lines,
            _official("super_glue", config),
        )
        for config in official_zips.LABELS | {"multirc": 0, "record": 0}
        for name, lines in (
            ("train.jsonl", official_zips.labelled_lines(config)),
            ("test.jsonl", [official_zips.LINES[config]]),
        )
    },
    **{
        f"{name}/{split}.jsonl": (record, _lines, _official(name, config))
        for name, config, split, record in _PUBLISHED
    },
}


def _check(file: pathlib.Path, content: bytes, read, num_good: int):
  file.parent.mkdir(exist_ok=True)
  file.write_bytes(content)
  assert len(read(str(file))) >= num_good


@pytest.mark.parametrize("name", _READERS)
def test_one_broken_record_ends_no_run(tmp_path_factory, name):
  record, form, read = _READERS[name]
  directory = tmp_path_factory.mktemp("records")
  good = json.dumps(record).encode()
  whole = directory / "good" / pathlib.Path(name).name
  whole.parent.mkdir()
  whole.write_bytes(form([good]))
  num_good = len(read(str(whole)))
  assert num_good

  @hypothesis.settings(deadline=None, max_examples=30, database=None)
  @hypothesis.given(_broken(record))
  def read_between_others(broken):
    # An array whose brackets do not match is no array.
    if form is _array:
      try:
        json.loads(broken.replace(_NESTED, b"0"))
      except (json.JSONDecodeError, RecursionError):
        broken = b"{oops}"
      except ValueError:
        pass
    content = form([good, broken, good])
    _check(directory / name, content, read, 2 * num_good)

  read_between_others()


def test_one_broken_question_ends_no_run(tmp_path):
  question = official_zips.SQUAD["data"][0]["paragraphs"][0]["qas"][0]

  @hypothesis.settings(deadline=None, max_examples=30, database=None)
  @hypothesis.given(_broken(question))
  def read_between_others(broken):
    try:
      record = json.loads(broken)
    except (RecursionError, ValueError):
      return  # Then it is the file that is no JSON.
    content = json.dumps(_question(record)).encode()
    _check(
        tmp_path / "a" / "dev-v1.1.json", content, _official("squad", "v1.1"), 2
    )

  read_between_others()


@pytest.mark.parametrize("config", official_zips.COLUMNS)
def test_one_broken_row_ends_no_run(tmp_path_factory, config):
  directory = tmp_path_factory.mktemp("rows")
  split = "test" if config == "ax" else "validation"
  path = official_zips.write_glue(directory, config, split)
  lines = path.read_bytes().splitlines()
  read = _official("glue", config)
  num_good = len(read(str(path)))
  assert num_good

  @hypothesis.settings(deadline=None, max_examples=30, database=None)
  @hypothesis.given(strategies.integers(0, 99), strategies.binary(max_size=3))
  def read_between_others(at, noise):
    row = lines[-1]
    row = row[:at] + noise.replace(b"\n", b"") + row[at + 1 :]
    _check(path, b"\n".join([*lines[:-1], row, lines[-1]]), read, num_good)

  read_between_others()
