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

"""ARC and closed-book questions: each public form becomes TFDS's examples."""

import json

import gin
import pytest
import seqio
import tensorflow_datasets as tfds

from tasks import downstream
from tasks import errors
from tasks import official_datasets
from tasks import official_files
from tasks import records
from tests import official_zips
from tests import tables

read = official_zips.in_directory

ARC = [
    {
        "id": "MCAS_1",
        "question": {
            "stem": "What falls (down)?",
            "choices": [
                {"text": "rain", "label": "A"},
                {"text": "light (of day)", "label": "B"},
            ],
        },
        "answerKey": "A",
    },
    {
        "id": "NY_2",
        "question": {
            "stem": "What shines?",
            "choices": [
                {"text": text, "label": str(n)}
                for n, text in enumerate(("a", "b", "c", "the sun"), 1)
            ],
        },
        "answerKey": "4",
    },
]


@pytest.fixture
def arc(tmp_path):
  """The examples that TFDS makes."""
  path = tables.write_lines(tmp_path / "tfds.jsonl", ARC)
  builder = official_files.builder("ai2_arc", "ARC-Easy")
  return official_zips.as_in_tfds(builder, filepath=path)


@pytest.mark.parametrize("top", ["", "ARC-V1-Feb2018-2/"])
@pytest.mark.parametrize(
    "split, name", [("train", "Train"), ("validation", "Dev"), ("test", "Test")]
)
def test_arc_of_the_publisher(tmp_path, arc, top, split, name):
  tables.write_lines(tmp_path / f"{top}ARC-Easy/ARC-Easy-{name}.jsonl", ARC)
  tables.write_lines(
      tmp_path / f"{top}ARC-Challenge/ARC-Challenge-{name}.jsonl", ARC[:1]
  )
  ours = read("ai2_arc", "ARC-Easy", tmp_path, split)
  official_zips.assert_same(ours, arc)
  assert list(ours[1]["choices"]["label"]) == [0, 1, 2, 3]
  assert ours[1]["answerKey"] == 3
  assert len(read("ai2_arc", "ARC-Challenge", tmp_path, split)) == 1


def test_arc_of_the_publisher_in_csv(tmp_path, arc):
  rows = [
      {
          "questionID": entry["id"],
          "originalQuestionID": "1",
          "totalPossiblePoint": "1",
          "AnswerKey": entry["answerKey"],
          "isMultipleChoiceQuestion": "1",
          "includesDiagram": "0",
          "examName": "MCAS",
          "schoolGrade": "5",
          "year": "2000",
          "question": " ".join(
              [entry["question"]["stem"]]
              + [
                  f"({choice['label']}) {choice['text']}"
                  for choice in entry["question"]["choices"]
              ]
          ),
          "subject": "",
          "category": "Train",
      }
      for entry in ARC
  ]
  tables.write_csv(tmp_path / "ARC-Easy" / "ARC-Easy-Train.csv", rows)
  official_zips.assert_same(read("ai2_arc", "ARC-Easy", tmp_path, "train"), arc)


def numpy_text(texts):
  """A list as numpy prints it."""
  return f"array({list(texts)!r}, dtype=object)"


@pytest.mark.parametrize(
    "write, name, choices",
    [
        (tables.write_lines, "ARC-Easy/train.jsonl", lambda x: x),
        (tables.write_csv, "ARC-Easy/train.csv", repr),
        (
            tables.write_csv,
            "ARC-Easy_train.csv",
            lambda x: (
                f"{{'text': {numpy_text(x['text'])},\n 'label': "
                f"{numpy_text(x['label'])}}}"
            ),
        ),
    ],
    ids=["jsonl", "csv", "csv-of-numpy"],
)
def test_arc_of_the_hub(tmp_path, arc, write, name, choices):
  rows = [
      {
          "id": entry["id"],
          "question": entry["question"]["stem"],
          "choices": choices(
              {
                  field: [x[field] for x in entry["question"]["choices"]]
                  for field in ("text", "label")
              }
          ),
          "answerKey": entry["answerKey"],
      }
      for entry in ARC
  ]
  write(tmp_path / name, rows)
  official_zips.assert_same(read("ai2_arc", "ARC-Easy", tmp_path, "train"), arc)


def test_broken_questions_of_arc_are_named(tmp_path):
  question = ARC[0]["question"]
  path = tables.write_lines(
      tmp_path / "ARC-Easy-Train.jsonl",
      [
          {**ARC[0], "answerKey": "C"},
          {**ARC[0], "answerKey": "F"},
          {**ARC[0], "question": {**question, "choices": 5}},
          {**ARC[0], "question": "What (B)?", "choices": "no"},
          ARC[1],
      ],
  )
  assert len(read("ai2_arc", "ARC-Easy", tmp_path, "train")) == 1
  assert list(records.skipped().values()) == [
      "the answer C is none of the choices",
      "the label 'F' is none of A, B, C, D, E",
      "'int' object is not iterable",
      "'no' is no list and no object",
  ]
  assert list(records.skipped()) == [f"{path}, line {n}" for n in (1, 2, 3, 4)]


