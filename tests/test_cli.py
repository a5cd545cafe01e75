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

"""The command line as a new user tries it, from a directory of their own."""

import mtf_switch  # isort: skip  # noqa: F401
import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.training import figures
from tests import programs
from tests import small_model
from tests import toy_tasks

GIN = f"""
{small_model.RUN}
train_steps = 12
constant_learning_rate.learning_rate = 0.03
train.save_checkpoints_steps = 3
train.keep_checkpoint_max = 2
train.keep_best = 2
train.metrics_every = 1
train.eval_every = 6
train.steps_per_block = 5

dropout_rate = 0.1
"""
SWITCH_LAYERS = {"encoder/block_000/layer_001", "decoder/block_000/layer_001"}
RUN = ["--gin_file=mine.gin", "--module_import=tests.toy_tasks"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  """An empty directory but for the user's gin file."""
  directory = tmp_path_factory.mktemp("user")
  (directory / "mine.gin").write_text(GIN)
  return directory


def run(arguments, directory):
  """Runs the program in a process of its own."""
  return programs.run_alone([programs.PROGRAM, *arguments], directory)


@pytest.fixture(scope="module")
def straight(directory):
  """A run that nothing interrupts, and what it printed."""
  return run([*RUN, "--model_dir=straight"], directory)


def read_metrics(model_dir):
  lines = (model_dir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


# Answers at once.


def loaded_by(arguments, directory):
  """Runs the program in a process of its own and lists the loaded modules.

  Returns:
    the names of the modules, and how often garbage was collected.
  """
  script = """
import gc, json, sys
import run_switch
try:
  run_switch.main()
except SystemExit:
  pass
collections = sum(stats["collections"] for stats in gc.get_stats())
with open("loaded.json", "w") as file:
  json.dump([sorted(sys.modules), collections], file)
"""
  subprocess.run(
      [sys.executable, "-c", script, *arguments],
      cwd=directory,
      env=programs.environment(),
      capture_output=True,
      timeout=300,
  )
  modules, collections = json.loads((directory / "loaded.json").read_text())
  return set(modules), collections


def test_help(tmp_path):
  result = run(["--help"], tmp_path)
  for flag in (
      "mode", "model_dir", "gin_file", "gin_param", "seed", "input_file",
      "output_file", "compare_dir", "output_dir", "module_import",
      "t5_tfds_data_dir", "additional_task_cache_dirs", "tpu", "tpu_zone",
      "gcp_project", "tpu_job_name", "mesh_hosts", "mesh_task",
  ):  # fmt: skip
    assert re.search(rf"^  --(\[no\])?{flag}:", result.stdout, re.MULTILINE)
  assert "--gin_file=runs/pretrain.gin" in result.stdout  # An example.


@pytest.mark.parametrize("arguments", [["--help"], ["--mode=train"]])
def test_flags_need_nothing_but_absl(tmp_path, arguments):
  modules, _ = loaded_by(arguments, tmp_path)
  assert "absl.flags" in modules
  assert not modules & {"tensorflow", "numpy", "gin", "rich"}


def test_training_loads_no_package_for_other_purposes(tmp_path):
  # All is loaded when the missing task is found missing.
  arguments = ["--model_dir=m", "--gin_param=train.steps = 1"]
  modules, collections = loaded_by(arguments, tmp_path)
  assert {"tensorflow", "t5.evaluation.metrics", "tasks"} <= modules
  assert not modules & {"nltk", "pandas.core", "pyglove.core", "torch"}
  # With Python's own threshold there are more than a thousand.
  assert collections < 200


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            [],
            "--model_dir is missing, the directory for checkpoints, metrics "
            "and logs.",
        ),
        (
            ["--model_dir=m", "train"],
            "'train' is not a flag; flags start with --.",
        ),
        (
            ["--model_dir=m", "--input_file=a"],
            "--input_file goes with --mode=infer, --mode=score and "
            "--mode=routing only.",
        ),
        (
            ["--mode=compare_languages", "--compare_dir=a"],
            "--mode=compare_languages needs --compare_dir and --output_dir.",
        ),
        (
            ["--model_dir=m", "--gin_file=models/swich_tiny.gin"],
            "--gin_file=models/swich_tiny.gin is neither in the working "
            f"directory nor in {programs.PROJECT}/gin; did you mean "
            "models/switch_tiny.gin or models/switch_lm_tiny.gin or "
            "models/switch_c.gin?",
        ),
    ],
)
def test_first_mistakes(tmp_path, arguments, message):
  result = run(arguments, tmp_path)
  assert result.returncode == 1
  assert result.stderr == f"run_switch: {message}\n"
  assert not list(tmp_path.iterdir())


