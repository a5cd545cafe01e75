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

"""Rows of tables and of JSON, written by hand in the form of each."""

import csv
import gzip
import io
import json

import hypothesis
from hypothesis import strategies
import pytest

from tasks import errors
from tasks import pair_options
from tasks import pair_rows
from tasks import pairs
from tasks import records

ROWS = [
    {"text": 'He said "no".', "label": "1"},
    {"text": "Caf\u00e9 \u2028 \u2713", "label": ""},
]
TSV = 'text\tlabel\nHe said "no".\t1\n\nCaf\u00e9 \u2028 \u2713\t\n'
CSV = 'text,label\r\n"He said ""no"".",1\r\n\r\nCaf\u00e9 \u2028 \u2713,\r\n'


def read(path, names=("text", "label"), optional=None, delimiter=","):
  return list(pair_rows.read(str(path), names, optional, delimiter))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "name, content",
    [
        ("a.tsv", TSV),
        ("a.tsv", "\ufeff" + TSV.replace("\n", "\r\n")),
        ("a.csv", CSV),
        ("A.CSV", CSV),
        ("a.csv", "\ufeff" + CSV.replace("\r\n", "\n")),
        ("a.csv", CSV.replace("text,label", '"text","label"')),
        ("a.jsonl", "\n\n".join(map(json.dumps, ROWS))),
        ("a.json", json.dumps(ROWS, indent=1)),
    ],
)
def test_every_form(tmp_path, name, content, packed):
  path = tmp_path / (name + ".gz" * packed)
  data = content.encode()
  path.write_bytes(gzip.compress(data) if packed else data)
  assert [row for _, row in read(path)] == ROWS
  assert not records.skipped()


