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

"""The lock of a directory, in which one program does its work at a time."""

from collections.abc import Iterator
import contextlib
import datetime
import fcntl
import os
import socket

from mtf_switch import errors


@contextlib.contextmanager
def hold(
    directory: str, work: str = "training", flag: str = "--model_dir"
) -> Iterator[int | None]:
  """Keeps other programs from the same work in a directory, for a context.

  The kernel releases the lock when the process ends, however it ends, and those
  that have inherited its descriptor; the file stays. Remote directories, and
  file systems without locks, have none: there, nothing is refused.

  Args:
    directory: the directory; it is created.
    work: what is done there.
    flag: the flag that names the directory.

  Yields:
    the descriptor of the lock's file; None in a remote directory.

  Raises:
    UserError: another process has the lock.
  """
  if "://" in directory:
    yield None
    return
  os.makedirs(directory, exist_ok=True)
  path = os.path.join(directory, f"{work}.lock")
  descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
  try:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      holder = os.read(descriptor, 1000).decode(errors="replace").strip()
      raise errors.UserError(
          f"{errors.shown(holder) or 'another run'} is {work} in {directory!r};"
          f" wait for its end, stop it, or give another {flag}."
      ) from None
    except OSError:  # A file system without locks.
      pass
    since = datetime.datetime.now().isoformat(" ", "seconds")
    holder = f"process {os.getpid()} on {socket.gethostname()}, since {since},"
    with contextlib.suppress(OSError):  # Of use to the reader only.
      os.ftruncate(descriptor, 0)
      os.write(descriptor, f"{holder}\n".encode())
    yield descriptor
  finally:
    os.close(descriptor)
