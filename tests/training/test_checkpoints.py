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

"""Which checkpoints a directory has, and what a run goes on from."""

import mtf_switch  # isort: skip  # noqa: F401
import shutil

import pytest
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.training import checkpoints
from mtf_switch.training import vocabulary_record
from tests.training import checkpoint_runs

PERIODS = [2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """A run to step 6, its continuation to step 9, and the weights of both."""
  directory = tmp_path_factory.mktemp("runs")
  _, weights = checkpoint_runs.train(directory / "six", 6, PERIODS)
  shutil.copytree(directory / "six", directory / "nine")
  _, more = checkpoint_runs.train(directory / "nine", 9, PERIODS)
  return directory, {**weights, **more}


@pytest.fixture
def saved(runs, tmp_path):
  """A copy of the run to step 6, with the checkpoints of 2, 4 and 6."""
  directory, _ = runs
  shutil.copytree(directory / "six", tmp_path / "run")
  return tmp_path / "run"


def edit(path, old, new, count=-1):
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new, count))


LOST_LISTS = {
    "removed": lambda path: path.unlink(),
    "cut": lambda path: checkpoint_runs.cut(path, 40),
    "empty": lambda path: checkpoint_runs.cut(path, 0),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\0"),
    # TensorFlow's default, and T5's.
    "of another place": lambda path: edit(path, "model.", "/elsewhere/model."),
    "of a bucket": lambda path: edit(path, "model.ckpt", "gs://t5/model.ckpt"),
    "of another name": lambda path: path.write_text(
        'model_checkpoint_path: "best"\n'
    ),
}


def test_selection(saved, tmp_path):
  model_dir = str(saved)
  assert checkpoints.latest_step(str(tmp_path / "new")) == 0
  assert checkpoints.resume(str(tmp_path / "new")) == 0
  assert checkpoints.latest_step(model_dir) == 6
  assert checkpoints.select(model_dir, None) == [6]
  assert checkpoints.select(model_dir, -1) == [6]
  assert checkpoints.select(model_dir, 4) == [4]
  assert checkpoints.select(model_dir, [6, 2]) == [2, 6]
  assert checkpoints.select(model_dir, "all") == [2, 4, 6]
  assert tf.train.checkpoint_exists(checkpoints.path(model_dir, 4))


def test_missing_checkpoints_are_named(saved, tmp_path):
  for directory in (tmp_path, tmp_path / "empty"):
    with pytest.raises(errors.UserError) as error:
      checkpoints.select(str(directory), None)
    assert str(error.value) == (
        f"there is no checkpoint in {str(directory)!r}; train first, or correct"
        " --model_dir."
    )
  with pytest.raises(errors.UserError, match="or correct the_setting."):
    checkpoints.select(str(tmp_path), None, "the_setting")
  with pytest.raises(errors.UserError) as error:
    checkpoints.select(str(saved), [2, 3])
  assert str(error.value) == (
      f"there is no checkpoint of step 3 in {str(saved)!r}, only of 2, 4, 6."
  )


@pytest.mark.parametrize("lose", LOST_LISTS.values(), ids=LOST_LISTS)
def test_a_lost_list_costs_nothing(runs, saved, lose, recwarn):
  """Not a step, not a checkpoint, and not the check of the vocabulary."""
  _, weights = runs
  vocabularies = (seqio.ByteVocabulary(), seqio.ByteVocabulary())
  vocabulary_record.keep(str(saved), vocabularies)
  lose(saved / "checkpoint")
  model_dir = str(saved)
  assert checkpoints.steps(model_dir) == [2, 4, 6]
  assert checkpoints.latest_step(model_dir) == 6
  assert checkpoints.select(model_dir, None) == [6]
  assert checkpoints.select(model_dir, "all") == [2, 4, 6]
  others = (seqio.ByteVocabulary(5), seqio.ByteVocabulary(5))
  for function in (vocabulary_record.check, vocabulary_record.keep):
    with pytest.raises(errors.UserError, match="a Byte vocabulary of 259 "):
      function(model_dir, others)
  steps, after = checkpoint_runs.train(saved, 9, PERIODS, keep=3)
  assert steps == [8, 9]
  assert after == {step: weights[step] for step in (7, 8, 9)}
  # Those of before count among the latest.
  assert checkpoints.steps(model_dir) == [6, 8, 9]
  assert not [w for w in recwarn if w.category is errors.UserNotice]


