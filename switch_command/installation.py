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

"""Where the program and its files are. Works with Python 3.9 too."""

import importlib.metadata
import pathlib
import shlex
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "run_switch.py"


def locks() -> list[str]:
  """The file with the libraries' versions: in the checkout, or installed."""
  lock = ROOT / "requirements.txt"
  if lock.exists():
    return [str(lock)]
  files = importlib.metadata.files("mtf_switch") or ()
  return [str(x.locate().resolve()) for x in files if x.name == lock.name]


def completion() -> str:
  """How to complete an environment that lacks something."""
  if (ROOT / "requirements.txt").exists():
    return (
        f"use {ROOT / '.venv/bin/python'}, which `make setup` in {ROOT} makes"
        " and completes."
    )
  options = ["-m", "pip", "install", "--no-deps", "-r", *locks()]
  command = shlex.join([sys.executable, *options])
  return f"complete the installation with: {command}"


def incomplete(problem: str) -> str:
  """A line for an environment that lacks something, with what completes it.

  Args:
    problem: what is wrong, without a full stop.
  """
  return f"{problem}; {completion()}"


def gin_directories() -> list[str]:
  """The project's gin files: in the checkout, or installed."""
  places = [ROOT / "gin", ROOT / "mtf_switch" / "gin_files"]
  return [str(place) for place in places if (place / "runs").is_dir()]
