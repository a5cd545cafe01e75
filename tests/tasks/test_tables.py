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

"""Tables in files."""

import gzip
import json
import pathlib
import sys

import pytest

from tasks import errors
from tasks import records
from tasks import tables


def read(directory, name, text):
  """Returns the rows of a file with a content, and its path."""
  path = directory / name
  data = text.encode() if isinstance(text, str) else text
  path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
  return [row for _, row in tables.rows(str(path))], str(path)


CSV = """a,b\r
1,"x,\r
""y"" é"\r
\r
2,\r
"""


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_as_its_standard_says(tmp_path, name, mark):
  rows, _ = read(tmp_path, name, mark + CSV)
  assert rows == [{"a": "1", "b": 'x,\n"y" é'}, {"a": "2", "b": ""}]
  assert not records.skipped()


def test_a_field_of_csv_may_be_long(tmp_path):
  rows, _ = read(tmp_path, "a.csv", f"a\n{'x' * 200_000}\n")
  assert len(rows[0]["a"]) == 200_000


def test_broken_rows_of_csv_are_named(tmp_path):
  rows, path = read(tmp_path, "a.csv", b'a,b\n1\n2,"x"y\n3,4,5\n6,\xe9\n7,8\n')
  assert rows == [{"a": "7", "b": "8"}]
  assert records.skipped() == {
      f"{path}, line 2": "1 column where the header has 2",
      f"{path}, line 3": "this is not CSV (',' expected after '\"')",
      f"{path}, line 4": "3 columns where the header has 2",
      f"{path}, line 5": "this is not UTF-8 text",
  }


ROWS = [{"a": "]", "b": [1, {"c": '"'}]}, {"a": "é"}]


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("a.json", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps(ROWS, indent=2)),
        ("a.json.gz", json.dumps(ROWS, indent=2)),
        ("a.json", "[" + ",\n".join(map(json.dumps, ROWS)) + "]"),
        ("a.json", json.dumps({"x": [[]], "Data": ROWS, "y": 1})),
        ("a.json", json.dumps({"x": "[", "data": ROWS}, indent=4)),
    ],
)
def test_rows_of_json(tmp_path, name, text):
  assert read(tmp_path, name, text)[0] == ROWS
  assert not records.skipped()


@pytest.mark.parametrize(
    "text, problem",
    [
        ('[{"a": 1},\n', "this is not JSON"),
        ('{"data": [{"a": 1},\n', "the array of objects has no end."),
        ('{"a":\n 1}', "there is no object in each line, no array of object"),
        ("", "there is no object in each line, no array of objects"),
        ("5", "there is no object in each line, no array of objects"),
    ],
)
def test_a_file_without_rows_is_named(tmp_path, text, problem):
  with pytest.raises(errors.DataError, match=problem):
    read(tmp_path, "a.json", text)


def test_a_broken_entry_is_named(tmp_path):
  rows, path = read(tmp_path, "a.json", '[{"a": 1}, 5,\n{nope}, {"a": 2}]')
  assert rows == [{"a": 1}, {"a": 2}]
  assert records.skipped() == {
      f"{path}, entry 2": "a JSON object is needed, not int",
      f"{path}, entry 3": (
          "this is not JSON (Expecting property name enclosed in double "
          "quotes)"
      ),
  }


@pytest.mark.parametrize(
    "text, value",
    [
        ('["a", "b"]', ["a", "b"]),
        ("['a', \"b's\"]", ["a", "b's"]),
        ("['a' \"b's\"\n 'c d']", ["a", "b's", "c d"]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        (
            "{'x': array(['array(', ', dtype=object)'], dtype=object)}",
            {"x": ["array(", ", dtype=object)"]},
        ),
        ({"x": 1}, {"x": 1}),
    ],
)
def test_nested_values_in_csv(text, value):
  assert tables.nested(text) == value


@pytest.mark.parametrize(
    "text", ["Rome", "[a b]", "__import__('os')", "(" * 999]
)
def test_a_text_that_is_no_value(text):
  with pytest.raises(ValueError, match="is no list and no object"):
    tables.nested(text)


def test_a_list_of_texts():
  assert tables.texts("Rome (old)") == ["Rome (old)"]
  assert tables.texts("['Rome' 'Bonn']") == ["Rome", "Bonn"]
  for other in (None, 5, ["a", 5], "[1]"):
    with pytest.raises(ValueError, match="is no list of texts"):
      tables.texts(other)


# Parquet is optional.


def test_parquet_without_its_package_is_one_line(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "pyarrow", None)
  with pytest.raises(errors.DataError) as raised:
    read(tmp_path, "a.parquet", "")
  assert str(raised.value).startswith(
      f"{tmp_path}/a.parquet: Parquet needs one more package: {sys.executable} "
      "-m pip install --no-deps 'pyarrow<26' ("
  )
  root = pathlib.Path(tables.__file__).parents[1]
  asked = (root / "requirements-parquet.in").read_text().splitlines()
  assert tables.PYARROW in [line.partition("  #")[0] for line in asked]
  assert "pyarrow==" in (root / "requirements-parquet.txt").read_text()


def test_rows_of_parquet(tmp_path):
  pyarrow = pytest.importorskip(
      "pyarrow", reason="requirements-parquet.txt is not installed"
  )
  from pyarrow import parquet

  rows = [{"a": "é", "b": {"c": ["x", "y"], "d": n}} for n in range(1000)]
  path = tmp_path / "a.parquet"
  parquet.write_table(pyarrow.Table.from_pylist(rows), path)
  assert [row for _, row in tables.rows(str(path))] == rows
  whole = path.read_bytes()
  for content in (b"", b"PAR1", whole[:-9], whole[:500] + whole[510:]):
    with pytest.raises(errors.DataError, match="not a whole Parquet file"):
      read(tmp_path, "b.parquet", content)
  with pytest.raises(errors.DataError, match="a pointer of Git LFS"):
    read(tmp_path, "b.parquet", "version https://git-lfs.github.com/spec/v1\n")
