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

"""The embedded corpus and the cache, with small source trees made by hand."""

import collections
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
import sentencepiece

from tasks import cache
from tasks import corpus
from tasks import errors
from tasks import extraction
from tasks import prepared_text

ROOT = pathlib.Path(__file__).parents[2]


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


def build(directory, files, max_bytes=None, num_workers=1, report=print):
  directory.mkdir()
  corpus.build(directory, files, max_bytes, num_workers, report, {})
  return prepared_text.PreparedText(directory)


# Extraction.


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


@pytest.mark.parametrize("num_workers", [2, 3, 7])
def test_workers_find_the_same_as_one_process(tmp_path, num_workers):
  paths = [file.path for file in make_tree(tmp_path / "tree", 20)]
  (tmp_path / "broken.py").write_text("def f(:")
  paths[3:3] = [str(tmp_path / "broken.py"), str(tmp_path / "absent.py")]
  serial = list(extraction.extract(paths, 1))
  assert serial[3:5] == [None, None]
  assert len(serial) == 22 and serial[5] == [
      sentence(f"f3_{i}") for i in range(3)
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
  paths = [file.path for file in make_tree(tmp_path / "tree", 20)] * 100
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


# From docstrings to documents.


def test_select_drops_repeated_short_and_sentinel_text():
  a, b = sentence("a"), sentence("b")
  counts = collections.Counter()
  modules = [
      [a, "Returns the name.", b],
      None,
      [],
      [a.replace(" ", "\n   "), "Use <extra_id_0> here. " + sentence("c")],
  ]
  assert list(corpus.select(modules, None, counts)) == [[a, b], [], [], []]
  assert counts == {
      "files": 4,
      "files_not_python": 1,
      "docstrings": 2,
      "duplicates": 1,
      "bytes": len(a) + len(b),
  }


@pytest.mark.parametrize("room", [-1, 0, 1])
def test_select_stops_at_max_bytes(room):
  texts = [sentence(name) + "\u00e9" for name in "abcd"]  # Two more bytes.
  size = sum(len(text) + 1 for text in texts[:3])
  modules = iter([texts[:2], texts[2:], [sentence("never")]])
  counts = collections.Counter()
  selected = list(corpus.select(modules, size + room, counts))
  assert sum(selected, []) == texts[: 3 if room >= 0 else 2]
  assert counts["bytes"] <= size + room
  assert next(modules) == [sentence("never")]  # The rest was not read.


def test_documents_are_consecutive_docstrings_up_to_a_size(monkeypatch):
  monkeypatch.setattr(corpus, "DOCUMENT_CHARACTERS", 10)
  docstrings = ["aaaa", "bbbb", "cccc", "d" * 30, "ee", "ffffffff", "g"]
  assert list(corpus.group(docstrings)) == [
      ["aaaa", "bbbb"],
      ["cccc"],
      ["d" * 30],
      ["ee", "ffffffff"],
      ["g"],
  ]
  assert not list(corpus.group([]))


def test_validation_omits_docstrings_of_the_training_text():
  shared_lines = "\n".join(f"    parameter {i} is common" for i in range(5))
  documents = [
      [
          sentence(f"own{i}"),
          f"Half of f{i} is its own.\n{shared_lines}\n{sentence(f'half{i}')}",
          f"Most of g{i} is not.\n{shared_lines}",
      ]
      for i in range(400)
  ]
  texts = collections.defaultdict(list)
  for split, text in corpus.split(documents):
    texts[split].append(text)
  joined = ["\n\n".join(document) for document in documents]
  assert set(texts["train"]) <= set(joined)
  num_validation = len(texts["validation"])
  assert len(texts["train"]) + num_validation == 400
  assert 2 <= num_validation <= 25  # 10 expected: 2.5% of 400.
  for text in texts["validation"]:
    (i,) = set(re.findall(r"own(\d+)", text))
    assert text == "\n\n".join(documents[int(i)][:2])


def test_validation_omits_documents_of_the_training_text():
  # Each document is part of another, with other line breaks and indentation.
  documents = [[sentence(f"a{i}")] for i in range(200)]
  documents += [
      [f"  {sentence(f'a{i}')}\n{sentence(f'b{i}')}"] for i in range(200)
  ]
  pairs = list(corpus.split(documents))
  train = [text for split, text in pairs if split == "train"]
  validation = [text for split, text in pairs if split == "validation"]
  assert validation
  for text in validation:
    assert not any(text in document for document in train)


@pytest.mark.parametrize(
    "hashes, expected",
    [
        # Some below 2.5% of 2**64 and some not.
        ([1, 2**63], prepared_text.VALIDATION_LIMIT),
        # None below: only the smallest.
        ([2**63 + 5, 2**63 + 3, 2**64 - 1], 2**63 + 4),
        # All below: only the smallest.
        ([7, 5, 6], 6),
    ],
)
def test_both_splits_have_a_document(hashes, expected):
  assert prepared_text.validation_limit(hashes) == expected


def test_text_hash_depends_on_the_words_only():
  text_hash = prepared_text.text_hash
  assert text_hash("a b\n  c") == text_hash("a  b c") != text_hash("a bc")
  # SHA-256 of "abc" starts with ba7816bf8f01cfea.
  assert text_hash("abc") == 0xBA7816BF8F01CFEA


# The whole build.


def files_of(text: prepared_text.PreparedText):
  return {p.name: p.read_bytes() for p in text.directory.iterdir()}


def test_build_writes_the_same_bytes_on_any_number_of_cores(tmp_path):
  files = make_tree(tmp_path / "tree")
  first = build(tmp_path / "first", files)
  again = build(tmp_path / "again", files)
  parallel = build(tmp_path / "parallel", files, num_workers=2)
  assert sorted(files_of(first)) == [
      "manifest.json",
      "train.tfrecord",
      "validation.tfrecord",
  ]
  assert files_of(first) == files_of(again) == files_of(parallel)


def test_build_keeps_every_docstring_once(tmp_path):
  files = make_tree(tmp_path / "tree")
  (tmp_path / "copy.py").write_text(module("f1_0", "f2_2", "f3_1"))
  (tmp_path / "new.py").write_text(module("caf\u00e9"))
  files += [
      corpus.SourceFile(name, str(tmp_path / name))
      for name in ("copy.py", "new.py")
  ]
  shares = []
  text = build(tmp_path / "out", files, report=shares.append)
  documents = {s: list(text.documents(s)) for s in prepared_text.SPLITS}
  every = sum(documents.values(), [])
  docstrings = "\n\n".join(every).split("\n\n")
  expected = [sentence(f"f{i}_{j}") for i in range(60) for j in range(3)]
  assert sorted(docstrings) == sorted(expected + [sentence("caf\u00e9")])
  for split in prepared_text.SPLITS:
    assert documents[split]
    assert text.num_documents(split) == len(documents[split])
    assert text.num_bytes(split) == sum(
        len(document.encode()) for document in documents[split]
    )
    records = [document.encode() for document in documents[split]]
    lengths = [len(record).to_bytes(8, "big") for record in records]
    data = b"".join(sum(zip(lengths, records), ()))
    assert text.sha256(split) == hashlib.sha256(data).hexdigest()
  assert text.manifest["extracted"] == {
      "files": 62,
      "files_not_python": 0,
      "docstrings": 181,
      "duplicates": 3,
      "bytes": sum(len(docstring.encode()) for docstring in docstrings),
  }
  assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) == 63


