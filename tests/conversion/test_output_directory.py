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

"""Directories that are complete or not there."""

import shutil

import pytest

from mtf_switch import errors
from mtf_switch.conversion import output_directory


def test_an_empty_directory_is_taken(tmp_path):
  path = tmp_path / "out"
  path.mkdir()
  (tmp_path / "out.new").mkdir()
  (tmp_path / "out.new" / "of_a_killed_program").touch()
  with output_directory.written(str(path)) as unfinished:
    (tmp_path / unfinished / "file").write_text("x")
    assert not list(path.iterdir())
  assert [x.name for x in path.iterdir()] == ["file"]
  assert [x.name for x in tmp_path.iterdir()] == ["out"]


def test_after_an_error_nothing_is_left(tmp_path):
  with pytest.raises(KeyError):
    with output_directory.written(str(tmp_path / "out")) as unfinished:
      (tmp_path / unfinished / "file").write_text("x")
      raise KeyError
  assert not list(tmp_path.iterdir())


def test_a_small_disk_is_refused(tmp_path, monkeypatch):
  place = []

  def disk_usage(path):
    place.append(path)
    return shutil._ntuple_diskusage(2**30, 2**29, 2**29)

  monkeypatch.setattr(shutil, "disk_usage", disk_usage)
  path = str(tmp_path / "a" / "b")
  output_directory.check_space(path, 2**28, "--output_dir=b")
  with pytest.raises(
      errors.UserError,
      match="--output_dir=b needs 1.016 GiB and its disk has 512 MiB free; "
      "nothing has been written.",
  ):
    output_directory.check_space(path, 2**30, "--output_dir=b")
  assert set(place) == {str(tmp_path)}
