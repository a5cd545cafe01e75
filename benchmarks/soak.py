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

"""Do killed runs go on as if nothing had happened, wherever they are killed?

  python -m benchmarks.soak

kills a small run at many moments, lets it go on, and compares it with a run
that nothing interrupts: every variable of the last checkpoint, the optimizer's
among them, and metrics.jsonl but for times, bit for bit. What is done is in
benchmarks/results/soak.json at once: the same command goes on, and --minutes
bounds it. `--moments` names some of the moments.
"""

import argparse
from collections.abc import Callable, Sequence
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from benchmarks import contest
from tests import programs
from tests import small_model

_RESULTS = contest.RESULTS / "soak.json"
_STEPS = 12
_EVALUATIONS = (6, 12)
_ARGUMENTS = ["--gin_file=mine.gin", "--module_import=tests.toy_tasks"]
# Two microbatches, two blocks, an evaluation in between, and noise.
_GIN = f"""
{small_model.RUN}
train_steps = {_STEPS}
constant_learning_rate.learning_rate = 0.03
serialize_num_microbatches.tokens_per_microbatch_per_replica = 48
train.save_checkpoints_steps = 3
train.metrics_every = 1
train.eval_every = {_EVALUATIONS[0]}
train.steps_per_block = 8

dropout_rate = 0.1
"""

# Whether a run in a directory has come to a moment.
_HasCome = Callable[[pathlib.Path], bool]


def _says(text: str) -> _HasCome:
  return lambda directory: text in (directory / ".err").read_text()


def _has(pattern: str) -> _HasCome:
  return lambda directory: any((directory / "model").glob(pattern))


def _saves(step: int) -> _HasCome:
  text = f"Saving checkpoints for {step} into".encode()

  def has_come(directory):
    log = directory / "model" / "log.txt"
    return log.exists() and text in log.read_bytes()

  return has_come


def _records(kind: str, step: int) -> _HasCome:
  def has_come(directory):
    path = directory / "model" / "metrics.jsonl"
    return path.exists() and f'"step": {step}, "kind": "{kind}"' in (
        path.read_text()
    )

  return has_come


def _moments() -> dict[str, tuple[_HasCome, float, signal.Signals]]:
  """What to wait for, how many seconds more, and the signal, by name."""
  kill, ask = signal.SIGKILL, signal.SIGTERM
  return {
      "building": (_says("building"), 0.0, kill),
      "building, later": (_says("building"), 2.0, kill),
      "step 1": (_records("train", 1), 0.0, kill),
      "step 2, in the next": (_records("train", 2), 0.02, kill),
      "step 5": (_records("train", 5), 0.0, kill),
      "step 7, in the next": (_records("train", 7), 0.01, kill),
      "saving step 3": (_saves(3), 0.0, kill),
      "saving step 3, later": (_saves(3), 0.01, kill),
      "index of step 3": (_has("model.ckpt-3.index"), 0.0, kill),
      "list after step 3": (_has("checkpoint"), 0.0, kill),
      "saving step 6": (_saves(6), 0.0, kill),
      "index of step 6": (_has("model.ckpt-6.index"), 0.0, kill),
      "evaluation of step 6": (_says("at step 6"), 0.0, kill),
      "evaluation of step 6, later": (_says("at step 6"), 1.5, kill),
      "evaluated step 6": (_records("eval", 6), 0.0, kill),
      "end of the first block": (_saves(8), 0.0, kill),
      "second block": (_says("from step 8"), 0.5, kill),
      "step 11": (_records("train", 11), 0.0, kill),
      "saving step 12": (_saves(12), 0.0, kill),
      "evaluation of step 12": (_says("at step 12"), 0.5, kill),
      "evaluated step 12": (_records("eval", 12), 0.0, kill),
      "asked: building": (_says("building"), 0.5, ask),
      "asked: step 4": (_records("train", 4), 0.0, ask),
      "asked: saving step 6": (_saves(6), 0.0, ask),
      "asked: evaluation of step 6": (_says("at step 6"), 0.5, ask),
      "asked: end": (_records("train", 12), 0.0, ask),
  }


