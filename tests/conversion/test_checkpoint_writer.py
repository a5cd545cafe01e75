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

"""Checkpoints that are written tensor by tensor."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.conversion import checkpoint_writer
from mtf_switch.training import checkpoint_files
from mtf_switch.training import checkpoints

BFLOAT16 = np.dtype(tf.bfloat16.as_numpy_dtype)
VALUES = {
    "decoder/b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "decoder/a": np.arange(4).astype(BFLOAT16),
    "shared/embedding": np.ones([5, 8], np.float32),
    "encoder/scale": np.float32(3) * np.ones([8], np.float32),
}


def variables():
  return [
      checkpoint_writer.Variable(name, value.shape, value.dtype)
      for name, value in VALUES.items()
  ]


def write(directory, value_of=lambda x: VALUES[x.name], step=7):
  reports = []
  path = checkpoint_writer.write(
      str(directory), step, variables(), value_of, reports.append
  )
  return path, reports


@pytest.mark.parametrize("bytes_of_group", [1, 2**20])
def test_a_checkpoint_has_the_values_and_the_step(
    bytes_of_group, tmp_path, monkeypatch
):
  monkeypatch.setattr(
      checkpoint_writer, "_LEAST_BYTES_OF_GROUP", bytes_of_group
  )
  path, reports = write(tmp_path / "new")
  reader = tf.train.load_checkpoint(path)
  assert set(reader.get_variable_to_shape_map()) == {*VALUES, "global_step"}
  for name, value in VALUES.items():
    found = reader.get_tensor(name)
    assert found.dtype == value.dtype
    np.testing.assert_array_equal(found, value)
  assert checkpoint_files.damage(path) is None
  assert checkpoint_files.step_in(path) == 7
  assert checkpoints.resume(str(tmp_path / "new")) == 7
  assert reports[-1] == sum(x.nbytes for x in VALUES.values())
  names = {x.name for x in (tmp_path / "new").iterdir()}
  assert not any("temp" in x for x in names)
  if bytes_of_group == 1:
    # The embedding is as large as all others together.
    assert "model.ckpt-7.data-00001-of-00002" in names


def test_a_list_of_checkpoints_may_be_moved(tmp_path):
  write(tmp_path / "one")
  (tmp_path / "one").rename(tmp_path / "two")
  found = tf.train.latest_checkpoint(str(tmp_path / "two"))
  assert found == str(tmp_path / "two" / "model.ckpt-7")


def test_values_are_asked_for_once_and_groups_are_small(tmp_path, monkeypatch):
  monkeypatch.setattr(checkpoint_writer, "_LEAST_BYTES_OF_GROUP", 1)
  asked = []

  def value_of(variable):
    asked.append(variable.name)
    return VALUES[variable.name]

  _, reports = write(tmp_path, value_of)
  assert sorted(asked) == sorted(VALUES)
  assert max(np.diff([0, *reports])) <= VALUES["shared/embedding"].nbytes


def test_tensorflow_reads_values_where_they_are(tmp_path, monkeypatch):
  fed = []
  save = checkpoint_writer._save

  def spy(path, group, values):
    fed.extend(values)
    save(path, group, values)

  def value_of(variable):
    """Values that begin four bytes after where TensorFlow expects them to."""
    value = VALUES[variable.name]
    memory = np.empty(value.nbytes + 128, np.uint8)
    start = 4 - memory.ctypes.data % 64 + 64
    moved = memory[start : start + value.nbytes].view(value.dtype)
    moved = moved.reshape(value.shape)
    moved[...] = value
    return moved.T.copy().T if moved.ndim > 1 else moved

  monkeypatch.setattr(checkpoint_writer, "_save", spy)
  path, _ = write(tmp_path, value_of)
  assert len(fed) == len(VALUES) + 1
  for value in (x for x in fed if x.ndim):
    assert value.ctypes.data % 64 == 0 and value.flags.c_contiguous
  reader = tf.train.load_checkpoint(path)
  for name, value in VALUES.items():
    np.testing.assert_array_equal(reader.get_tensor(name), value)


def test_an_error_leaves_no_checkpoint(tmp_path):
  def value_of(variable):
    if variable.name == "shared/embedding":
      raise OSError("no more")
    return VALUES[variable.name]

  with pytest.raises(OSError, match="no more"):
    write(tmp_path, value_of)
  assert not checkpoints.steps(str(tmp_path))
  assert not checkpoints.resume(str(tmp_path))
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value", [np.ones([8, 5], np.float32), np.ones([5, 8], np.float64)]
)
def test_values_of_another_shape_or_type_are_a_mistake(value, tmp_path):
  with pytest.raises(ValueError, match="shared/embedding"):
    write(tmp_path, lambda x: (VALUES | {"shared/embedding": value})[x.name])