# Streams and signals, without TensorFlow.


def redirected(command, redirection, directory):
  """The exit status of a command whose streams a shell redirects."""
  result = subprocess.run(
      f"{shlex.join(command)} {redirection}",
      shell=True,
      cwd=directory,
      env=programs.environment(),
      timeout=300,
  )
  return result.returncode


@pytest.mark.parametrize(
    "arguments, redirection",
    [
        (["--model_dir=m", "train"], "2>&-"),
        (["--model_dir=m", "train"], "2>/dev/full"),
        (["--model_dir=m", "train"], "<&- >&- 2>&-"),
        (["--mode=trian"], "2>&-"),
        (["--mode=trian"], "2>/dev/full"),
    ],
    ids=str,
)
def test_exit_status_without_a_terminal(tmp_path, arguments, redirection):
  command = [sys.executable, str(programs.PROGRAM), *arguments]
  assert redirected(command, redirection, tmp_path) == 1
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "script, message",
    [
        ("exec {} --help >/dev/full", "the help cannot be printed: No space "),
        ("mkdir a; cd a; rmdir ../a; exec {} --mode=tasks", "the working dir"),
    ],
)
def test_no_place_to_print_or_to_stand(tmp_path, script, message):
  program = shlex.join([sys.executable, str(programs.PROGRAM)])
  result = subprocess.run(
      script.format(program),
      shell=True,
      cwd=tmp_path,
      env=programs.environment(),
      capture_output=True,
      text=True,
      timeout=300,
  )
  assert result.returncode == 1
  assert result.stderr.startswith(f"run_switch: {message}")
  assert len(result.stderr.splitlines()) == 1


def test_help_that_is_read_in_part(tmp_path):
  program = shlex.join([sys.executable, str(programs.PROGRAM)])
  result = subprocess.run(
      f"{program} --help | true",
      shell=True,
      cwd=tmp_path,
      capture_output=True,
      text=True,
      timeout=300,
  )
  assert not result.stderr


def test_results_that_cannot_be_printed(server, tmp_path):
  server.start(["--mode=tasks"], tmp_path, stdout="/dev/full")
  result = server.wait()
  assert result.returncode == 1
  assert result.stderr.splitlines()[-1] == (
      "run_switch: No space left on device"
  )


def test_names_in_no_encoding_are_shown_with_escapes(tmp_path):
  result = subprocess.run(
      [sys.executable, programs.PROGRAM, "--model_dir=m", b"caf\xe9\xc3\xa9"],
      cwd=tmp_path,
      env=programs.environment(LC_ALL="C", PYTHONUTF8="0"),
      capture_output=True,
      timeout=300,
  )
  assert result.returncode == 1
  assert result.stderr.startswith(b"run_switch: 'caf\\udce9")
  assert result.stderr.endswith(b" is not a flag; flags start with --.\n")


def test_the_log_stays_without_a_terminal(tmp_path):
  """And with a message that is in no encoding."""
  script = """
import sys, tempfile
from switch_command import streams
streams.open_all()
tempfile.tempdir = sys.argv[1]
log = streams.Log()
print("early", file=sys.stderr)
print("lost", "\\ud83d", file=log.terminal)
log.move_to("log.txt")
print("late \\ud83d", file=sys.stderr)
sys.exit(75)
"""
  for redirection, temporary in (("2>&-", "."), ("2>/dev/full", "/proc")):
    command = [sys.executable, "-c", script, temporary]
    assert redirected(command, redirection, tmp_path) == 75
    assert (tmp_path / "log.txt").read_text() == "early\nlate \\ud83d\n"
    (tmp_path / "log.txt").unlink()


