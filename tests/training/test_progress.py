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

"""metrics.jsonl, the display, and the hook that feeds them."""

import io
import json

import numpy as np
import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import files
from mtf_switch.training import figures
from mtf_switch.training import progress

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
    # As a session returns them.
    "encoder/layer_001/load_max": np.float32(1.5),
    "encoder/layer_001/load_histogram": np.array([0, 3, 1], np.float32),
    "decoder/layer_001/load_max": np.float32(2.0),
}
LAYERS = {
    "encoder/layer_001": {"load_max": 1.5, "load_histogram": [0.0, 3.0, 1.0]},
    "decoder/layer_001": {"load_max": 2.0},
}
DENSE = {
    "cross_entropy": 2.5,
    "neg_log_perplexity": -2.5,
    "packing_efficiency": 0.75,
}


@pytest.fixture
def metrics_file(tmp_path):
  return progress.MetricsFile(str(tmp_path))


def text(tmp_path):
  return (tmp_path / "metrics.jsonl").read_text()


def test_a_line_has_the_promised_keys_in_order(metrics_file, tmp_path):
  metrics_file.append(7, "train", "a_task", SPARSE, 1000.0)
  (line,) = text(tmp_path).splitlines()
  record = json.loads(line)
  assert list(record) == KEYS
  assert list(record.values()) == [
      7, "train", 2.5, -2.5, 0.02, 0.01, 0.125, 0.75, 1000.0, "a_task", LAYERS
  ]  # fmt: skip


