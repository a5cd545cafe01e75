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

"""Runs run_switch.py as a user would, many times, but loads TensorFlow once.

A server process imports the program's modules and forks for each command line.
The child runs the program with its own flags, working directory, stdout, stderr
and exit status.

Run as a program, this file is the server: it reads lines of JSON objects,
{"argv", "cwd", "stdout", "stderr"}, and answers each with the process id of the
child and, when the child ends, its exit status.
"""

import json
import os
import pathlib
import subprocess
import sys

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = PROJECT / "run_switch.py"


def environment(**variables: str) -> dict[str, str]:
  """Returns this process's environment, with the tests' tasks importable."""
  return {**os.environ, "PYTHONPATH": str(PROJECT), **variables}


def run_alone(arguments, directory) -> subprocess.CompletedProcess:
  """Runs Python in a process of its own, as a user would.

  Args:
    arguments: a script and what follows, PROGRAM for example.
    directory: the working directory.
  """
  return subprocess.run(
      [sys.executable, *arguments],
      cwd=directory,
      env=environment(),
      capture_output=True,
      text=True,
      timeout=300,
      check=False,
  )


class Server:
  """Forks programs, until it is closed."""

  def __init__(self, **variables: str):
    self._process = subprocess.Popen(
        # By its name: a script's own directory comes first on sys.path, and
        # tests/ has a package `tasks`.
        [sys.executable, "-m", "tests.programs"],
        cwd=PROJECT,
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

  def close(self):
    self._process.stdin.close()
    self._process.wait()

  def start(self, arguments, directory, stdout=None) -> int:
    """Starts a program and returns its process id; `wait` for it next.

    Args:
      arguments: its command line, without the program.
      directory: its working directory.
      stdout: where its output goes, if `wait` is not to read it.

    Returns:
      the process id.
    """
    self._outputs = [pathlib.Path(directory) / x for x in (".out", ".err")]
    for path in self._outputs:
      path.write_text("")  # To be read while the program runs.
    captured, stderr = map(str, self._outputs)
    request = dict(
        argv=[str(PROGRAM), *arguments],
        cwd=str(directory),
        stdout=stdout or captured,
        stderr=stderr,
    )
    self._process.stdin.write(json.dumps(request) + "\n")
    self._process.stdin.flush()
    return int(self._process.stdout.readline())

  def wait(self) -> subprocess.CompletedProcess:
    status = int(self._process.stdout.readline())
    texts = [path.read_text() for path in self._outputs]
    for path in self._outputs:
      path.unlink()
    return subprocess.CompletedProcess([], status, *texts)

  def run(self, arguments, directory) -> subprocess.CompletedProcess:
    self.start(arguments, directory)
    return self.wait()


def _serve():
  """Forks a child for each line on stdin."""
  import run_switch  # isort: skip  First, as in a process of its own: its flags.
  from mtf_switch.modes import decode  # noqa: F401
  from mtf_switch.modes import launch  # noqa: F401
  from mtf_switch.training import progress
  import tasks  # noqa: F401

  progress._SECONDS_UNSAID = 3600  # Lines do not depend on the load.
  for line in sys.stdin:
    request = json.loads(line)
    pid = os.fork()
    if pid:
      print(pid, flush=True)
      print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
      continue
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
      file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
      os.dup2(file, descriptor)
    os.chdir(request["cwd"])
    sys.argv = request["argv"]
    try:
      run_switch.main()
    except SystemExit as end:
      # A normal exit takes two seconds, in which Python frees all modules.
      sys.stdout.flush()
      sys.stderr.flush()
      os._exit(end.code)


if __name__ == "__main__":
  _serve()