def test_quotes_of_csv(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text(
      'text,label\n"a, ""b""\n\nc",1\n"",x\n5" disk,"2"\n"d","tab\there"\n'
  )
  assert read(path) == [
      (f"{path}, line 2", {"text": 'a, "b"\n\nc', "label": "1"}),
      (f"{path}, line 5", {"text": "", "label": "x"}),
      (f"{path}, line 6", {"text": '5" disk', "label": "2"}),
      (f"{path}, line 7", {"text": "d", "label": "tab\there"}),
  ]


def test_tsv_has_no_quotes_and_no_escapes(tmp_path):
  path = tmp_path / "a.tsv"
  path.write_text('text\tlabel\n"a\t"b""\nc\\td\t\\n\n')
  assert [row for _, row in read(path)] == [
      {"text": '"a', "label": '"b""'},
      {"text": "c\\td", "label": "\\n"},
  ]


@hypothesis.settings(
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(
    rows=strategies.lists(
        strategies.tuples(
            strategies.text('a,;"\n\r\t\u2028\ufeff\0\u00e9'), strategies.text()
        ),
        max_size=5,
    ),
    delimiter=strategies.sampled_from(",;\t|"),
    quoting=strategies.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_pythons_csv_writes_is_read(tmp_path, rows, delimiter, quoting):
  text = io.StringIO(newline="")
  writer = csv.writer(text, delimiter=delimiter, quoting=quoting)
  writer.writerows([("text", "label"), *rows])
  path = tmp_path / "a.csv"
  path.write_bytes(text.getvalue().encode())
  assert [
      tuple(row.values()) for _, row in read(path, delimiter=delimiter)
  ] == [tuple(field.replace("\r\n", "\n") for field in row) for row in rows]


@hypothesis.settings(
    deadline=None,
    max_examples=80,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(
    parts=strategies.lists(
        strategies.one_of(
            strategies.sampled_from(
                [
                    b"text",
                    b"label",
                    b'"',
                    b",",
                    b"\t",
                    b"\r",
                    b"\n",
                    b"{",
                    b"[1]",
                ]
                + [b'{"text": "\\ud83d", "label": NaN}', b"\0", b"\xe9", b"1"]
                + [b'{"text": {}, "label": [2, null]}\n', b"text,label\n"]
            ),
            strategies.binary(max_size=3),
        )
    ),
    suffix=strategies.sampled_from(pair_rows.SUFFIXES),
    field=strategies.sampled_from(["text", 1]),
)
def test_any_bytes_are_pairs_or_a_line(tmp_path, parts, suffix, field):
  path = tmp_path / f"a{suffix}"
  path.write_bytes(b"".join(parts))
  target = "label" if field == "text" else 2
  options = pair_options.Options(inputs=field, targets=target)
  try:
    for pair in pairs.read(options, str(path), "train"):
      assert pair.inputs.strip() and pair.answers
      " ".join([pair.inputs, *pair.answers]).encode()
  except errors.DataError as error:
    assert str(error).splitlines() == [str(error)]


def test_columns_by_number(tmp_path):
  path = tmp_path / "a.tsv"
  path.write_text("x\ta b\t0\ny\tc\t1\nz\td\nw\te\t1\t\n")
  assert [row for _, row in read(path, ("2", "3"))] == [
      {"1": "x", "2": "a b", "3": "0"},
      {"1": "y", "2": "c", "3": "1"},
  ]
  assert records.skipped() == {
      f"{path}, line 3": "2 columns where the first row has 3",
      f"{path}, line 4": "4 columns where the first row has 3",
  }
  assert not read(path, ("4",))
  assert records.skipped()[f"{path}, line 1"] == (
      "there is no column '4', but '1', '2', '3'"
  )


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("line", ["sep=;", '"sep=;"'])
def test_excel_names_the_delimiter_in_the_first_line(tmp_path, line, delimiter):
  path = tmp_path / "a.csv"
  path.write_bytes(f"\ufeff{line}\r\ntext;label\r\na,b;1\r\n".encode())
  assert read(path, delimiter=delimiter) == [
      (f"{path}, line 3", {"text": "a,b", "label": "1"})
  ]
  with pytest.raises(errors.DataError, match="line 2: there is no column 'c'"):
    read(path, names=("c",))


@pytest.mark.parametrize(
    "name, content, rest, skipped",
    [
        (
            "a.csv",
            b'text,label\na,1\nb\nc,1,2\n"d"e,1\n"f\n\xe9",2\n\xe9,3\ng,4\n',
            ["a", "g"],
            {
                3: "1 column where the header has 2",
                4: "3 columns where the header has 2",
                5: "this is not CSV (',' expected after '\"')",
                6: "this is not UTF-8 text",
                8: "this is not UTF-8 text",
            },
        ),
        (
            "a.tsv",
            b"text\tlabel\na\t1\nb\n\xe9\t1\nc\t1\t\ng\t4\n",
            ["a", "g"],
            {
                3: "1 column where the header has 2",
                4: "this is not UTF-8 text",
                5: "3 columns where the header has 2",
            },
        ),
        (
            "a.jsonl",
            b'\n{"text": "a", "label": 1}\n{"text": "b"}\n["c", 1]\n{"text": \n'
            b'{"text": "\xe9", "label": 1}\n{"text": "g", "label": 4}\n{}',
            ["a", "g"],
            {
                3: "there is no key 'label', but 'text'",
                4: "a JSON object is needed, not list",
                5: "this is not JSON (Expecting value)",
                6: "this is not UTF-8 text",
                8: "there is no key 'text', but nothing",
            },
        ),
    ],
)
def test_broken_rows_are_counted(tmp_path, name, content, rest, skipped):
  path = tmp_path / name
  path.write_bytes(content)
  found = read(path)
  assert [row["text"] for _, row in found] == rest
  assert records.skipped() == {
      f"{path}, line {number}": problem for number, problem in skipped.items()
  }


MILLION = "x" * 10**6


def test_a_field_may_be_long(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text(f'text,label\n"{MILLION}",1\n')
  ((_, row),) = read(path)
  assert row["text"] == MILLION


ADVICE = (
    "pairs_files.inputs and .targets name columns of the header, or count "
    "columns from 1 in files without one."
)


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "a.csv",
            b"sentence,label\na,1\n",
            "{file}, line 1: there is no column 'text'; there are 'sentence', "
            "'label'. " + ADVICE,
        ),
        (
            "a.csv",
            b"text;label\na;1\n",
            "{file}, line 1: there is no column 'text'; there is only "
            "'text;label', and columns of a .csv file are separated by ','. "
            + ADVICE,
        ),
        (
            "a.tsv",
            b"text,label\na,1\n",
            "{file}, line 1: there is no column 'text'; there is only "
            "'text,label', and columns of a .tsv file are separated by '\\t'. "
            + ADVICE,
        ),
        (
            "a.csv",
            b"text,label,text\na,1,b\n",
            "{file}, line 1: the column 'text' is there 2 times.",
        ),
        (
            "a.csv",
            b'text,label\na,1\n"b,2\nc,3\n',
            "{file}, line 3: a quote is opened here and not closed before the "
            "end of the file.",
        ),
        (
            "a.csv",
            b'{"text": "a", "label": 1}\n',
            "{file} is a file of JSON; its name must end in .jsonl instead of "
            ".csv.",
        ),
        (
            "a.tsv",
            b'[{"text": "a", "label": 1}]',
            "{file} is a file of JSON; its name must end in .jsonl instead of "
            ".tsv.",
        ),
        (
            "a.jsonl",
            b"text,label\na,1\n",
            "{file} is no file of JSON objects, it starts with 'text,label'; "
            "the name of a table must end in .tsv or .csv.",
        ),
        (
            "a.csv",
            "text,label\na,1\n".encode("utf-16"),
            "{file} is in UTF-16 or UTF-32; convert it to UTF-8.",
        ),
        (
            "a.tsv",
            gzip.compress(b"text\tlabel\na\t1\n", mtime=0),
            "{file} is compressed; let its name end in .gz.",
        ),
        ("a.csv", b"", "{file} is empty."),
        (
            "a.csv",
            b"text,label\ra,1\r",
            "{file}, line 1: there is no header that can be read here; is this "
            "a .csv file in UTF-8, whose lines end in LF or CRLF?",
        ),
        (
            "a.csv.gz",
            gzip.compress(CSV.encode(), mtime=0)[:-4],
            "{file}, after line 4: this is not a whole gzip file.",
        ),
        (
            "a.csv.gz",
            CSV.encode(),
            "{file}, after line 0: this is not a whole gzip file.",
        ),
        (
            "a.txt",
            CSV.encode(),
            "{file}: the name does not say the form of the file; it must end in"
            " .tsv, .csv, .jsonl, .json, and .gz may follow.",
        ),
    ],
)
def test_a_file_of_another_kind_is_one_line(tmp_path, name, content, message):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(errors.DataError) as raised:
    read(path)
  assert str(raised.value) == message.format(file=path)
