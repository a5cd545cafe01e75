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

"""Caches: seqio reads them, killed runs resume, and others are refused."""

import mtf_switch  # isort: skip  # noqa: F401
import contextlib
import functools
import io
import json
import shutil
import warnings

import gin
import pytest
import rich.console
import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch.training import cached_split
from mtf_switch.training import caching
from mtf_switch.training import inputs
from mtf_switch.training import one_pass
from mtf_switch.training import progress
from tasks import docstring_documents
from tasks import errors as task_errors
from tasks import file_sources
from tasks import pair_options
from tasks import pairs_files
from tasks import prepared_text
from tasks import sources
from tests import toy_tasks

LENGTHS = {"inputs": 48, "targets": 40}
NUM_FILES = 4  # In the training split, in place of MIN_FILES, to save time.


def toy_task(name="toy_copy", **changes):
  """Returns a new task, which has not searched for its cache yet."""
  return seqio.TaskRegistry.get(name).replace(**changes)


def lines_source(directory, num_files, splits=("train",), lines="abc"):
  """Returns a source of lines from `num_files` files for each split."""

  def find_files(split):
    files = sorted(str(path) for path in directory.glob(f"{split}-*"))
    if not files:
      raise task_errors.DataError(f"no file of {split}")
    return files

  def read(file):
    with open(file, "rb") as lines:
      yield from lines.read().split()

  for split in splits:
    for number in range(num_files):
      text = "\n".join(f"{split}{number}{line}" for line in lines)
      (directory / f"{split}-{number:03d}").write_text(text)
  return file_sources.FilesSource(
      find_files,
      read,
      lambda line: {"inputs": line, "targets": line},
      ["train", "validation"],
      lambda: "lines",
  )


class Interruption(progress.Display):
  """Raises KeyboardInterrupt at a given report of progress."""

  def __init__(self, at):
    super().__init__(rich.console.Console(file=io.StringIO()))
    self._reports_left = at

  def steps(self, *args):
    self._reports_left -= 1
    if not self._reports_left:
      raise KeyboardInterrupt


def write(task, directory):
  """Writes a cache and returns the display's output."""
  console = rich.console.Console(file=io.StringIO(), width=1000)
  with progress.Display(console) as display:
    caching.write(task, str(directory), display)
  return console.file.getvalue()


@pytest.fixture(scope="module", autouse=True)
def few_files():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(cached_split, "MIN_FILES", NUM_FILES)
    yield


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
  """A directory with the cache of toy_copy."""
  directory = tmp_path_factory.mktemp("caches")
  write(toy_task(), directory)
  return directory


@pytest.fixture
def global_cache_dirs():
  """Sets seqio's directories of caches, and restores them afterwards."""
  before = seqio.get_global_cache_dirs()
  yield seqio.set_global_cache_dirs
  seqio.set_global_cache_dirs(before)


def contents(directory):
  """Returns the bytes of all files below a directory, by name."""
  return {
      str(path.relative_to(directory)): path.read_bytes()
      for path in directory.rglob("*")
      if path.is_file()
  }


def examples(task, split, use_cached):
  """Returns the examples of a split, sorted."""
  with tf.Graph().as_default():
    dataset = task.get_dataset(
        LENGTHS, split, shuffle=False, use_cached=use_cached
    )
    found = list(tfds.as_numpy(dataset))
  assert set(found[0]) == {
      f"{x}{y}" for x in LENGTHS for y in ("", "_pretokenized")
  }
  return sorted(
      tuple(
          (k, str(v.dtype if k in LENGTHS else ""), str(v))
          for k, v in sorted(x.items())
      )
      for x in found
  )


@pytest.mark.parametrize("split", ["train", "validation"])
def test_seqio_reads_it(caches, global_cache_dirs, split):
  global_cache_dirs([str(caches)])
  task = toy_task()
  assert task.cache_dir == str(caches / "toy_copy")
  assert examples(task, split, True) == examples(task, split, False)


