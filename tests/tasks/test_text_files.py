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

"""The user's own text files."""

import contextlib
import gzip
import json
import os
import pathlib
import re

import gin
import pytest
import seqio

from tasks import errors
from tasks import prepared_text
from tasks import records
from tasks import text_files
from tasks import vocabulary_training
from tasks import waits
from tests import small_corpus

pytestmark = pytest.mark.usefixtures("small_corpus")

PARAGRAPHS = ["First line.\nSecond line.", "Caf\u00e9.", "The last."]
TEXT = "\n\nFirst line.\nSecond line.\n\n \n\nCaf\u00e9.\n\nThe last."
LINES = ["First line.", "Second line.", "Caf\u00e9.", "The last."]
OBJECTS = [{"text": text, "url": "x"} for text in PARAGRAPHS] + [{"text": " "}]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "name, content, document, expected",
    [
        ("a.txt", TEXT, "paragraph", PARAGRAPHS),
        ("a.txt", TEXT, "line", LINES),
        ("no_suffix", TEXT, "paragraph", PARAGRAPHS),
        ("windows.txt", "\ufeff" + TEXT.replace("\n", "\r\n"), "line", LINES),
        (
            "windows.txt",
            "\ufeff" + TEXT.replace("\n", "\r\n"),
            "paragraph",
            PARAGRAPHS,
        ),
        ("a.jsonl", "\n".join(map(json.dumps, OBJECTS)), "line", PARAGRAPHS),
        (
            "a.json",
            "\n\n".join(map(json.dumps, OBJECTS)) + "\n",
            "line",
            PARAGRAPHS,
        ),
        ("a.json", "\n" + json.dumps(OBJECTS), "paragraph", PARAGRAPHS),
        ("a.json", json.dumps(OBJECTS, indent=2), "paragraph", PARAGRAPHS),
        ("empty.txt", "", "paragraph", []),
        ("empty.jsonl", "\n", "paragraph", []),
    ],
)
def test_every_format_of_text(
    tmp_path, name, content, document, expected, packed
):
  path = tmp_path / (name + ".gz" * packed)
  data = content.encode("utf-8")
  path.write_bytes(gzip.compress(data) if packed else data)
  assert list(text_files.read_documents(str(path), document)) == expected


def write_files(directory: pathlib.Path, *names: str):
  for name in names:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"Text of {name}.\n\nMore of {name}.")


def test_the_files_of_a_path(tmp_path, monkeypatch):
  names = ["b.txt", "a.json.gz", "d/c.jsonl", "d/e/f.txt.gz", "x[1].txt"]
  others = ["README.md", ".hidden.txt", ".git/g.txt", "d/n.zip", "txt"]
  write_files(tmp_path, *names, *others)

  def found(path):
    return [
        os.path.relpath(name, tmp_path) for name in text_files.find_files(path)
    ]

  assert found(str(tmp_path)) == sorted(names)
  assert found(f"{tmp_path}/") == sorted(names)
  assert found(f"{tmp_path}/d") == ["d/c.jsonl", "d/e/f.txt.gz"]
  assert found(f"{tmp_path}/*.txt") == ["b.txt", "x[1].txt"]
  assert found(f"{tmp_path}/*") == [
      "README.md", "a.json.gz", "b.txt", "txt", "x[1].txt"
  ]  # fmt: skip
  assert found(f"{tmp_path}/x[1].txt") == ["x[1].txt"]
  assert found(f"{tmp_path}/README.md") == ["README.md"]
  monkeypatch.setenv("HOME", str(tmp_path))
  assert found("~/b.txt") == ["b.txt"]


def test_an_unknown_file_system():
  with pytest.raises(errors.DataError) as raised:
    text_files.find_files("nowhere://a/b.txt")
  message = str(raised.value)
  assert message.startswith(
      "text_files.path = 'nowhere://a/b.txt' is remote, and TensorFlow has no "
  )
  assert "\n" not in message


