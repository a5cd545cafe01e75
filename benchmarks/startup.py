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

"""How long do --help, a plan and the first training step take?

The command line, as a user types it; an untimed first run prepares the text and
its vocabulary. Then, in a process that has loaded its libraries, the input
pipeline of a mixture of 107 tasks, up to the first batch.
"""

from collections.abc import Sequence
import pathlib
import subprocess
import tempfile
import time

import rich.progress

from benchmarks import contest
from benchmarks import models
from benchmarks import program
from benchmarks import questions

_HELP, _PLAN, _FIRST_STEP = "--help", "plan", "command to first training step"
_MIXTURE = "first batch of a mixture of 107 tasks"
# In seconds.
_AT_MOST = {_HELP: 1.0, _PLAN: 8.0, _FIRST_STEP: 12.0, _MIXTURE: 10.0}
_QUICK_LANGUAGES = ("de", "en")


def _seconds_of_help() -> float:
  start = time.perf_counter()
  # absl exits with status 1 after --help.
  subprocess.run(
      program.command("--help"), stdout=subprocess.DEVNULL, check=False
  )
  return time.perf_counter() - start


def _seconds_of_plan(bindings: Sequence[str]) -> float:
  """The time of --mode=plan."""
  start = time.perf_counter()
  program.run("--mode=plan", *_model_arguments(bindings))
  return time.perf_counter() - start


def _model_arguments(bindings: Sequence[str]) -> list[str]:
  return [
      "--gin_file=models/switch_tiny.gin",
      f"--gin_file={program.SMALL_TEXT}",
      "--gin_param=num_cores = 4",
      *(f"--gin_param={binding}" for binding in bindings),
  ]


def _seconds_to_first_step(bindings: Sequence[str]) -> float:
  """The time from the command to the first line of metrics.jsonl."""
  with tempfile.TemporaryDirectory() as model_dir:
    metrics = pathlib.Path(model_dir) / "metrics.jsonl"
    bindings = [
        "train_steps = 1",
        "train.metrics_every = 1",
        "train.eval_every = None",
        *bindings,
    ]
    start = time.perf_counter()
    process = subprocess.Popen(
        program.command(
            f"--model_dir={model_dir}", *_model_arguments(bindings)
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
      while not metrics.exists() and process.poll() is None:
        time.sleep(0.01)
      seconds = time.perf_counter() - start
    finally:
      errors = process.communicate()[1]
    if process.returncode:
      raise program.failed(errors)
    return seconds


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Starts the program repeatedly; there are no other contenders."""
  bindings = models.QUICK_TEXT if quick else []
  runs = {
      _HELP: _seconds_of_help,
      _PLAN: lambda: _seconds_of_plan(bindings),
      _FIRST_STEP: lambda: _seconds_to_first_step(bindings),
  }
  seconds = {name: [] for name in runs}
  if not quick:
    _seconds_to_first_step(bindings)
  for _ in rich.progress.track(range(rounds), "start-up", transient=True):
    for name, run in runs.items():
      seconds[name].append(run())
  options = {
      "languages": _QUICK_LANGUAGES if quick else None,
      "bindings": bindings,
  }
  (mixture,) = session.hold(
      "mixture", [contest.Entrant("ours", "mixture", options)], rounds
  )
  seconds[_MIXTURE] = mixture.seconds["mixture"]
  rows = [
      {"what": name, "seconds": contest.spread(values)}
      for name, values in seconds.items()
  ]
  goals = [
      questions.goal(
          row["what"], row["seconds"]["median"], _AT_MOST[row["what"]], unit="s"
      )
      for row in rows
  ]
  return questions.Findings({}, rows, goals)


QUESTION = questions.Question("startup", __doc__, 3, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