def test_the_cache_has_seqios_files(caches):
  root = caches / "toy_copy"
  splits = ("train", "validation")
  files = {f"train.tfrecord-0000{i}-of-00004" for i in range(4)}
  files.add("validation.tfrecord-00000-of-00001")
  jsons = {f"{x}.{split}.json" for x in ("info", "stats") for split in splits}
  assert set(contents(root)) == {*files, *jsons, "cache.json", "COMPLETED"}
  info = json.loads((root / "info.validation.json").read_text())
  ids, text = {"dtype": "int32", "shape": [None]}, {
      "dtype": "string",
      "shape": [],
  }
  assert info == {
      "num_shards": 1,
      "seqio_version": seqio.__version__,
      "features": {
          "inputs": ids,
          "inputs_pretokenized": text,
          "targets": ids,
          "targets_pretokenized": text,
      },
  }
  stats = json.loads((root / "stats.validation.json").read_text())
  sizes = [len(text) for text in toy_tasks.texts("validation")]  # In bytes.
  assert stats == {
      "examples": 13,
      "inputs_tokens": sum(sizes),
      "inputs_max_tokens": max(sizes),
      "targets_tokens": sum(sizes),
      "targets_max_tokens": max(sizes),
  }


def test_files_share_one_order_of_a_source_that_shuffles(
    tmp_path, global_cache_dirs
):
  def dataset_fn(split, shuffle_files, seed=None):
    texts = toy_tasks.texts(split)
    dataset = tf.data.Dataset.from_tensor_slices(
        {"inputs": texts, "targets": texts}
    )
    return dataset.shuffle(50, seed=seed) if shuffle_files else dataset

  source = seqio.FunctionDataSource(dataset_fn, ["train"])
  task = toy_task(source=source)
  write(task, tmp_path)
  global_cache_dirs([str(tmp_path)])
  assert examples(task, "train", True) == examples(task, "train", False)
  (path,) = (tmp_path / "toy_copy").glob("train.tfrecord-00000-*")
  first = [
      tf.train.Example.FromString(record)
      .features.feature["inputs_pretokenized"]
      .bytes_list.value[0]
      .decode()
      for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
  ]
  assert len(first) == 50 // NUM_FILES
  assert first != toy_tasks.texts("train")[: len(first)]


def test_the_same_bytes_when_repeated(caches, tmp_path):
  write(toy_task(), tmp_path)
  assert contents(tmp_path) == contents(caches)


# In the first file, in the second file, and in the second split.
@pytest.mark.parametrize("at", [2, 17, 60])
def test_an_interrupted_cache_is_continued(
    caches, tmp_path, monkeypatch, global_cache_dirs, at
):
  monkeypatch.setattr(cached_split, "_EXAMPLES_A_REPORT", 1)
  with pytest.raises(KeyboardInterrupt):
    caching.write(toy_task(), str(tmp_path), Interruption(at))
  global_cache_dirs([str(tmp_path)])
  assert toy_task().cache_dir is None
  whole = contents(caches)
  before = {}
  for path in (tmp_path / "toy_copy").iterdir():
    if path.is_file():  # Each file is whole.
      assert path.read_bytes() == whole[f"toy_copy/{path.name}"]
      before[path.name] = path.stat().st_mtime_ns
  assert (len(before) > 1) == (at > 2)
  write(toy_task(), tmp_path)
  assert contents(tmp_path) == whole
  for name, time in before.items():
    assert (tmp_path / "toy_copy" / name).stat().st_mtime_ns == time


def drawing(dataset):
  """Draws a number for each example."""

  @seqio.map_over_dataset(num_seeds=1)
  def add_draw(example, seed):
    draw = tf.random.stateless_uniform([2], seed, 0, 99, tf.int32)
    return {**example, "draw": draw}

  return add_draw(dataset)


