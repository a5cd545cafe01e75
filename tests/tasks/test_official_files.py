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

"""The places of the official files, and real files."""

import json
import os

import gin
import numpy as np
import pytest

from tasks import errors
from tasks import official_datasets
from tasks import official_files
from tasks import records
from tests import official_zips


def test_gin_chooses_between_the_files_and_tfds(tmp_path):
  source = official_files.source("super_glue/cb:1.0.2", ("train", "validation"))
  assert source.describe() == "TFDS super_glue/cb:1.0.2"
  official_zips.write_super_glue(tmp_path, "cb")
  gin.bind_parameter("tasks.super_glue.directory", str(tmp_path))
  assert source.describe() == f"cb of {tmp_path}"
  assert source.is_present()
  assert source.num_input_examples("train") == 2
  dataset = source.get_dataset("train", shuffle=False)
  assert [int(example["label"]) for example in dataset] == [2, 0]
  assert dataset.element_spec["idx"].dtype == np.int32


def test_a_missing_file_is_named(tmp_path):
  source = official_files.source("glue/cola:1.0.0", ("train",))
  gin.bind_parameter("tasks.glue.directory", str(tmp_path))
  assert not source.is_present()
  with pytest.raises(errors.DataError) as error:
    source.get_dataset("train")
  assert str(error.value) == (
      f"glue.directory = '{tmp_path}': there is no CoLA/train.tsv, which the "
      "train split of glue/cola is read from; the directory is empty."
  )


def test_a_home_directory_is_expanded(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  official_zips.write_super_glue(tmp_path, "cb")
  gin.bind_parameter("tasks.super_glue.directory", "~")
  source = official_files.source("super_glue/cb:1.0.2", ("train",))
  assert source.num_input_examples("train") == 2


def test_gin_sets_the_names_of_squad_files(tmp_path):
  source = official_files.source("squad/v1.1:3.0.0", ("train", "validation"))
  gin.bind_parameter("tasks.squad.directory", str(tmp_path))
  (tmp_path / "train-v1.1.json").write_text(json.dumps(official_zips.SQUAD))
  assert source.num_input_examples("train") == 2
  gin.bind_parameter("tasks.squad.validation_file", "xquad.en.json")
  os.rename(tmp_path / "train-v1.1.json", tmp_path / "xquad.en.json")
  assert source.num_input_examples("validation") == 2


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name, split, count",
    [
        ("boolq", "train", 32),
        ("cb", "train", 250),
        ("cb", "validation", 56),
        ("cb", "test", 250),
        ("copa", "train", 400),
        ("copa", "validation", 100),
        ("copa", "test", 500),
        ("record", "train", 32),
        ("rte", "train", 32),
        ("wic", "train", 32),
        ("wsc.fixed", "train", 32),
    ],
)
def test_real_super_glue(real_data, name, split, count):
  (file,) = official_datasets.super_glue_files(
      official_zips.SUPER_GLUE[name], split
  )
  path = str(real_data / "superglue" / file)
  ours = official_zips.as_read("super_glue", name, path)
  assert not records.skipped()
  assert len(ours) == count
  builder = official_files.builder("super_glue", name)
  official_zips.assert_same(
      ours, official_zips.as_in_tfds(builder, data_file=path, split=split)
  )


@pytest.mark.real_data
def test_real_multirc(real_data):
  path = str(real_data / "superglue" / "MultiRC" / "train.jsonl")
  builder = official_files.builder("super_glue", "multirc")
  theirs = official_zips.as_in_tfds(builder, data_file=path, split="train")
  official_zips.assert_same(
      official_zips.as_read("super_glue", "multirc", path), theirs
  )
  assert not records.skipped()


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name, split, count",
    [
        ("cola", "train", 8551),
        ("cola", "validation", 1043),
        ("mrpc", "train", 3667),
        ("mrpc", "validation", 408),
    ],
)
def test_real_glue(real_data, name, split, count):
  file = official_datasets.glue_files(official_zips.GLUE[name], split)[0]
  path = real_data / "glue" / file
  ours = official_zips.as_read("glue", name, path)
  assert not records.skipped()
  assert len(ours) == count
  if name == "cola":  # TFDS reads MRPC from other files.
    theirs = official_zips.as_in_tfds(
        official_files.builder("glue", name), data_file=path, split=split
    )
    official_zips.assert_same(ours, theirs)


@pytest.mark.real_data
def test_real_squad(real_data):
  path = str(real_data / "squad" / "xquad.en.json")
  ours = official_zips.as_read("squad", "v1.1", path)
  assert not records.skipped()
  assert len(ours) == 1190
  builder = official_files.builder("squad", "v1.1")
  official_zips.assert_same(
      ours, official_zips.as_in_tfds(builder, filepath=path)
  )
