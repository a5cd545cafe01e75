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

"""Recovery from numbers that are not finite, without training a model."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import json
import math

import numpy as np
import pytest
import rich.console
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.training import checkpoints
from mtf_switch.training import not_finite
from mtf_switch.training import numerics
from mtf_switch.training import progress
from mtf_switch.training import recovery
from mtf_switch.training import replay


def save(model_dir, weights):
  """Saves checkpoints as other versions may have, with weights by step."""
  with tf.Graph().as_default(), tf.Session() as session:
    variable = tf.get_variable("a/weight", shape=[2], dtype=tf.bfloat16)
    saver = tf.train.Saver(save_relative_paths=True)
    for step, value in weights.items():
      session.run(variable.assign(tf.cast([1.0, value], tf.bfloat16)))
      saver.save(
          session, f"{model_dir}/model.ckpt", step, write_meta_graph=False
      )


def test_checkpoints_that_are_not_finite_are_set_aside(tmp_path):
  model_dir = str(tmp_path)
  save(model_dir, {2: 0.0, 4: 1.0, 6: math.nan, 8: math.inf})
  assert list(recovery.set_aside(model_dir)) == [
      (8, ["a/weight"]),
      (6, ["a/weight"]),
  ]
  assert checkpoints.steps(model_dir) == [2, 4]
  assert tf.train.latest_checkpoint(model_dir) == f"{model_dir}/model.ckpt-4"
  assert sorted(checkpoints.path("", step) + ".index" for step in (6, 8)) == (
      sorted(p.name for p in (tmp_path / "not_finite").glob("*.index"))
  )
  assert not list(recovery.set_aside(model_dir))


def test_no_checkpoint_is_finite(tmp_path):
  save(tmp_path, {2: math.nan})
  assert len(list(recovery.set_aside(str(tmp_path)))) == 1
  assert not checkpoints.steps(str(tmp_path))
  assert not list(recovery.set_aside(str(tmp_path)))


def test_examples():
  byte = seqio.ByteVocabulary(0)

  def ids(text):
    return [ord(letter) + 3 for letter in text]

  assert recovery.examples(
      {
          "inputs": np.array([ids("ab") + [1, 0]]),
          "targets": np.array([ids("c")]),
      },
      [byte, byte],
  ) == [{"inputs": "ab", "targets": "c"}]
  # Several examples in a row; an "lm" has no inputs.
  packed = {
      "targets": np.array([ids("ab") + [1] + ids("c") + [1, 0]] * 20),
      "targets_segmentation": np.array([[1, 1, 1, 2, 2, 0]] * 20),
  }
  found = recovery.examples(packed, [byte, byte])
  assert found == [{"targets": "ab"}, {"targets": "c"}] * 8
  long = recovery.examples({"targets": np.full([1, 900], 100)}, [byte, byte])
  assert long == [{"targets": "a" * 500}]
  assert recovery.examples({}, [byte, byte]) == []


class FakeRun:
  """As much of a run as `recover` looks at."""

  tpu = None

  def __init__(self, model_dir):
    self.model_dir = str(model_dir)
    self.experiment = self
    self.vocabularies = [seqio.ByteVocabulary(0)] * 2


def recover(monkeypatch, model_dir, phase="forward", skips=True, limit=2):
  """Recovers from a step 7 that began in step 5; returns what is said."""
  place = numerics.Place("NaN", phase, "encoder/block_000/layer_000", "x", None)
  finding = replay.Finding(5, "the loss is NaN", place, {})
  monkeypatch.setattr(replay, "find", lambda *args: finding)
  console = rich.console.Console(file=io.StringIO(), width=1000)
  recovery.recover(
      FakeRun(model_dir),
      not_finite.NotFiniteError(7, "the loss is NaN"),
      replay.Training(100, 10, None, None),
      skips,
      limit,
      progress.Display(console),
  )
  return console.file.getvalue()


def test_recovery_is_limited(tmp_path, monkeypatch):
  said = recover(monkeypatch, tmp_path)
  assert "Batch 4 is left out (1 of at most 2); going on from step 0" in said
  # Step 5 is another batch now.
  assert "Batch 5 is left out (2 of at most 2)" in recover(
      monkeypatch, tmp_path
  )
  with pytest.raises(errors.UserError) as error:
    recover(monkeypatch, tmp_path)
  assert str(error.value) == (
      "step 5: NaN first in encoder/block_000/layer_000; see "
      f"{tmp_path}/not_finite.json. There is no checkpoint before it. "
      "train.max_skipped_batches = 2 are left out already; this is hardly due "
      "to single batches. A lower learning rate or a longer warm-up may help."
  )
  reports = json.loads((tmp_path / "not_finite.json").read_text())
  assert [report["batch"] for report in reports] == [4, 5, 6]
  assert reports[0]["seen_at_step"] == 7
  batches = json.loads((tmp_path / "skipped_batches.json").read_text())
  assert batches == [{"batch": 4, "step": 5}, {"batch": 5, "step": 5}]


@pytest.mark.parametrize(
    "arguments", [{"skips": False}, {"phase": "weights"}, {"limit": 0}]
)
def test_some_runs_stop(tmp_path, monkeypatch, arguments):
  save(tmp_path, {4: 1.0})
  with pytest.raises(errors.UserError) as error:
    recover(monkeypatch, tmp_path, **arguments)
  assert "The last good checkpoint is of step 4." in str(error.value)
  assert not (tmp_path / "skipped_batches.json").exists()
