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

"""A user's own module `tasks`, beside this project's package of that name."""

import os
import subprocess
import sys

import pytest

from tests import programs


def python(*arguments, cwd, **variables):
  return subprocess.run(
      [sys.executable, *map(str, arguments)],
      cwd=cwd,
      env={**os.environ, **variables},
      capture_output=True,
      text=True,
      timeout=300,
  )


def test_it_breaks_no_import(tmp_path):
  (tmp_path / "tasks.py").write_text("mine = True")
  script = """
import importlib, pkgutil, sys
import mtf_switch
modules = pkgutil.walk_packages(mtf_switch.__path__, "mtf_switch.")
names = [module.name for module in modules]
for name in [*names, *mtf_switch.renamed.NEW_NAMES]:
  importlib.import_module(name)
assert "mtf_switch.modes.finetune" in names
assert "tasks" not in sys.modules
import tasks
assert tasks.mine
"""
  # The working directory comes first on the path of `python -c`.
  ended = python("-c", script, cwd=tmp_path, PYTHONPATH=str(programs.PROJECT))
  assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "file, theirs, module",
    [
        ("tasks.py", "tasks.py", "tasks"),
        ("tasks/__init__.py", "tasks", "tasks"),
        ("tasks/mine.py", "tasks", "tasks.mine"),
    ],
)
@pytest.mark.parametrize("on_pythonpath", [False, True])
def test_it_cannot_be_asked_for(tmp_path, file, theirs, module, on_pythonpath):
  place = tmp_path / "lib" if on_pythonpath else tmp_path
  (place / file).parent.mkdir(exist_ok=True, parents=True)
  (place / file).write_text("")
  ended = python(
      programs.PROGRAM,
      "--mode=tasks",
      f"--module_import={module}",
      cwd=tmp_path,
      PYTHONPATH=str(place) if on_pythonpath else "",
  )
  assert ended.returncode == 1
  assert ended.stderr == (
      f"run_switch: --module_import={module} would import this project's "
      f"package `tasks`, not {place / theirs}; rename yours.\n"
  )


@pytest.mark.parametrize("arguments", [[], ["--module_import=tasks"]])
def test_it_is_refused_before_this_projects_package(tmp_path, arguments):
  """As the installed command finds one on PYTHONPATH, or a script beside it."""
  (tmp_path / "tasks.py").write_text("")
  ended = python(
      "-c",
      "import run_switch; run_switch.main()",
      "--mode=tasks",
      *arguments,
      cwd=programs.PROJECT / "docs",
      PYTHONPATH=os.pathsep.join([str(tmp_path), str(programs.PROJECT)]),
  )
  assert ended.returncode == 1
  assert ended.stderr == (
      f"run_switch: {tmp_path}/tasks.py comes before this project's package "
      "`tasks` on Python's path; rename yours, or take its directory off "
      "PYTHONPATH.\n"
  )
