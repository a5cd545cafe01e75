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

"""The program, as a user types its command."""

import subprocess
import sys

from benchmarks import contest

# A gin file of a run on a text that is prepared in seconds.
SMALL_TEXT = contest.PROJECT / "benchmarks/contenders/small_text.gin"


def command(*arguments: str) -> list[str]:
  """Returns the command of run_switch.

  Args:
    *arguments: its flags.
  """
  return [sys.executable, str(contest.PROJECT / "run_switch.py"), *arguments]


def run(*arguments: str):
  """Runs run_switch to its end.

  Args:
    *arguments: its flags.

  Raises:
    ContenderError: it has failed; the message has what it said.
  """
  done = subprocess.run(
      command(*arguments),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
      check=False,
  )
  if done.returncode:
    raise failed(done.stderr)


def failed(said: str) -> contest.ContenderError:
  """Returns the error for a program that has failed.

  Args:
    said: what it has written to stderr.
  """
  return contest.ContenderError(f"run_switch.py failed: {said}")