NQ = [
    {"question": "who ran", "answer": ["Ann", 'Ann "A" Lee']},
    {"question": "who sat", "answer": ["Bo"]},
    {"question": "who ate", "answer": ["Cy's", "Di"]},
]


def of_numpy(texts):
  return f"[{' '.join(map(repr, texts))}]"


@pytest.mark.parametrize(
    "write, name, answers",
    [
        (tables.write_lines, "NQ-open.dev.jsonl", list),
        (tables.write_lines, "nq_open/validation.jsonl", list),
        (tables.write_array, "validation.json", list),
        (tables.write_csv, "validation.csv", of_numpy),
        (tables.write_csv, "data/validation.csv", json.dumps),
        (tables.write_csv, "validation.csv", repr),
    ],
)
def test_natural_questions(tmp_path, write, name, answers):
  rows = [{**entry, "answer": answers(entry["answer"])} for entry in NQ]
  write(tmp_path / name, rows)
  path = tables.write_lines(tmp_path / "of_tfds", NQ)
  builder = official_files.builder("natural_questions_open", "")
  official_zips.assert_same(
      read("natural_questions_open", "", tmp_path, "validation"),
      official_zips.as_in_tfds(builder, file_path=path),
  )


WEB = [
    {
        "url": "http://www.freebase.com/view/en/justin_bieber",
        "targetValue": (
            '(list (description "Jazmyn B.") (description Jaxon) '
            '(description "A (b)"))'
        ),
        "utterance": "who is the brother?",
    },
    {
        "url": "http://www.freebase.com/view/en/x",
        "targetValue": '(list (description "12\\" single"))',
        "utterance": "what is it?",
    },
]


def test_web_questions_of_the_publisher(tmp_path):
  builder = official_files.builder("web_questions", "")
  for split in ("train", "test"):
    path = tmp_path / f"webquestions.examples.{split}.json"
    path.write_text(json.dumps(WEB))
    ours = read("web_questions", "", tmp_path, split)
    official_zips.assert_same(
        ours, official_zips.as_in_tfds(builder, file_path=path)
    )
  assert list(ours[0]["answers"]) == [b"Jazmyn B.", b"Jaxon", b"A (b)"]


@pytest.mark.parametrize(
    "write, name, answers",
    [
        (tables.write_lines, "data/train-00000-of-00001.jsonl", list),
        (tables.write_csv, "train.csv", of_numpy),
    ],
)
def test_web_questions_of_the_hub(tmp_path, write, name, answers):
  row = {"url": "/x", "question": "who?", "answers": answers(["Ann", "B's"])}
  write(tmp_path / name, [row])
  (record,) = read("web_questions", "", tmp_path, "train")
  assert record["question"] == b"who?"
  assert list(record["answers"]) == [b"Ann", b"B's"]


def test_a_question_without_an_answer_is_named(tmp_path):
  path = tmp_path / "webquestions.examples.train.json"
  path.write_text(json.dumps([{**WEB[0], "targetValue": "(list)"}, WEB[1]]))
  assert len(read("web_questions", "", tmp_path, "train")) == 1
  assert records.skipped() == {f"{path}, entry 1": "it has no answer"}


ANSWER = {
    "Aliases": ["AC/DC ", "ACDC band"],
    "HumanAnswers": ["ACDC"],
    "MatchedWikiEntityName": "AC/DC",
    "NormalizedAliases": ["ac dc", "acdc band"],
    "NormalizedMatchedWikiEntityName": "ac dc",
    "NormalizedValue": "ac dc",
    "Type": "WikipediaEntity",
    "Value": "AC/DC",
}
TRIVIA = {
    "Data": [
        {
            "Answer": ANSWER,
            "EntityPages": [
                {"DocSource": "TagMe", "Filename": "a.txt", "Title": "A {"}
            ],
            "Question": " Which band? ",
            "QuestionId": "tc_1",
            "QuestionSource": "http://www.triviacountry.com/",
            "SearchResults": [{"Description": "[ \\ ] }", "Rank": 1}],
        },
        {
            "Answer": {**ANSWER, "Value": "Bonn"},
            "EntityPages": [],
            "Question": "Which town?",
            "QuestionId": "tc_2",
            "QuestionSource": "",
            "SearchResults": [],
        },
    ],
    "Domain": "unfiltered-web",
    "Split": "train",
    "VerifiedEval": False,
    "Version": 1.0,
}


@pytest.mark.parametrize("top", ["", "triviaqa-unfiltered/"])
@pytest.mark.parametrize(
    "split, name",
    [("train", "train"), ("validation", "dev"), ("test", "test")],
)
def test_trivia_qa_of_the_publisher(tmp_path, top, split, name):
  content = json.loads(json.dumps(TRIVIA))
  if split == "test":
    name = "test-without-answers"
    for entry in content["Data"]:
      del entry["Answer"]
  path = tmp_path / f"{top}unfiltered-web-{name}.json"
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(content, indent=4))
  config = "unfiltered.nocontext"
  theirs = official_zips.as_in_tfds(
      official_files.builder("trivia_qa", config),
      files=[str(path)],
      web_dir=None,
      wiki_dir=None,
  )
  ours = read("trivia_qa", config, tmp_path, split)
  official_zips.assert_same(
      [{**x, **x.pop("answer")} for x in map(without_pages, ours)],
      [{**x, **x.pop("answer")} for x in map(without_pages, theirs)],
  )
  path.write_text(json.dumps(content))  # All of it in one line.
  assert len(read("trivia_qa", config, tmp_path, split)) == 2