def test_what_does_not_apply_or_is_no_number_is_null(metrics_file, tmp_path):
  metrics_file.append(7, "eval", "a_task", DENSE)
  not_a_number = {
      "aux_loss": float("nan"),
      "encoder/layer_001/load_max": np.float32("inf"),
      "encoder/layer_001/load_histogram": np.array([1, np.nan], np.float32),
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
  assert of_layer == {"load_max": None, "load_histogram": [1.0, None]}
  assert "NaN" not in text(tmp_path)
  assert "Infinity" not in text(tmp_path)


def test_resuming_drops_later_lines(metrics_file, tmp_path):
  metrics_file.drop_after(0)  # There is none yet.
  assert not list(tmp_path.iterdir())
  for step in (5, 10, 15):
    metrics_file.append(step, "train", "a_task", DENSE, 1.0)
    metrics_file.append(step, "eval", "a_task", DENSE)
  kept = text(tmp_path).splitlines()[:4]
  metrics_file.drop_after(10)
  assert text(tmp_path).splitlines() == kept
  assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
  assert metrics_file.has("eval", 10, "a_task")
  assert not metrics_file.has("eval", 15, "a_task")
  assert not metrics_file.has("eval", 10, "another_task")


def test_resuming_before_the_first_line_drops_all(metrics_file, tmp_path):
  """As a run does that was killed before its first checkpoint."""
  metrics_file.append(5, "train", "a_task", DENSE, 1.0)
  metrics_file.drop_after(0)
  assert not metrics_file.read()
  assert text(tmp_path) == ""


def test_a_line_that_was_cut_off_is_dropped(metrics_file, tmp_path):
  metrics_file.append(1, "train", "a_task", DENSE)
  whole = text(tmp_path)
  (tmp_path / "metrics.jsonl").write_text(whole + '{"step": 2, "kind": "tr')
  assert [record["step"] for record in metrics_file.read()] == [1]
  metrics_file.drop_after(2)
  metrics_file.append(2, "train", "a_task", DENSE)
  assert [record["step"] for record in metrics_file.read()] == [1, 2]


def test_remote_files_leave_nothing_in_the_working_directory(
    tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  for path in ("ram://lines/of/a_file", "a_file"):
    files.write_lines(path, ["a\nb", 3])
    with tf.io.gfile.GFile(path) as file:
      assert file.read() == "a b\n3\n"
  assert [path.name for path in tmp_path.iterdir()] == ["a_file"]


def show(is_terminal):
  """What a display writes in the course of a short run."""
  console = rich.console.Console(
      file=io.StringIO(), force_terminal=is_terminal, width=100
  )
  with progress.Display(console) as display:
    display.status("building the model")
    display.steps("step", 1, 400, "loss 9.1234")
    display.steps("step", 2, 400, "loss 8.1234")  # Too soon for a line.
    display.note("step 2  evaluated")
    display.steps("step", 400, 400, "loss 1.5000  1,234 tokens/s  0:00:00 left")
    if is_terminal:
      display._bar.refresh()
  return console.file.getvalue()


def test_plain_lines_where_there_is_no_terminal():
  assert show(is_terminal=False).splitlines() == [
      "building the model",
      "step 1/400  loss 9.1234",
      "step 2  evaluated",
      "step 400/400  loss 1.5000  1,234 tokens/s  0:00:00 left",
  ]


def test_bar_on_a_terminal():
  shown = show(is_terminal=True)
  assert "━" in shown
  assert "step 400/400" in shown
  assert "step 2  evaluated" in shown
  # The bar goes, its last figures stay.
  last = "step 400/400  loss 1.5000  1,234 tokens/s  0:00:00 left"
  assert shown.splitlines()[-1].endswith(last)


def test_duration():
  assert progress.duration(3725.4) == "1:02:05"


def test_a_histogram_says_what_is_in_its_bins():
  (value,) = progress.histogram_of("a_name", [0.0, 1.0, 3.0], [2, 0, 1]).value
  assert value.tag == "a_name"
  histogram = value.histo
  # The last bin, without an upper end, is shown up to twice its lower end.
  assert list(histogram.bucket_limit) == [1.0, 3.0, 6.0]
  assert list(histogram.bucket) == [2, 0, 1]
  assert (histogram.min, histogram.max, histogram.num) == (0.0, 6.0, 3)
  # Two in the middle of the first bin, one in that of the last.
  assert histogram.sum == 2 * 0.5 + 4.5
  assert histogram.sum_squares == 2 * 0.25 + 4.5**2


def run_hook(model_dir, display, first_step, last_step, metrics_every):
  """Trains nothing for some steps; the loss is 10 minus the step."""
  with tf.Graph().as_default():
    global_step = tf.train.get_or_create_global_step()
    step = tf.cast(global_step, tf.float32)
    with tf.control_dependencies([step]):
      train_op = tf.assign_add(global_step, 1)
    hook = progress.ProgressHook(
        str(model_dir),
        "a_task",
        {
            "cross_entropy": 10 - step,
            "neg_log_perplexity": step - 10,
            "packing_efficiency": step / 10,
        },
        {
            "a/layer/load_max": step,
            "a/layer/load_histogram": tf.stack([step] + [0.0] * 7 + [1.0]),
        },
        {"of_another_layer": step},
        display,
        progress.MetricsFile(str(model_dir)),
        last_step,
        100,
        metrics_every,
    )
    # One after the other: the initializer would undo the assignment.
    with tf.control_dependencies([tf.global_variables_initializer()]):
      init_op = tf.group(tf.assign(global_step, first_step))
    with tf.train.MonitoredSession(
        tf.train.ChiefSessionCreator(tf.train.Scaffold(init_op=init_op)),
        [hook, tf.train.StopAtStepHook(last_step=last_step)],
    ) as session:
      while not session.should_stop():
        session.run(train_op)


def test_hook_records_every_so_many_steps(tmp_path, metrics_file):
  console = rich.console.Console(file=io.StringIO(), width=100)
  display = progress.Display(console)
  run_hook(tmp_path, display, 0, 5, metrics_every=2)
  # Killed after step 5, resumed from a checkpoint of step 3.
  run_hook(tmp_path, display, 3, 7, metrics_every=2)
  records = metrics_file.read()
  assert [record["step"] for record in records] == [2, 4, 6]
  # The loss of a step is that of its batch, before its update.
  assert [record["cross_entropy"] for record in records] == [9.0, 7.0, 5.0]
  assert {record["kind"] for record in records} == {"train"}
  assert records[0]["layers"] == {
      "a/layer": {"load_max": 1.0, "load_histogram": [1.0] + [0.0] * 7 + [1.0]}
  }
  # The first call of a session, which is slow, does not count: nothing is left
  # to be measured for step 4, the first of the second session.
  rates = [record["tokens_per_second"] for record in records]
  assert rates[1] is None
  assert rates[0] > 0
  assert rates[2] > 0
  lines = console.file.getvalue().splitlines()
  assert lines[0] == "step 1/5  loss 10.0000"
  assert lines[-1].startswith("step 7/7  loss 4.0000")
  assert lines[-1].endswith("tokens/s  0:00:00 left")


def test_hook_writes_what_tensorboard_shows(tmp_path):
  console = rich.console.Console(file=io.StringIO())
  run_hook(tmp_path, progress.Display(console), 0, 4, metrics_every=2)
  (path,) = tmp_path.glob("events.out.tfevents.*")
  events = list(tf.train.summary_iterator(str(path)))
  values = {
      (event.step, value.tag): value
      for event in events
      for value in event.summary.value
  }
  histogram = values.pop((2, "a/layer/load_histogram")).histo
  assert list(histogram.bucket) == [1.0] + [0.0] * 7 + [1.0]
  assert list(histogram.bucket_limit) == [*figures.LOAD_BINS[1:], 8.0]
  assert values.pop((4, "a/layer/load_histogram")).histo.num == 4
  assert {v.WhichOneof("value") for v in values.values()} == {"simple_value"}
  scalars = {key: value.simple_value for key, value in values.items()}
  assert scalars[2, "cross_entropy"] == 9
  assert scalars[4, "neg_log_perplexity"] == -7
  assert scalars[4, "packing_efficiency"] == pytest.approx(0.3)
  assert scalars[4, "a/layer/load_max"] == 3
  assert scalars[4, "of_another_layer"] == 3
  assert scalars[4, "tokens_per_second"] > 0
  assert {step for step, _ in scalars} == {2, 4}
  # Makes TensorBoard forget what a killed run wrote for later steps.
  starts = [
      event.step
      for event in events
      if event.session_log.status == tf.SessionLog.START
  ]
  assert starts == [1]
