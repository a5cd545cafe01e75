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

"""Meshes of several processes on one machine, as users start them."""

import mtf_switch  # isort: skip  # noqa: F401
import ctypes
import json
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.mesh import cluster as cluster_lib
from mtf_switch.mesh import servers
from tests import programs

SIZES = """
d_model = 8
d_ff = 16
d_kv = 4
num_heads = 2
num_experts = 4
num_cores = 4
"""
GIN = """
include "models/switch_tiny.gin"
include "layouts/expert_data.gin"
include "schedules/constant_0_001.gin"
include "runs/pretrain.gin"

task = "toy_lm"
model_type = "lm"
sequence_length = {"targets": 16}
batch_size = 4
train_steps = 24
constant_learning_rate.learning_rate = 0.03
train.save_checkpoints_steps = 2
train.metrics_every = 1

dropout_rate = 0.1
make_layer_stack.layers = [
    @transformer_layers.SelfAttention,
    @SwitchFeedForward,
]
""" + SIZES
FINETUNE_GIN = """
include "models/switch_tiny.gin"
include "layouts/expert_data.gin"
include "runs/finetune.gin"
include "runs/evaluate.gin"

pretrained_dir = "pretrained"
task = "toy_letters"
sequence_length = {"inputs": 16, "targets": 16}
batch_size = 4
train_steps = 3
train.eval_every = 3

encoder/transformer.make_layer_stack.layers = [@SwitchFeedForward]
decoder/transformer.make_layer_stack.layers = [
    @transformer_layers.SelfAttention,
    @transformer_layers.EncDecAttention,
]
""" + SIZES
RUN = ["--gin_file=mine.gin", "--module_import=tests.toy_tasks"]


def on_processors(count):
  return f"--gin_param=data_parallelism = {count}"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  directory = tmp_path_factory.mktemp("user")
  (directory / "mine.gin").write_text(GIN)
  (directory / "other").mkdir()
  return directory


def losses(model_dir):
  lines = (model_dir / "metrics.jsonl").read_text().splitlines()
  records = [r for r in map(json.loads, lines) if r["kind"] != "warning"]
  return {r["step"]: r["cross_entropy"] for r in records}


def wait_until(holds, pid=None):
  """Waits, as long as a process is alive; for a minute at most without one."""
  for _ in range(600 if pid is None else sys.maxsize):
    if holds():
      return
    if pid is not None:
      os.kill(pid, 0)
    time.sleep(0.1)
  raise AssertionError("not within a minute")


def reaches(model_dir, step):
  path = model_dir / "metrics.jsonl"
  return lambda: path.exists() and f'"step": {step},' in path.read_text()


def is_gone(process):
  return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_lost_process_and_resumption_with_fewer(server, directory):
  """The losses are those of one process that nothing interrupts.

  They agree to 1e-5 of their value, a hundred roundings of float32: sums over
  the mesh have another order.
  """
  alone = server.run([*RUN, "--model_dir=alone", on_processors(1)], directory)
  assert alone.returncode == 0, alone.stderr
  expected = losses(directory / "alone")
  assert list(expected) == list(range(1, 25))

  model_dir = directory / "several"
  pid = server.start(
      [*RUN, "--model_dir=several", on_processors(4), "--mesh_hosts=4"],
      directory,
  )
  wait_until(reaches(model_dir, 5), pid)
  others = psutil.Process(pid).children()
  assert len(others) == 3
  others[1].kill()
  lost = server.wait()
  assert lost.returncode == 1
  *_, line = lost.stderr.splitlines()
  step = max(
      int(path.stem.partition("-")[2]) for path in model_dir.glob("*.index")
  )
  assert line.startswith("run_switch: task 2 of the mesh (localhost:")
  assert line.endswith(
      ") is lost; run the same command, also with another mesh, to go on from "
      f"the checkpoint of step {step}."
  )
  assert 4 <= step < 24
  assert "Traceback" not in lost.stderr
  wait_until(lambda: all(map(is_gone, others)))
  before = losses(model_dir)
  assert before == pytest.approx(
      {step: expected[step] for step in before}, rel=1e-5
  )

  # Two machines, each with the same command.
  hosts = cluster_lib.parse("2", None).hosts
  command = [
      *RUN, "--model_dir=several", on_processors(2),
      f"--mesh_hosts={','.join(hosts)}",
  ]  # fmt: skip
  other = subprocess.Popen(
      [sys.executable, programs.PROGRAM, *command, "--mesh_task=1"],
      cwd=directory / "other",
      env=programs.environment(),
      stderr=subprocess.PIPE,
      text=True,
  )
  (directory / "other" / "mine.gin").write_text(GIN)
  resumed = server.run([*command, "--mesh_task=0"], directory)
  assert resumed.returncode == 0, resumed.stderr
  assert f"building the model, to train from step {step}\n" in resumed.stderr
  _, other_said = other.communicate(timeout=60)
  assert other.returncode == 0
  *_, last = other_said.splitlines()
  assert last == f"task 0 of the mesh ({hosts[0]}) has ended."
  assert losses(model_dir) == pytest.approx(expected, rel=1e-5)
  # All that is written is written by task 0.
  assert [p.name for p in (directory / "other").iterdir()] == ["mine.gin"]


