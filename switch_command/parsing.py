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

"""From arguments to flags, with one line for what cannot be read."""

from collections.abc import Sequence
import os
import re
import sys

from absl import flags

from switch_command import mistakes
from switch_command import streams

FLAGS = flags.FLAGS

# The pipes of a shell, and what stands for no file.
_STREAM = re.compile(r"/dev/(null|stdin|fd/\d+)|/proc/(self|\d+)/fd/\d+")

# What absl says of a flag in Python's terms, and its decorations.
_WORDS_OF_ABSL = {
    "^flag --": "--",
    "^ERROR:: ": "",
    "invalid literal for int.*": "this is not a whole number",
    r"\('Non-boolean argument.*": "this is neither true nor false",
    r"\. Did you mean: (.*) \?$": r", did you mean \1?",
}


def parse(argv: Sequence[str]) -> Sequence[str]:
  """Reads the flags, or ends with one line that says why it cannot.

  Args:
    argv: the program and its arguments.

  Returns:
    the program and the arguments that are no flags.
  """
  try:
    _check_flag_files(argv[1:])
    try:
      return FLAGS(argv)
    finally:
      sys.stdout.flush()  # The help, which may fit in its buffer.
  except BrokenPipeError:  # The reader has seen enough, as `head` has.
    sys.exit(1)
  except OSError as error:
    message = f"the help cannot be printed: {error.strerror}."
  except mistakes.Mistake as mistake:
    message = str(mistake)
  except (flags.Error, ValueError, RecursionError) as error:  # Of --flagfile.
    message = " ".join(str(error).split())
    for pattern, words in _WORDS_OF_ABSL.items():
      message = re.sub(pattern, words, message)
    message += " See --help." if message.endswith("?") else "; see --help."
  print(f"run_switch: {message}", file=streams.messages(os.dup(2)))
  sys.exit(1)


def _check_flag_files(arguments: Sequence[str], including: Sequence[str] = ()):
  """Refuses pipes and devices, which may never begin or never end."""
  for argument, following in zip(arguments, [*arguments[1:], ""]):
    if argument == "--":
      return
    name, equals, value = argument.strip().partition("=")
    if name not in ("--flagfile", "-flagfile"):
      continue
    path = os.path.expanduser(value.strip() if equals else following)
    if _STREAM.fullmatch(path):
      continue
    if path in including:
      raise mistakes.Mistake(f"--flagfile={path} leads back to itself.")
    if os.path.isfile(path):
      with open(path, errors="replace") as file:
        _check_flag_files(file.readlines(), [*including, path])
    elif os.path.exists(path) and not os.path.isdir(path):
      raise mistakes.Mistake(
          f"--flagfile={path} is a device, a named pipe or a socket; write the "
          "flags to a file."
      )