def test_no_such_files(tmp_path):
  write_files(tmp_path, "README.md")
  for path, reason in (
      ("", "the directory has no file that ends in .txt, .json, .jsonl"),
      ("/absent.txt", "no file matches"),
      ("/*.txt", "no file matches"),
  ):
    path = f"{tmp_path}{path}"
    with pytest.raises(errors.DataError) as raised:
      text_files.find_files(path)
    assert str(raised.value) == f"text_files.path = {path!r}: {reason}."


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "a.json",
            b'[{"text": "a"}] [',
            "{file}: this is not JSON (Extra data); each line must be an "
            "object, or the file one array of objects.",
        ),
        (
            "a.json",
            b'[{"text": ' + b"[" * 100_000,
            "{file}: its brackets are nested too deeply; each line must be an "
            "object, or the file one array of objects.",
        ),
        (
            "a.json",
            b'[{"text": "a"}',
            "{file}: this is not JSON (Expecting ',' delimiter); each line "
            "must be an object, or the file one array of objects.",
        ),
        (
            "a.txt.gz",
            b"This is plain text.",
            "{file}, after line 0: this is not a whole gzip file.",
        ),
        (
            "a.txt.gz",
            # Without a time: these bytes are part of the test's name.
            gzip.compress(b"Good.\n" * 9, mtime=0)[:-8],
            "{file}, after line 9: this is not a whole gzip file.",
        ),
    ],
)
def test_files_without_the_format_of_their_name(
    tmp_path, name, content, message
):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(errors.DataError) as raised:
    list(text_files.read_documents(str(path), "paragraph"))
  assert str(raised.value) == message.format(file=path)


_BROKEN = {
    "half of a surrogate pair": (
        r'{"text": "bad \ud83d here"}',
        'the string under "text" is not Unicode',
    ),
    "a number of 5,000 digits": (
        '{"text": "a", "n": ' + "1" * 5000 + "}",
        "a number is too long (Exceeds the limit (4300 digits) for integer "
        "string conversion: value has 5000 digits)",
    ),
    "100,000 brackets": (
        '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "its brackets are nested too deeply",
    ),
    "a comma": (
        '{"text": }',
        "this is not JSON (Expecting value)",
    ),
    "other keys": (
        r'{"body": 1, "\ud83d": 2}',
        'the object has no string under "text"; its keys are body, \\ud83d',
    ),
    "no keys": (
        "{}",
        'the object has no string under "text"; its keys are none',
    ),
    "a list": ("[1]", "a JSON object is needed, not list"),
}


@pytest.mark.parametrize("kind", _BROKEN)
def test_a_broken_record_is_skipped_in_every_form(tmp_path, kind):
  broken, problem = _BROKEN[kind]
  good = '{"text": "good"}'

  def skipped(name, text):
    path = tmp_path / name
    path.write_text(text)
    before = set(records.skipped())
    texts = list(text_files.read_documents(str(path), "line"))
    assert set(texts) == {"good"}
    (place,) = set(records.skipped()) - before
    assert records.skipped()[place] == problem
    return place.removeprefix(f"{tmp_path}/")

  assert skipped("a.jsonl", f"{good}\n\n{broken}\n{good}") == "a.jsonl, line 3"
  assert skipped("b.json", f"{broken}\n{good}") == "b.json, line 1"
  array = f"[{good}, {broken},\n{good}]"
  assert skipped("c.json", array) == "c.json, entry 2"


def test_a_line_that_is_not_utf8_is_skipped(tmp_path):
  path = tmp_path / "a.txt"
  path.write_bytes(b"Good.\n\nCaf\xe9.\n\nFine.")
  assert list(text_files.read_documents(str(path), "paragraph")) == [
      "Good.",
      "Fine.",
  ]
  assert list(records.skipped()) == [f"{path}, line 3"]


