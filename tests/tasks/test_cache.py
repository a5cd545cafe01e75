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

"""The cache directory."""

import fcntl
import functools
import pathlib
import signal
import subprocess
import sys

import pytest

from tasks import cache
from tasks import corpus
from tasks import errors
from tests import source_trees

ROOT = pathlib.Path(__file__).parents[2]


def test_the_cache_directory_follows_the_environment(monkeypatch):
  monkeypatch.setenv("HOME", "/home/someone")
  monkeypatch.delenv("MTF_SWITCH_CACHE", raising=False)
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  default = pathlib.Path("/home/someone/.cache/mtf_switch")
  assert cache.cache_directory() == default
  monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
  assert cache.cache_directory() == pathlib.Path("/xdg/mtf_switch")
  monkeypatch.setenv("MTF_SWITCH_CACHE", "~/chosen")
  assert cache.cache_directory() == pathlib.Path("/home/someone/chosen")


def test_an_entry_is_built_once_for_each_key(empty_cache):
  built = []

  def make(value):
    def write(directory):
      built.append(value)
      (directory / "file").write_text(value)

    return write

  a = cache.build_once("name", {"x": 1, "y": 2}, make("a"))
  assert cache.build_once("name", {"y": 2, "x": 1}, make("b")) == a
  c = cache.build_once("name", {"x": 2}, make("c"))
  assert built == ["a", "c"] and a != c
  assert a.parent == empty_cache and a.name.startswith("name-")
  assert (a / "file").read_text() == "a" and (c / "file").read_text() == "c"


def test_an_entry_is_read_without_a_lock(empty_cache, monkeypatch):
  """A filled cache may be read-only."""
  entry = cache.build_once("name", 1, lambda directory: None)
  monkeypatch.delattr(fcntl, "flock")
  assert cache.build_once("name", 1, print) == entry


def visible(directory: pathlib.Path):
  return [p.name for p in directory.iterdir() if not p.name.startswith(".")]


def test_a_build_that_fails_leaves_nothing(empty_cache):
  def fail(directory):
    (directory / "file").write_text("half")
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    cache.build_once("name", 1, fail)
  assert not visible(empty_cache)
  assert not list(empty_cache.glob(".*partial"))


KILLED = """
import os, pathlib, signal, sys
from tasks import cache, corpus

files = [corpus.SourceFile(p.name, str(p)) for p in
         sorted(pathlib.Path(sys.argv[1]).iterdir())]

def report(share):
  if share > 0.5:
    os.kill(os.getpid(), signal.SIGKILL)

cache.build_once("docstrings", 1, lambda directory: corpus.build(
    directory, files, None, 2, report, {}))
"""


def run_python(program: str, *arguments: str) -> subprocess.Popen:
  """Starts a program in which `tasks` is a bare package that registers nothing.

  Its modules are importable without the registration, which takes seconds.
  """
  bare = f"""
import sys, types
package = types.ModuleType("tasks")
package.__path__ = [{str(ROOT / 'tasks')!r}]
sys.modules["tasks"] = package
"""
  return subprocess.Popen(
      [sys.executable, "-c", bare + program, *arguments],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
  )


def test_a_killed_build_leaves_no_entry_and_the_next_one_works(
    tmp_path, empty_cache
):
  files = source_trees.make_tree(tmp_path / "tree")
  killed = run_python(KILLED, str(tmp_path / "tree"))
  output = killed.communicate()
  assert killed.returncode == -signal.SIGKILL, output
  (partial,) = empty_cache.glob(".*partial")  # The build had begun.
  assert not visible(empty_cache)

  (partial / "leftover").write_text("of the killed build")
  build_corpus = functools.partial(
      corpus.build,
      files=files,
      max_bytes=None,
      num_workers=1,
      report=print,
      description={},
  )
  entry = cache.build_once("docstrings", 1, build_corpus)
  assert sorted(p.name for p in entry.iterdir()) == [
      "manifest.json",
      "test.tfrecord",
      "train.tfrecord",
      "validation.tfrecord",
  ]
  assert not list(empty_cache.glob(".*partial"))


RIVAL = """
import pathlib, sys, time
from tasks import cache

def build(directory):
  with open(sys.argv[1], "a") as log:
    log.write("built\\n")
  (directory / "a").write_text("a")
  time.sleep(0.5)
  (directory / "b").write_text("b")

entry = cache.build_once("name", 1, build)
print(sorted(p.name for p in entry.iterdir()))
"""


def test_of_several_processes_one_builds_and_all_see_the_whole(
    tmp_path, empty_cache
):
  log = tmp_path / "log"
  rivals = [run_python(RIVAL, str(log)) for _ in range(3)]
  for rival in rivals:
    output, complaints = rival.communicate()
    assert output == "['a', 'b']\n", complaints
  assert log.read_text() == "built\n"


def test_a_cache_directory_that_cannot_be_written(tmp_path, monkeypatch):
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("MTF_SWITCH_CACHE", str(tmp_path / "file" / "cache"))
  with pytest.raises(errors.DataError) as raised:
    cache.build_once("name", 1, print)
  assert str(raised.value) == (
      f"The cache directory {tmp_path}/file/cache is not writable (Not a "
      "directory); set MTF_SWITCH_CACHE to one that is."
  )
