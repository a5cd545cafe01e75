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

"""The embedded corpus, from small source trees and from the packages."""

import collections
import hashlib
import json
import os
import pathlib
import re
import sys

import pytest
import sentencepiece

from tasks import corpus
from tasks import docstring_documents
from tasks import errors
from tasks import extraction
from tasks import prepared_text
from tests import source_trees

ROOT = pathlib.Path(__file__).parents[2]


def build(directory, files, max_bytes=None, num_workers=1, report=print):
  directory.mkdir()
  corpus.build(directory, files, max_bytes, num_workers, report, {})
  return prepared_text.PreparedText(directory)


# The whole build.


def files_of(text: prepared_text.PreparedText):
  return {p.name: p.read_bytes() for p in text.directory.iterdir()}


def test_build_writes_the_same_bytes_on_any_number_of_cores(tmp_path):
  files = source_trees.make_tree(tmp_path / "tree")
  first = build(tmp_path / "first", files)
  again = build(tmp_path / "again", files)
  parallel = build(tmp_path / "parallel", files, num_workers=2)
  assert sorted(files_of(first)) == [
      "manifest.json",
      "test.tfrecord",
      "train.tfrecord",
      "validation.tfrecord",
  ]
  assert files_of(first) == files_of(again) == files_of(parallel)


def test_build_keeps_every_docstring_once(tmp_path):
  files = source_trees.make_tree(tmp_path / "tree", 120)
  (tmp_path / "copy.py").write_text(source_trees.module("f1_0", "f2_2", "f3_1"))
  (tmp_path / "new.py").write_text(source_trees.module("caf\u00e9"))
  files += [
      corpus.SourceFile(name, str(tmp_path / name))
      for name in ("copy.py", "new.py")
  ]
  shares = []
  text = build(tmp_path / "out", files, report=shares.append)
  documents = {s: list(text.documents(s)) for s in text.splits}
  every = sum(documents.values(), [])
  docstrings = "\n\n".join(every).split("\n\n")
  expected = [
      source_trees.sentence(f"f{i}_{j}") for i in range(120) for j in range(3)
  ]
  assert sorted(docstrings) == sorted(
      expected + [source_trees.sentence("caf\u00e9")]
  )
  for split in ("train", "validation", "test"):
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
      "files": 122,
      "files_not_python": 0,
      "docstrings": 361,
      "duplicates": 3,
      "bytes": sum(len(docstring.encode()) for docstring in docstrings),
  }
  assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) == 123


def test_a_limited_build_is_the_start_of_the_whole(tmp_path):
  files = source_trees.make_tree(tmp_path / "tree")
  whole = build(tmp_path / "whole", files)
  capped = build(tmp_path / "capped", files, max_bytes=20_000, num_workers=2)
  assert 19_000 < capped.manifest["extracted"]["bytes"] <= 20_000
  every = sum((list(whole.documents(s)) for s in whole.splits), [])
  for split in capped.splits:
    for document in capped.documents(split):
      assert any(text.startswith(document) for text in every)


@pytest.mark.parametrize("num_docstrings", [0, 1])
def test_too_little_text(tmp_path, num_docstrings):
  size = num_docstrings * len(source_trees.sentence("f0_0"))
  with pytest.raises(errors.DataError) as raised:
    build(
        tmp_path / "out",
        source_trees.make_tree(tmp_path / "tree"),
        max_bytes=size,
    )
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
      "not installed; install those of requirements.txt."
  )


def test_the_embedded_corpus_has_more_than_20_megabytes():
  """Estimated from one file in twenty, as all would take half a minute."""
  files = corpus.installed_files(corpus.DISTRIBUTIONS)
  sample = [file.path for file in files[::20]]
  counts = collections.Counter()
  for _ in docstring_documents.select(
      extraction.extract(sample, 2), None, counts
  ):
    pass
  assert counts["files"] == len(sample)
  assert counts["files_not_python"] == 0
  assert counts["bytes"] * len(files) / len(sample) > 20e6


# The command.


def test_the_command_builds_corpus_and_vocabulary(
    empty_cache, monkeypatch, capsys
):
  from tasks import __main__ as command

  arguments = ["tasks", "--max_bytes=300000", "--vocabulary_size=500"]
  monkeypatch.setattr(sys, "argv", arguments)
  command.main()
  first = capsys.readouterr()
  assert not first.err
  assert re.search(r"train: \d+ documents, 0\.2\d MB\n", first.out)
  (vocabulary,) = empty_cache.glob("vocabulary-*/sentencepiece.model")
  (text,) = empty_cache.glob("docstrings-*")
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
    empty_cache, monkeypatch, capsys
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