@pytest.mark.parametrize(
    "step, passes",
    [
        (lambda dataset: dataset.map(lambda example: example), 1),
        (drawing, NUM_FILES),
        (lambda dataset: dataset.skip(1), NUM_FILES),
    ],
    ids=["a map", "with draws", "another length"],
)
def test_one_pass_over_the_source_writes_the_same_files(
    tmp_path, monkeypatch, step, passes
):
  """As does a pipeline for each file, which reads up to its own records."""
  reads = []

  def dataset_fn(split, shuffle_files, seed=None):
    def texts():
      reads.append(split)
      yield from toy_tasks.texts(split)

    dataset = tf.data.Dataset.from_generator(texts, tf.string, [])
    dataset = dataset.map(lambda text: {"inputs": text, "targets": text})
    return dataset.shuffle(50, seed=seed) if shuffle_files else dataset

  source = seqio.FunctionDataSource(
      dataset_fn, ["train"], num_input_examples={"train": 50}
  )
  rekey, *others = toy_task().preprocessors
  task = toy_task(source=source, preprocessors=[rekey, step, *others])
  write(task, tmp_path / "one pass")
  assert len(reads) == passes
  monkeypatch.setattr(
      one_pass,
      "opener",
      lambda split, first: contextlib.nullcontext(
          functools.partial(one_pass._open_alone, split)
      ),
  )
  write(task, tmp_path / "alone")
  assert contents(tmp_path / "one pass") == contents(tmp_path / "alone")


def test_a_complete_cache_is_left_unchanged(caches):
  times = {path: path.stat().st_mtime_ns for path in caches.rglob("*")}
  assert write(toy_task(), caches) == (
      f"toy_copy: the cache in {caches / 'toy_copy'} is complete\n"
  )
  assert times == {path: path.stat().st_mtime_ns for path in caches.rglob("*")}


def test_a_cache_has_as_many_files_as_its_source(tmp_path, global_cache_dirs):
  source = lines_source(tmp_path, NUM_FILES + 1, ["train", "validation"])
  task = toy_task(source=source)
  write(task, tmp_path / "caches")
  global_cache_dirs([str(tmp_path / "caches")])
  assert examples(task, "train", True) == examples(task, "train", False)
  stats = json.loads(
      (tmp_path / "caches/toy_copy/stats.train.json").read_text()
  )
  assert stats["examples"] == 3 * (NUM_FILES + 1)
  paths = list((tmp_path / "caches/toy_copy").glob("train.tfrecord-*"))
  assert len(paths) == NUM_FILES + 1


@pytest.mark.parametrize("num_files", [1, 3, NUM_FILES + 1])
def test_evaluation_keeps_the_order_of_the_data(
    tmp_path, global_cache_dirs, num_files
):
  lines = range(90)  # More than a block of seqio's in each file.
  source = lines_source(tmp_path, num_files, ["validation"], lines)
  task = toy_task(source=source)
  write(task, tmp_path / "caches")
  global_cache_dirs([str(tmp_path / "caches")])
  expected = [f"validation{i}{x}" for i in range(num_files) for x in lines]
  for use_cached in (False, True):
    with tf.Graph().as_default():
      dataset = task.get_dataset(
          LENGTHS, "validation", shuffle=False, use_cached=use_cached
      )
      texts = [
          x["inputs_pretokenized"].decode() for x in tfds.as_numpy(dataset)
      ]
    assert texts == expected


def as_of_an_earlier_version(caches, directory):
  """A copy of a cache in which no split has the order of the data."""
  shutil.copytree(caches, directory)
  path = directory / "toy_copy" / "cache.json"
  manifest = json.loads(path.read_text())
  manifest["splits"]["validation"]["files"] = NUM_FILES
  path.write_text(json.dumps(manifest))
  return directory


