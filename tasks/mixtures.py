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

"""Mixtures of languages, all of them or those that gin chooses."""

from collections.abc import Callable, Mapping, Sequence
import difflib

import seqio

from tasks import errors

# None for all languages.
Choice = str | Sequence[str] | None

# Codes of other standards, for a suggestion.
_OTHER_CODES = {
    "he": "iw",
    "in": "id",
    "ji": "yi",
    "jw": "jv",
    "nb": "no",
    "nn": "no",
    "tl": "fil",
}


def choose(option: str, choice: Choice, known: Sequence[str]) -> list[str]:
  """Returns the languages that an option chooses, in the order of the known.

  Args:
    option: the option's name.
    choice: its value: codes, in which "_" is as good as "-".
    known: the codes that there are.

  Raises:
    DataError: there is no such language, or none is chosen.
  """
  if choice is None:
    return list(known)
  codes = [choice] if isinstance(choice, str) else list(choice)
  if not codes:
    raise errors.DataError(
        f"{option} = {codes} names no language; None stands for all "
        f"{len(known)}."
    )
  chosen = {code.replace("_", "-") for code in codes}
  for code in codes:
    if code.replace("_", "-") not in known:
      near = [_OTHER_CODES[code]] if _OTHER_CODES.get(code) in known else None
      near = near or difflib.get_close_matches(code, known, cutoff=0.5)
      raise errors.DataError(
          f"{option}: {code!r} is none of the {len(known)} languages; "
          + (
              f"did you mean {' or '.join(map(repr, near))}?"
              if near
              else f"they are {', '.join(known)}."
          )
      )
  return [code for code in known if code in chosen]


class LanguagesMixture(seqio.Mixture):
  """A mixture of a task for each language, or for those that gin chooses."""

  def __init__(
      self,
      name: str,
      task_names: Mapping[str, str],
      rate: Callable[[seqio.Task], float],
      chosen: Callable[[], Sequence[str]],
  ):
    """Registers nothing and reads no option.

    Args:
      name: the mixture's.
      task_names: the name of each language's task.
      rate: returns the rate of a task, not normalized.
      chosen: returns the languages; called at each use.
    """
    self._names = task_names
    self._chosen = lambda: task_names
    super().__init__(name, list(task_names.values()), default_rate=rate)
    self._chosen = chosen

  @property
  def tasks(self) -> list[seqio.Task]:
    """The tasks of the chosen languages."""
    names = {self._names[language] for language in self._chosen()}
    return [task for task in super().tasks if task.name in names]

  @property
  def rate_per_task_name(self):
    """See base class."""
    rates = super().rate_per_task_name
    return {task.name: rates[task.name] for task in self.tasks}