def without_pages(record):
  record = dict(record)
  for name in ("entity_pages", "search_results"):
    assert not any(map(len, record.pop(name).values()))
  return record


def test_trivia_qa_of_the_hub(tmp_path):
  row = {
      "question": "Which band?",
      "question_id": "tc_1",
      "question_source": "http://www.triviacountry.com/",
      "entity_pages": {"title": []},
      "search_results": {"title": []},
      "answer": {
          "aliases": ["AC/DC", "ACDC band"],
          "normalized_aliases": ["ac dc", "acdc band"],
          "matched_wiki_entity_name": "",
          "normalized_matched_wiki_entity_name": "",
          "normalized_value": "ac dc",
          "type": "WikipediaEntity",
          "value": "AC/DC",
      },
  }
  name = "unfiltered.nocontext/train-00000-of-00001.jsonl"
  tables.write_lines(tmp_path / name, [row])
  tables.write_lines(tmp_path / "rc/train-00000-of-00001.jsonl", [row, row])
  (tmp_path / "own").mkdir()
  (tmp_path / "own" / "unfiltered-web-train.json").write_text(
      json.dumps(TRIVIA, indent=4)
  )
  config = "unfiltered.nocontext"
  (ours,) = read("trivia_qa", config, tmp_path, "train")
  same = read("trivia_qa", config, tmp_path / "own", "train")[0]
  for name in ("question", "question_id", "question_source"):
    assert ours[name] == same[name]
  official_zips.assert_same([ours["answer"]], [same["answer"]])


# The part of the training set that is validated with.


class Downloaded:
  """TFDS's download manager after all downloads."""

  def __init__(self, paths):
    self._paths = paths

  def download(self, urls):
    del urls
    return self._paths


@pytest.mark.parametrize("form", ["publisher", "hub"])
def test_the_same_questions_are_held_out_as_in_tfds(
    tmp_path, monkeypatch, form
):
  """TFDS really prepares the data; its order decides."""
  rows = [{"question": f"who {n}", "answer": ["Ann"]} for n in range(20)]
  path = tables.write_lines(tmp_path / "files" / "NQ-open.train.jsonl", rows)
  builder = tfds.builder(
      "natural_questions_open:1.0.0", data_dir=tmp_path / "tfds"
  )
  monkeypatch.setattr(
      builder,
      "_split_generators",
      lambda dl_manager: {"train": builder._generate_examples(path)},
  )
  builder.download_and_prepare()
  if form == "hub":
    path.unlink()
    for part in range(2):
      tables.write_lines(
          tmp_path / f"files/nq_open/train-0000{part}-of-00002.jsonl",
          rows[10 * part : 10 * part + 10],
      )
  gin.bind_parameter(
      "tasks.natural_questions.directory", str(tmp_path / "files")
  )
  splits = {"train": "train[:17]", "validation": "train[17:]"}
  source = official_files.source("natural_questions_open:1.0.0", splits)
  for split, section in splits.items():
    ours = source.get_dataset(split, shuffle=False).as_numpy_iterator()
    theirs = tfds.as_numpy(builder.as_dataset(split=section))
    official_zips.assert_same(list(ours), list(theirs))
  assert source.num_input_examples("train") == 17
  assert source.num_input_examples("validation") == 3


@pytest.mark.filterwarnings("default::tasks.errors.DataNotice")
def test_the_last_tenth_of_a_small_file_is_held_out(tmp_path):
  rows = [{"question": f"who {n}", "answer": ["Ann"]} for n in range(20)]
  tables.write_lines(tmp_path / "NQ-open.train.jsonl", rows)
  gin.bind_parameter("tasks.natural_questions.directory", str(tmp_path))
  source = seqio.TaskRegistry.get("natural_questions").source
  questions = {}
  for split, count in (("train", 18), ("validation", 2)):
    with pytest.warns(errors.DataNotice) as notices:
      dataset = source.get_dataset(split, shuffle=False)
      questions[split] = {bytes(x["question"]) for x in tfds.as_numpy(dataset)}
    assert len(questions[split]) == count
    assert str(notices[0].message) == (
        "natural_questions.directory: the train split has 20 records and not "
        f"more than {downstream.NUM_EXAMPLES['natural_questions']:,}, after "
        "which the validation split would start; it starts after 18."
    )
  assert not questions["train"] & questions["validation"]


def test_the_key_of_a_question_of_trivia_qa():
  dataset = official_datasets.DATASETS["trivia_qa"]
  for entry in ({"QuestionId": "tc_1"}, {"question_id": "tc_1"}):
    key = dataset.key(5, entry, "train")
    assert key == "unfiltered-web-train.json_tc_1"
