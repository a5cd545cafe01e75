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

"""What comes with a model may be anything, and runs nothing.

Checkpoints, vocabularies, gin files and the records of runs; other readers are
in test_fuzzed_readers.py.
"""

import mtf_switch  # isort: skip  # noqa: F401
import contextlib
import fcntl
import itertools
import json
import pathlib
import shutil

import hypothesis
from hypothesis import strategies
import pytest
import sentencepiece
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.reproduction import records as records_lib
from mtf_switch.training import cached_teacher
from mtf_switch.training import checkpoint_files
from mtf_switch.training import checkpoints
from mtf_switch.training import lock
from mtf_switch.training import teacher
from mtf_switch.training import teacher_cache
from tasks import pair_rows
from tasks import tables
from tasks import vocabulary
from tests import fuzzing
from tests.reproduction import made_records


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  """The files of a checkpoint by their endings, and its directory."""
  directory = tmp_path_factory.mktemp("run")
  with tf.Graph().as_default(), tf.Session() as session:
    tf.get_variable("a/b", [3], initializer=tf.zeros_initializer())
    step = tf.train.get_or_create_global_step()
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, f"{directory}/model.ckpt", step + 4)
  return directory


@pytest.mark.parametrize(
    "name",
    ["model.ckpt-4.index", "model.ckpt-4.data-00000-of-00001", "checkpoint"],
)
def test_checkpoints(checkpoint, name):
  path = checkpoint / name
  whole = path.read_bytes()

  @fuzzing.QUICK
  @hypothesis.given(fuzzing.noisy(whole))
  def read(content):
    path.write_bytes(content)
    directory = str(checkpoint)
    checkpoints.latest_step(directory)
    for step in fuzzing.answered(checkpoints.select, directory, "all") or ():
      checkpoint_files.step_in(checkpoints.path(directory, step))
    fuzzing.answered(checkpoints.resume, directory)

  state = (checkpoint / "checkpoint").read_bytes()
  read()
  path.write_bytes(whole)
  (checkpoint / "checkpoint").write_bytes(state)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  """A SentencePiece model as T5 has them."""
  path = tmp_path_factory.mktemp("model") / "whole"
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(["a b c", "b c d", "the switch", "sends tokens"]),
      model_prefix=str(path),
      vocab_size=20,
      pad_id=0,
      eos_id=1,
      unk_id=2,
      bos_id=-1,
      minloglevel=2,
  )
  return path.with_suffix(".model").read_bytes()


def test_vocabularies(model, tmp_path):
  numbers = itertools.count()  # What is read at a path is remembered.

  def read(path):
    found = vocabulary.load(path)
    return found.decode(found.encode("a switch \u2028 \0 b"))

  @fuzzing.QUICK
  @hypothesis.given(fuzzing.noisy(model))
  def read_damaged(content):
    path = tmp_path / str(next(numbers))
    path.write_bytes(content)
    fuzzing.answered(read, str(path))

  (tmp_path / "whole").write_bytes(model)
  assert read(str(tmp_path / "whole")).startswith("a switch")
  read_damaged()


_STATEMENTS = (
    "import their_module\n",
    "import mtf_switch\n",
    "include 'a.gin'\n",
    "from __gin__ import dynamic_registration\n",
    "a.b = @utils.run()\n",
    "a = {%b: (@c/d(),)}\n",
    "a = [\n",
    '"""',
    "\0",
    "\ud83d",
    "\\\n",
    "# Parameters for a:\n",
)


@fuzzing.QUICK
@hypothesis.given(
    strategies.lists(strategies.sampled_from(_STATEMENTS), max_size=6).map(
        lambda x: "".join(x).encode("utf-8", "surrogatepass")
    )
    | strategies.binary(max_size=30)
)
def test_gin_files_of_models(content):
  directory = pathlib.Path("/dev/shm/mtf_switch_model")
  directory.mkdir(exist_ok=True)
  (directory / "operative_config.gin").write_bytes(content)
  try:
    fuzzing.answered(teacher.gin_files, str(directory), None)
  finally:
    shutil.rmtree(directory)


def test_records_of_runs(tmp_path):
  record = made_records.made()
  records_lib.write(str(tmp_path), record)
  path = pathlib.Path(records_lib.path(str(tmp_path), record))
  content = json.loads(path.read_text())

  @fuzzing.QUICK
  @hypothesis.given(fuzzing.damaged(content))
  def read(damaged):
    path.write_bytes(damaged)
    fuzzing.answered(records_lib.read_all, str(tmp_path))

  assert records_lib.read_all(str(tmp_path)) == [record]
  read()


def test_files_of_teachers(tmp_path):
  path = str(tmp_path / "teacher.tfrecord")
  with tf.io.TFRecordWriter(path, teacher_cache.COMPRESSION) as writer:
    writer.write(b"abc" * 20)
  whole = pathlib.Path(path).read_bytes()
  assert cached_teacher._is_whole(path)

  @fuzzing.QUICK
  @hypothesis.given(fuzzing.noisy(whole))
  def read(content):
    pathlib.Path(path).write_bytes(content)
    assert cached_teacher._is_whole(path) in (True, False)

  read()


@fuzzing.QUICK
@hypothesis.given(strategies.binary(max_size=30))
def test_locks(content):
  directory = pathlib.Path("/dev/shm/mtf_switch_lock")
  directory.mkdir(exist_ok=True)
  try:
    with open(directory / "training.lock", "wb") as file:
      file.write(content)
      file.flush()
      fcntl.flock(file, fcntl.LOCK_EX)
      with pytest.raises(errors.UserError) as raised:
        with lock.hold(str(directory)):
          pass
    assert len(str(raised.value).splitlines()) == 1
  finally:
    shutil.rmtree(directory)


_CELLS = strategies.lists(
    strategies.sampled_from(
        ["a", "b", ",", ";", "\t", "\n", "\r\n", '"', '""', "\0", "\ufeff"]
        + ["[", "]", "{", "}", '{"a": 1, "b": ["c"]}', "sep=;\n", "\ud83d"]
    ),
    max_size=12,
).map(lambda x: "".join(x).encode("utf-8", "surrogatepass"))


@fuzzing.QUICK
@hypothesis.given(
    _CELLS | _CELLS.map(lambda x: b"a,b\n1,2\n" + x),
    strategies.sampled_from(["csv", "tsv", "json", "jsonl", "csv.gz"]),
)
def test_tables(content, suffix):
  path = f"ram://tables/a.{suffix}"
  files.write_bytes(path, content)
  for names in (["a", "b"], ["1", "2"]):
    rows = pair_rows.read(path, names, "b", ",")
    fuzzing.answered(list, rows)
  if suffix != "tsv":
    fuzzing.answered(lambda: list(tables.rows(path)))
  text = content.decode(errors="replace")
  for read in (tables.nested, tables.texts):
    with contextlib.suppress(ValueError):
      read(text)


def test_parquet(tmp_path):
  parquet = pytest.importorskip(
      "pyarrow.parquet", reason="requirements-parquet.txt is not installed"
  )
  pyarrow = pytest.importorskip("pyarrow")
  path = tmp_path / "a.parquet"
  parquet.write_table(pyarrow.table({"a": ["b", "c"]}), path)
  whole = path.read_bytes()

  @fuzzing.QUICK
  @hypothesis.given(fuzzing.noisy(whole))
  def read(content):
    path.write_bytes(content)
    fuzzing.answered(lambda: list(tables.rows(str(path))))

  read()
