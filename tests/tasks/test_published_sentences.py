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

"""ANLI, Winogrande and DPR: each public form becomes TFDS's examples."""

import pytest

from tasks import official_files
from tasks import records
from tests import official_zips
from tests import tables

lines, table = tables.write_lines, tables.write_csv
read = official_zips.in_directory


ANLI = [
    {
        "uid": f"u{label}",
        "context": 'Rome is "old",\nthey say.',
        "hypothesis": "Rome is é new.",
        "label": label,
        "model_label": "n",
        "emturk": True,
        "genre": "Wikipedia",
        "reason": "",
        "tag": "rd3_good",
    }
    for label in "enc"
]


@pytest.mark.parametrize("folder", ["R3", "anli_v1.0/R3", "anli_v0.1/R3"])
@pytest.mark.parametrize(
    "split, name", [("train", "train"), ("validation", "dev"), ("test", "test")]
)
def test_anli_of_the_publisher(tmp_path, folder, split, name):
  path = lines(tmp_path / folder / f"{name}.jsonl", ANLI)
  lines(tmp_path / folder.replace("R3", "R1") / f"{name}.jsonl", ANLI[:1])
  ours = read("anli", "r3", tmp_path, split)
  builder = official_files.builder("anli", "r3")
  official_zips.assert_same(
      ours, official_zips.as_in_tfds(builder, filepath=path)
  )
  assert [record["label"] for record in ours] == [0, 1, 2]
  assert ours[0]["context"] == b'Rome is "old",\nthey say.'


@pytest.mark.parametrize("write, ending", [(lines, "jsonl"), (table, "csv")])
def test_anli_of_the_hub(tmp_path, write, ending):
  """With "premise" for "context" and a number as the label."""
  rows = [
      {
          "uid": entry["uid"],
          "premise": entry["context"],
          "hypothesis": entry["hypothesis"],
          "label": label,
          "reason": "",
      }
      for label, entry in enumerate(ANLI)
  ]
  write(tmp_path / f"dev_r3.{ending}", rows)
  write(tmp_path / f"dev_r1.{ending}", rows[:1])
  lines(tmp_path / "of_publisher" / "R3" / "dev.jsonl", ANLI)
  official_zips.assert_same(
      read("anli", "r3", tmp_path, "validation"),
      read("anli", "r3", tmp_path / "of_publisher", "validation"),
  )


def test_a_label_that_anli_lacks_is_named(tmp_path):
  path = lines(
      tmp_path / "R3" / "train.jsonl",
      [{**ANLI[0], "label": "x"}, {**ANLI[0], "label": 3}, ANLI[1], {}],
  )
  assert len(read("anli", "r3", tmp_path, "train")) == 1
  assert records.skipped() == {
      f"{path}, line 1": "the label 'x' is none of e, n, c",
      f"{path}, line 2": "the label 3 is none of e, n, c",
      f"{path}, line 4": "there is no 'context'",
  }


WINOGRANDE = [
    {
        "qID": f"3QX-{answer}",
        "sentence": "Ann called Bea because _ was late.",
        "option1": "Ann",
        "option2": "Bea",
        "answer": answer,
    }
    for answer in "21"
]


@pytest.mark.parametrize("folder", ["", "winogrande_1.1"])
def test_winogrande_of_the_publisher(tmp_path, folder):
  builder = official_files.builder("winogrande", "")
  unanswered = [{k: v for k, v in WINOGRANDE[0].items() if k != "answer"}]
  for split, name, entries in (
      ("train_xl", "train_xl", WINOGRANDE),
      ("validation", "dev", WINOGRANDE),
      ("test", "test", unanswered),
  ):
    path = lines(tmp_path / folder / f"{name}.jsonl", entries)
    official_zips.assert_same(
        read("winogrande", "", tmp_path, split),
        official_zips.as_in_tfds(builder, filepath=path),
    )
  assert not records.skipped()


def test_winogrande_with_its_answers_in_a_list(tmp_path):
  unanswered = [
      {k: v for k, v in entry.items() if k != "answer"} for entry in WINOGRANDE
  ]
  path = lines(tmp_path / "dev.jsonl", [*unanswered, unanswered[0]])
  (tmp_path / "dev-labels.lst").write_text("2\n1\n")
  labels = [x["label"] for x in read("winogrande", "", tmp_path, "validation")]
  assert labels == [1, 0]
  assert records.skipped() == {f"{path}, line 3": "there is no 'answer'"}


@pytest.mark.parametrize(
    "name, answer, label",
    [("train", "2", 1), ("validation", "1", 0), ("test", "", -1)],
)
def test_winogrande_of_the_hub(tmp_path, name, answer, label):
  entry = {**WINOGRANDE[0], "answer": answer}
  del entry["qID"]
  table(tmp_path / "winogrande_xl" / f"{name}.csv", [entry])
  table(tmp_path / "winogrande_xs" / f"{name}.csv", [entry, entry])
  split = "train_xl" if name == "train" else name
  (record,) = read("winogrande", "", tmp_path, split)
  assert record["label"] == label
  assert record["option2"] == b"Bea"


DPR = """The bee landed on the flower because it had pollen.
it
The bee,the flower
the flower

Ann called Bea because she was late.
she
Ann, Bea
Bea

"""


def test_dpr_of_its_authors(tmp_path):
  builder = official_files.builder("definite_pronoun_resolution", "")
  for split in ("train", "test"):
    path = tmp_path / f"{split}.c.txt"
    path.write_text(DPR)
    ours = read("definite_pronoun_resolution", "", tmp_path, split)
    official_zips.assert_same(
        ours, official_zips.as_in_tfds(builder, filepath=path)
    )
  assert [record["label"] for record in ours] == [1, 1]


def test_dpr_of_the_hub(tmp_path):
  lines(
      tmp_path / "plain_text" / "train.jsonl",
      [
          {
              "sentence": "The bee landed on the flower because it had pollen.",
              "pronoun": "it",
              "candidates": ["The bee", "the flower"],
              "label": 1,
          }
      ],
  )
  (tmp_path / "original").mkdir()
  (tmp_path / "original" / "train.c.txt").write_text(DPR)
  official_zips.assert_same(
      read("definite_pronoun_resolution", "", tmp_path, "train"),
      read("definite_pronoun_resolution", "", tmp_path / "original", "train")[
          :1
      ],
  )


def test_a_broken_record_of_dpr_is_named(tmp_path):
  path = tmp_path / "train.c.txt"
  path.write_text(f"Only a sentence.\nit\n\n{DPR}\nA b.\nb\nA,b\nc\n")
  ours = read("definite_pronoun_resolution", "", tmp_path, "train")
  assert len(ours) == 2
  assert records.skipped() == {
      f"{path}, line 1": "a record has 4 lines and an empty one, not 2",
      f"{path}, line 15": "the label 'c' is none of A, b",
  }
