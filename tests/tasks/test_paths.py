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

"""Paths that are no files."""

import os

import gin
import pytest

from tasks import errors
from tasks import official_files
from tasks import pair_options
from tasks import paths


@pytest.fixture
def storage(monkeypatch):
  """Sets the address of Google Cloud Storage."""

  def set_address(address):
    monkeypatch.setattr(paths, "_GCS_ADDRESS", address)
    monkeypatch.setattr(paths, "_SECONDS", 0.5)
    paths._problem_of_gcs.cache_clear()

  yield set_address
  paths._problem_of_gcs.cache_clear()


def test_a_file_has_no_problem(tmp_path):
  (tmp_path / "file").write_text("a")
  (tmp_path / "link").symlink_to("file")
  for name in ("file", "link"):
    path = str(tmp_path / name)
    assert paths.problem(path) is None
    assert paths.problem_of_pattern(path) is None
    assert paths.problem_of_directory(path) == "is not a directory"
  assert paths.problem(str(tmp_path / "no")) == "does not exist"
  assert paths.problem("a\0b") == "is no name of a file"


def test_directories_may_be_made(tmp_path):
  path = str(tmp_path / "new")
  assert paths.problem_of_directory(path) == "does not exist"
  assert paths.problem_of_directory(path, to_be_made=True) is None
  assert paths.problem_of_directory(str(tmp_path)) is None
  (tmp_path / "link").symlink_to("nothing")
  problem = paths.problem_of_directory(str(tmp_path / "link"), to_be_made=True)
  assert problem == "is a link to 'nothing', which does not exist"


def test_patterns_are_no_paths(tmp_path):
  assert paths.problem_of_pattern(str(tmp_path / "*.txt")) is None
  assert paths.problem_of_pattern(str(tmp_path)) is None
  os.mkfifo(tmp_path / "pipe")
  assert paths.problem_of_pattern(str(tmp_path / "pipe")) is not None


def test_only_a_programs_own_pipes_are_read(tmp_path):
  reader, writer = os.pipe()
  path = f"/dev/fd/{reader}"
  assert paths.problem(path, or_stream=True) is None
  assert "is a named pipe" in paths.problem(path)
  os.mkfifo(tmp_path / "pipe")
  assert "is a named" in paths.problem(str(tmp_path / "pipe"), or_stream=True)
  os.close(reader)
  os.close(writer)


def test_storage_that_never_answers(storage, silent):
  storage(f"http://{silent}")
  assert paths.problem("gs://bucket/a") == (
      f"cannot be reached: http://{silent} does not answer within 0.5 seconds"
  )


@pytest.mark.parametrize(
    "setting, find",
    [
        (
            "pairs_files.train = 'gs://bucket/a.tsv'",
            lambda: pair_options.find_files(
                pair_options.Options(train="gs://bucket/a.tsv"), "train"
            ),
        ),
        (
            "anli.directory = 'gs://bucket/anli'",
            lambda: official_files.files_of("anli", "r3", "train"),
        ),
    ],
)
def test_storage_is_asked_before_what_is_in_it(storage, setting, find):
  storage("http://127.0.0.1:9")
  gin.parse_config("anli.directory = 'gs://bucket/anli'")
  with pytest.raises(errors.DataError) as raised:
    find()
  assert str(raised.value).startswith(f"{setting} cannot be reached: http:")


def test_storage_that_is_not_there(storage):
  storage("http://127.0.0.1:9")
  assert paths.problem("gs://bucket/a") == (
      "cannot be reached: http://127.0.0.1:9: [Errno 111] Connection refused"
  )
