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

"""Settings of all tests: quiet, on the CPU, seeded, and marked."""

import os
import pathlib
import random
import signal
import socket
import sys

# TensorFlow reads these when it is imported, hence before any test's imports.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import pytest

import mtf_switch  # noqa: F401  Its shims make mesh_tensorflow importable.
from tests import programs

REAL_DATA = "SWITCH_REAL_DATA"


def pytest_configure(config: pytest.Config):
  config.addinivalue_line(
      "markers",
      f"real_data: needs the directory of real data named by {REAL_DATA}",
  )


def pytest_collection_modifyitems(items: list[pytest.Item]):
  if not os.environ.get(REAL_DATA):
    skip = pytest.mark.skip(reason=f"{REAL_DATA} is not set")
    for item in items:
      if item.get_closest_marker("real_data"):
        item.add_marker(skip)


@pytest.fixture
def real_data() -> pathlib.Path:
  """The directory of real data, for tests marked real_data."""
  directory = pathlib.Path(os.environ[REAL_DATA])
  assert directory.is_dir(), f"{REAL_DATA}={directory} is no directory"
  return directory


@pytest.fixture(autouse=True)
def seeds():
  """Seeds all generators that tests draw from."""
  random.seed(0)
  np.random.seed(0)
  if "tensorflow" in sys.modules:
    sys.modules["tensorflow"].random.set_seed(0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
  """Runs programs, with a cache of their own that is empty at first."""
  cache = tmp_path_factory.mktemp("cache")
  server = programs.Server(MTF_SWITCH_CACHE=str(cache))
  yield server
  server.close()


@pytest.fixture
def received():
  """What a program's own handler of SIGTERM gets."""
  numbers = []
  before = signal.signal(
      signal.SIGTERM, lambda number, frame: numbers.append(number)
  )
  yield numbers
  signal.signal(signal.SIGTERM, before)


@pytest.fixture
def silent():
  """The address of a server that accepts connections and says nothing."""
  with socket.socket() as server:
    server.bind(("127.0.0.1", 0))
    server.listen()
    yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(autouse=True)
def empty_gin():
  """Clears gin's configuration after each test."""
  yield
  if "gin" in sys.modules:
    sys.modules["gin"].clear_config()
