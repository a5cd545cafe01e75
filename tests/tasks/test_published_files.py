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

"""The places of published files within a directory."""

import gzip

import gin
import pytest
import seqio

from tasks import errors
from tasks import official_datasets
from tasks import official_files
from tasks import published_files
from tests import tables


def names(directory, name, config, split):
  """The names of the files that are found, from gin's directory."""
  setting = official_datasets.DATASETS[name].setting
  gin.bind_parameter(f"tasks.{setting}", str(directory))
  return [
      path.removeprefix(f"{directory}/")
      for path in official_files.files_of(name, config, split)
  ]


def touch(directory, *files):
  for file in files:
    (directory / file).parent.mkdir(parents=True, exist_ok=True)
    (directory / file).touch()


@pytest.mark.parametrize(
    "name, config, split, files",
    [
        # The hub's repositories as they are.
        (
            "anli",
            "r3",
            "validation",
            ["plain_text/dev_r3-00000-of-00001.parquet"],
        ),
        (
            "ai2_arc",
            "ARC-Easy",
            "test",
            ["ARC-Easy/test-00000-of-00001.parquet"],
        ),
        (
            "winogrande",
            "",
            "train_xl",
            ["winogrande_xl/train-00000-of-00001.parquet"],
        ),
        (
            "natural_questions_open",
            "",
            "validation",
            ["nq_open/validation-00000-of-00001.parquet"],
        ),
        (
            "trivia_qa",
            "unfiltered.nocontext",
            "train",
            ["unfiltered.nocontext/train-00000-of-00001.parquet"],
        ),
        ("web_questions", "", "test", ["data/test-00000-of-00001.parquet"]),
        (
            "xsum",
            "",
            "train",
            ["data/train-00000-of-00001-c20d5a092faad79e.parquet"],
        ),
        ("xsum", "", "test", ["default/xsum-test.parquet"]),
        (
            "cnn_dailymail",
            "",
            "train",
            [f"3.0.0/train-0000{n}-of-00003.parquet" for n in range(3)],
        ),
        (
            "definite_pronoun_resolution",
            "",
            "train",
            ["plain_text/train-00000-of-00001.parquet"],
        ),
        # Converted ones, and tables that people write.
        ("anli", "r3", "train", ["plain_text/train_r3/0000.parquet"]),
        (
            "xsum",
            "",
            "train",
            ["default/train/0000.parquet", "default/train/0001.parquet"],
        ),
        ("cnn_dailymail", "", "validation", ["validation.csv"]),
        ("ai2_arc", "ARC-Easy", "validation", ["ARC-Easy_validation.csv"]),
        ("web_questions", "", "train", ["train.jsonl.gz"]),
    ],
)
def test_the_files_of_the_hub_are_found(tmp_path, name, config, split, files):
  touch(
      tmp_path,
      *files,
      "README.md",
      "rc/train-00000-of-00001.parquet",
      "plain_text/train_r1-00000-of-00001.parquet",
      "winogrande_xs/train-00000-of-00001.parquet",
      "ARC-Challenge/test-00000-of-00001.parquet",
      "1.0.0/train-00000-of-00001.parquet",
  )
  assert names(tmp_path, name, config, split) == files


def test_a_publishers_file_comes_before_a_table_and_a_line_before_a_row(
    tmp_path,
):
  touch(tmp_path, "R3/train.jsonl", "R3/train.csv", "plain_text/train_r3.jsonl")
  assert names(tmp_path, "anli", "r3", "train") == ["R3/train.jsonl"]


def test_a_missing_part_is_named(tmp_path):
  touch(
      tmp_path,
      "3.0.0/train-00000-of-00003.parquet",
      "3.0.0/train-00002-of-00003.parquet",
  )
  with pytest.raises(errors.DataError) as raised:
    names(tmp_path, "cnn_dailymail", "", "train")
  assert str(raised.value) == (
      "cnn_dailymail.directory: 2 of the 3 parts of train are in "
      f"{tmp_path}/3.0.0: train-00000-of-00003.parquet, "
      "train-00002-of-00003.parquet."
  )


def test_a_directory_without_the_files_is_named(tmp_path):
  touch(tmp_path, "notes.txt", ".hidden", "R1/train.jsonl")
  with pytest.raises(errors.DataError) as raised:
    names(tmp_path, "anli", "r3", "train")
  assert str(raised.value) == (
      f"anli.directory = '{tmp_path}': there is neither R3/train (.jsonl, "
      ".json, .csv, .parquet) nor plain_text/train_r3 (.jsonl, .json, .csv, "
      ".parquet), which the train split of anli/r3 is read from; what is there "
      "is R1, notes.txt."
  )


def test_what_is_found_instead(tmp_path):
  assert published_files.found(str(tmp_path)) == "the directory is empty"
  touch(tmp_path, "a.txt", "winogrande_1.1.zip")
  assert published_files.found(f"{tmp_path}/b") == "there is no such directory"
  assert published_files.found(f"{tmp_path}/a.txt") == (
      "it is a file, not a directory"
  )
  assert published_files.found(f"{tmp_path}/winogrande_1.1.zip") == (
      "it is an archive, which has to be unpacked"
  )
  assert published_files.found(str(tmp_path)) == (
      "winogrande_1.1.zip is there, which has to be unpacked"
  )
  touch(tmp_path / "many", *(f"f{n:02}" for n in range(20)))
  assert published_files.found(f"{tmp_path}/many").endswith("f07 and 12 more")
  touch(tmp_path / "folders", "R3/valid.jsonl")
  (tmp_path / "folders" / "R2").mkdir()
  for folder, message in {
      "R3": "what is in R3 is valid.jsonl",
      "R2": "R2 is empty",
      "R1": "what is there is R2, R3",
  }.items():
    missing = f"{folder}/dev"
    assert published_files.found(f"{tmp_path}/folders", missing) == message


@pytest.mark.parametrize("name", official_datasets.DATASETS)
def test_each_dataset_says_what_it_reads(name, tmp_path, monkeypatch):
  """Where its data is, and what is missing, through its task."""
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  dataset = official_datasets.DATASETS[name]
  source, *_ = [
      task.source
      for task in map(seqio.TaskRegistry.get, seqio.TaskRegistry.names())
      if getattr(task.source, "describe", str)().startswith(f"TFDS {name}")
  ]
  with pytest.raises(errors.DataError) as raised:
    source.get_dataset(source.splits[0])
  assert str(raised.value).endswith(
      f"; {dataset.setting} reads published files instead (docs/data.md)."
  )
  gin.bind_parameter(f"tasks.{dataset.setting}", str(tmp_path))
  assert source.describe().endswith(f" of {tmp_path}")
  assert source.missing_splits() == list(source.splits)
  with pytest.raises(errors.DataError) as raised:
    source.get_dataset(source.splits[0])
  assert str(raised.value).startswith(f"{dataset.setting} = '{tmp_path}': ")
  assert "\n" not in str(raised.value)


def test_the_task_of_compressed_files(tmp_path):
  path = tables.write_lines(
      tmp_path / "R3" / "dev.jsonl",
      [{"uid": "1", "context": "A.", "hypothesis": "B.", "label": "n"}],
  )
  path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
  path.unlink()
  gin.bind_parameter("tasks.anli.directory", str(tmp_path))
  source = seqio.TaskRegistry.get("anli_r3").source
  assert source.missing_splits() == ["train", "test"]
  (record,) = source.get_dataset("validation").as_numpy_iterator()
  assert record == {
      "uid": b"1",
      "context": b"A.",
      "hypothesis": b"B.",
      "label": 1,
  }
