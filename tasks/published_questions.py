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

"""The records of ARC, Natural Questions, TriviaQA and WebQuestions.

They come from the files of their publishers or of the hub, and become the
examples that TensorFlow Datasets makes; see official_records.
"""

from collections.abc import Iterator, Mapping
import re
from typing import Any

from tasks import official_records
from tasks import question_formats
from tasks import tables

Example = dict[str, Any]

# An answer of WebQuestions: '(list (description "Rome") (description Bonn))'.
_DESCRIPTION = re.compile(r'\(description (?:"([^"]+)"|([^)]+))\)')
# Before each choice in ARC's CSV files.
_CHOICE = re.compile(r"\s*\(([A-E1-5])\)\s*")
_DIGITS = ("1", "2", "3", "4", "5")


def _letter(label: str) -> str:
  """Returns a choice's name; some of ARC's questions count their choices."""
  if label in _DIGITS:
    return question_formats.CHOICES[_DIGITS.index(label)]
  return label


def arc_examples(
    config: Any, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of a question of ARC: jsonl, CSV or the hub's."""
  del config, labelled  # All splits have answers.
  if "AnswerKey" in entry:
    question, labels, texts = _arc_choices(entry["question"])
    name, answer = entry["questionID"], entry["AnswerKey"]
  else:
    name, question, answer = entry["id"], entry["question"], entry["answerKey"]
    if isinstance(question, Mapping):
      choices = question["choices"]
      question = question["stem"]
      texts = [choice["text"] for choice in choices]
      labels = [choice["label"] for choice in choices]
    else:
      choices = tables.nested(entry["choices"])
      texts, labels = choices["text"], choices["label"]
  names = question_formats.CHOICES
  labels = [
      official_records.class_of(_letter(label), names) for label in labels
  ]
  answer = official_records.class_of(_letter(answer), names)
  if answer not in labels:
    raise ValueError(f"the answer {names[answer]} is none of the choices")
  return [
      {
          "id": name,
          "question": question,
          "choices": {"text": list(texts), "label": labels},
          "answerKey": answer,
      }
  ]


def _arc_choices(text: str) -> tuple[str, list[str], list[str]]:
  """Splits "What falls? (A) rain (B) light" into stem, labels and texts."""
  marks = list(_CHOICE.finditer(text))
  starts = [n for n, mark in enumerate(marks) if mark[1] in ("A", "1")]
  if not starts:
    raise ValueError("the question has no choices (A), (B) ...")
  marks = marks[starts[-1] :]
  ends = [mark.start() for mark in marks[1:]] + [len(text)]
  return (
      text[: marks[0].start()],
      [mark[1] for mark in marks],
      [text[mark.end() : end].strip() for mark, end in zip(marks, ends)],
  )


def natural_questions_examples(
    config: Any, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of a question of NQ-open."""
  del config, labelled
  answers = tables.texts(entry["answer"])
  return [{"question": entry["question"], "answer": _some(answers)}]


def web_questions_examples(
    config: Any, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of a question of WebQuestions."""
  del config, labelled
  if "targetValue" in entry:
    question = entry["utterance"]
    answers = [
        quoted or bare
        for quoted, bare in _DESCRIPTION.findall(entry["targetValue"])
    ]
  else:
    question, answers = entry["question"], tables.texts(entry["answers"])
  url = entry.get("url", "")
  return [{"url": url, "question": question, "answers": _some(answers)}]


def _some(answers: list[str]) -> list[str]:
  if not answers:
    raise ValueError("it has no answer")
  return answers


def trivia_qa_entries(
    config: Any, file: str, split: str
) -> Iterator[tuple[str, Example]]:
  """Yields questions and answers, without the texts found on the web."""
  del config, split
  for place, entry in tables.rows(file):
    yield place, {
        name: value
        for name, value in entry.items()
        if name.lower().startswith(("question", "answer"))
    }


def trivia_qa_examples(
    config: Any, entry: Mapping[str, Any], labelled: bool
) -> list[Example]:
  """Returns the example of a question of TriviaQA, without its pages."""
  del config
  answer = {"aliases": [], "normalized_aliases": [], "type": ""}
  answer |= {"value": "<unk>", "normalized_value": "<unk>"}
  matched = "<unk>"
  if labelled or _has(entry, "answer"):
    fields = tables.nested(_field(entry, "answer"))
    answer = {
        name: (
            [text.strip() for text in tables.texts(_field(fields, name))]
            if name.endswith("aliases")
            else _field(fields, name).strip()
        )
        for name in answer
    }
    matched = ""  # TFDS looks for it under a name that the files lack.
  return [
      {
          "question": _field(entry, "question").strip(),
          "question_id": _field(entry, "question_id"),
          "question_source": _field(entry, "question_source").strip(),
          "entity_pages": [],
          "search_results": [],
          "answer": {
              **answer,
              "matched_wiki_entity_name": matched,
              "normalized_matched_wiki_entity_name": matched,
          },
      }
  ]


def _field(entry: Mapping[str, Any], name: str) -> Any:
  """Returns a field under the hub's name or the publisher's, "QuestionId"."""
  if name in entry:
    return entry[name]
  return entry[_camel(name)]


def _has(entry: Mapping[str, Any], name: str) -> bool:
  return name in entry or _camel(name) in entry


def _camel(name: str) -> str:
  return "".join(part.title() for part in name.split("_"))


def trivia_qa_key(number: int, entry: Mapping[str, Any], split: str) -> str:
  """Returns TFDS's key of a question."""
  del number
  name = {"validation": "dev"}.get(split, split)
  question_id = entry.get("question_id", entry.get("QuestionId"))
  return f"unfiltered-web-{name}.json_{question_id}"
