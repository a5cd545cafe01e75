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

"""The mode that looks at an installation, a machine and a run's directory.

It is for when something does not work. It looks first at what needs no library,
and says what is missing instead of failing.
"""

from collections.abc import Callable, Iterable, Iterator
import importlib.util
import pathlib
import sys
import tempfile
import time
import traceback
from typing import Any, NamedTuple

from mtf_switch import errors
from mtf_switch.modes import findings

_COLUMNS = ("subject", "state", "found", "what to do")


class Installation(NamedTuple):
  """This program as it is installed, which may lack libraries.

  Attributes:
    lock: the file with the versions of its libraries; None if it is missing.
    completion: how to complete the installation.
    model_dir: the directory of a run, if one is given.
    load: loads TensorFlow and the user's modules, and what of them is remote
      only if asked to; returns the Run of the command line, and a console.
  """

  lock: str | None
  completion: str
  model_dir: str | None
  load: Callable[[bool], tuple[Any, Any]]


def doctor(installation: Installation, ask_remote: bool = False):
  """Prints what is in order, what is not, and what to do about it.

  A table for people on a terminal; elsewhere a line for each finding, with tabs
  between columns.

  Args:
    installation: the installation.
    ask_remote: whether gs:// and the TPU are asked, which may take a while.

  Raises:
    UserError: something will stop a run.
  """
  found = _print(_findings(installation, ask_remote))
  wrong = dict.fromkeys(x.subject for x in found if x.state == "wrong")
  if wrong:
    raise errors.UserError(
        f"what is wrong will stop a run: {', '.join(wrong)}."
    )


def _findings(
    installation: Installation, ask_remote: bool
) -> Iterator[findings.Finding]:
  yield findings.of_python()
  lock = installation.lock
  yield from findings.of_libraries(
      pathlib.Path(lock).read_text() if lock else None,
      installation.completion,
      findings.version_of,
  )
  yield from findings.of_machine()
  yield findings.of_directory("temporary files", tempfile.gettempdir())
  start = time.monotonic()
  try:
    run, console = installation.load(ask_remote)
  except Exception as error:  # pylint: disable=broad-exception-caught
    traceback.print_exc()  # To the log.
    yield _of_failed_load(error, installation.completion)
    if model_dir := installation.model_dir:
      if "://" not in model_dir:
        yield findings.of_directory("model_dir", model_dir)
    return
  seconds = time.monotonic() - start
  yield findings.Finding(
      "TensorFlow", "ok", f"it loads, with this program, in {seconds:.0f} s"
  )
  # pylint: disable=g-import-not-at-top
  from mtf_switch.modes import run_findings
  from mtf_switch.training import progress
  # pylint: enable=g-import-not-at-top

  with progress.Display(console) as display:
    yield from run_findings.of_run(
        run, installation.model_dir, ask_remote, display
    )


def _of_failed_load(error: Exception, completion: str) -> findings.Finding:
  """The finding for what ends the program when it loads."""
  if isinstance(error, errors.UserError):  # Of a flag or a user's module.
    return findings.Finding("command line", "wrong", str(error))
  message = " ".join(str(error).split())
  kind = type(error).__name__
  return findings.Finding(
      "TensorFlow", "wrong", f"it does not load: {kind}: {message}", completion
  )


def _print(found: Iterable[findings.Finding]) -> list[findings.Finding]:
  """Writes findings to stdout, as a table where that can be had.

  Args:
    found: the findings, which take their time.

  Returns:
    the findings.
  """
  if sys.stdout.isatty() and importlib.util.find_spec("rich"):
    import rich.console  # pylint: disable=g-import-not-at-top

    from mtf_switch import terminal  # pylint: disable=g-import-not-at-top

    found = list(found)
    output = rich.console.Console(file=sys.stdout)
    terminal.table(output, _COLUMNS, found, num_left=len(_COLUMNS))
    return found
  print(*_COLUMNS, sep="\t")
  rows = []
  for row in found:  # At once: what follows may end the program.
    print(*(" ".join(x.split()) for x in row), sep="\t", flush=True)
    rows.append(row)
  return rows