def test_no_thread_imports_while_modules_are_loaded():
  """At any of many starts on a terminal.

  TensorFlow Datasets replaces Python's import while it is loaded, and what
  threads of rich import as they draw is then refused.
  """
  script = """
import gc, io, sys, threading, time
from etils import epy
import rich.console
from switch_command import calls
shown = io.StringIO()
console = rich.console.Console(file=shown, force_terminal=True, width=80)
with calls.loading(console, "loading"):
  assert shown.getvalue() == "loading\\r", repr(shown.getvalue())
  assert threading.active_count() == 1
  assert not gc.isenabled()
assert gc.isenabled() and gc.get_freeze_count() > 1000
assert shown.getvalue() == "loading\\r       \\r", repr(shown.getvalue())
quiet = rich.console.Console(file=io.StringIO())
with calls.loading(quiet, "loading"):
  pass
assert quiet.file.getvalue() == "loading\\n"
failed = []
threading.excepthook = failed.append
for start in range(8):
  with calls.loading(rich.console.Console(file=sys.stderr), "loading"):
    with epy.lazy_imports():
      time.sleep(0.15)
sys.exit(f"{len(failed)} starts failed: {failed[0].exc_value}" if failed else 0)
"""
  terminal, of_program = pty.openpty()
  process = subprocess.Popen(
      [sys.executable, "-c", script],
      env=programs.environment(TERM="xterm"),
      stderr=of_program,
  )
  os.close(of_program)
  shown = b""
  with contextlib.suppress(OSError):  # The end of a terminal.
    while data := os.read(terminal, 1024):
      shown += data
  os.close(terminal)
  assert process.wait() == 0, shown.decode()
  assert shown.count(b"loading") >= 8


@pytest.fixture
def busy():
  """A program that takes its time to end after the first signal."""
  script = """
import sys, time
from switch_command import signals as signals_lib
signals = signals_lib.Signals(sys.stderr)
while True:
  try:
    print("ready", flush=True)
    time.sleep(60)
  except KeyboardInterrupt:
    print(signals.first.name, flush=True)
"""
  process = subprocess.Popen(
      [sys.executable, "-c", script],
      env=programs.environment(),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
  )
  assert process.stdout.readline() == "ready\n"
  yield process
  process.kill()
  process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(busy, number):
  # As `timeout` sends it: to the process, then to its group.
  busy.send_signal(number)
  busy.send_signal(number)
  assert busy.stdout.readline() == f"{number.name}\n"
  assert busy.stderr.readline() == (
      f"{number.name}: ending in order; a second signal ends at once.\n"
  )
  assert busy.poll() is None
  busy.send_signal(signal.SIGTERM)
  assert busy.wait(timeout=60) == 128 + signal.SIGTERM


# A run from start to end.


def without_waits(lines):
  """Lines that do not depend on how fast the machine is."""
  assert lines[0].startswith("loading TensorFlow (")
  ended = [re.fullmatch(r"(.*): \d+ s", line) for line in lines]
  long = {found[1] for found in ended if found}
  return [
      line
      for line in lines[1:]
      # What is waited for, and for how long.
      if not any(line.startswith(f"{text}: ") for text in {*lines, *long})
      and (line not in long or line.startswith(("building the m", "evaluat")))
  ]


def test_training_prints_progress_and_nothing_else(straight):
  assert straight.returncode == 0, straight.stderr
  assert not straight.stdout
  lines = without_waits(straight.stderr.splitlines())
  notes = [line for line in lines if line.startswith("note: ")]
  lines = lines[len(notes) :]
  # Of each split and feature.
  assert all(note.endswith(" of toy_copy.") for note in notes)
  assert [note.split(" are longer")[0] for note in notes[:2]] == [
      "note: train split: 6 of 50 inputs",
      "note: train split: 17 of 50 targets",
  ]
  assert len(notes) == 4
  assert lines[0] == "building the model, to train from step 0"
  routed = r"\d+\.\d% dropped  load up to \d\.\d\d"
  assert re.fullmatch(rf"step 1/12  loss \d\.\d{{4}}  {routed}", lines[1])
  assert re.fullmatch(
      rf"step 12/12  loss \d\.\d{{4}}  [\d,]+ tokens/s  {routed}  0:00:00 left",
      lines[-3],
  )
  assert lines[-2].split("  ")[0] == "evaluating toy_copy at step 12"
  assert re.fullmatch(
      r"step 12  toy_copy  neg_log_perplexity -\d\.\d{4}  "
      r"fraction_dropped \d\.\d{4}",
      lines[-1],
  )
  assert len(lines) < 20