def test_fine_tuning_and_scoring(server, directory):
  """Fine-tuning's decoded outputs, and the scores of its last checkpoint."""
  (directory / "finetune.gin").write_text(FINETUNE_GIN)
  (directory / "pairs.tsv").write_text("the switch\tsends\neach\tone\n")

  def run(*arguments):
    ended = server.run(
        [
            "--gin_file=finetune.gin",
            "--module_import=tests.toy_tasks",
            on_processors(2),
            *arguments,
        ],
        directory,
    )
    assert ended.returncode == 0, ended.stderr

  def evaluations_and_scores(name, *arguments):
    run(f"--model_dir={name}", "--mode=finetune", *arguments)
    run(
        f"--model_dir={name}",
        "--mode=score",
        "--input_file=pairs.tsv",
        f"--output_file={name}.scores",
        *arguments,
    )
    path = directory / name / "validation_eval/metrics.jsonl"
    scores = (directory / f"{name}.scores").read_text().split()
    return (
        [json.loads(line) for line in path.read_text().splitlines()],
        [float(score) for score in scores],
    )

  run("--model_dir=pretrained")
  evaluations, scores = evaluations_and_scores("tuned")
  of_several = evaluations_and_scores("tuned_by_several", "--mesh_hosts=2")
  assert [x["step"] for x in evaluations] == [3]
  assert of_several[0] == evaluations
  # Sums over the mesh have another order, as above.
  assert len(scores) == 2
  assert of_several[1] == pytest.approx(scores, rel=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            [on_processors(4), "--mesh_hosts=3"],
            "mesh_shape has 4 processors, which is no multiple of the 3 "
            "processes of --mesh_hosts; the nearest is 3.",
        ),
        (
            [
                on_processors(2),
                "--mesh_hosts=2",
                "--gin_param=Experiment.mesh_devices = ['cpu:0', 'cpu:1']",
            ],
            "Experiment.mesh_devices names the devices of one process; leave "
            "it out with --mesh_hosts, which finds those of all.",
        ),
        (
            [
                on_processors(4),
                "--gin_param=Experiment.mesh_devices = ['cpu:0', 'cpu:1']",
            ],
            "Experiment.mesh_devices has 2 names, but mesh_shape has 4 "
            "processors.",
        ),
        (
            ["--mesh_task=0"],
            "--mesh_task goes with --mesh_hosts only.",
        ),
        (
            ["--mesh_hosts=2", "--tpu=mine"],
            "--mesh_hosts is for CPUs and GPUs; --tpu finds the hosts of a "
            "TPU.",
        ),
        (
            ["--mesh_hosts=2", "--mode=tasks"],
            "--mesh_hosts is of no use to --mode=tasks.",
        ),
    ],
)
def test_mistakes(server, directory, arguments, message):
  result = server.run([*RUN, "--model_dir=mistake", *arguments], directory)
  assert result.returncode == 1
  assert result.stderr == f"run_switch: {message}\n"
  assert not (directory / "mistake").exists()


