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

"""The reader of T5X's checkpoints."""

import os
import pathlib
import shutil

from flax import serialization
import numpy as np
import pytest
import tensorstore

from mtf_switch import errors
from mtf_switch.conversion import t5x_weights
from tests.conversion import t5x_peers

NAME = "encoder/layers_0/mlp/wi/kernel"
VALUES = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.fixture(scope="module", params=["t5x_1_0", "switch_base", "t5x_1_1"])
def written(request, tmp_path_factory):
  """A checkpoint that T5X has written: gzip, two devices, Orbax."""
  return t5x_peers.unpack(request.param, tmp_path_factory.mktemp("t5x"))


def test_what_t5x_has_written_is_read(written):
  weights = t5x_weights.Weights(written)
  assert weights.step == t5x_peers.STEP
  # Adafactor has a mean or a factored one for each weight, and T5X all four.
  assert weights.num_slots == 4 * len(weights.tensors)
  assert not weights.others
  for name, tensor in weights.tensors.items():
    values = weights.read(name)
    assert values.dtype == np.float32
    assert values.shape == tensor.shape
    assert os.path.exists(tensor.file)
    assert np.isfinite(values).all() and values.any()


def test_the_fixture_has_gzip_in_several_parts(tmp_path):
  directory = t5x_peers.unpack("t5x_1_0", tmp_path)
  path = pathlib.Path(directory) / "target.token_embedder.embedding"
  text = (path / ".zarray").read_text()
  assert '"id":"gzip"' in text and '"dtype":"bfloat16"' in text
  assert len(list(path.iterdir())) > 2


def tree(directory, optimizer, **more):
  """Writes a checkpoint whose arrays are in the file."""
  directory.mkdir()
  content = {"version": 3, "optimizer": optimizer, **more}
  data = serialization.msgpack_serialize(content)
  (directory / "checkpoint").write_bytes(data)
  return str(directory)


def store(path, values, **more):
  """Writes an array of zarr in parts of two rows."""
  spec = {
      "driver": "zarr",
      "kvstore": {"driver": "file", "path": f"{path}/"},
      "metadata": {
          "compressor": {"id": "gzip", "level": 1},
          "chunks": [2, values.shape[1]],
          **more,
      },
  }
  opened = tensorstore.open(
      spec, create=True, dtype=values.dtype, shape=values.shape
  ).result()
  opened.write(values).result()


STATE = {"step": np.int32(5), "param_states": {"x": {"v": VALUES}}}


def nested(leaf):
  """The tree of one weight."""
  for key in reversed(NAME.split("/")):
    leaf = {key: leaf}
  return leaf


def elsewhere(path):
  """What T5X's file has in the place of an array."""
  return nested(
      {
          "driver": "zarr",
          "dtype": "float32",
          "kvstore": {"driver": "file", "path": path},
          "metadata": {"shape": [4, 6]},
      }
  )


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_arrays_in_the_file_are_read(dtype, tmp_path):
  values = VALUES.astype(tensorstore.dtype(dtype).numpy_dtype)
  weights = t5x_weights.Weights(
      tree(tmp_path / "c", {"target": nested(values), "state": STATE})
  )
  assert weights.tensors[NAME].dtype == dtype
  assert weights.read(NAME).dtype == np.float32
  np.testing.assert_array_equal(weights.read(NAME), VALUES)
  assert (weights.step, weights.num_slots) == (5, 1)


@pytest.mark.parametrize(
    "leaf",
    [
        elsewhere("/etc/passwd/"),
        elsewhere(f"target.{NAME.replace('/', '.')}/"),
        nested("PLACEHOLDER://anything"),
    ],
)
def test_arrays_are_found_by_name_and_no_path_is_followed(leaf, tmp_path):
  directory = tree(tmp_path / "c", {"target": leaf, "state": STATE})
  store(tmp_path / "c" / f"target.{NAME.replace('/', '.')}", VALUES)
  weights = t5x_weights.Weights(directory)
  np.testing.assert_array_equal(weights.read(NAME), VALUES)


