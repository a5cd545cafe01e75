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

"""Processes of runs, with programs that do little."""

import mtf_switch  # isort: skip  # noqa: F401
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from mtf_switch.reproduction import processes
from tests import programs

_SECONDS = 30


def start(tmp_path, code, cores=None, **options):
  return processes.Process(
      [sys.executable, "-c", code],
      cores or sorted(os.sched_getaffinity(0)),
      str(tmp_path / "output"),
      **options,
  )


def text(tmp_path):
  return (tmp_path / "output").read_text()


def test_a_process_has_the_cores_it_is_given(tmp_path):
  core = max(os.sched_getaffinity(0))
  code = (
      "import os; print(os.sched_getaffinity(0), os.getsid(0) == os.getpid())"
  )
  process = start(tmp_path, code, [core])
  assert process.wait() == 0
  assert process.status() == 0
  assert text(tmp_path) == f"{{{core}}} True\n"
  # What it says when it goes on follows.
  assert start(tmp_path, "print('more')").wait() == 0
  assert text(tmp_path).endswith("True\nmore\n")


def test_a_process_is_asked_to_end_in_order(tmp_path):
  code = (
      "import signal, sys, time\n"
      "signal.signal(signal.SIGTERM, lambda *x: sys.exit(75))\n"
      "print('ready', flush=True)\n"
      "time.sleep(600)\n"
  )
  process = start(tmp_path, code)
  assert process.status() is None
  until(lambda: "ready" in text(tmp_path))
  process.stop()
  assert process.wait() == 75
  process.stop()  # It has ended.


def until(holds):
  end = time.monotonic() + _SECONDS
  while not holds():
    assert time.monotonic() < end
    time.sleep(0.01)


def test_a_process_ends_with_its_parent_and_keeps_a_lock_until_then(tmp_path):
  """However the parent ends."""
  reader, writer = os.pipe()
  parent = (
      "import os, sys, time\n"
      "from mtf_switch.reproduction import processes\n"
      "processes.Process(\n"
      "    [sys.executable, '-c', 'import time; time.sleep(600)'],\n"
      f"    os.sched_getaffinity(0), 'output', [{writer}])\n"
      f"os.close({writer})\n"
      "print('ready', flush=True)\n"
      "time.sleep(600)\n"
  )
  # Without the rest of the package.
  stub = (
      "import sys, types\n"
      "package = sys.modules['mtf_switch'] = types.ModuleType('mtf_switch')\n"
      f"package.__path__ = [{str(programs.PROJECT / 'mtf_switch')!r}]\n"
  )
  process = subprocess.Popen(
      [sys.executable, "-c", stub + parent],
      cwd=tmp_path,
      pass_fds=[writer],
      stdout=subprocess.PIPE,
  )
  os.close(writer)
  assert process.stdout.readline() == b"ready\n"
  assert not select.select([reader], [], [], 0)[0]  # The run has it open.
  process.send_signal(signal.SIGKILL)
  process.wait()
  # Until the last process has closed it.
  assert select.select([reader], [], [], _SECONDS)[0]
  assert os.read(reader, 1) == b""
  os.close(reader)


@pytest.mark.parametrize(
    "status, said, line",
    [
        (1, "step 3\nrun_switch: no space.\n\n", "no space."),
        (75, "run_switch: stopped by SIGTERM", "stopped by SIGTERM"),
        (1, "", "it ended with status 1 and said nothing"),
        (1, None, "it ended with status 1 and said nothing"),
        (-9, "step 3\n", "it was ended by SIGKILL"),
    ],
)
def test_the_last_line_says_why_a_run_has_failed(tmp_path, status, said, line):
  path = tmp_path / "output"
  if said is not None:
    path.write_text(said)
  assert processes.explain(status, str(path)) == line


def test_a_long_file_is_read_from_its_end(tmp_path):
  path = tmp_path / "output"
  path.write_bytes(b"\xff" * 10**6 + b"\na\nb\n")
  assert processes.last_lines(str(path))[1:] == ["a", "b", ""]