OF_TRAINING = ("learning_rate", "gradient_norm", "weight_norm")


def test_training_leaves_what_it_promises(straight, directory):
  del straight
  model_dir = directory / "straight"
  *losses, first = read_metrics(model_dir)[:5]
  assert (first["step"], first["kind"]) == (1, "train")
  assert [(x["what"], x["where"], x["state"]) for x in losses] == [
      ("texts are cut", f"{feature} of the {split} split", "began")
      for split in ("train", "validation")
      for feature in ("inputs", "targets")
  ]
  assert losses[0]["numbers"] == {"cut": 6, "of": 50}
  metrics = [r for r in read_metrics(model_dir) if r["kind"] != "warning"]
  assert [r["step"] for r in metrics if r["kind"] == "train"] == [*range(1, 13)]
  assert [r["step"] for r in metrics if r["kind"] == "eval"] == [6, 12]
  for record in metrics:
    assert list(record) == [
        "step", "kind", "cross_entropy", "neg_log_perplexity", "aux_loss",
        "z_loss", "fraction_dropped", "packing_efficiency", "tokens_per_second",
        "seconds", "date", "task", "layers",
        *(OF_TRAINING if record["kind"] == "train" else ()),
    ]  # fmt: skip
    assert all(record[x] > 0 for x in OF_TRAINING if x in record)
    assert record["neg_log_perplexity"] == -record["cross_entropy"] < 0
    assert record["aux_loss"] > 0
    assert record["z_loss"] == 0  # Off, unless asked for.
    assert 0 <= record["fraction_dropped"] <= 1
    assert record["task"] == "toy_copy"
    assert set(record["layers"]) == SWITCH_LAYERS
    for of_layer in record["layers"].values():
      assert set(of_layer) == set(figures.LAYER_FIGURES)
      assert sum(of_layer["load_histogram"]) == 4  # Experts.
      assert sum(of_layer["load"]) == pytest.approx(4, abs=1e-3)
    assert record["aux_loss"] == pytest.approx(
        sum(of_layer["aux_loss"] for of_layer in record["layers"].values())
    )
    if record["kind"] == "eval":
      assert record["tokens_per_second"] is None
  # Evaluation, which takes time, is part of the run.
  seconds = [record["seconds"] for record in metrics]
  assert seconds == sorted(seconds) and seconds[0] > 0
  # It learns.
  training = [r["cross_entropy"] for r in metrics if r["kind"] == "train"]
  assert training[-1] < training[0] - 0.5

  checkpoints = {path.name for path in model_dir.glob("model.ckpt-*.index")}
  # The latest two, and the evaluated ones.
  assert checkpoints == {f"model.ckpt-{step}.index" for step in (6, 10, 12)}
  config = (model_dir / "operative_config.gin").read_text()
  assert "num_experts = 4" in config
  assert "train.metrics_every = 1" in config
  (command,) = (model_dir / "commands").iterdir()
  assert "--gin_file=mine.gin" in command.read_text()
  versions = (model_dir / "versions.txt").read_text().splitlines()
  assert "tensorflow==2.15.1" in versions
  assert f"mtf_switch=={mtf_switch.__version__}" in versions
  assert versions[0].startswith("python==3.11.")
  log = (model_dir / "log.txt").read_text()
  assert "--gin_file=mine.gin" in log
  assert "Loss for final step" in log  # TensorFlow's own.
  size = json.loads((model_dir / "model.json").read_text())
  assert size["parameters"] > 259 * 16
  assert set(size) == {
      *("parameters", "flops_per_sequence"),
      *("positions_per_batch", "train_steps"),
  }
  assert list(model_dir.glob("events.out.tfevents.*"))
  assert list((model_dir / "eval_toy_copy").glob("events.out.tfevents.*"))