def test_a_file_of_broken_records_only(tmp_path):
  path = tmp_path / "a.json"
  path.write_text('{"text":\n "a"\n}')
  with pytest.raises(errors.DataError) as raised:
    build(tmp_path / "out", [path])
  assert str(raised.value) == (
      f"There is no text in {path}; 3 broken records, first {path}, line 1: "
      "this is not JSON (Expecting value)."
  )


def test_damaged_and_absent_files(tmp_path):
  data = bytearray(gzip.compress(b"Good.\n" * 9))
  data[10] = 0xFF  # An invalid type of block.
  (tmp_path / "damaged.txt.gz").write_bytes(data)
  for name, message in (
      (
          "damaged.txt.gz",
          "{file}, after line 0: this is not a whole gzip file.",
      ),
      ("absent.txt", "{file} does not exist."),
  ):
    file = f"{tmp_path}/{name}"
    with pytest.raises(errors.DataError) as raised:
      list(text_files.read_documents(file, "line"))
    assert str(raised.value) == message.format(file=file)


def test_a_paragraph_without_end(tmp_path, monkeypatch):
  monkeypatch.setattr(text_files, "MAX_DOCUMENT_BYTES", 50)
  path = tmp_path / "a.txt"
  path.write_text("Twenty characters..\n" * 9)
  with pytest.raises(errors.DataError) as raised:
    list(text_files.read_documents(str(path), "paragraph"))
  assert str(raised.value) == (
      f"{path}, line 3: more than 50 characters without an empty line; if each "
      "line is a document set text_files.document = 'line'."
  )
  assert len(list(text_files.read_documents(str(path), "line"))) == 9


def build(directory, files, document="paragraph"):
  directory.mkdir()
  text_files.build(directory, [str(file) for file in files], document)
  text = prepared_text.PreparedText(directory)
  return text, {s: list(text.documents(s)) for s in prepared_text.SPLITS}