def test_a_limited_build_is_the_start_of_the_whole(tmp_path):
  files = make_tree(tmp_path / "tree")
  whole = build(tmp_path / "whole", files)
  capped = build(tmp_path / "capped", files, max_bytes=20_000, num_workers=2)
  assert 19_000 < capped.manifest["extracted"]["bytes"] <= 20_000
  every = sum((list(whole.documents(s)) for s in prepared_text.SPLITS), [])
  for split in prepared_text.SPLITS:
    for document in capped.documents(split):
      assert any(text.startswith(document) for text in every)


@pytest.mark.parametrize("num_docstrings", [0, 1])
def test_too_little_text(tmp_path, num_docstrings):
  size = num_docstrings * len(sentence("f0_0"))
  with pytest.raises(errors.DataError) as raised:
    build(tmp_path / "out", make_tree(tmp_path / "tree"), max_bytes=size)
  assert str(raised.value) == (
      f"{size} bytes of docstrings are too few to train on and to validate "
      "with; increase docstrings.max_bytes."
  )


def test_no_text(tmp_path):
  (tmp_path / "empty.py").write_text("")
  files = [corpus.SourceFile("empty.py", str(tmp_path / "empty.py"))]
  with pytest.raises(errors.DataError) as raised:
    build(tmp_path / "out", files)
  assert str(raised.value) == (
      "0 bytes of docstrings are too few to train on and to validate with."
  )


# The installed packages.


def test_every_package_of_the_corpus_is_in_the_lock():
  locked = re.findall(
      r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.M
  )
  assert set(corpus.DISTRIBUTIONS) <= set(locked)


