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

"""One run at a time trains in a directory."""

import mtf_switch  # isort: skip  # noqa: F401
import errno
import fcntl
import os
import signal

import pytest

from mtf_switch import errors
from mtf_switch.training import lock


def test_a_second_run_is_refused(tmp_path):
  with lock.hold(str(tmp_path / "new")):
    with pytest.raises(errors.UserError) as error:
      with lock.hold(str(tmp_path / "new")):
        pass
    assert str(error.value).startswith(f"process {os.getpid()} on ")
    assert str(error.value).endswith(
        f" is training in '{tmp_path}/new'; wait for its end, stop it, or give "
        "another --model_dir."
    )
    with lock.hold(str(tmp_path)):
      pass
  with lock.hold(str(tmp_path / "new")):
    pass


def test_a_run_that_is_killed_leaves_no_lock(tmp_path):
  reader, writer = os.pipe()
  pid = os.fork()
  if not pid:
    with lock.hold(str(tmp_path)):
      os.write(writer, b"x")
      signal.pause()
  os.read(reader, 1)
  with pytest.raises(errors.UserError, match=f"process {pid} on "):
    with lock.hold(str(tmp_path)):
      pass
  os.kill(pid, signal.SIGKILL)
  os.waitpid(pid, 0)
  with lock.hold(str(tmp_path)):
    pass


def test_places_without_locks_refuse_nothing(tmp_path, monkeypatch):
  with lock.hold("ram://a/directory"), lock.hold("ram://a/directory"):
    pass

  def flock(*unused_args):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

  monkeypatch.setattr(fcntl, "flock", flock)
  with lock.hold(str(tmp_path)), lock.hold(str(tmp_path)):
    pass