def test_tensorboard_shows_each_switch_layer(straight, directory):
  del straight
  model_dir = directory / "straight"
  (path,) = model_dir.glob("events.out.tfevents.*")
  shown = {
      value.tag: value
      for event in tf.train.summary_iterator(str(path))
      if event.step == 12
      for value in event.summary.value
  }
  *_, record = (r for r in read_metrics(model_dir) if r["kind"] == "train")
  assert record["step"] == 12
  for layer, of_layer in record["layers"].items():
    histogram = shown.pop(f"{layer}/load_histogram").histo
    assert list(histogram.bucket) == of_layer.pop("load_histogram")
    assert len(of_layer.pop("load")) == 4  # In one picture, of all layers.
    for name, value in of_layer.items():
      scalar = shown.pop(f"{layer}/{name}").simple_value
      assert scalar == pytest.approx(value, abs=1e-12)
  assert not [name for name in shown if "/layer_" in name]
  picture = shown["load_of_experts"].image
  assert picture.height * 4 == picture.width * len(record["layers"])
  for name in OF_TRAINING:
    scalar = shown[name].simple_value
    assert scalar == pytest.approx(record[name], rel=1e-6)


def stop_after(server, signal_, step, model_dir):
  """Sends a signal to the program when it has recorded a step."""
  pid = server.start([*RUN, f"--model_dir={model_dir.name}"], model_dir.parent)
  metrics = model_dir / "metrics.jsonl"
  while True:
    if metrics.exists() and f'"step": {step},' in metrics.read_text():
      break
    os.kill(pid, 0)  # Fails where the program has ended too early.
    time.sleep(0.001)
  os.kill(pid, signal_)
  return server.wait()


SIGNALLING = """
import os
import gin
from mesh_tensorflow.transformer import transformer

@gin.configurable
class Signalling(transformer.TransformerLayer):

  def __init__(self, number=None):
    self._number = number

  def call(self, context, x, losses=None):
    os.kill(os.getpid(), self._number)
    return x
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_step(server, directory, number):
  (directory / "signalling.py").write_text(SIGNALLING)
  # While the graph is built.
  arguments = [
      *(f"--model_dir=before_{number.name}", "--module_import=signalling"),
      "--gin_param=encoder/transformer.make_layer_stack.layers = [@Signalling]",
      f"--gin_param=Signalling.number = {number:d}",
  ]
  server.start([*RUN, *arguments], directory)
  result = server.wait()
  assert result.returncode == 128 + number
  assert result.stderr.splitlines()[-1] == (
      f"run_switch: stopped by {number.name}; run the same command again."
  )
  assert "Traceback" not in result.stderr


def without_times(metrics):
  times = dict.fromkeys(["tokens_per_second", "seconds", "date"])
  return [{**record, **times} for record in metrics]


def variables(model_dir):
  """The bits of weights and of the optimizer's state at the end."""
  reader = tf.train.load_checkpoint(f"{model_dir}/model.ckpt-12")
  return {
      name: reader.get_tensor(name).tobytes()
      for name in reader.get_variable_to_shape_map()
  }


def test_interrupted_run_ends_with_the_same_numbers(
    server, straight, directory
):
  """Bit for bit, dropout and jitter included, in training and evaluation."""
  assert straight.returncode == 0, straight.stderr
  model_dir = directory / "interrupted"
  killed = stop_after(server, signal.SIGKILL, 5, model_dir)
  assert killed.returncode == -signal.SIGKILL
  lines = (model_dir / "metrics.jsonl").read_text()
  assert lines.endswith("}\n")
  # As after a full disk, or in a copy.
  (model_dir / "checkpoint").unlink()

  stopped = stop_after(server, signal.SIGTERM, 7, model_dir)
  assert stopped.returncode == 75
  lines = stopped.stderr.splitlines()
  assert lines[0] == "building the model, to train from step 3"
  dropped = (model_dir / "metrics.dropped.jsonl").read_text()
  assert f"note: {dropped.count(chr(10))} line" in lines[1]
  assert '"step": 5,' in dropped
  ending = re.fullmatch(
      r"run_switch: stopped by SIGTERM at step (\d+), which is saved; run the "
      "same command to go on.",
      lines[-1],
  )
  assert 7 <= int(ending[1]) < 12
  assert "Traceback" not in stopped.stderr

  resumed = server.run([*RUN, "--model_dir=interrupted"], directory)
  assert resumed.returncode == 0, resumed.stderr
  first_line = resumed.stderr.splitlines()[0]
  assert first_line == f"building the model, to train from step {ending[1]}"
  assert without_times(read_metrics(model_dir)) == without_times(
      read_metrics(directory / "straight")
  )
  assert variables(model_dir) == variables(directory / "straight")
  assert len(list((model_dir / "commands").iterdir())) == 3

  finished = server.run([*RUN, "--model_dir=interrupted"], directory)
  assert finished.returncode == 0
  assert finished.stderr == (
      "nothing to train: interrupted has a checkpoint of step 12, and "
      "train.steps = 12\n"
  )


