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

"""The hook that feeds the display, metrics.jsonl and TensorBoard."""

import io
import json

import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch.training import alarms
from mtf_switch.training import figures
from mtf_switch.training import metrics_file as metrics_file_lib
from mtf_switch.training import progress
from mtf_switch.training import progress_hook


def run_hook(
    model_dir, display, first_step, last_step, metrics_every, steps_per_call=1
):
  """Trains nothing for some steps; the loss is 10 minus the step.

  As on TPUs, a call of the session makes several steps, the last one fewer.
  """
  with tf.Graph().as_default():
    global_step = tf.train.get_or_create_global_step()
    step = tf.cast(global_step, tf.float32)
    with tf.control_dependencies([step]):
      train_op = tf.assign(
          global_step, tf.minimum(global_step + steps_per_call, last_step)
      )
    hook = progress_hook.ProgressHook(
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
            "a/layer/load": tf.stack([step, 2 / 3]),
        },
        {"of_another_layer": step},
        display,
        metrics_file_lib.MetricsFile(str(model_dir)),
        last_step,
        100,
        metrics_every,
        {"a/layer": alarms.Layer(slots=1, num_choices=1)},
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


def test_hook_records_every_so_many_steps(tmp_path):
  console = rich.console.Console(file=io.StringIO(), width=100)
  display = progress.Display(console)
  run_hook(tmp_path, display, 0, 5, metrics_every=2)
  # Killed after step 5, resumed from a checkpoint of step 3.
  run_hook(tmp_path, display, 3, 7, metrics_every=2)
  records = metrics_file_lib.MetricsFile(str(tmp_path)).read()
  assert [record["step"] for record in records] == [2, 4, 6]
  # The loss of a step is that of its batch, before its update.
  assert [record["cross_entropy"] for record in records] == [9.0, 7.0, 5.0]
  assert {record["kind"] for record in records} == {"train"}
  assert records[0]["layers"] == {
      "a/layer": {
          "load_max": 1.0,
          "load_histogram": [1.0] + [0.0] * 7 + [1.0],
          "load": [1.0, 0.6667],
      }
  }
  # The first call of a session, which is slow, does not count: nothing is left
  # to be measured for step 4, the first of the second session.
  rates = [record["tokens_per_second"] for record in records]
  assert rates[1] is None
  assert rates[0] > 0
  assert rates[2] > 0
  seconds = [record["seconds"] for record in records]
  assert 0 < seconds[0] < seconds[1] < seconds[2]
  lines = console.file.getvalue().splitlines()
  assert lines[0] == "step 1/5  loss 10.0000  load up to 0.00"
  assert lines[-1].startswith("step 7/7  loss 4.0000")
  assert lines[-1].endswith("tokens/s  load up to 6.00  0:00:00 left")


def test_recorded_steps_fetch_what_all_steps_do(tmp_path, monkeypatch):
  fetched = []
  before_run = progress_hook.ProgressHook.before_run

  def noted(hook, run_context):
    arguments = before_run(hook, run_context)
    fetched.append({x.name for x in tf.nest.flatten(arguments.fetches)})
    return arguments

  monkeypatch.setattr(progress_hook.ProgressHook, "before_run", noted)
  display = progress.Display(rich.console.Console(file=io.StringIO()))
  run_hook(tmp_path, display, 0, 4, metrics_every=2)
  # Otherwise TensorFlow optimizes the graph a second time.
  assert fetched == [fetched[0]] * 4


def test_warnings_are_said_once_and_recorded(tmp_path):
  def run_and_say(*steps):
    console = rich.console.Console(file=io.StringIO(), width=100)
    run_hook(tmp_path, progress.Display(console), *steps, metrics_every=1)
    lines = console.file.getvalue().splitlines()
    return [x for x in lines if "warning" in x or "no longer" in x]

  # The load of the first expert is the step, that of the second 2/3: from a
  # load of 2 on, the first has all that one can have, and more.
  assert run_and_say(0, 8) == [
      "step 7  warning: one expert takes most, a/layer (expert 0, share 3)"
  ]
  before = (tmp_path / "metrics.jsonl").read_text()
  *_, record = (x for x in map(json.loads, before.splitlines()) if "what" in x)
  assert list(record) == [
      *("step", "kind", "seconds", "date", "task"),
      *("what", "where", "state", "numbers"),
  ]
  assert (record["step"], record["kind"]) == (7, "warning")
  assert (record["task"], record["state"]) == ("a_task", "began")
  # Made again from a step before it, and gone on with from one after it.
  assert len(run_and_say(4, 7)) == 1
  assert not run_and_say(7, 12)
  records = metrics_file_lib.MetricsFile(str(tmp_path)).read()
  assert [x["step"] for x in records if x["kind"] == "warning"] == [7]


def test_the_trend_is_the_newer_half_against_the_older():
  assert progress_hook.trend([9.0] * 19) is None
  assert progress_hook.trend([3.0] * 10 + [2.5] * 10) == -0.5
  assert progress_hook.trend([3.0, *[2.0] * 10, *[4.0] * 10]) == (
      pytest.approx(42 / 11 - 21 / 10)
  )


def test_the_figures_of_a_step_in_words():
  dense = {"cross_entropy": 2.12344, "aux_loss": 7.0}
  assert progress_hook.describe(dense, None, None, None) == "loss 2.1234"
  sparse = {
      **dense,
      "fraction_dropped": 0.01234,
      "encoder/layer/load_max": 1.5,
      "decoder/layer/load_max": 2.346,
      "decoder/layer/fraction_dropped": 0.5,
  }
  assert progress_hook.describe(sparse, 0.01249, 1234.5, 3725.4) == (
      "loss 2.1234 (+0.012)  1,234 tokens/s  1.2% dropped  load up to 2.35  "
      "1:02:05 left"
  )


@pytest.mark.parametrize(
    "metrics_every, steps_per_call, expected",
    [
        (10, 100, [100, 200, 250]),
        (100, 100, [100, 200]),
        (70, 50, [100, 150, 250]),
        (100, 70, [140, 210]),
    ],
)
def test_layers_are_recorded_however_long_the_loops(
    tmp_path, metrics_every, steps_per_call, expected
):
  display = progress.Display(rich.console.Console(file=io.StringIO()))
  run_hook(tmp_path, display, 0, 250, metrics_every, steps_per_call)
  records = metrics_file_lib.MetricsFile(str(tmp_path)).read()
  assert [record["step"] for record in records] == expected
  for record in records:
    assert record["layers"]["a/layer"]["load_max"] is not None
  (path,) = tmp_path.glob("events.out.tfevents.*")
  tags = {
      (event.step, value.tag)
      for event in tf.train.summary_iterator(str(path))
      for value in event.summary.value
  }
  for step in expected:
    assert {(step, "a/layer/load_max"), (step, "of_another_layer")} <= tags


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
  for step in (2, 4):
    picture = values.pop((step, "load_of_experts")).image
    assert (picture.height, picture.width) == (128, 256)  # 1 layer, 2 experts.
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
