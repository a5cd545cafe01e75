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

"""Checkpoints of T5X for tests, and the logits of its own models.

The fixtures are from tests/peers/t5x.py, where JAX is.
"""

import pathlib
import shutil

import numpy as np

FIXTURES = pathlib.Path(__file__).resolve().parent / "t5x"
STEP = 7


def unpack(name: str, directory: pathlib.Path) -> str:
  """Unpacks a checkpoint that T5X has written.

  Args:
    name: of tests/peers/t5x_models.py.
    directory: where to write.

  Returns:
    the checkpoint's directory.
  """
  # The argument `filter` came with Python 3.11.4; Debian 12 has 3.11.2.
  shutil.unpack_archive(FIXTURES / f"{name}.tar.xz", directory)
  return str(directory / "checkpoint")


def expected(name: str) -> dict[str, np.ndarray]:
  """Returns inputs, targets and logits."""
  with np.load(FIXTURES / f"{name}.npz") as arrays:
    return dict(arrays)
