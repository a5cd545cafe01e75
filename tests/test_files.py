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
import json
import os
import resource
import stat

import gin
import matplotlib.figure
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
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
  assert os.listdir(tmp_path) == ["file"]


def test_a_device_is_not_replaced(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
  files.write_lines(str(tmp_path / "pipe"), ["a"])
  assert os.read(reader, 10) == b"a\n"
  assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
  assert os.listdir(tmp_path) == ["pipe"]


def test_half_a_character_is_written_as_an_escape(tmp_path):
  files.write_lines(str(tmp_path / "file"), ["a\ud83d \u00e9"])
  assert (tmp_path / "file").read_text() == "a\\ud83d \u00e9\n"


def test_json_has_null_for_what_is_no_number(tmp_path):
  """JSON has no NaN: other programs cannot read it."""
  nan, inf = float("nan"), float("inf")
  content = {
      "a": [nan, (1.5, -inf), np.float32("nan")],
      "b": {"c": np.array([1.0, np.inf]), "d": np.int64(3), "e": True},
      "f": [np.float64(0.1), np.float32(1.5), None, "NaN"],
  }
  expected = {
      "a": [None, [1.5, None], None],
      "b": {"c": [1.0, None], "d": 3, "e": True},
      "f": [0.1, 1.5, None, "NaN"],
  }
  files.write_json(str(tmp_path / "file"), content)
  files.append_record(str(tmp_path / "lines"), content)
  for name in ("file", "lines"):
    assert json.loads((tmp_path / name).read_text()) == expected
  assert json.loads(files.json_text(nan)) is None


def test_a_line_begins_after_one_that_was_cut_off(tmp_path):
  path = tmp_path / "lines"
  for before, expected in (
      (None, '{"a": 1}\n'),
      ("", '{"a": 1}\n'),
      ("x\n", 'x\n{"a": 1}\n'),
      ('{"b": ', '{"b": \n{"a": 1}\n'),
  ):
    if before is not None:
      path.write_text(before)
    files.append_record(str(path), {"a": 1})
    assert path.read_text() == expected


def error_of(function, *arguments):
  """The error that a function raises."""
  try:
    function(*arguments)
  except Exception as error:  # pylint: disable=broad-exception-caught
    return error
  raise AssertionError("no error")


def write_with_tensorflow(path):
  with tf.io.gfile.GFile(str(path), "w") as file:
    file.write("text")


def save(prefix):
  with tf.Graph().as_default(), tf.Session() as session:
    tf.get_variable("weight", [10000])
    session.run(tf.global_variables_initializer())
    tf.train.Saver(sharded=True).save(session, str(prefix), 3)


def test_errors_of_the_file_system_are_explained(tmp_path):
  """Real ones, from Python, TensorFlow, and its saving of checkpoints."""
  (tmp_path / "file").write_text("")
  for function, path, reason in (
      (open, tmp_path / "no/file", "No such file or directory"),
      (os.mkdir, tmp_path / "file/a", "Not a directory"),
      (write_with_tensorflow, "/dev/full", "No space left on device"),
      (write_with_tensorflow, tmp_path / "no/file", "No such file or "),
      (write_with_tensorflow, tmp_path, "Is a directory"),
      (tf.io.gfile.makedirs, tmp_path / "file/a", "is not a directory"),
      (save, tmp_path / "no/checkpoint", "doesn't exist, can't save"),
  ):
    line = files.explain(error_of(function, path))
    assert line.startswith(str(path).removesuffix("/a")), (function, line)
    assert reason in line and "\n" not in line
    assert "Graph" not in line
  name = error_of(tf.io.gfile.exists, "caf\udce9")
  assert files.explain(name) == r"'caf\udce9' is not in UTF-8"
  full = error_of(lambda: open("/dev/full", "w").write("x" * 100_000))
  assert files.explain(full) == "No space left on device"


@gin.configurable(module="tests")
def write_by_gin(path):
  with open(path, "w") as file:
    file.write("text")


def test_errors_are_explained_where_gin_has_raised_them_again(tmp_path):
  error = error_of(write_by_gin, tmp_path)
  assert error.errno is None
  assert files.explain(error) == f"{tmp_path}: Is a directory"


def summarize(directory):
  with tf.Graph().as_default():
    writer = tf.summary.FileWriter(str(directory))
  for step in range(1000):
    scalar = tf.Summary.Value(tag="x" * 100, simple_value=1)
    writer.add_summary(tf.Summary(value=[scalar]), step)
  writer.flush()


def test_checkpoints_and_summaries_without_room_are_explained(tmp_path):
  """TensorFlow reports the one amid a traceback, the other as IndexError."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
  try:
    found = [error_of(save, tmp_path / "a"), error_of(summarize, tmp_path)]
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  for error, name in zip(found, ("a-3_temp/part-00000", "events.out.")):
    line = files.explain(error)
    assert line and line.startswith(f"{tmp_path}/{name}"), repr(error)
    assert line.endswith(": File too large")


@pytest.mark.parametrize(
    "error",
    [
        errors.UserError("a; Permission denied"),
        ValueError("a; b"),
        OSError("without a number"),
        tf.errors.NotFoundError(None, None, "Key a not found in checkpoint"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_not_explained(error):
  assert files.explain(error) is None


def test_outputs_are_tried_and_nothing_is_left(tmp_path, monkeypatch):
  (tmp_path / "old").write_text("old")
  (tmp_path / "directory").mkdir()
  before = sorted(os.listdir(tmp_path))
  for path in ("old", "new", "directory/new", "a/b/new"):
    files.check_writable(str(tmp_path / path), "--output_file")
  for path, reason in (
      ("directory", "Is a directory"),
      ("old/new", "Not a directory"),
      ("old/b/new", "Not a directory"),
  ):
    with pytest.raises(errors.UserError) as error:
      files.check_writable(str(tmp_path / path), "--output_file=x")
    assert str(error.value).startswith("--output_file=x cannot be written: ")
    assert reason in str(error.value)
  with pytest.raises(errors.UserError, match="is not in UTF-8"):
    files.check_writable("caf\udce9", "--output_file")
  monkeypatch.chdir(tmp_path)
  files.check_writable("new", "--output_file")
  tf.io.gfile.makedirs("ram://there")
  for path in ("ram://there/new", "ram://not/there/new"):
    files.check_writable(path, "--output_file")
  assert not tf.io.gfile.listdir("ram://there")
  files.check_writable("/dev/null", "--output_file")
  assert sorted(os.listdir(tmp_path)) == before
  assert (tmp_path / "old").read_text() == "old"
  assert not os.listdir(tmp_path / "directory")


def test_what_a_shell_has_redirected_is_written_on(tmp_path):
  """As /dev/stdout is with >> file."""
  path = tmp_path / "file"
  path.write_text("earlier\n")
  with path.open("a") as file:
    files.check_writable(f"/dev/fd/{file.fileno()}", "--output_file=-")
    files.write_lines(f"/dev/fd/{file.fileno()}", ["a"])
  assert path.read_text() == "earlier\na\n"
  assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_not_replaced(tmp_path):
  (tmp_path / "disk").mkdir()
  (tmp_path / "link").symlink_to("disk/file")
  path = str(tmp_path / "link")
  for text in ("new", "newer"):
    files.check_writable(path, "--output_file=link")
    files.write_lines(path, [text])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "file").read_text() == f"{text}\n"


@pytest.mark.parametrize(
    "message, line",
    [
        (
            "Error executing an HTTP request: libcurl code 6 meaning 'Couldn't "
            "resolve host name', error details: Could not resolve host: "
            "www.googleapis.com\n\t when reading metadata of gs://b/x",
            "gs://b/x: libcurl code 6 meaning 'Couldn't resolve host name'",
        ),
        (
            "Error executing an HTTP request: HTTP response code 401 with body "
            "'{\n  \"error\": {}\n}'\n\t when reading metadata of gs://b/x",
            "gs://b/x: HTTP response code 401",
        ),
        (
            "File system scheme 's3' not implemented (file: 's3://b/x')",
            "s3://b/x: File system scheme 's3' not implemented",
        ),
    ],
)
def test_errors_of_remote_files_are_explained(message, line):
  error = tf.errors.FailedPreconditionError(None, None, message)
  assert files.explain(error) == line