def test_going_back_to_an_older_checkpoint(server, straight, directory):
  """Weights, batches, noise and metrics are those of one step."""
  assert straight.returncode == 0, straight.stderr
  model_dir = directory / "back"
  shutil.copytree(directory / "straight", model_dir)
  (model_dir / "checkpoint").write_text(
      (model_dir / "checkpoint").read_text().replace("-12", "-10", 1)
  )
  result = server.run([*RUN, "--model_dir=back"], directory)
  assert result.returncode == 0, result.stderr
  first_line = result.stderr.splitlines()[0]
  assert first_line == "building the model, to train from step 10"
  assert without_times(read_metrics(model_dir)) == without_times(
      read_metrics(directory / "straight")
  )


# The modes after training, with nothing but the files that it left.

AFTER = [
    "--model_dir=straight",
    "--gin_file=straight/operative_config.gin",
    "--module_import=tests.toy_tasks",
]


def test_perplexity_eval(server, straight, directory):
  assert straight.returncode == 0, straight.stderr
  before = read_metrics(directory / "straight")
  mixture = "--gin_param=task = 'toy_mixture'"
  result = server.run([*AFTER, "--mode=perplexity_eval", mixture], directory)
  assert result.returncode == 0, result.stderr
  after = read_metrics(directory / "straight")
  assert after[: len(before)] == before
  of_copy, of_reverse = after[len(before) :]
  # As at the end of training.
  assert without_times([of_copy]) == without_times(before[-1:])
  assert of_reverse["task"] == "toy_reverse"
  assert of_reverse["kind"] == "eval"
  assert of_reverse["step"] == 12
  assert of_reverse["cross_entropy"] != of_copy["cross_entropy"]
  # The Estimator's own figures, without megabytes of a graph.
  for path in (directory / "straight" / "eval").iterdir():
    assert path.stat().st_size < 100_000


def test_eval(server, straight, directory):
  assert straight.returncode == 0, straight.stderr
  events = sorted((directory / "straight").glob("**/events.*"))
  few = "--gin_param=eval.num_examples = 5"
  result = server.run([*AFTER, "--mode=eval", few], directory)
  assert result.returncode == 0, result.stderr
  split = directory / "straight" / "validation_eval"
  # Beside its own figures, no megabytes of a graph.
  (new,) = {*(directory / "straight").glob("**/events.*")} - {*events}
  assert new.parent == split and new.stat().st_size < 1000
  (record,) = read_metrics(split)
  assert record["step"] == 12
  assert record["task"] == "toy_copy"
  assert record["num_examples"] == 5 and record["sample_seed"] is None
  assert 0 <= record["sequence_accuracy"] <= 100
  expected = toy_tasks.texts("validation")[:5]
  for name in ("inputs", "targets"):
    assert (split / f"toy_copy_{name}").read_text().splitlines() == expected
  predictions = (split / "toy_copy_12_predictions").read_text()
  assert predictions.count("\n") == len(expected)
  assert re.fullmatch(
      r"step 12  toy_copy  sequence_accuracy \S+  \(the first 5 examples\)",
      result.stderr.splitlines()[-1],
  )


