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
"""The examples of docs/own_tasks.md."""

import mtf_switch  # isort: skip  # noqa: F401
import importlib.util
import io
import re

import gin
import pytest
import rich.console
import seqio

from mtf_switch.modes import data
from mtf_switch.training import run as run_lib
from tests import programs

PAGE = (programs.PROJECT / "docs" / "own_tasks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def block(start):
  """Returns the one block of the page that starts so."""
  (found,) = [text for text in BLOCKS if text.startswith(start)]
  return found


def inspected(capsys, task, split):
  gin.parse_config("tasks.vocabulary.name = 'bytes'")
  console = rich.console.Console(file=io.StringIO())
  data.inspect(run_lib.Run(), console, task, split)
  return capsys.readouterr().out


@pytest.fixture(scope="module")
def my_tasks(tmp_path_factory):
  """The page's module, beside its files."""
  directory = tmp_path_factory.mktemp("own")
  path = directory / "my_tasks.py"
  path.write_text(block('"""My tasks'))
  (directory / "words_train.tsv").write_text(block("house\t"))
  (directory / "words_validation.tsv").write_text(block("day\t"))
  spec = importlib.util.spec_from_file_location("my_tasks", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  yield module
  for name in ("plural", "singular"):
    seqio.TaskRegistry.remove(name)
  seqio.MixtureRegistry.remove("number")


def test_the_page_shows_what_inspect_prints(my_tasks, capsys):
  shown = inspected(capsys, "number", "validation")
  assert shown.startswith(block("plural, validation split"))
  assert "  inputs: singular: days</s>\n" in shown
  assert "  targets: day</s>\n" in shown


def test_the_metric_and_the_mixture(my_tasks):
  assert seqio.TaskRegistry.get("plural").metric_fns == [my_tasks.right_endings]
  scores = my_tasks.right_endings(["days", "foxes"], ["dais", "boxes"])
  assert scores == {"right_endings": 50}
  mixture = seqio.MixtureRegistry.get("number")
  assert [mixture.get_rate(task) for task in mixture.tasks] == [2, 1]


def test_a_dataset_that_was_stored_is_read(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  exec(block("import tensorflow as tf\n"), {})  # pylint: disable=exec-used
  before = seqio.utils._TFDS_DATA_DIR_OVERRIDE
  seqio.set_tfds_data_dir_override(str(tmp_path / "my_tfds"))
  try:
    shown = inspected(capsys, "glue_cola", "train")
    unlabelled = inspected(capsys, "glue_cola", "test")
  finally:
    seqio.set_tfds_data_dir_override(before)
  assert "  inputs: cola sentence: The cat sat.</s>\n" in shown
  assert "  targets: unacceptable</s>\n" in shown
  assert "  targets: <unk></s>\n" in unlabelled