def test_the_cache_of_an_earlier_version_is_read(
    caches, tmp_path, global_cache_dirs
):
  gin.parse_config("mesh_eval_dataset_fn.use_cached = True")
  global_cache_dirs([str(caches)])
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    caching.warn_of_order(toy_task(), "validation")
  earlier = as_of_an_earlier_version(caches, tmp_path / "earlier")
  assert "is complete" in write(toy_task(), earlier)
  global_cache_dirs([str(earlier)])
  caching.check(toy_task(), "validation", "mesh_eval_dataset_fn")
  for split in ("train", "validation"):
    with pytest.warns(errors.UserNotice) as caught:
      caching.warn_of_order(toy_task(), split)
    assert [str(x.message) for x in caught] == [
        f"the cache of toy_copy has its {split} split in another order than "
        "the data; predictions lie beside toy_copy_inputs."
    ]
  (earlier / "toy_copy" / "COMPLETED").unlink()
  assert "begun by another version in other files; delete it" in refusal(
      toy_task(), earlier
  )


def test_a_split_of_broken_data_is_not_left_out(tmp_path):
  (tmp_path / "train.csv").write_text("inputs,targets\na,b\n")
  (tmp_path / "test.csv").write_text("text,label\na,b\n")
  options = pair_options.Options(
      train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv")
  )
  task = toy_task(source=pairs_files.PairsSource(lambda: options))
  with pytest.raises(task_errors.DataError, match="no column 'inputs'"):
    write(task, tmp_path / "caches")


def test_an_empty_split_is_left_out(tmp_path):
  prepared_text.write(
      tmp_path,
      [("train", "a b"), ("train", "c d"), ("validation", "e f")],
      {},
      docstring_documents.SPLITS,
  )
  source = sources.PreparedTextSource(
      lambda: prepared_text.PreparedText(tmp_path),
      lambda: "a short text",
      splits=docstring_documents.SPLITS,
  )
  task = toy_task(
      source=source,
      preprocessors=[
          lambda dataset: dataset.map(lambda x: {"inputs": x["text"]}),
          lambda dataset: dataset.map(lambda x: {**x, "targets": x["inputs"]}),
          seqio.preprocessors.tokenize,
          seqio.CacheDatasetPlaceholder(),
      ],
  )
  shown = write(task, tmp_path / "caches")
  assert (
      "toy_copy test: left out. a short text: with 6 bytes to train on there "
      "is nothing for the 'test' split" in shown
  )
  assert "validation: left out" not in shown


def test_a_split_without_files_is_left_out(tmp_path, global_cache_dirs):
  task = toy_task(source=lines_source(tmp_path, 2, ["train"]))
  shown = write(task, tmp_path / "caches")
  assert "toy_copy validation: left out. no file of validation\n" in shown
  global_cache_dirs([str(tmp_path / "caches")])
  gin.parse_config("mesh_eval_dataset_fn.use_cached = True")
  caching.check(task, "train", "mesh_eval_dataset_fn")
  with pytest.raises(errors.UserError, match="with a 'validation' split"):
    caching.check(task, "validation", "mesh_eval_dataset_fn")
  for path in tmp_path.glob("train-*"):
    path.unlink()
  with pytest.raises(task_errors.DataError, match="^no file of"):
    write(task, tmp_path / "others")


def refusal(task, directory):
  with pytest.raises(errors.UserError) as error:
    write(task, directory)
  assert "\n" not in str(error.value)
  return str(error.value)


def test_another_vocabulary_is_refused(caches):
  before = contents(caches)
  features = seqio.TaskRegistry.get("toy_sentinels").output_features
  message = refusal(toy_task(output_features=features), caches)
  assert message.startswith(
      f"the cache in {caches / 'toy_copy'} is of a Byte vocabulary of 259 (sha"
  )
  assert "for the inputs, but the task has a Byte vocabulary of 264" in message
  assert contents(caches) == before


