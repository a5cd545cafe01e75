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

"""metrics.jsonl, line by line."""

import datetime
import json
import warnings

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import files
from mtf_switch.training import metrics_file as metrics_file_lib

KEYS = [
    "step",
    "kind",
    "cross_entropy",
    "neg_log_perplexity",
    "aux_loss",
    "z_loss",
    "fraction_dropped",
    "packing_efficiency",
    "tokens_per_second",
    "seconds",
    "date",
    "task",
    "layers",
]
SPARSE = {
    "cross_entropy": 2.5,
    "neg_log_perplexity": -2.5,
    "aux_loss": 0.02,
    "z_loss": 0.01,
    "fraction_dropped": 0.125,
    "packing_efficiency": 0.75,
    "learning_rate": 0.01,
    "gradient_norm": np.float32(2.0),
    "weight_norm": np.float32(30.0),
    # As a session returns them.
    "encoder/layer_001/load_max": np.float32(1.5),
    "encoder/layer_001/load_histogram": np.array([0, 3, 1], np.float32),
    "encoder/layer_001/load": np.array([1 / 3, 1.5, 7 / 6], np.float32),
    "decoder/layer_001/load_max": np.float32(2.0),
}
LAYERS = {
    "encoder/layer_001": {
        "load_max": 1.5,
        "load_histogram": [0.0, 3.0, 1.0],
        "load": [0.3333, 1.5, 1.1667],
    },
    "decoder/layer_001": {"load_max": 2.0},
}
DENSE = {
    "cross_entropy": 2.5,
    "neg_log_perplexity": -2.5,
    "packing_efficiency": 0.75,
}


@pytest.fixture
def metrics_file(tmp_path):
  return metrics_file_lib.MetricsFile(str(tmp_path))


def text(tmp_path):
  return (tmp_path / "metrics.jsonl").read_text()


def test_a_line_has_the_promised_keys_in_order(metrics_file, tmp_path):
  metrics_file.append(7, "train", "a_task", SPARSE, 1000.0)
  (line,) = text(tmp_path).splitlines()
  record = json.loads(line)
  of_training = ["learning_rate", "gradient_norm", "weight_norm"]
  assert list(record) == [*KEYS, *of_training]
  assert 0 <= record.pop("seconds") < 60
  date = datetime.datetime.fromisoformat(record.pop("date"))
  age = datetime.datetime.now(datetime.UTC) - date
  assert datetime.timedelta() <= age < datetime.timedelta(minutes=1)
  assert list(record.values()) == [
      7, "train", 2.5, -2.5, 0.02, 0.01, 0.125, 0.75, 1000.0, "a_task", LAYERS,
      0.01, 2.0, 30.0,
  ]  # fmt: skip


def test_what_does_not_apply_or_is_no_number_is_null(metrics_file, tmp_path):
  metrics_file.append(7, "eval", "a_task", DENSE)
  not_a_number = {
      "aux_loss": float("nan"),
      "encoder/layer_001/load_max": np.float32("inf"),
      "encoder/layer_001/load_histogram": np.array([1, np.nan], np.float32),
      "encoder/layer_001/load": np.array([1, np.nan], np.float32),
  }
  metrics_file.append(8, "eval", "a_task", {**SPARSE, **not_a_number})
  dense, sparse = map(json.loads, text(tmp_path).splitlines())
  assert list(dense) == KEYS
  assert dense["aux_loss"] is None
  assert dense["z_loss"] is None
  assert dense["fraction_dropped"] is None
  assert dense["layers"] is None
  assert dense["tokens_per_second"] is None
  assert sparse["aux_loss"] is None
  of_layer = sparse["layers"]["encoder/layer_001"]
  assert of_layer == {
      "load_max": None,
      "load_histogram": [1.0, None],
      "load": [1.0, None],
  }
  assert "NaN" not in text(tmp_path)
  assert "Infinity" not in text(tmp_path)


