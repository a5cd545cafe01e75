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

"""Files are written whole or not at all."""

import mtf_switch  # isort: skip  # noqa: F401
import gzip

import matplotlib.figure
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import files
from tasks import records


@pytest.mark.parametrize("directory", ["", "ram://files/"])
def test_each_kind_of_file(directory, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  expected = {
      f"{directory}a/lines": "a b\n3\n",
      f"{directory}a/json": '{\n  "b": [\n    1\n  ]\n}\n',
      f"{directory}a/csv": 'x,y\n1,\n"a,b\u2028\x0cc",2\n',
  }
  lines, json, csv = expected
  files.write_lines(lines, ["a\nb", 3])
  files.write_json(json, {"b": [1]})
  files.write_csv(csv, ["x", "y"], [(1, None), ("a,b\u2028\x0cc", 2)])
  for path, text in expected.items():
    with tf.io.gfile.GFile(path) as file:
      assert file.read() == text
  png = f"{directory}a/png"
  files.write_png(png, matplotlib.figure.Figure())
  with tf.io.gfile.GFile(png, "rb") as file:
    assert file.read(4) == b"\x89PNG"
  assert set(tf.io.gfile.listdir(f"{directory}a")) == {
      "lines",
      "json",
      "csv",
      "png",
  }
  assert not directory or not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_text_is_one_line_to_every_reader(tmp_path, name):
  path = tmp_path / name
  ends = "\n\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r"
  files.write_lines(str(path), [f"a{ends}b", "", "\r\n", 3])
  content = path.read_bytes()
  text = gzip.decompress(content) if name.endswith("gz") else content
  assert text.decode().splitlines() == ["a" + " " * 11 + "b", "", "", "3"]
  lines = [line for _, line in records.numbered_lines(str(path))]
  assert lines == text.decode().splitlines()
  files.write_lines(str(path), lines)
  assert path.read_bytes() == content  # Without a time, if compressed.


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
  def lines():
    yield "new"
    raise KeyboardInterrupt

  path = str(tmp_path / "file")
  files.write_lines(path, ["old"])
  with pytest.raises(KeyboardInterrupt):
    files.write_lines(path, lines())
  assert (tmp_path / "file").read_text() == "old\n"


def test_json_that_is_not_there_is_none(tmp_path):
  path = str(tmp_path / "file")
  assert files.read_json(path) is None
  files.write_json(path, {"b": 1, "a": 2}, sort_keys=True)
  assert list(files.read_json(path)) == ["a", "b"]
