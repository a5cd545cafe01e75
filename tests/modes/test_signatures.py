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

"""All modes are called as `mode(run, console, **flags)`.

Those that start programs get a program, one that looks first an installation.
"""

import mtf_switch  # isort: skip  # noqa: F401
import importlib
import inspect
import json
import subprocess
import sys

import pytest

from tests import programs

# In a process of its own: the program defines flags.
_SCRIPT = """
import json, run_switch
modes = run_switch._MODES.values()
print(json.dumps([
    [
        x.function,
        x.flags,
        x.needs,
        ["installation"] if x.looks_first
        else ["program" if x.starts_programs else "run", "console"],
    ]
    for x in modes
]))
"""
MODES = json.loads(
    subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=programs.PROJECT,
        check=True,
        capture_output=True,
    ).stdout
)


@pytest.mark.parametrize("function, flags, needs, first", MODES)
def test_modes_have_one_signature(function, flags, needs, first):
  module, _, name = function.rpartition(".")
  mode = getattr(importlib.import_module(f"mtf_switch.modes.{module}"), name)
  parameters = inspect.signature(mode).parameters
  assert list(parameters)[: len(first)] == first
  assert set(flags) <= set(parameters)
  for flag in set(flags) - set(needs):
    assert parameters[flag].default is not inspect.Parameter.empty, flag
