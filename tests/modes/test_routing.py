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

"""The mode routing, from checkpoints to its files and its text."""

import json
import shutil

import pytest

from tests import programs
from tests.version_0_2_0 import make_checkpoints

MODEL = "switch"
LINES = [
    "the switch\tone expert",
    "",
    "each <b>token</b>",
    "x" * 40 + "\ty",
]


@pytest.fixture(scope="module")
def program():
  server = programs.Server(CUDA_VISIBLE_DEVICES="-1")
  yield server
  server.close()


def start(program, model_dir, steps, *flags):
  """What the program says that begins with a small checkpoint, of step 4."""
  shutil.copytree(make_checkpoints.CHECKPOINTS / MODEL, model_dir)
  done = program.run(
      [
          *make_checkpoints.arguments(MODEL, model_dir, steps),
          "--gin_param=capacity_factor_train = 1.0",
          # So that the noise of another step is seen.
          "--gin_param=SwitchFeedForward.router_jitter = 0.9",
          *flags,
      ],
      make_checkpoints.DIRECTORY / "gin",
  )
  assert not done.returncode, done.stderr
  return done


def run(program, directory, *flags):
  """The mode's record, its page, and what it says."""
  done = start(
      program,
      directory / "m",
      0,
      "--mode=routing",
      f"--output_dir={directory / 'out'}",
      *flags,
  )
  record = json.loads((directory / "out" / "routing.json").read_text())
  return record, (directory / "out" / "routing.html").read_text(), done


def test_lines_of_a_file_go_to_experts(program, tmp_path):
  file = tmp_path / "lines.txt"
  file.write_text("\n".join(LINES))
  record, page, done = run(
      program,
      tmp_path,
      f"--input_file={file}",
      "--gin_param=routing.training_batch = 4",
  )
  assert "1 of 3 inputs is longer than the 32 tokens" in done.stderr
  assert record["num_examples"] == 3
  assert [x["number"] for x in record["examples"]] == [1, 3, 4]
  assert [x["is_own_output"] for x in record["examples"]] == [0, 1, 0]
  first, _, cut = record["examples"]
  texts = first["tokens"]["inputs"]["texts"]
  assert "".join(texts) == "the\u2581switch</s>"
  texts = first["tokens"]["targets"]["texts"]
  assert "".join(texts) == "<start>one\u2581expert"
  assert len(cut["tokens"]["inputs"]["ids"]) == 32
  for example in record["examples"]:
    for layer, of_layer in zip(record["layers"], example["layers"]):
      count = len(example["tokens"][layer["feature"]]["ids"])
      for key in ("experts", "dropped", "next_expert", "probabilities"):
        assert len(of_layer[key]) == count
      # Nothing is dropped outside of training.
      assert of_layer["asked"] == [[True]] * count
      assert of_layer["dropped"] == [[False]] * count
      assert of_layer["in_training"]["asked"] == [[True]] * count
  assert [x["step"] for x in record["checkpoints"]] == [4]
  # The step that follows the checkpoint reports the same drops.
  start(
      program,
      tmp_path / "trained",
      5,
      "--gin_param=train.eval_every = None",
  )
  lines = (tmp_path / "trained" / "metrics.jsonl").read_text().splitlines()
  (step,) = map(json.loads, lines)
  batch = record["training_batch"]
  assert (batch["batch"], step["step"]) == (4, 5)
  for layer, asked, dropped in zip(
      record["layers"], batch["asked"], batch["dropped"]
  ):
    of_step = step["layers"][layer["name"]]
    assert dropped / asked == pytest.approx(of_step["fraction_dropped"])
  assert sum(batch["dropped"]) > 0
  assert f"line 1 of {file}" in done.stdout
  mark = first["layers"][0]["experts"][0][0]
  assert f"inputs: t/{mark}" in done.stdout
  assert "\x1b" not in done.stdout
  assert "<b>token" not in page and f"of {file}" in page


def test_a_split_of_another_task_and_another_run(program, tmp_path):
  other = make_checkpoints.CHECKPOINTS / MODEL
  shutil.copytree(other, tmp_path / "other")
  record, _, done = run(
      program,
      tmp_path,
      f"--model_dir={tmp_path / 'other'}",
      "--task=toy_mixture",
      "--split=validation",
      "--num_examples=2",
      "--gin_param=routing.training_batch = None",
  )
  assert record["task"] == "toy_mixture"
  assert record["num_examples"] == 2 * 13 and len(record["examples"]) == 2
  assert record["training_batch"] is None
  of_layer = record["checkpoints"][0]["layers"][0]
  assert of_layer["tables"]["task"]["names"] == ["toy_copy", "toy_reverse"]
  # The inputs of both tasks are the same.
  assert abs(of_layer["information"]["task"]["bits"]) < 1e-9
  assert "by task" in done.stdout
  assert "example 1 of toy_copy" in done.stdout
  # The other run has the same checkpoint, and gets no files.
  one, same = record["checkpoints"]
  assert one["layers"] == same["layers"]
  assert same["model_dir"] == str(tmp_path / "other")
  assert all(x["changed"] == 0 for x in record["changes"][0])
  found = {x.name for x in (tmp_path / "other").iterdir()}
  assert found == {x.name for x in other.iterdir()}