def _outcome(model_dir: pathlib.Path) -> dict[str, Any]:
  """All that a run leaves behind and that must not depend on interruptions."""
  lines = (model_dir / "metrics.jsonl").read_text().splitlines()
  times = dict.fromkeys(["tokens_per_second", "seconds", "date"])
  reader = tf.train.load_checkpoint(f"{model_dir}/model.ckpt-{_STEPS}")
  return {
      "metrics": [{**json.loads(line), **times} for line in lines],
      "variables": {
          name: np.asarray(reader.get_tensor(name)).tobytes()
          for name in reader.get_variable_to_shape_map()
      },
  }


def _interrupt(
    server: programs.Server,
    directory: pathlib.Path,
    moment: tuple[_HasCome, float, signal.Signals],
) -> int:
  """Starts a run and sends it a signal; returns its exit status."""
  has_come, seconds, number = moment
  pid = server.start([*_ARGUMENTS, "--model_dir=model"], directory)
  while not has_come(directory):
    os.kill(pid, 0)  # Fails where the program has ended too early.
    time.sleep(0.0005)
  time.sleep(seconds)
  os.kill(pid, number)
  return server.wait().returncode


def _try(
    server: programs.Server,
    moment: tuple[_HasCome, float, signal.Signals],
    expected: dict[str, Any],
) -> dict[str, Any]:
  """Interrupts a run, lets it go on, and compares it."""
  with tempfile.TemporaryDirectory() as place:
    directory = pathlib.Path(place)
    (directory / "mine.gin").write_text(_GIN)
    try:
      status = _interrupt(server, directory, moment)
    except ProcessLookupError:
      server.wait()
      return {"error": "the run ended before the moment came"}
    saved = [
        int(path.stem.rpartition("-")[2])
        for path in (directory / "model").glob("model.ckpt-*.index")
    ]
    result = server.run([*_ARGUMENTS, "--model_dir=model"], directory)
    if result.returncode:
      return {"exit_status": status, "error": result.stderr[-1000:]}
    actual = _outcome(directory / "model")
    return {
        "exit_status": status,
        "saved_step": max(saved, default=0),
        **{f"same_{name}": actual[name] == expected[name] for name in expected},
    }


def _straight(server: programs.Server) -> dict[str, Any]:
  """The outcome of a run that nothing interrupts."""
  with tempfile.TemporaryDirectory() as place:
    directory = pathlib.Path(place)
    (directory / "mine.gin").write_text(_GIN)
    result = server.run([*_ARGUMENTS, "--model_dir=model"], directory)
    if result.returncode:
      sys.exit(result.stderr)
    return _outcome(directory / "model")


def soak(moments: Sequence[str], minutes: float, path: pathlib.Path) -> bool:
  """Tries the moments that have no result yet; returns whether all are right.

  Args:
    moments: their names.
    minutes: no moment is begun after that time.
    path: the file of the results.
  """
  deadline = time.monotonic() + 60 * minutes
  results = json.loads(path.read_text())["moments"] if path.exists() else {}
  missing = [name for name in moments if name not in results]
  cache = tempfile.mkdtemp()
  server = programs.Server(MTF_SWITCH_CACHE=cache)
  try:
    expected = _straight(server) if missing else {}
    for name in missing:
      if time.monotonic() > deadline:
        print("time is up; the same command goes on")
        break
      results[name] = _try(server, _moments()[name], expected)
      print(f"{name}: {results[name]}", flush=True)
      command = "python -m benchmarks.soak"
      content = {"command": command, "moments": results}
      path.write_text(json.dumps(content, indent=1) + "\n")
  finally:
    server.close()
    shutil.rmtree(cache)
  return all(
      results.get(name, {}).get("same_metrics")
      and results[name]["same_variables"]
      for name in moments
  )


def main():
  """The entry point."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--minutes", type=float, default=60)
  parser.add_argument("--moments", nargs="*", default=list(_moments()))
  parser.add_argument("--results", type=pathlib.Path, default=_RESULTS)
  arguments = parser.parse_args()
  if not soak(arguments.moments, arguments.minutes, arguments.results):
    sys.exit("not all moments are tried and right")


if __name__ == "__main__":
  main()
