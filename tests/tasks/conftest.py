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

"""Fixtures for the tests of tasks."""

import gin
import pytest

from tasks import records
from tests import small_corpus as small_corpus_lib


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
  """The directory of a cache in which each entry is built once."""
  return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache_directory(shared_cache, monkeypatch):
  """Uses the shared cache for one test."""
  monkeypatch.setenv("MTF_SWITCH_CACHE", str(shared_cache))
  return shared_cache


@pytest.fixture
def small_corpus(cache_directory):
  """Uses a small embedded corpus; tests/conftest.py clears gin afterwards."""
  del cache_directory
  gin.parse_config(small_corpus_lib.BINDINGS)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
  """A cache directory for one test, which does not exist yet."""
  directory = tmp_path / "cache"
  monkeypatch.setenv("MTF_SWITCH_CACHE", str(directory))
  return directory


@pytest.fixture(autouse=True)
def nothing_skipped(monkeypatch):
  """Starts to count broken records afresh."""
  monkeypatch.setattr(records, "_skipped", {})