@pytest.mark.parametrize("kind", ["no index", "half copied", "changed data"])
def test_a_damaged_checkpoint_is_named_and_the_last_good_one_used(
    runs, saved, kind
):
  _, weights = runs
  damage, fault = checkpoint_runs.DAMAGE[kind]
  damage(saved)
  model_dir = str(saved)
  said = f"{model_dir}/model.ckpt-6 {fault}"
  with pytest.warns(errors.UserNotice) as notices:
    assert checkpoints.select(model_dir, None) == [4]
    assert checkpoints.select(model_dir, "all") == [2, 4]
  assert [str(notice.message) for notice in notices] == [
      f"{said}; using step 4.",
      f"{said}; using the others.",
  ]
  with pytest.raises(errors.UserError) as error:
    checkpoints.select(model_dir, 6)
  assert str(error.value) == f"{said}."
  with pytest.warns(errors.UserNotice) as notices:
    steps, after = checkpoint_runs.train(saved, 9, PERIODS)
  assert [str(notice.message) for notice in notices] == [
      f"{said}; going on from step 4."
  ]
  assert steps == [6, 8, 9]
  assert after == {step: weights[step] for step in range(5, 10)}
  assert checkpoints.select(model_dir, "all") == [2, 4, 6, 8, 9]


def test_without_a_good_checkpoint_nothing_starts_over(saved):
  for step in (2, 4, 6):
    checkpoint_runs.cut(saved / checkpoint_runs.data_of(step), 3)
  before = {path.name: path.read_bytes() for path in saved.iterdir()}
  for function in (
      checkpoints.resume,
      lambda model_dir: checkpoints.select(model_dir, None),
      lambda model_dir: checkpoints.select(model_dir, "all"),
  ):
    with pytest.raises(errors.UserError) as error:
      function(str(saved))
    message = str(error.value)
    assert message.count("has 11 bytes of data, but its index names 12") == 3
    assert message.endswith(
        "; no other checkpoint is there. Bring back its files, or take another "
        "directory."
    )
  assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
  # Not even where only the list tells that there were any.
  for path in saved.glob("model.ckpt*"):
    path.unlink()
  with pytest.raises(errors.UserError, match="model.ckpt-6 has no index file"):
    checkpoints.resume(str(saved))


def test_a_save_that_was_cut_off_costs_nothing(saved, tmp_path, recwarn):
  """TensorFlow writes data, then the index, and then the list."""
  (saved / "model.ckpt-8.data-00000-of-00002").write_bytes(b"12345678")
  (saved / "model.ckpt-8_temp").mkdir()
  (saved / "model.ckpt-8_temp" / "part-00000").write_bytes(b"1234")
  assert checkpoints.resume(str(saved)) == 6
  assert not (saved / "model.ckpt-8_temp").exists()
  assert not [w for w in recwarn if w.category is errors.UserNotice]
  # The first one.
  (tmp_path / "new").mkdir()
  (tmp_path / "new" / "model.ckpt-2.data-00000-of-00002").write_bytes(b"12")
  with pytest.warns(errors.UserNotice, match="no index file; starting at step"):
    assert checkpoints.resume(str(tmp_path / "new")) == 0


def test_going_back_by_the_list(runs, saved):
  """All of the run is at the older step, and later checkpoints go first."""
  _, weights = runs
  model_dir = str(saved)
  edit(saved / "checkpoint", "ckpt-6", "ckpt-2", count=1)
  assert checkpoints.latest_step(model_dir) == 2
  assert checkpoints.select(model_dir, None) == [2]
  assert checkpoints.select(model_dir, 6) == [6]  # Not lost.
  # Stopped before step 4: going on still means from 3.
  steps, after = checkpoint_runs.train(saved, 3, PERIODS, keep=3)
  assert (steps, after) == ([3], {3: weights[3]})
  assert checkpoints.latest_step(model_dir) == 3
  assert checkpoints.steps(model_dir) == [2, 3, 6]
  steps, after = checkpoint_runs.train(saved, 5, PERIODS, keep=3)
  assert (steps, after) == ([4, 5], {4: weights[4], 5: weights[5]})
  assert checkpoints.steps(model_dir) == [3, 4, 5]


def test_a_users_copies_are_not_removed(saved):
  """A checkpoint taken off the list stays; TensorFlow's users know that."""
  line = 'all_model_checkpoint_paths: "model.ckpt-2"\n'
  edit(saved / "checkpoint", line, "")
  checkpoint_runs.train(saved, 8, PERIODS, keep=1)
  assert checkpoints.steps(str(saved)) == [2, 8]


@pytest.mark.parametrize("name", ["lr[0.1]", "a*", "what?", "a\\b"])
def test_names_that_tensorflow_takes_for_patterns(saved, name):
  """It would train there, and never go on."""
  directory = str(saved.rename(saved.parent / name))
  with pytest.raises(errors.UserError, match="the_setting = .*; use another"):
    checkpoints.select(directory, None, "the_setting")
  with pytest.raises(errors.UserError, match="--model_dir = .*; use another n"):
    checkpoints.resume(directory)


def test_a_checkpoint_under_the_name_of_another_step(saved):
  for file in saved.glob("model.ckpt-6.*"):
    file.rename(saved / file.name.replace("-6", "-9"))
  edit(saved / "checkpoint", "ckpt-6", "ckpt-9")
  with pytest.raises(errors.UserError, match="ckpt-9 holds step 6, so that "):
    checkpoints.resume(str(saved))
  assert checkpoints.select(str(saved), None) == [9]  # The weights are good.
