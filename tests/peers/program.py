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

"""This project's program, started from the peers' environment."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def run_switch(*flags: str):
  """Runs this project's program, in its own environment."""
  variables = {k: x for k, x in os.environ.items() if k != "PYTHONPATH"}
  program = [ROOT / ".venv" / "bin" / "python", ROOT / "run_switch.py"]
  result = subprocess.run(
      [*program, *flags],
      env=variables,
      capture_output=True,
      text=True,
      check=False,
  )
  if result.returncode:
    sys.exit(f"run_switch {' '.join(flags)}: {result.stderr}")