def test_tf_config_is_refused(directory):
  result = subprocess.run(
      [sys.executable, programs.PROGRAM, "--model_dir=mistake"],
      cwd=directory,
      env=programs.environment(TF_CONFIG="{}"),
      capture_output=True,
      text=True,
  )
  assert result.returncode == 1
  assert result.stderr == (
      "run_switch: the environment has TF_CONFIG, in which TensorFlow's "
      "Estimator would look for workers of its own; unset it, and name the "
      "processes of a mesh with --mesh_hosts.\n"
  )


HOLD = """
import time
from mtf_switch.mesh import cluster, servers
all_three = cluster.parse("3", None)
with servers.connected(all_three, 6, print):
  print(*cluster.find_devices(all_three, 6), flush=True)
  time.sleep(1000)
"""


def listening(pid):
  """The devices that the listening sockets of a process are bound to."""
  pidfd_getfd = 438  # Linux's number of it; Python has no function.
  process = os.pidfd_open(pid)
  devices = []
  for descriptor in os.listdir(f"/proc/{pid}/fd"):
    copy = ctypes.CDLL(None).syscall(pidfd_getfd, process, int(descriptor), 0)
    try:
      opened = socket.socket(fileno=copy)
    except OSError:  # Another kind of file.
      os.close(copy)
      continue
    with opened:
      is_of_net = opened.family in (socket.AF_INET, socket.AF_INET6)
      options = (socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
      if is_of_net and opened.getsockopt(*options):
        options = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
        devices.append(opened.getsockopt(*options).rstrip(b"\0"))
  os.close(process)
  return devices


def test_nobody_serves_a_task_0_that_is_killed():
  first = subprocess.Popen(
      [sys.executable, "-c", HOLD],
      # Which gRPC would go through.
      env=programs.environment(http_proxy="http://127.0.0.1:9"),
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
  )
  assert first.stdout.readline().split() == [
      f"/job:mesh/task:{task}/device:CPU:{index}"
      for task in range(3)
      for index in range(2)
  ]
  others = psutil.Process(first.pid).children()
  assert len(others) == 2
  # No other machine reaches them.
  bound = [listening(process.pid) for process in (first, *others)]
  first.kill()
  first.wait()
  assert bound == 3 * [[b"lo"]]
  try:
    wait_until(lambda: all(map(is_gone, others)))
  finally:
    for other in others:
      if not is_gone(other):
        other.kill()


@pytest.mark.parametrize(
    "name, expected",
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("192.0.2.1", False),
        ("no name", False),
    ],
)
def test_names_that_only_the_machine_itself_knows(name, expected):
  assert servers._is_loopback(name) is expected


def test_a_kernel_that_does_not_bind_to_devices_is_noted():
  problem = PermissionError(1, "Operation not permitted")
  with pytest.warns(errors.UserNotice, match=r"\(Operation not permitted\)"):
    servers._note_open(problem)


def test_a_port_that_is_in_use_is_refused():
  with socket.socket() as listener:
    listener.bind(("", 0))
    listener.listen()
    host = f"localhost:{listener.getsockname()[1]}"
    with pytest.raises(ValueError) as error:
      servers.serve(cluster_lib.Cluster((host, host), 1), 2)
  assert str(error.value) == (
      f"the port of {host} cannot be had on this machine: Address already in "
      "use; end what uses it, or choose another."
  )


def test_no_second_session():
  """Which the Estimator opens when it has lost a device."""
  with tf.Graph().as_default():
    hook = servers.OneSessionHook()
    hook.begin()
    hook.after_create_session(None, None)
    with pytest.raises(servers.ConnectionLost, match="the same command"):
      hook.after_create_session(None, None)