def test_other_data_is_refused(caches, tmp_path):
  source = lines_source(tmp_path, 2, ["train", "validation"])
  task = toy_task(source=source)
  assert (
      "is of FunctionDataSource, and the task has lines; delete it or take"
      in refusal(task, caches)
  )
  write(task, tmp_path / "caches")
  (tmp_path / "train-000").write_text("one more")
  message = refusal(task, tmp_path / "caches")
  assert "is of lines, which has changed; delete it" in message


def test_a_directory_with_other_files_is_refused(tmp_path):
  (tmp_path / "toy_copy").mkdir()
  (tmp_path / "toy_copy" / "notes").write_text("mine")
  assert "do not belong to a cache of this program" in refusal(
      toy_task(), tmp_path
  )
  assert list(contents(tmp_path)) == ["toy_copy/notes"]


def test_a_task_without_a_cache_placeholder_is_refused(tmp_path):
  task = toy_task(preprocessors=[seqio.preprocessors.tokenize])
  assert refusal(task, tmp_path).startswith(
      "'toy_copy' cannot be cached: there"
  )


# Runs.


@pytest.fixture
def registered():
  """A registered task whose cache no other test uses, and a list.

  When the list is not empty, the task's source fails.
  """
  is_broken = []

  def dataset_fn(split, shuffle_files, seed=None):
    del shuffle_files, seed
    assert not is_broken
    texts = toy_tasks.texts(split)
    return tf.data.Dataset.from_tensor_slices(
        {"inputs": texts, "targets": texts}
    )

  source = seqio.FunctionDataSource(dataset_fn, ["train"])
  task = toy_task(source=source).replace(name="toy_cached")
  seqio.TaskRegistry.add_provider("toy_cached", task)
  yield task, is_broken
  seqio.TaskRegistry.remove("toy_cached")


def training_batches(first_step):
  """Returns the batches from a step until the end of its block of four."""
  with tf.Graph().as_default():
    batches = inputs.training_batches(
        "toy_cached", LENGTHS, 3, 0, first_step, steps_per_block=4
    )
    return list(tfds.as_numpy(batches))


def test_runs_read_it(registered, tmp_path, global_cache_dirs):
  task, is_broken = registered
  write(task, tmp_path)
  is_broken.append(True)
  global_cache_dirs([str(tmp_path)])
  gin.parse_config("mesh_train_dataset_fn.use_cached = True")
  caching.check(task, "train", "mesh_train_dataset_fn")
  batches = training_batches(0)
  assert batches[0]["inputs"].any()
  # A run that resumes reads the same batches.
  assert str(training_batches(2)) == str(batches[2:])


def test_a_run_without_its_cache_is_refused(registered, global_cache_dirs):
  check = functools.partial(
      caching.check, registered[0], "train", "mesh_train_dataset_fn"
  )
  check()  # A run that uses no cache.
  gin.parse_config("""
      use_cached = True
      mesh_train_dataset_fn.use_cached = %use_cached
  """)
  global_cache_dirs(["nowhere"])
  with pytest.raises(errors.UserError) as error:
    check()
  assert str(error.value) == (
      "mesh_train_dataset_fn.use_cached = True, but "
      "--additional_task_cache_dirs (nowhere) has no complete cache of "
      "'toy_cached' with a 'train' split; write it with --mode=cache "
      "--task=toy_cached --output_dir=DIR."
  )


def test_a_run_with_another_vocabulary_is_refused(caches, global_cache_dirs):
  global_cache_dirs([str(caches)])
  gin.parse_config("mesh_train_dataset_fn.use_cached = True")
  features = seqio.TaskRegistry.get("toy_sentinels").output_features
  task = toy_task(output_features=features)
  with pytest.raises(errors.UserError, match="but the task has a Byte vocab"):
    caching.check(task, "train", "mesh_train_dataset_fn")
  caching.check(toy_task(), "train", "mesh_train_dataset_fn")