@pytest.mark.parametrize("mode", ["train", "perplexity_eval"])
def test_another_vocabulary_is_refused(server, straight, directory, mode):
  assert straight.returncode == 0, straight.stderr
  task = "--gin_param=task = 'toy_sentinels'"
  result = server.run([*AFTER, f"--mode={mode}", task], directory)
  assert result.returncode == 1
  (line,) = result.stderr.splitlines()
  assert line.startswith("run_switch: the checkpoints in 'straight' are of a")
  assert "are of a Byte vocabulary of 259 (" in line
  assert "for the inputs, but the task has a Byte vocabulary of 264 (" in line


@pytest.mark.parametrize("mode", ["train", "perplexity_eval", "infer"])
def test_a_checkpoint_of_another_model_is_refused(
    server, straight, directory, mode
):
  assert straight.returncode == 0, straight.stderr
  arguments = [f"--mode={mode}", "--gin_param=d_ff = 64"]
  if mode == "infer":
    arguments += ["--input_file=mine.gin", "--output_file=out"]
  if mode == "train":
    arguments += ["--gin_param=train_steps = 13"]
  result = server.run([*AFTER, *arguments], directory)
  assert result.returncode == 1
  line = result.stderr.splitlines()[-1]
  assert line.startswith(
      "run_switch: the checkpoint straight/model.ckpt-12 is of another model: "
  )
  assert "experts/wi/kernel is 4 x 16 x 32 there and 4 x 16 x 64 here" in line
  assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "decoding",
    [
        [],
        ["--gin_param=Bitransformer.decode.beam_size = 2"],
        ["--gin_param=Bitransformer.decode.temperature = 1.0"],
    ],
    ids=["greedy", "beam", "sampling"],
)
def test_infer(server, straight, directory, decoding):
  assert straight.returncode == 0, straight.stderr
  (directory / "in.txt").write_text(
      "the switch\n\nsends each token\n  \n\u00e0 un expert\n"
  )
  infer = ["--mode=infer", "--input_file=in.txt", "--output_file=new/out.txt"]
  result = server.run([*AFTER, *infer, *decoding], directory)
  assert result.returncode == 0, result.stderr
  text = (directory / "new" / "out.txt").read_text()
  lines = text.split("\n")
  assert len(lines) == 6  # Five, each with its end.
  assert lines[1] == lines[3] == lines[5] == ""
  assert not any(line.startswith("b'") for line in lines)
  assert [path.name for path in (directory / "new").iterdir()] == ["out.txt"]
  if decoding and "temperature" in decoding[0]:
    again = server.run([*AFTER, *infer, *decoding], directory)
    assert again.returncode == 0
    assert (directory / "new" / "out.txt").read_text() == text
    other_seed = server.run([*AFTER, *infer, *decoding, "--seed=1"], directory)
    assert other_seed.returncode == 0
    assert (directory / "new" / "out.txt").read_text() != text


def test_score(server, straight, directory):
  assert straight.returncode == 0, straight.stderr
  pairs = ["a b\tb", "the switch\tsends each token", "a b\tb c"]
  scores = {}
  for name, lines in (("all", pairs), ("alone", pairs[:1])):
    (directory / "pairs.tsv").write_text("\n".join(lines) + "\n")
    score = ["--mode=score", "--input_file=pairs.tsv", f"--output_file={name}"]
    result = server.run([*AFTER, *score], directory)
    assert result.returncode == 0, result.stderr
    scores[name] = [float(x) for x in (directory / name).read_text().split()]
  assert len(scores["all"]) == 3 and len(scores["alone"]) == 1
  # Neighbours have no influence, to the last bit.
  assert scores["alone"][0] == scores["all"][0]
  assert all(x < 0 for x in scores["all"])
  assert scores["all"][2] < scores["all"][0]  # One more token.


def test_a_users_own_tasks_are_not_hidden_silently(server, tmp_path):
  (tmp_path / "tasks.py").write_text("")
  (tmp_path / "mine.py").write_text("import tasks")
  arguments = ["--mode=inspect", "--module_import=mine"]
  note, mistake = server.run(arguments, tmp_path).stderr.splitlines()
  assert note == (
      f"note: {tmp_path}/tasks.py cannot be imported: `tasks` is this "
      "project's package."
  )
  assert mistake.startswith("run_switch: --mode=inspect needs --task=NAME")


