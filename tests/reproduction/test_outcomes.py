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

"""Records of runs, from files made by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import json
import os

import pytest

from mtf_switch import errors
from mtf_switch.reproduction import outcomes
from mtf_switch.reproduction import records
from mtf_switch.reproduction import runs
from tests.reproduction.made_questions import CARDS

RUN = runs.Run("switch", 3)
TIMED = runs.Run("dense", 1, "table1", 1)


def train_line(step, speed=100.0, dropped=None, layers=None):
  return {
      "step": step,
      "kind": "train",
      "task": "a",
      "seconds": 2.0 * step,
      "neg_log_perplexity": -5.0,
      "tokens_per_second": speed,
      "fraction_dropped": dropped,
      "layers": layers,
  }


def eval_line(step, quality, task="a"):
  return {
      "step": step,
      "kind": "eval",
      "task": task,
      "seconds": 2.0 * step + 1,
      "neg_log_perplexity": quality,
      "tokens_per_second": None,
  }


def layer(load_max, load_cv):
  return {"load_max": load_max, "load_cv": load_cv, "entropy": 1.0}


def write(output_dir, run, lines=(), **files):
  """Writes what a run leaves; files are JSON by name."""
  directory = runs.model_dir(str(output_dir), run)
  os.makedirs(directory)
  with open(os.path.join(directory, "metrics.jsonl"), "w") as file:
    file.writelines(json.dumps(line) + "\n" for line in lines)
  for name, content in files.items():
    with open(os.path.join(directory, f"{name}.json"), "w") as file:
      json.dump(content, file)
  with open(os.path.join(directory, "versions.txt"), "w") as file:
    file.write("python==3.11.7\nabsl-py==1\ntensorflow==2.15.1\n")
  return directory


def record_of(output_dir, run=RUN, failure=None):
  return outcomes.record_of(
      run,
      CARDS,
      str(output_dir),
      gin="x = 1\n",
      configuration="abc",
      started="2026-11-29T12:00:00+00:00",
      num_cores=1,
      failure=failure,
  )


LINES = [
    train_line(10, 50.0, 0.5, {"l0": layer(4, 2), "l1": layer(4, 2)}),
    eval_line(10, -6.0),
    eval_line(10, -7.0, "b"),
    train_line(20, 100.0, 0.2, {"l0": layer(1, 0), "l1": layer(2, 1)}),
    train_line(30, 300.0, 0.1, {"l0": layer(2, 1), "l1": layer(1, 0)}),
    eval_line(30, -5.0),
    eval_line(30, None, "b"),
]


def test_a_record_has_what_the_run_has_left(tmp_path):
  write(
      tmp_path,
      RUN,
      LINES,
      model={"parameters": 12, "flops_per_sequence": None, "train_steps": 30},
  )
  record = record_of(tmp_path)
  assert (record.card, record.seed, record.kind) == ("switch", 3, "quality")
  assert record.command == (
      "run_switch --mode=train --gin_file=experiments/small/switch.gin"
      " --model_dir=runs/switch/3 --seed=3"
  )
  assert record.seconds == 61.0
  assert [tuple(x.values()) for x in record.evaluations] == [
      (10, 21.0, "a", -6.0),
      (10, 21.0, "b", -7.0),
      (30, 61.0, "a", -5.0),
      (30, 61.0, "b", None),
  ]
  assert record.versions == {"python": "3.11.7", "tensorflow": "2.15.1"}
  assert record.machine["run_cores"] == 1 and record.machine["cores"]
  assert record.diverged is None and record.failed is None
  assert record.figures == {
      "parameters": 12,
      "flops_per_sequence": None,
      "steps": 30,
      "tokens_per_second": 100.0,  # The median of all.
      # Of the second half.
      "fraction_dropped": pytest.approx(0.15),
      "load_max": 1.5,
      "load_cv": 0.5,
  }
  records.write(str(tmp_path / "records"), record)
  assert records.read_all(str(tmp_path / "records")) == [record]


def test_a_dense_model_drops_nothing(tmp_path):
  write(tmp_path, RUN, [train_line(10), train_line(20)])
  figures = record_of(tmp_path).figures
  assert figures["steps"] == 20
  for name in ("fraction_dropped", "load_max", "load_cv", "parameters"):
    assert figures[name] is None


def test_a_run_for_speed_gets_up_to_speed_first(tmp_path):
  speeds = [1.0, 2.0, 30.0, 10.0, 20.0]
  lines = [train_line(10 * (n + 1), x) for n, x in enumerate(speeds)]
  write(tmp_path, TIMED, lines)
  record = record_of(tmp_path, TIMED)
  assert (record.kind, record.contest, record.round) == ("speed", "table1", 1)
  assert record.figures["tokens_per_second"] == 20.0


def test_best_scores_are_in_the_record(tmp_path):
  best = [
      {"task": "glue", "metric": "mean", "step": 40, "value": 71.5},
      {"task": "cola", "metric": "mcc", "step": 20, "value": 12.0},
  ]
  write(tmp_path, RUN, LINES, best=best)
  assert record_of(tmp_path).scores == {
      "glue": {"metric": "mean", "step": 40, "value": 71.5},
      "cola": {"metric": "mcc", "step": 20, "value": 12.0},
  }


def test_a_run_that_diverges_has_not_failed(tmp_path):
  directory = write(tmp_path, RUN, LINES, not_finite=[{"step": 4}, {"step": 7}])
  record = record_of(
      tmp_path,
      failure=f"step 7: NaN first in x; see {directory}/not_finite.json.",
  )
  assert record.diverged == 7
  assert record.failed is None
  assert record.evaluations


def test_numbers_of_an_earlier_end_are_no_reason(tmp_path):
  write(tmp_path, RUN, LINES, not_finite=[{"step": 4}])
  record = record_of(tmp_path, failure="no memory")
  assert record.diverged is None
  assert record.failed == "no memory"


def test_a_run_that_fails_at_once_has_a_record(tmp_path):
  place = tmp_path / "runs" / "switch" / "3"
  record = record_of(tmp_path, failure=f"{place}/model.ckpt-1: No space left")
  # Of no machine's paths.
  assert record.failed == "runs/switch/3/model.ckpt-1: No space left"
  assert record.seconds == 0
  assert record.evaluations == [] and record.versions == {}
  records.write(str(tmp_path / "records"), record)


def test_a_damaged_file_is_named(tmp_path):
  write(tmp_path, RUN, LINES, model={"parameters": "many"})
  with pytest.raises(errors.UserError, match="model.json has other content"):
    record_of(tmp_path)
