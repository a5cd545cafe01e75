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

"""The directory of a reproduction: runs/, records/, and whose it is.

Nothing here loads TensorFlow.
"""

import json
import os
import pathlib
import re
import shutil

from mtf_switch import errors
from mtf_switch.reproduction import processes
from mtf_switch.reproduction import runs as runs_lib

# In the directory itself, and in the model_dir of each run.
_MARK = "reproduction.json"
_RECORDS = "records"
_OUTPUT = "output.txt"
_CHECKPOINT = re.compile(r"model\.ckpt-(\d+)\.")
# Of no use after a run: its graph, and its metrics in another form.
_LEFT_OVER = ("graph.pbtxt", "**/events.out.*")


def records(output_dir: str) -> str:
  """Returns the directory of the records."""
  return os.path.join(output_dir, _RECORDS)


def output(output_dir: str, run: runs_lib.Run) -> str:
  """Returns the file of a run's output."""
  return os.path.join(runs_lib.model_dir(output_dir, run), _OUTPUT)


def check(output_dir: str):
  """Refuses a directory that is something else's.

  Args:
    output_dir: the directory; it may be missing or empty.

  Raises:
    UserError: says what it is instead.
  """
  if "://" in output_dir:
    raise errors.UserError(
        f"--output_dir={output_dir} is not on this machine, where the runs are "
        "processes; give a local directory."
    )
  try:
    names = os.listdir(output_dir)
  except FileNotFoundError:
    return
  except OSError as error:
    line = f"--output_dir={output_dir}: {error.strerror}."
    raise errors.UserError(line) from error
  # A reproduction that has just been ended may have left its lock alone.
  others = [name for name in names if not name.endswith(".lock")]
  if others and _MARK not in others:
    raise errors.UserError(
        f"--output_dir={output_dir} has {others[0]!r} in it and is not the "
        "directory of a reproduction; give a new directory."
    )


def mark(output_dir: str):
  """Says in a directory whose it is; see `check`."""
  path = pathlib.Path(output_dir, _MARK)
  if not path.exists():
    path.write_text(json.dumps({"made_by": "run_switch --mode=reproduce"}))


def prepare(
    output_dir: str, run: runs_lib.Run, configuration: str, afresh: bool
):
  """Makes the directory of a run that is about to start or to go on.

  Args:
    output_dir: the directory of all runs.
    run: the run.
    configuration: the hash of its settings. What a run with others has left is
      removed.
    afresh: whether what a run with the same settings has left is, too. Without
      a checkpoint it always is: the run starts at step 0.
  """
  directory = pathlib.Path(runs_lib.model_dir(output_dir, run))
  mark_of_run = directory / _MARK
  content = json.dumps({"configuration": configuration})
  is_same = mark_of_run.exists() and mark_of_run.read_text() == content
  goes_on = is_same and not afresh and _checkpoints(directory)
  if directory.exists() and not goes_on:
    shutil.rmtree(directory)
  directory.mkdir(parents=True, exist_ok=True)
  mark_of_run.write_text(content)


def has_weights(output_dir: str, run: runs_lib.Run, step: int) -> bool:
  """Whether the checkpoint of a run at its last step is there.

  Args:
    output_dir: the directory of all runs.
    run: the run.
    step: its last one.
  """
  return step in _checkpoints(runs_lib.model_dir(output_dir, run))


def prune(output_dir: str, run: runs_lib.Run, keeps_weights: bool):
  """Removes what is of no use after the end of a run.

  Args:
    output_dir: the directory of all runs.
    run: the run.
    keeps_weights: whether its last checkpoint stays.
  """
  directory = pathlib.Path(runs_lib.model_dir(output_dir, run))
  if run.is_timed:
    shutil.rmtree(directory)
    return
  steps = _checkpoints(directory)
  last = max(steps, default=None)
  for step, files in steps.items():
    if step != last or not keeps_weights:
      for file in files:
        file.unlink()
  if not keeps_weights:
    (directory / "checkpoint").unlink(missing_ok=True)
  for pattern in _LEFT_OVER:
    for file in directory.glob(pattern):
      file.unlink()


def steps_done(output_dir: str, run: runs_lib.Run) -> int:
  """Returns the last step of a run in its metrics.jsonl; 0 without one."""
  directory = runs_lib.model_dir(output_dir, run)
  lines = processes.last_lines(os.path.join(directory, "metrics.jsonl"))
  for line in reversed(lines):
    if step := re.match(r'\{"step": (\d+),.*\}$', line):
      return int(step[1])
  return 0


def _checkpoints(
    directory: str | pathlib.Path,
) -> dict[int, list[pathlib.Path]]:
  """The files of the checkpoints in a directory, by step."""
  steps: dict[int, list[pathlib.Path]] = {}
  for file in pathlib.Path(directory).glob("model.ckpt-*"):
    if name := _CHECKPOINT.match(file.name):
      steps.setdefault(int(name[1]), []).append(file)
  return steps