def test_installed_files_are_sources_in_a_fixed_scrambled_order():
  files = corpus.installed_files(["numpy", "scipy"])
  names = [file.name for file in files]
  assert {"numpy/lib/function_base.py", "scipy/signal/_signaltools.py"} <= set(
      names
  )
  assert not [name for name in names if "/tests/" in name or "test_" in name]
  assert all(os.path.isfile(file.path) for file in files)
  assert names == [
      file.name for file in corpus.installed_files(["scipy", "numpy"])
  ]
  half = names[: len(names) // 2]
  numpy_share = sum(n.startswith("numpy/") for n in names) / len(names)
  numpy_share_of_half = sum(n.startswith("numpy/") for n in half) / len(half)
  assert abs(numpy_share - numpy_share_of_half) < 0.1


def test_a_missing_package():
  with pytest.raises(errors.DataError) as raised:
    corpus.installed_files(["no-such-package"])
  assert str(raised.value) == (
      "The embedded corpus is made of 17 packages, of which no-such-package is "
      "not installed; install what requirements.txt lists."
  )


def test_the_embedded_corpus_has_more_than_20_megabytes():
  """Estimated from one file in twenty, as all would take half a minute."""
  files = corpus.installed_files(corpus.DISTRIBUTIONS)
  sample = [file.path for file in files[::20]]
  counts = collections.Counter()
  for _ in corpus.select(extraction.extract(sample, 2), None, counts):
    pass
  assert counts["files"] == len(sample)
  assert counts["files_not_python"] == 0
  assert counts["bytes"] * len(files) / len(sample) > 20e6


# The cache.


@pytest.fixture
def cache_directory(tmp_path, monkeypatch):
  monkeypatch.setenv("MTF_SWITCH_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache"


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


def test_an_entry_is_built_once_for_each_key(cache_directory):
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
  assert a.parent == cache_directory and a.name.startswith("name-")
  assert (a / "file").read_text() == "a" and (c / "file").read_text() == "c"


def test_an_entry_is_read_without_a_lock(cache_directory, monkeypatch):
  """A filled cache may be read-only."""
  entry = cache.build_once("name", 1, lambda directory: None)
  monkeypatch.delattr(fcntl, "flock")
  assert cache.build_once("name", 1, print) == entry


def visible(directory: pathlib.Path):
  return [p.name for p in directory.iterdir() if not p.name.startswith(".")]


def test_a_build_that_fails_leaves_nothing(cache_directory):
  def fail(directory):
    (directory / "file").write_text("half")
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    cache.build_once("name", 1, fail)
  assert not visible(cache_directory)
  assert not list(cache_directory.glob(".*partial"))


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
    tmp_path, cache_directory
):
  files = make_tree(tmp_path / "tree")
  killed = run_python(KILLED, str(tmp_path / "tree"))
  output = killed.communicate()
  assert killed.returncode == -signal.SIGKILL, output
  (partial,) = cache_directory.glob(".*partial")  # The build had begun.
  assert not visible(cache_directory)

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
      "train.tfrecord",
      "validation.tfrecord",
  ]
  assert not list(cache_directory.glob(".*partial"))


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
    tmp_path, cache_directory
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
      f"The cache directory {tmp_path}/file/cache cannot be written (Not a "
      "directory); set MTF_SWITCH_CACHE to one that can."
  )


# The command.


def test_the_command_builds_corpus_and_vocabulary(
    cache_directory, monkeypatch, capsys
):
  from tasks import __main__ as command

  arguments = ["tasks", "--max_bytes=300000", "--vocabulary_size=500"]
  monkeypatch.setattr(sys, "argv", arguments)
  command.main()
  first = capsys.readouterr()
  assert not first.err
  assert re.search(r"train: \d+ documents, 0\.2\d MB\n", first.out)
  (vocabulary,) = cache_directory.glob("vocabulary-*/sentencepiece.model")
  (text,) = cache_directory.glob("docstrings-*")
  assert f"text: {text}\nvocabulary: {vocabulary}\n" in first.out
  model = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))
  assert model.get_piece_size() == 500
  manifest = json.loads((text / "manifest.json").read_text())
  assert manifest["max_bytes"] == 300_000
  assert list(manifest["packages"]) == list(corpus.DISTRIBUTIONS)

  stamps = [p.stat().st_mtime_ns for p in (text, vocabulary)]
  command.main()
  assert "train: " in capsys.readouterr().out
  assert [p.stat().st_mtime_ns for p in (text, vocabulary)] == stamps


def test_the_command_reports_an_error_in_one_line(
    cache_directory, monkeypatch, capsys
):
  from tasks import __main__ as command

  monkeypatch.setattr(sys, "argv", ["tasks", "--max_bytes=1000"])
  with pytest.raises(SystemExit) as raised:
    command.main()
  assert raised.value.code == 1
  assert re.fullmatch(
      r"\d+ bytes of docstrings are too few to train on and to validate with; "
      r"increase docstrings\.max_bytes\.\n",
      capsys.readouterr().err,
  )