# Mistakes: one line each, and nothing is left behind; tests/mistakes has more.


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--module_import=no_such_module"],
            "--module_import=no_such_module: No module named 'no_such_module'.",
        ),
        (
            ["--mode=perplexity_eval"],
            "there is no checkpoint in 'mistake'; train first, or correct "
            "--model_dir.",
        ),
        (
            ["--mode=eval"],
            "there is no checkpoint in 'mistake'; train first, or correct "
            "--model_dir.",
        ),
        (
            ["--mode=infer", "--input_file=mine.gin", "--output_file=out"],
            "there is no checkpoint in 'mistake'; train first, or correct "
            "--model_dir.",
        ),
        (
            ["--mode=infer"],
            "--mode=infer needs --input_file and --output_file.",
        ),
        (
            ["--mode=score", "--input_file=mistake/pairs", "--output_file=out"],
            "--input_file=mistake/pairs does not exist.",
        ),
        (
            ["--mode=infer", "--input_file=nothing.txt", "--output_file=out"],
            "--input_file=nothing.txt does not exist.",
        ),
        (  # Before anything else is looked at.
            ["--mode=score", "--input_file=no", "--output_file=mine.gin/out"],
            "--output_file=mine.gin/out cannot be written: mine.gin/.out.new: "
            "Not a directory.",
        ),
        (
            ["--mode=perplexity_eval", "--gin_file=caf\udce9.gin"],
            "there is no checkpoint in 'mistake'; train first, or correct "
            "--model_dir.",
        ),
        (
            ["--gin_param=constant_learning_rate.learning_rate = 1e38"],
            "step 2: NaN first in the gradients of decoder, then in that of "
            "decoder/rms_norm/scale; see mistake/not_finite.json. There is no "
            "checkpoint before it. A lower learning rate or a longer warm-up "
            "may help, or train.on_not_finite = 'skip', which leaves such "
            "batches out.",
        ),
    ],
)
def test_mistakes(server, directory, arguments, message):
  (directory / "caf\udce9.gin").write_text("")
  result = server.run([*RUN, "--model_dir=mistake", *arguments], directory)
  assert result.returncode == 1
  assert result.stderr.splitlines()[-1] == f"run_switch: {message}"
  assert "Traceback" not in result.stderr
  assert not list((directory / "mistake").glob("model.ckpt*"))
  assert not (directory / "out").exists()


@pytest.mark.parametrize(
    "model_dir, message",
    [
        ("mine.gin/m", "mine.gin: is not a directory"),
        ("caf\udce9", "'caf\\udce9' is not in UTF-8"),
        ("/proc/m", "/proc/m: No such file or directory"),
    ],
)
def test_a_model_dir_that_cannot_be_made(server, directory, model_dir, message):
  result = server.run([*RUN, f"--model_dir={model_dir}"], directory)
  assert result.returncode == 1
  assert result.stderr == f"run_switch: {message}\n"


@pytest.mark.parametrize("is_users", [True, False])
def test_defects_keep_their_traceback(server, directory, is_users):
  """And show it, unless they are in the user's own lines."""
  source = "lambda: 1 // 0"
  if not is_users:
    source = f"eval(compile({source!r}, '<elsewhere>', 'eval'))"
  (directory / "defective.py").write_text(
      f"import gin\n\ngin.external_configurable({source}, 'steps')\n"
  )
  result = server.run(
      [
          *RUN,
          "--model_dir=defect",
          "--module_import=defective",
          "--gin_param=train.steps = @steps()",
      ],
      directory,
  )
  assert result.returncode == 1
  if is_users:
    assert result.stderr.endswith(
        f"run_switch: {directory}/defective.py:3: ZeroDivisionError: integer "
        "division or modulo by zero\n"
    )
  else:
    assert "Traceback (most recent call last)" in result.stderr
  log = (directory / "defect" / "log.txt").read_text()
  assert "Traceback (most recent call last)" in log


MISSING = """
import gin
import run_switch

@gin.configurable
def importing():
  import no_such_module

try:
  importing()
except ModuleNotFoundError as error:
  print(error.name, run_switch._missing(error))
"""


def test_a_missing_module_has_a_name_through_gin_too(tmp_path):
  done = programs.run_alone(["-c", MISSING], tmp_path)
  assert done.stdout == "None no_such_module\n", done.stderr
