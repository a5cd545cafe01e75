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

"""What a card says: the text of its gin files, and a hash of its settings.

The hash is of text, not of a model that is built: all cards are compared with
their records in a second, and without TensorFlow.
"""

from collections.abc import Mapping, Sequence
import hashlib
import pathlib
import re

from mtf_switch import errors
from mtf_switch.reproduction import small_cards

_INCLUDE = re.compile(r"""^include\s+["'](?P<name>[^"']+)["']\s*$""")


def gin_file(card: str) -> str:
  """Returns the name of a small card's file, for --gin_file."""
  return f"experiments/small/{card}.gin"


def text_of(name: str, directories: Sequence[str]) -> str:
  """Returns the text of a gin file.

  Args:
    name: its name in one of the directories.
    directories: those of the project's gin files.

  Raises:
    UserError: it is in none of them, or cannot be read.
  """
  for directory in directories:
    path = pathlib.Path(directory, name)
    if path.is_file():
      try:
        return path.read_text(encoding="utf-8")
      except (OSError, ValueError) as error:
        line = f"{path} cannot be read: {error}."
        raise errors.UserError(line) from error
  raise errors.UserError(
      f"{name} is not in {' or '.join(directories) or 'gin/'}."
  )


def settings(name: str, directories: Sequence[str]) -> list[str]:
  """Returns the lines of a gin file and of those that it includes.

  Args:
    name: see `text_of`.
    directories: see `text_of`.

  Returns:
    the lines in the order in which gin reads them, each included file in the
    place of its include; without comments and blank lines, which change no run.
  """
  lines = []
  for line in text_of(name, directories).splitlines():
    line = line.rstrip()
    if included := _INCLUDE.match(line):
      lines += settings(included["name"], directories)
    elif line and not line.lstrip().startswith("#"):
      lines.append(line)
  return lines


def train_steps(card: str, directories: Sequence[str]) -> int:
  """Returns the steps of a card's runs.

  Args:
    card: its name.
    directories: those of the project's gin files.

  Raises:
    UserError: the last `train_steps = ...` is no plain number.
  """
  lines = "\n".join(settings(gin_file(card), directories))
  values = re.findall(r"^train_steps\s*=\s*(.*)$", lines, re.MULTILINE)
  if not values or not values[-1].isdigit():
    line = f"{gin_file(card)}: train_steps must be a number."
    raise errors.UserError(line)
  return int(values[-1])


def hash_of(
    card: str,
    cards: Mapping[str, small_cards.SmallCard],
    directories: Sequence[str],
) -> str:
  """Returns the hash of a card's settings, and of the cards that it needs.

  Args:
    card: its name.
    cards: all small cards, by name.
    directories: those of the project's gin files.

  Returns:
    64 hexadecimal digits, which are others as soon as a run of the card could
    end with other numbers.
  """
  lines = [cards[card].mode, *settings(gin_file(card), directories)]
  for parameter, needed in sorted(cards[card].needs.items()):
    lines.append(f"{parameter}: {hash_of(needed, cards, directories)}")
  return hashlib.sha256("\n".join(lines).encode()).hexdigest()