def test_how_much_of_the_files_is_read(tmp_path, monkeypatch):
  monkeypatch.setattr(prepared_text, "_MEGABYTE", 10)
  lines = "".join(f"line {number}\n" for number in range(50)).encode()
  (tmp_path / "plain.txt").write_bytes(lines)
  (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(lines[::-1], mtime=0))
  files = sorted(map(str, tmp_path.iterdir()))
  packed, plain = (os.path.getsize(file) for file in files)
  shown, reports = [], []

  def show(*what):
    shown.append(what)
    return contextlib.nullcontext(reports.append)

  (tmp_path / "text").mkdir()
  with waits.shown_by(show):
    text_files.build(tmp_path / "text", files, "line")
  assert shown == [("preparing the text", -(-(packed + plain) // 10), "MB")]
  assert reports[0] == packed // 10
  assert reports[-1] == (packed + plain) // 10
  assert reports == sorted(reports)


def test_documents_are_split_by_their_text(tmp_path):
  names = [f"Document {i}." for i in range(2000)]
  (tmp_path / "a.txt").write_text("\n\n".join(names))
  (tmp_path / "b.txt").write_text("\n".join(reversed(names)))
  text, paragraphs = build(tmp_path / "paragraphs", [tmp_path / "a.txt"])
  _, lines = build(tmp_path / "lines", [tmp_path / "b.txt"], "line")
  for split in prepared_text.SPLITS:
    assert sorted(paragraphs[split]) == sorted(lines[split])
    assert text.num_documents(split) == len(paragraphs[split])
  assert paragraphs["train"] == [
      name for name in names if name not in paragraphs["validation"]
  ]
  # 50 expected, with a standard deviation of 7.
  assert 25 < len(paragraphs["validation"]) < 75


def test_equal_documents_are_in_one_split(tmp_path):
  names = [f"Document {i}." for i in range(500)]
  (tmp_path / "a.txt").write_text("\n\n".join(names + names[::-1]))
  _, documents = build(tmp_path / "out", [tmp_path / "a.txt"])
  assert not set(documents["train"]) & set(documents["validation"])
  assert sum(map(len, documents.values())) == 1000


def test_few_documents_leave_one_for_validation(tmp_path):
  (tmp_path / "a.txt").write_text("One.\n\nTwo.\n\nThree.\n\nTwo.")
  _, documents = build(tmp_path / "out", [tmp_path / "a.txt"])
  assert len(set(documents["validation"])) == 1
  assert len(set(documents["train"])) == 2
  assert sum(map(len, documents.values())) == 4


@pytest.mark.parametrize(
    "document, other", [("paragraph", "line"), ("line", "paragraph")]
)
def test_a_single_document(tmp_path, document, other):
  (tmp_path / "a.txt").write_text("All there is.")
  with pytest.raises(errors.DataError) as raised:
    build(tmp_path / "out", [tmp_path / "a.txt"], document)
  assert str(raised.value) == (
      f"There is only one document in {tmp_path}/a.txt, and at least two are "
      "needed, to train on and to validate with; text_files.document sets the "
      f"unit of plain text ({document!r} now, or {other!r})."
  )


def test_empty_files(tmp_path):
  for name in ("a.txt", "b.jsonl"):
    (tmp_path / name).write_text("\n")
  with pytest.raises(errors.DataError) as raised:
    build(tmp_path / "out", [tmp_path / "a.txt", tmp_path / "b.jsonl"])
  assert str(raised.value) == (
      f"There is no text in {tmp_path}/a.txt to {tmp_path}/b.jsonl."
  )


def set_path(path):
  gin.parse_config(f"tasks.text_files.path = {str(path)!r}")


def test_text_files_need_a_path():
  with pytest.raises(errors.DataError) as raised:
    text_files.text_files()
  assert str(raised.value) == (
      "text_files.path is not set; give the text to train on, for example "
      "--gin_param=\"text_files.path = '/data/*.txt'\"."
  )


def test_an_unknown_unit_of_plain_text(tmp_path):
  set_path(tmp_path)
  gin.parse_config("tasks.text_files.document = 'page'")
  with pytest.raises(errors.DataError) as raised:
    text_files.text_files()
  assert str(raised.value) == (
      "text_files.document = 'page' is not known; use 'paragraph' (lines up to "
      "an empty one) or 'line'."
  )


def test_text_is_read_once_until_it_changes(tmp_path, monkeypatch):
  path = tmp_path / "a.txt"
  path.write_text("One.\n\nTwo.")

  def directory():
    text_files._prepared.cache_clear()  # As in a new process.
    set_path(path)
    return text_files.text_files().directory

  first = directory()
  with monkeypatch.context() as patch:
    patch.setattr(text_files, "build", small_corpus.never)
    assert directory() == first
  path.write_text("One.\n\nTwo.\n\nThree.")
  second = directory()
  assert second != first
  os.utime(path, ns=(1, 1))
  assert directory() not in (first, second)
  # A vocabulary depends only on the text.
  models = {
      vocabulary_training.trained_on(prepared_text.PreparedText(entry), 100)
      for entry in (second, directory())
  }
  assert len(models) == 1


def test_tasks_on_the_users_text_have_its_vocabulary(tmp_path):
  path = tmp_path / "speeches" / "a.jsonl.gz"
  path.parent.mkdir()
  with gzip.open(path, "wt") as file:
    for i in range(300):
      speech = " ".join(f"friend{i % 7} roman{j} lend{i}" for j in range(30))
      file.write(json.dumps({"text": speech}) + "\n")
  set_path(path.parent)
  name = "text_files_span_corruption"
  words = seqio.get_mixture_or_task(name).output_features["inputs"].vocabulary
  assert words.encode("friend5") != seqio.get_mixture_or_task(
      "docstrings_span_corruption"
  ).output_features["inputs"].vocabulary.encode("friend5")
  for split in prepared_text.SPLITS:
    read = small_corpus.examples(name, split)
    assert read
    for example in read:
      assert re.search("friend|roman|lend", words.decode(example["inputs"]))
