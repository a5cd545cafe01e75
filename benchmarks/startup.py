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

"""How long do --help and the first training step take?

The command line, as a user types it. An untimed first run prepares the text and
its vocabulary.
"""

from collections.abc import Sequence
import pathlib
import subprocess
import sys
import tempfile
import time

import rich.progress

from benchmarks import contest
from benchmarks import models
from benchmarks import questions

_SMALL_TEXT = contest.PROJECT / "benchmarks/contenders/small_text.gin"
_HELP_AT_MOST = 1.0
_FIRST_STEP_AT_MOST = 25.0


def _command(*arguments: str) -> list[str]:
  return [sys.executable, str(contest.PROJECT / "run_switch.py"), *arguments]


def _seconds_of_help() -> float:
  start = time.perf_counter()
  # absl exits with status 1 after --help.
  subprocess.run(_command("--help"), stdout=subprocess.DEVNULL, check=False)
  return time.perf_counter() - start


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
        _command(
            "--gin_file=models/switch_tiny.gin",
            f"--gin_file={_SMALL_TEXT}",
            "--gin_param=num_cores = 4",
            f"--model_dir={model_dir}",
            *(f"--gin_param={binding}" for binding in bindings),
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
      raise contest.ContenderError(f"run_switch.py failed: {errors}")
    return seconds


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Starts the program repeatedly; there are no other contenders."""
  del session
  bindings = models.QUICK_TEXT if quick else []
  runs = {
      "help": _seconds_of_help,
      "first step": lambda: _seconds_to_first_step(bindings),
  }
  seconds = {name: [] for name in runs}
  if not quick:
    _seconds_to_first_step(bindings)
  for _ in rich.progress.track(range(rounds), "start-up", transient=True):
    for name, run in runs.items():
      seconds[name].append(run())
  rows = [
      {"what": name, "seconds": contest.spread(values)}
      for name, values in seconds.items()
  ]
  goals = [
      questions.goal(what, row["seconds"]["median"], limit, unit="s")
      for what, row, limit in zip(
          ("--help", "command to first training step"),
          rows,
          (_HELP_AT_MOST, _FIRST_STEP_AT_MOST),
      )
  ]
  return questions.Findings({}, rows, goals)


QUESTION = questions.Question("startup", __doc__, 3, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
