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

"""The directory of a reproduction."""

import mtf_switch  # isort: skip  # noqa: F401
import os

import pytest

from mtf_switch import errors
from mtf_switch.reproduction import output_dir
from mtf_switch.reproduction import runs

RUN = runs.Run("dense", 3)
TIMED = runs.Run("dense", 1, "table1", 1)


def make_files(directory, *names):
  for name in names:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


def test_a_directory_that_is_new_empty_or_a_reproductions_is_taken(tmp_path):
  output_dir.check(str(tmp_path / "new"))
  output_dir.check(str(tmp_path))
  make_files(tmp_path, "reproducing.lock")  # Killed at once.
  output_dir.check(str(tmp_path))
  output_dir.mark(str(tmp_path))
  make_files(tmp_path, "notes.txt", "runs/dense/0/log.txt")
  output_dir.check(str(tmp_path))
  output_dir.mark(str(tmp_path))


def test_others_are_refused(tmp_path):
  make_files(tmp_path, "thesis.tex")
  with pytest.raises(errors.UserError, match="has 'thesis.tex' in it and is"):
    output_dir.check(str(tmp_path))
  with pytest.raises(errors.UserError, match="thesis.tex: Not a directory"):
    output_dir.check(str(tmp_path / "thesis.tex"))
  with pytest.raises(errors.UserError, match="is not on this machine"):
    output_dir.check("gs://bucket/out")


def prepare(tmp_path, configuration="a", afresh=False):
  output_dir.prepare(str(tmp_path), RUN, configuration, afresh)
  return tmp_path / "runs" / "dense" / "3"


def test_a_run_that_goes_on_finds_what_it_has_left(tmp_path):
  model_dir = prepare(tmp_path)
  make_files(model_dir, "model.ckpt-5.index")
  assert prepare(tmp_path) == model_dir
  assert (model_dir / "model.ckpt-5.index").exists()


def test_a_run_without_a_checkpoint_starts_again_with_its_clock(tmp_path):
  make_files(prepare(tmp_path), "metrics.jsonl")
  assert os.listdir(prepare(tmp_path)) == ["reproduction.json"]


@pytest.mark.parametrize(
    "again", [dict(configuration="b"), dict(afresh=True)], ids=str
)
def test_a_run_with_other_settings_finds_nothing(tmp_path, again):
  make_files(prepare(tmp_path), "model.ckpt-5.index")
  make_files(tmp_path, "runs/dense/4/log.txt")
  model_dir = prepare(tmp_path, **again)
  assert os.listdir(model_dir) == ["reproduction.json"]
  assert (tmp_path / "runs" / "dense" / "4" / "log.txt").exists()


CHECKPOINTS = [
    *(f"model.ckpt-{step}.index" for step in (9, 10)),
    *(f"model.ckpt-{step}.data-00000-of-00001" for step in (9, 10)),
    "model.ckpt-10.meta",
]
OTHERS = ["metrics.jsonl", "log.txt", "best.json", "model.json"]


@pytest.mark.parametrize("keeps_weights", [True, False])
def test_what_is_of_use_stays(tmp_path, keeps_weights):
  model_dir = prepare(tmp_path)
  make_files(
      model_dir,
      *(*CHECKPOINTS, *OTHERS, "checkpoint", "graph.pbtxt"),
      *("events.out.tfevents.1", "eval_a/events.out.tfevents.2"),
  )
  assert output_dir.has_weights(str(tmp_path), RUN, 10)
  output_dir.prune(str(tmp_path), RUN, keeps_weights)
  assert output_dir.has_weights(str(tmp_path), RUN, 10) == keeps_weights
  assert not output_dir.has_weights(str(tmp_path), RUN, 11)
  kept = {path.name for path in model_dir.rglob("*") if path.is_file()}
  weights = {"checkpoint", *(x for x in CHECKPOINTS if "-10." in x)}
  assert kept == {"reproduction.json", *OTHERS} | (
      weights if keeps_weights else set()
  )


def test_nothing_stays_of_a_run_for_speed(tmp_path):
  output_dir.prepare(str(tmp_path), TIMED, "a", True)
  output_dir.prune(str(tmp_path), TIMED, False)
  assert os.listdir(tmp_path / "runs" / "dense") == []


def test_a_run_that_has_not_begun_has_no_weights(tmp_path):
  assert not output_dir.has_weights(str(tmp_path), RUN, 10)


@pytest.mark.parametrize(
    "text, steps",
    [
        ("", 0),
        ('{"step": 10, "kind": "train"}\n', 10),
        ('{"step": 10, "kind": "train"}\n{"step": 20, "ki', 10),
        ('{"step": 10, "kind": "train"}\n{"step": 10, "kind": "eval"}\n', 10),
        ("x" * 9999 + '\n{"step": 70, "kind": "train"}\n', 70),
    ],
)
def test_steps_are_read_from_the_end_of_the_metrics(tmp_path, text, steps):
  model_dir = prepare(tmp_path)
  assert output_dir.steps_done(str(tmp_path), RUN) == 0
  (model_dir / "metrics.jsonl").write_text(text)
  assert output_dir.steps_done(str(tmp_path), RUN) == steps
