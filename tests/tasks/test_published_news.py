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

"""XSum and CNN/DailyMail: each public form becomes TFDS's examples."""

import hashlib
import json

import pytest

from tasks import errors
from tasks import official_files
from tests import official_zips
from tests import tables

read = official_zips.in_directory

SUMMARY = """[SN]URL[SN]
http://web.archive.org/web/www.bbc.co.uk/news/1

[SN]TITLE[SN]
A cat

[SN]FIRST-SENTENCE[SN]
The cat é sat.

[SN]RESTBODY[SN]
Share this with
The cat came in {n}.

It sat.
Copy this link
"""
EXTRACT = """[XSUM]URL[XSUM]
http://web.archive.org/web/www.bbc.co.uk/news/1

[XSUM]INTRODUCTION[XSUM]
The cat é sat.

[XSUM]RESTBODY[XSUM]
Share this with
The cat came in {n}.

It sat.
Copy this link
"""
SPLITS = {"train": ["11", "12", "13"], "validation": ["14"], "test": ["15"]}


def write_xsum(directory, folder, ending, text):
  (directory / folder).mkdir(parents=True)
  name = "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json"
  (directory / name).write_text(json.dumps(SPLITS))
  for n in range(11, 16):
    (directory / folder / f"{n}{ending}").write_text(text.format(n=n))
  return directory


@pytest.fixture
def xsum(tmp_path):
  """The directory that TFDS reads, and the training examples that it makes."""
  directory = write_xsum(
      tmp_path / "a", "xsum-extracts-from-downloads", ".data", EXTRACT
  )
  theirs = official_zips.as_in_tfds(
      official_files.builder("xsum", ""),
      split_ids=SPLITS["train"],
      path=str(directory / "xsum-extracts-from-downloads"),
  )
  return directory, theirs


def by_text(records):
  return sorted(records, key=lambda record: sorted(record.values()))


def test_xsum_of_the_publishers_scripts(xsum):
  directory, theirs = xsum
  ours = read("xsum", "", directory, "train")
  official_zips.assert_same(by_text(ours), by_text(theirs))
  assert len(read("xsum", "", directory, "test")) == 1


def test_xsum_of_the_publishers_archive(xsum, tmp_path):
  directory = write_xsum(
      tmp_path / "b", "bbc-summary-data", ".summary", SUMMARY
  )
  ours = read("xsum", "", directory, "train")
  official_zips.assert_same(ours, read("xsum", "", xsum[0], "train"))
  document = b"The cat came in 14.\nIt sat."
  assert read("xsum", "", directory, "validation") == [
      {"document": document, "summary": "The cat é sat.".encode()}
  ]


@pytest.mark.parametrize(
    "write, name",
    [
        (tables.write_csv, "train.csv"),
        (tables.write_lines, "data/train-00000-of-00001.jsonl"),
        (tables.write_lines, "default/xsum-train.jsonl"),
    ],
)
def test_xsum_of_the_hub(xsum, tmp_path, write, name):
  rows = [
      {
          "document": record["document"].decode(),
          "summary": record["summary"].decode(),
          "id": "11",
      }
      for record in xsum[1]
  ]
  write(tmp_path / "hub" / name, rows)
  ours = read("xsum", "", tmp_path / "hub", "train")
  official_zips.assert_same(ours, xsum[1])


def test_articles_that_are_missing_are_counted(xsum):
  directory, _ = xsum
  splits = directory / "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json"
  articles = directory / "xsum-extracts-from-downloads"
  (articles / "12.data").unlink()
  with pytest.warns(errors.DataNotice) as notices:
    assert len(read("xsum", "", directory, "train")) == 2
  assert str(notices[0].message) == (
      f"{splits}: 1 of the 3 articles of the train split are not there."
  )
  (articles / "14.data").unlink()
  with pytest.raises(errors.DataError) as raised:
    read("xsum", "", directory, "validation")
  assert str(raised.value) == (
      f"{splits}: none of the 1 articles of the validation split is in "
      f"bbc-summary-data, xsum-extracts-from-downloads in {directory}; what is "
      "there is XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json, "
      "xsum-extracts-from-downloads."
  )
  splits.write_text('{"train": 5}')
  with pytest.raises(errors.DataError, match="no list of the articles of each"):
    read("xsum", "", directory, "train")


STORY = """LONDON, England (CNN) -- A cat sat {n}

It sat well (they say)

@highlight

A cat sat {n}

@highlight

It sat well .
"""
ADDRESSES = {
    split: [f"http://web.archive.org/{split}/{n}" for n in range(3)]
    for split in ("train", "val", "test")
}


def story_name(address):
  return f"{hashlib.sha1(address.encode()).hexdigest()}.story"


@pytest.fixture
def cnn(tmp_path):
  """The directory, and the training examples that TFDS makes."""
  files = {"cnn": [], "dm": []}
  for split, addresses in ADDRESSES.items():
    path = tmp_path / "url_lists" / f"all_{split}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{address}\n" for address in addresses))
    for n, address in enumerate(addresses):
      publisher = "dailymail" if n else "cnn"
      story = tmp_path / publisher / "stories" / story_name(address)
      story.parent.mkdir(parents=True, exist_ok=True)
      story.write_text(STORY.format(n=n) if n < 2 else "@highlight\n\nEmpty\n")
      if split == "train":
        files["dm" if n else "cnn"].append(str(story))
  builder = official_files.builder("cnn_dailymail", "")
  return tmp_path, official_zips.as_in_tfds(builder, files=files)


def test_cnn_of_the_publisher(cnn):
  directory, theirs = cnn
  ours = read("cnn_dailymail", "", directory, "train")
  official_zips.assert_same(by_text(ours), by_text(theirs))
  assert len(ours) == 2  # The one without an article is left out.
  assert {record["publisher"] for record in ours} == {b"cnn", b"dm"}
  first = next(record for record in ours if record["publisher"] == b"cnn")
  assert first["highlights"] == b"A cat sat 0.\nIt sat well ."
  assert len(read("cnn_dailymail", "", directory, "validation")) == 2
  (directory / "url_lists" / "all_train.txt").rename(
      directory / "all_train.txt"
  )
  assert len(read("cnn_dailymail", "", directory, "train")) == 2


def test_stories_that_are_missing_are_named(cnn):
  directory, _ = cnn
  (directory / "dailymail").rename(directory / "elsewhere")
  with pytest.warns(errors.DataNotice, match="2 of the 3 articles of the test"):
    assert len(read("cnn_dailymail", "", directory, "test")) == 1
  (directory / "cnn").rename(directory / "moved")
  with pytest.raises(errors.DataError, match="is in cnn/stories, dailymail/st"):
    read("cnn_dailymail", "", directory, "test")


@pytest.mark.parametrize("write", [tables.write_csv, tables.write_lines])
def test_cnn_of_the_hub(tmp_path, write):
  row = {
      "id": "1",
      "article": "A cat . It sat.",
      "highlights": "The cat sat .\nIt sat well .",
  }
  name = "train.csv" if write is tables.write_csv else "3.0.0/train.jsonl"
  write(tmp_path / name, [row])
  assert read("cnn_dailymail", "", tmp_path, "train") == [
      {
          "id": b"1",
          "article": b"A cat . It sat.",
          "highlights": b"The cat sat.\nIt sat well.",
          "publisher": b"",
      }
  ]
