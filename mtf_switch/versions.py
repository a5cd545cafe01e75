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

"""Versions of what a run is made with: the file in its directory."""

import importlib.metadata
import platform

import mtf_switch

FILE = "versions.txt"
# What numbers depend on, by its name in the file.
MAIN = (
    *("python", "mtf_switch", "tensorflow", "mesh-tensorflow", "t5"),
    *("seqio-nightly", "numpy"),
)


def lines() -> list[str]:
  """The file's lines: Python, then this package and all that are installed."""
  installed = (x.metadata for x in importlib.metadata.distributions())
  libraries = [
      f"{x['Name']}=={x['Version']}"
      for x in installed
      if x["Name"] != "mtf_switch"
  ]
  # A checkout runs without being installed, or beside one that is.
  libraries.append(f"mtf_switch=={mtf_switch.__version__}")
  return [f"python=={platform.python_version()}", *sorted(libraries)]


def parse(text: str) -> dict[str, str]:
  """Versions by name, from the file's text."""
  pairs = (line.partition("==") for line in text.splitlines())
  return {name: version for name, _, version in pairs if version}