@pytest.fixture(autouse=True)
def notes():
  """The texts of all notices."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    yield lambda: [str(warning.message) for warning in caught]


def test_resuming_moves_later_lines(metrics_file, tmp_path, notes):
  metrics_file.drop_after(0)  # There is none yet.
  assert not list(tmp_path.iterdir())
  for step in (5, 10, 15):
    metrics_file.append(step, "train", "a_task", DENSE, 1.0)
    metrics_file.append(step, "eval", "a_task", DENSE)
  lines = text(tmp_path).splitlines()
  metrics_file.drop_after(10)
  assert text(tmp_path).splitlines() == lines[:4]
  dropped = tmp_path / "metrics.dropped.jsonl"
  assert dropped.read_text().splitlines() == lines[4:]
  assert notes() == [
      f"2 lines later than step 10 moved from {tmp_path}/metrics.jsonl to "
      "metrics.dropped.jsonl."
  ]
  # Killed before its first checkpoint: nothing is lost.
  metrics_file.drop_after(0)
  assert text(tmp_path) == ""
  assert dropped.read_text().splitlines() == lines[4:] + lines[:4]
  assert sorted(path.name for path in tmp_path.iterdir()) == [
      "metrics.dropped.jsonl",
      "metrics.jsonl",
  ]


def test_tasks_that_have_a_line_of_a_step(metrics_file):
  def tasks(kind):
    return metrics_file_lib.tasks(metrics_file.read(), 10, kind)

  assert tasks("eval") == set()
  metrics_file.append(10, "train", "a_mixture", DENSE, 1.0)
  metrics_file.append(10, "eval", "a_task", DENSE)
  metrics_file.append(10, "eval", "another_task", DENSE)
  metrics_file.append(15, "eval", "a_third_task", DENSE)
  assert tasks("eval") == {"a_task", "another_task"}
  assert tasks("train") == {"a_mixture"}


def test_a_line_that_was_cut_off_is_kept_aside(metrics_file, tmp_path):
  metrics_file.append(1, "train", "a_task", DENSE)
  whole = text(tmp_path)
  cut_off = '{"step": 2, "kind": "tr'
  (tmp_path / "metrics.jsonl").write_text(whole + cut_off)
  assert [record["step"] for record in metrics_file.read()] == [1]
  # Another program, which evaluates, writes meanwhile.
  metrics_file.append(1, "eval", "a_task", DENSE)
  assert [record["step"] for record in metrics_file.read()] == [1, 1]
  metrics_file.drop_after(2)
  metrics_file.append(2, "train", "a_task", DENSE)
  assert [record["step"] for record in metrics_file.read()] == [1, 1, 2]
  assert (tmp_path / "metrics.broken.jsonl").read_text() == f"{cut_off}\n"


BROKEN = [
    b"null",
    b"3",
    b"[]",
    b"{}",
    b"not JSON",
    b'{"step": 2, "kind": "tr',
    b'{"step": 2, "kind": "train", "task": "caf\xe9"}',
    b'{"step": 2, "kind": "eval", "task": "a_task"}',
    b'{"step": null, "task": "a_task"}',
    b'{"step": true, "task": "a_task"}',
    b'{"step": "2", "task": "a_task"}',
    b'{"step": 2, "task": null}',
    b'{"step": 2, "kind": "eval", "task": "a", "neg_log_perplexity": "x"}',
    b'{"step": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b"\x00\xff",
]


def test_broken_lines_are_counted_and_kept_aside(metrics_file, tmp_path, notes):
  metrics_file.append(1, "train", "a_task", DENSE)
  metrics_file.append(2, "train", "a_task", DENSE)
  first, second = (tmp_path / "metrics.jsonl").read_bytes().splitlines()
  lines = [first, *BROKEN, b"", b"  ", second]
  content = b"".join(line + b"\n" for line in lines)
  (tmp_path / "metrics.jsonl").write_bytes(content)
  metrics_file = metrics_file_lib.MetricsFile(str(tmp_path))
  assert [record["step"] for record in metrics_file.read()] == [1, 2]
  assert notes()[0] == (
      f"{len(BROKEN)} lines of {tmp_path}/metrics.jsonl cannot be read as "
      "records, and are left out."
  )
  assert (tmp_path / "metrics.jsonl").read_bytes() == content
  metrics_file.drop_after(1)
  assert (tmp_path / "metrics.jsonl").read_bytes() == first + b"\n"
  aside = (tmp_path / "metrics.broken.jsonl").read_bytes().split(b"\n")
  assert aside == [*BROKEN, b""]
  dropped = tmp_path / "metrics.dropped.jsonl"
  assert dropped.read_bytes() == second + b"\n"
  assert len(notes()) == 4  # Read twice, moved twice.


def test_what_earlier_versions_wrote_can_be_read(tmp_path):
  """NaN, which is no JSON, in the metrics of a split."""
  (tmp_path / "metrics.jsonl").write_text(
      '{"step": 2, "task": "a_task", "pearson": NaN, "spearman": -Infinity}\n'
  )
  assert metrics_file_lib.read(str(tmp_path)) == [
      {"step": 2, "task": "a_task", "pearson": None, "spearman": None}
  ]


class Clock:
  """Stands in for the module `time`."""

  def __init__(self, now):
    self.now = now

  def monotonic(self):
    return self.now


def test_seconds_go_on_where_the_last_process_left_off(tmp_path, monkeypatch):
  def open_at(now):
    clock = Clock(now)
    monkeypatch.setattr(metrics_file_lib, "time", clock)
    return metrics_file_lib.MetricsFile(str(tmp_path)), clock

  metrics_file, clock = open_at(1000.0)
  clock.now += 2.5
  metrics_file.append(1, "train", "a_task", DENSE)
  clock.now += 4.0  # Evaluations count.
  metrics_file.append(1, "eval", "a_task", DENSE)
  clock.now += 1.0
  metrics_file.append(2, "train", "a_task", DENSE)
  # On a machine that was started later; step 2 is made again.
  metrics_file, clock = open_at(30.0)
  metrics_file.drop_after(1)
  clock.now += 2.0
  metrics_file.append(2, "train", "a_task", DENSE)
  seconds = [record["seconds"] for record in metrics_file.read()]
  assert seconds == [2.5, 6.5, 9.5]


def test_lines_of_an_earlier_version_have_no_time(tmp_path, metrics_file):
  metrics_file.append(1, "train", "a_task", DENSE)
  (record,) = metrics_file.read()
  del record["seconds"], record["date"]
  (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
  metrics_file = metrics_file_lib.MetricsFile(str(tmp_path))
  metrics_file.append(2, "train", "a_task", DENSE)
  assert 0 <= metrics_file.read()[1]["seconds"] < 60


def test_remote_files_leave_nothing_in_the_working_directory(
    tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  for path in ("ram://lines/of/a_file", "a_file"):
    files.write_lines(path, ["a\nb", 3])
    with tf.io.gfile.GFile(path) as file:
      assert file.read() == "a b\n3\n"
  assert [path.name for path in tmp_path.iterdir()] == ["a_file"]
