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

import pytest

from switch_command import modes


@pytest.mark.parametrize("name, mode", modes.MODES.items())
def test_modes_have_one_signature(name, mode):
  module, _, function = mode.function.rpartition(".")
  module = importlib.import_module(f"mtf_switch.modes.{module}")
  parameters = inspect.signature(getattr(module, function)).parameters
  first = ["program" if mode.starts_programs else "run", "console"]
  if mode.looks_first:
    first = ["installation"]
  assert list(parameters)[: len(first)] == first, name
  assert set(mode.flags) <= set(parameters)
  for flag in set(mode.flags) - set(mode.needs):
    assert parameters[flag].default is not inspect.Parameter.empty, flag
