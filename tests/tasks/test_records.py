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

"""Files of lines, and broken records."""

import gzip
import json
import os

import gin
import pytest

from tasks import errors
from tasks import records

GOOD = '{"text": "a"}\n'


def read(path):
  return list(records.json_objects(str(path)))


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_places_are_file_and_line(tmp_path, name):
  path = tmp_path / name
  lines = f'\ufeff{GOOD}\n{{"text": "b", "url": "c"}}'.encode()
  path.write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
  # The second line is empty, and the last one has no line break.
  assert read(path) == [
      (f"{path}, line 1", {"text": "a"}),
      (f"{path}, line 3", {"text": "b", "url": "c"}),
  ]
  assert not records.skipped()


def test_broken_lines_are_skipped_and_named(tmp_path):
  path = tmp_path / "a.json"
  content = (GOOD + "{oops\n" + GOOD + "[1]\n").encode() + b"caf\xe9\n"
  path.write_bytes(content)
  for _ in range(2):  # A record that is read again is not counted again.
    assert [place for place, _ in read(path)] == [
        f"{path}, line 1",
        f"{path}, line 3",
    ]
    assert list(records.skipped().items()) == [
        (
            f"{path}, line 2",
            "this is not JSON (Expecting property name enclosed in double "
            "quotes)",
        ),
        (f"{path}, line 4", "a JSON object is needed, not list"),
        (
            f"{path}, line 5",
            "this is not UTF-8 text",
        ),
    ]


def test_gin_limits_the_number_of_skipped_records(tmp_path):
  gin.parse_config("broken_records.limit = 2")
  path = tmp_path / "a.json"
  path.write_text("x\n" * 2)
  assert not read(path)
  path.write_text("x\n" * 3)
  with pytest.raises(errors.DataError) as raised:
    read(path)
  assert str(raised.value) == (
      f"{path}, line 3: this is not JSON (Expecting value); "
      "broken_records.limit = 2 allows no more broken records."
  )


def test_an_empty_file_has_no_records(tmp_path):
  (tmp_path / "a.json").write_text("")
  assert not read(tmp_path / "a.json")


def broken_file(kind):
  """The bytes of a broken compressed file, and the message about it."""
  text = "".join(json.dumps({"text": str(i)}) + "\n" for i in range(2000))
  whole = gzip.compress(text.encode())
  return {
      "no gzip": (text.encode(), ", after line 0: this is not a whole gzip"),
      "cut off": (whole[: len(whole) // 2], "this is not a whole gzip file."),
  }[kind]


@pytest.mark.parametrize("kind", ["no gzip", "cut off"])
def test_a_broken_file_is_named(tmp_path, kind):
  content, complaint = broken_file(kind)
  path = tmp_path / "a.json.gz"
  path.write_bytes(content)
  with pytest.raises(errors.DataError) as raised:
    read(path)
  assert str(raised.value).startswith(str(path))
  assert complaint in str(raised.value)


def test_the_message_about_a_truncated_file_names_its_last_line(tmp_path):
  content, _ = broken_file("cut off")
  path = tmp_path / "a.json.gz"
  path.write_bytes(content)
  numbers = []
  with pytest.raises(errors.DataError) as raised:
    for number, _ in records.numbered_lines(str(path)):
      numbers.append(number)
  assert 0 < numbers[-1] < 2000
  assert f"after line {numbers[-1]}:" in str(raised.value)


def test_a_missing_file(tmp_path):
  with pytest.raises(errors.DataError, match="a.json does not exist."):
    read(tmp_path / "a.json")


def test_a_pipe_is_read_once(tmp_path):
  reader, writer = os.pipe()
  os.write(writer, b"a\r\nb")
  os.close(writer)
  path = f"/dev/fd/{reader}"
  with pytest.raises(errors.DataError, match="is a named pipe"):
    next(records.numbered_lines(path))
  assert list(records.numbered_lines(path, or_stream=True)) == [
      (1, "a"),
      (2, "b"),
  ]
  os.close(reader)


_UTF_16 = "is in UTF-16 or UTF-32; convert it to UTF-8."


@pytest.mark.parametrize("keep_broken", [True, False])
@pytest.mark.parametrize(
    "data, problem",
    [
        (
            gzip.compress(b"a", mtime=0),
            "is compressed; let its name end in .gz.",
        ),
        (b"PK\3\4...", "is a zip archive or a spreadsheet, and no text."),
        (b"PAR1...", "is a Parquet file, and no text."),
        ("a\tb\n".encode("utf-16"), _UTF_16),
        ("a\tb\n".encode("utf-16-le"), _UTF_16),
        ("a\tb\n".encode("utf-16-be"), _UTF_16),
        ("a\tb\n".encode("utf-32"), _UTF_16),
    ],
)
def test_a_file_of_another_form(tmp_path, data, problem, keep_broken):
  path = tmp_path / "a.txt"
  path.write_bytes(data)
  with pytest.raises(errors.DataError) as raised:
    next(records.numbered_lines(str(path), True, keep_broken))
  assert str(raised.value) == f"{path} {problem}"
