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

"""What is wrong with a path, said before anything waits for what it names.

A pipe without a writer is waited for, a device such as /dev/zero has no end,
and TensorFlow tries for minutes to reach a remote file.
"""

import functools
import os
import re
import ssl
import stat
import sys
import threading
import urllib.error
import urllib.request

import tensorflow.compat.v1 as tf

# The pipes of a process, as a shell makes them for | and <(...).
_STREAM = re.compile(r"/dev/(std(in|out|err)|fd/\d+)|/proc/(self|\d+)/fd/\d+")

_GCS = "gs"
_GCS_ADDRESS = "https://storage.googleapis.com"
_SECONDS = 5
_KINDS = {
    stat.S_ISDIR: "is a directory",
    stat.S_ISFIFO: (
        "is a named pipe, which cannot be read from the start again; write its "
        "content to a file"
    ),
    stat.S_ISSOCK: "is a socket, not a file",
    stat.S_ISCHR: "is a device, not a file",
    stat.S_ISBLK: "is a device, not a file",
}


def problem(path: str, or_stream: bool = False) -> str | None:
  """Returns why a path is no file to read; None if it is one.

  Args:
    path: local or remote.
    or_stream: whether it may be a pipe of this process, or its terminal.

  Returns:
    words to follow the path, "is a directory".
  """
  if "://" in path:
    return _problem_of_remote(path)
  try:
    mode = os.stat(path).st_mode
  except (OSError, ValueError) as error:
    return _missing(path, error)
  if or_stream and is_stream(path):
    if stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and sys.stdin.isatty()):
      return None
  for is_kind, words in _KINDS.items():
    if is_kind(mode):
      return words
  if not os.access(path, os.R_OK):
    return "cannot be read: Permission denied"
  return None


def problem_of_pattern(pattern: str) -> str | None:
  """Returns why no file can be found by a pattern; None if one may be.

  Args:
    pattern: of tf.io.gfile.glob, or a path.

  Returns:
    words to follow the pattern.
  """
  if "://" in pattern:
    return problem_of_remote(pattern)
  if os.path.lexists(pattern) and not os.path.isdir(pattern):
    return problem(pattern)
  return None


def problem_of_remote(path: str) -> str | None:
  """Returns why a remote path cannot be asked for; None if it can, or is local.

  Args:
    path: of a file, a pattern or a directory, there or not.

  Returns:
    words to follow the path.
  """
  return _problem_of_remote(path, to_be_made=True) if "://" in path else None


def problem_of_directory(path: str, to_be_made: bool = False) -> str | None:
  """Returns why a path is no directory; None if it is one.

  Args:
    path: local or remote.
    to_be_made: whether it may be missing.

  Returns:
    words to follow the path.
  """
  if "://" in path:
    return _problem_of_remote(path, to_be_made)
  try:
    mode = os.stat(path).st_mode
  except (OSError, ValueError) as error:
    if to_be_made and not os.path.lexists(path):
      return None
    return _missing(path, error)
  return None if stat.S_ISDIR(mode) else "is not a directory"


def is_stream(path: str) -> bool:
  """Returns whether a path is that of a stream or pipe of a process."""
  return bool(_STREAM.fullmatch(path))


def _missing(path: str, error: Exception) -> str:
  """Says why there is nothing at a path."""
  if isinstance(error, FileNotFoundError) and os.path.islink(path):
    return f"is a link to {os.readlink(path)!r}, which does not exist"
  if isinstance(error, FileNotFoundError):
    return "does not exist"
  if isinstance(error, OSError):
    return f"cannot be read: {os.strerror(error.errno)}"
  return "is no name of a file"


def _problem_of_remote(path: str, to_be_made: bool = False) -> str | None:
  """Implements `problem` for a path with a scheme."""
  scheme = path.partition("://")[0]
  if scheme == _GCS and _problem_of_gcs():
    return f"cannot be reached: {_problem_of_gcs()}"
  try:
    found = tf.io.gfile.exists(path)
  except tf.errors.UnimplementedError:
    return (
        f"is remote, and TensorFlow has no file system for {scheme}://; use a "
        "local file or gs://"
    )
  except tf.errors.OpError as error:
    return f"cannot be reached: {' '.join(error.message.split())}"
  return None if found or to_be_made else "does not exist"


@functools.cache
def _problem_of_gcs() -> str | None:
  """Returns why Google Cloud Storage does not answer; None if it does."""
  # As by TensorFlow: through the environment's proxy, if any.
  answers = []

  def ask():
    try:
      urllib.request.urlopen(_GCS_ADDRESS, timeout=_SECONDS).close()
    except urllib.error.HTTPError:
      pass  # This too is an answer.
    except OSError as error:
      reason = getattr(error, "reason", error)
      if isinstance(reason, TimeoutError):
        return  # As if it were still waiting.
      # TensorFlow has certificates of its own.
      if not isinstance(reason, ssl.SSLError):
        answers.append(f"{_GCS_ADDRESS}: {reason}")
        return
    answers.append(None)

  # In a thread, because looking up a name has no limit of its own.
  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(_SECONDS)
  unanswered = f"{_GCS_ADDRESS} does not answer within {_SECONDS} seconds"
  return answers[0] if answers else unanswered