def test_what_is_neither_weight_nor_slot_is_named(tmp_path):
  optimizer = {
      "target": {
          **nested(VALUES),
          "__save_format_metadata__": {"__version__": 0},
      },
      "state": STATE,
      "flax_mutables": {"counts": VALUES, "none": None, "empty": {}},
  }
  weights = t5x_weights.Weights(tree(tmp_path / "c", optimizer))
  assert weights.others == ["flax_mutables/counts"]
  assert list(weights.tensors) == [NAME]


# What is not whole.


def broken(directory, message):
  with pytest.raises(errors.UserError, match=message) as error:
    weights = t5x_weights.Weights(str(directory))
    for name in weights.tensors:
      weights.read(name)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "files, message",
    [
        ({}, "c is no checkpoint of T5X: it has neither a file checkpoint nor"),
        (
            {"checkpoint_5/x": b"", "checkpoint_10/x": b"", "model": b""},
            "c is of a run, with 2 checkpoints; .*c/checkpoint_10",
        ),
        (
            {"checkpoint": b'model_checkpoint_path: "model.ckpt-1"'},
            "of TensorFlow's checkpoints, which need no conversion",
        ),
        ({"checkpoint": b""}, "c/checkpoint is not whole, or is no msgpack"),
        ({"checkpoint": b"\x05"}, "no tree of arrays in it"),
        ({"checkpoint": b"\x81" * 5000}, "is not whole, or is no msgpack"),
        ({"state/manifest.ocdbt": b"x"}, "c/state is not whole"),
    ],
)
def test_other_directories_are_refused(files, message, tmp_path):
  (tmp_path / "c").mkdir()
  for name, content in files.items():
    path = tmp_path / "c" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
  broken(tmp_path / "c", message)


def test_a_file_that_is_cut_is_refused_wherever(tmp_path):
  directory = tree(tmp_path / "c", {"target": nested(VALUES), "state": STATE})
  path = tmp_path / "c" / "checkpoint"
  content = path.read_bytes()
  for size in range(0, len(content), 7):
    path.write_bytes(content[:size])
    broken(directory, "c/checkpoint is not whole, or is no msgpack of T5X")


@pytest.mark.parametrize("version", [1, 2, 4, None, "3"])
def test_other_versions_are_refused(version, tmp_path):
  directory = tree(tmp_path / "c", {"state": STATE}, version=version)
  broken(directory, f"has version = {version!r}; what is read is 3")


@pytest.mark.parametrize("step", [None, "5", 1.5, np.ones([2], np.int32)])
def test_a_tree_without_a_step_is_refused(step, tmp_path):
  optimizer = {"target": nested(VALUES), "state": {"step": step}}
  broken(tree(tmp_path / "c", optimizer), "has no state/step, a whole number")


def cut(path):
  """Takes the second half of a file away."""
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "change, message",
    [
        (shutil.rmtree, f"target.encoder.* is missing or not whole, .*{NAME}"),
        (
            lambda path: (path / ".zarray").write_text("{"),
            "is missing or not whole",
        ),
        # TensorStore alone would read zeros.
        (lambda path: (path / "1.0").unlink(), "target.* is not whole"),
        (lambda path: cut(path / "1.0"), "target.* is not whole"),
    ],
)
def test_arrays_that_are_not_whole_are_refused(change, message, tmp_path):
  directory = tree(tmp_path / "c", {"target": elsewhere("x"), "state": STATE})
  path = tmp_path / "c" / f"target.{NAME.replace('/', '.')}"
  store(path, VALUES)
  change(path)
  broken(directory, message)


def test_a_database_that_is_not_whole_is_refused(tmp_path):
  directory = pathlib.Path(t5x_peers.unpack("t5x_1_1", tmp_path))
  largest = max(directory.glob("state/**/d/*"), key=lambda x: x.stat().st_size)
  largest.write_bytes(largest.read_bytes()[:100])
  broken(directory, "checkpoint/state is (missing or )?not whole")
