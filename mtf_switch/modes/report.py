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

"""The mode `report`: one page of what runs have left behind."""

from collections.abc import Sequence
import os

import rich.console

from mtf_switch import files
from mtf_switch import terminal
from mtf_switch.pages import report as report_page
from mtf_switch.pages import run_files
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib

_NAME = "report.html"


def report(
    run: run_lib.Run,
    console: rich.console.Console,
    model_dirs: Sequence[str],
    output_dir: str,
):
  """Writes report.html: curves, loads, evaluations and settings of runs.

  Args:
    run: not used: model_dirs names the runs.
    console: the console for progress and notes.
    model_dirs: the model_dirs of one or more runs.
    output_dir: the directory for the page.

  Raises:
    UserError: a directory has no run, is given twice, or has a damaged file.
  """
  del run
  with (
      progress.Display(console) as display,
      display.working("reading " + ", ".join(model_dirs)),
  ):
    runs = run_files.read_all(model_dirs)
    page = report_page.render(runs)
  for of_run in runs:
    for note in of_run.notes:
      terminal.say(console, f"note: {note}")
  path = os.path.join(output_dir, _NAME)
  files.write_bytes(path, page.encode())
  terminal.say(console, f"wrote {path}; open it with a browser.")
