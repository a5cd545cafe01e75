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

"""Extraction of docstrings."""

import signal
import subprocess
import sys

import pytest

from tasks import extraction
from tests import source_trees


def test_all_docstrings_in_source_order():
  source = '''
"""Module."""

if condition:
  def in_if():
    """In if."""
    def nested():
      """
      Nested,

        indented.
      """
elif other:
  pass
else:
  async def in_else():
    "In else."

try:
  class A:
    """A."""
    x = 1
    """Not a docstring."""

    def method(self):
      """Method."""
except ValueError:
  def in_handler():
    """In handler."""
finally:
  def in_finally():
    """In finally."""

for x in y:
  with z:
    while True:
      match x:
        case 1:
          def deep():
            """Deep."""

def formatted():
  f"""Not {a} docstring."""

def number():
  1

def empty():
  """"""

def blank():
  """

  """

def last():
  """Last."""
'''
  assert extraction.docstrings(source.encode()) == [
      "Module.",
      "In if.",
      "Nested,\n\n  indented.",
      "In else.",
      "A.",
      "Method.",
      "In handler.",
      "In finally.",
      "Deep.",
      "Last.",
  ]


@pytest.mark.parametrize(
    "source",
    [
        b"def f(:\n  '''Broken.'''",
        b"'''\xff is not UTF-8.'''",
        b"'''A zero \0 byte.'''",
        b"# coding: no-such-encoding\n'''Text.'''",
    ],
)
def test_other_files_than_python_have_no_docstrings(source):
  assert extraction.docstrings(source) is None


@pytest.mark.parametrize(
    "source, expected",
    [
        (b"", []),
        (b"# coding: latin-1\n'''Caf\xe9.'''", ["Caf\u00e9."]),
        (b"\xef\xbb\xbf'''After a mark.'''", ["After a mark."]),
        (b"'''A lone \\ud800surrogate.'''", ["A lone surrogate."]),
        (b"'''A bad \\escape.'''", ["A bad \\escape."]),
    ],
)
def test_encodings_and_escapes(source, expected, recwarn):
  assert extraction.docstrings(source) == expected
  assert not recwarn


def test_what_is_documented():
  source = '''
"""Module."""

class A:
  """A."""

  def method(self, first, *rest, last=0, **others):
    """Method."""

  @classmethod
  async def of_class(cls, only, /):
    """Of the class."""

def function():
  """Function."""
'''
  assert extraction.documented(source.encode()) == [
      ("Module.", "module", "", []),
      ("A.", "class", "A", []),
      ("Method.", "method", "method", ["first", "last"]),
      ("Of the class.", "method", "of_class", ["only"]),
      ("Function.", "function", "function", []),
  ]


def test_workers_find_the_same_documented_functions(tmp_path):
  paths = [file.path for file in source_trees.make_tree(tmp_path / "tree", 5)]
  paths.append(str(tmp_path / "absent.py"))
  read = extraction.read_documented
  serial = list(extraction.extract(paths, 1, read))
  assert serial[0][2].name == "f0_2" and serial[5] is None
  parallel = list(extraction.extract(paths, 2, read))
  assert parallel == serial and parallel[0][2].name == "f0_2"


@pytest.mark.parametrize("num_workers", [2, 3, 7])
def test_workers_find_the_same_as_one_process(tmp_path, num_workers):
  paths = [file.path for file in source_trees.make_tree(tmp_path / "tree", 20)]
  (tmp_path / "broken.py").write_text("def f(:")
  paths[3:3] = [str(tmp_path / "broken.py"), str(tmp_path / "absent.py")]
  serial = list(extraction.extract(paths, 1))
  assert serial[3:5] == [None, None]
  assert len(serial) == 22 and serial[5] == [
      source_trees.sentence(f"f3_{i}") for i in range(3)
  ]
  assert list(extraction.extract(paths, num_workers)) == serial


def recorded_popen(monkeypatch):
  """Returns a list to which all started processes are appended."""
  started = []
  popen = subprocess.Popen

  def start(*args, **kwargs):
    started.append(popen(*args, **kwargs))
    return started[-1]

  monkeypatch.setattr(subprocess, "Popen", start)
  return started


def test_stopping_early_leaves_no_worker(tmp_path, monkeypatch):
  started = recorded_popen(monkeypatch)
  # More than the workers can write ahead of the reader.
  paths = [
      file.path for file in source_trees.make_tree(tmp_path / "tree", 20)
  ] * 100
  extracted = extraction.extract(paths, 2)
  next(extracted)
  assert [worker.poll() for worker in started] == [None, None]
  extracted.close()
  assert [worker.poll() for worker in started] == [-signal.SIGKILL] * 2


def test_a_worker_that_dies_is_an_error(tmp_path, monkeypatch):
  program = tmp_path / "python"
  program.write_text("#!/bin/sh\ncat > /dev/null\nexit 3\n")
  program.chmod(0o755)
  monkeypatch.setattr(sys, "executable", str(program))
  with pytest.raises(RuntimeError, match="reads docstrings ended with 3"):
    list(extraction.extract(["a.py", "b.py"], 2))
