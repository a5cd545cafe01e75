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

"""The standard streams, and the log that takes the place of stderr."""

import io
import os
import sys
import tempfile


def open_all():
  """Opens the standard streams that the caller has closed.

  Files would get their numbers otherwise, and messages end up in them.
  """
  for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
    try:
      os.fstat(descriptor)
    except OSError:
      os.open(os.devnull, os.O_RDWR)  # The lowest number that is free.
    if getattr(sys, name) is None:
      mode = "w" if descriptor else "r"
      setattr(sys, name, open(descriptor, mode, closefd=False))
  sys.stdout.reconfigure(errors="backslashreplace")


class _Tolerant(io.FileIO):
  """A file for messages: what it has no room for is lost, and nothing else."""

  def write(self, data):
    try:
      written = super().write(data)
    except OSError:
      written = None
    return len(data) if written is None else written


def messages(descriptor: int) -> io.TextIOWrapper:
  """Opens a file for messages, even with names that are in no encoding.

  Args:
    descriptor: of the open file.

  Returns:
    the file; what it has no room for is lost.
  """
  return io.TextIOWrapper(
      io.BufferedWriter(_Tolerant(descriptor, "w")),
      errors="backslashreplace",
      line_buffering=True,
  )


class Log:
  """Takes over stderr: Python's, TensorFlow's C++, and what it starts.

  Attributes:
    terminal: a file that still goes to the terminal.
  """

  def __init__(self):
    self.terminal = messages(os.dup(2))
    try:
      self._file = tempfile.TemporaryFile()
    except OSError:  # No directory for temporary files can be written.
      self._file = os.fdopen(os.memfd_create("log"), "w+b")
    os.dup2(self._file.fileno(), 2)
    sys.stderr = messages(2)

  def move_to(self, path: str):
    """Appends what was logged so far to a file, and all that follows.

    Args:
      path: of the file.
    """
    sys.stderr.flush()
    with open(path, "ab") as file:
      size = os.fstat(self._file.fileno()).st_size
      file.write(os.pread(self._file.fileno(), size, 0))
      file.flush()
      os.dup2(file.fileno(), 2)
    self._file.close()
