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

"""What is missing of a checkpoint, and what is wrong with it."""

import mtf_switch  # isort: skip  # noqa: F401
import pathlib
import shutil

import pytest

from mtf_switch.training import checkpoint_files
from tests.training import checkpoint_runs

OLDER = pathlib.Path(__file__).parent.parent / "version_0_2_0" / "checkpoints"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  directory = tmp_path_factory.mktemp("trained")
  checkpoint_runs.train(directory, 6, [2])
  return directory


@pytest.mark.parametrize(
    "change, phrase",
    checkpoint_runs.DAMAGE.values(),
    ids=checkpoint_runs.DAMAGE,
)
def test_damage_is_found(trained, tmp_path, change, phrase):
  run = tmp_path / "run"
  shutil.copytree(trained, run)
  path = str(run / "model.ckpt-6")
  assert checkpoint_files.fault(path) is None
  assert checkpoint_files.damage(path) is None
  change(run)
  assert checkpoint_files.damage(path) == phrase
  # Without reading the data.
  if "damaged data" not in phrase:
    assert checkpoint_files.fault(path) == phrase
  assert checkpoint_files.damage(str(run / "model.ckpt-4")) is None


@pytest.mark.parametrize("name", ["dense", "switch", "switch_attention"])
def test_checkpoints_of_older_versions_are_checked_too(tmp_path, name):
  """They have the same index."""
  run = tmp_path / "run"
  shutil.copytree(OLDER / name, run)
  path = str(run / "model.ckpt-4")
  assert checkpoint_files.damage(path) is None
  checkpoint_runs.flip(run / "model.ckpt-4.data-00001-of-00002")
  assert checkpoint_files.damage(path).endswith("is not what was saved")


def test_removal_takes_all_files_of_one_checkpoint(trained, tmp_path):
  run = tmp_path / "run"
  shutil.copytree(trained, run)
  (run / "model.ckpt-6.meta").write_bytes(b"")  # Of T5's own programs.
  (run / "model.ckpt-66.index").write_bytes(b"")
  checkpoint_files.remove(str(run / "model.ckpt-6"))
  assert [path.name for path in run.glob("model.ckpt-6*")] == [
      "model.ckpt-66.index"
  ]
  # Of one without files, too.
  checkpoint_files.remove(str(run / "model.ckpt-6"))
