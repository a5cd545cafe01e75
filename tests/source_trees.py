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

"""Small trees of Python files with docstrings."""

import pathlib

from tasks import corpus


def sentence(name: str) -> str:
  """Returns a docstring that is long enough and unlike those of other names."""
  return " ".join([name, "does what only", *[name] * 50, "can do."])


def module(*names: str) -> str:
  """Returns source with one documented function for each name."""
  return "\n".join(
      f'def {name}():\n  """{sentence(name)}"""\n' for name in names
  )


def make_tree(directory: pathlib.Path, num_modules: int = 60):
  """Writes modules and returns them as `build` expects them."""
  directory.mkdir()
  files = []
  for index in range(num_modules):
    path = directory / f"m{index}.py"
    path.write_text(module(*(f"f{index}_{i}" for i in range(3))))
    files.append(corpus.SourceFile(path.name, str(path)))
  return files
