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

"""Batches for training, evaluation and inference."""

import mtf_switch  # isort: skip  # noqa: F401
import functools
import io
import types
import warnings

import gin
import numpy as np
import pytest
import rich.console
import seqio
import tensorflow.compat.v1 as tf
from tensorflow.python.autograph.core import ag_ctx
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch.training import alarms
from mtf_switch.training import inputs
from mtf_switch.training import progress
import tasks  # noqa: F401  Registers the text_files tasks.
from tasks import vocabulary_training
from tests import toy_tasks

LENGTHS = {"inputs": 48, "targets": 40}
VOCABULARY = seqio.ByteVocabulary()


def as_numpy(build):
  with tf.Graph().as_default():
    return list(tfds.as_numpy(build()))


def training_batches(
    first_step, last_step, seed=0, steps_per_block=5, skipped=()
):
  """Returns the batches of some steps, read block by block as in training."""
  batches = []
  step = first_step
  while step < last_step:
    build = functools.partial(
        inputs.training_batches,
        "toy_mixture",
        LENGTHS,
        batch_size=3,
        seed=seed,
        first_step=step,
        steps_per_block=steps_per_block,
        skipped=skipped,
    )
    batches += as_numpy(build)
    step = first_step + len(batches)
  return batches[: last_step - first_step]


def rows(batches):
  """Returns the rows of "inputs", as tuples."""
  return [tuple(row) for batch in batches for row in batch["inputs"]]


@pytest.fixture(scope="module")
def twelve_batches():
  return training_batches(0, 12)


def test_pipelines_of_many_tasks_are_not_tuned(monkeypatch):
  def is_tuned(task):
    with tf.Graph().as_default():
      batches = inputs.training_batches(task, LENGTHS, 2, 0, 0, 10)
      return batches.options().autotune.enabled

  assert is_tuned("toy_mixture")
  monkeypatch.setattr(inputs, "_MAX_TASKS_TUNED", 1)
  assert is_tuned("toy_copy") and not is_tuned("toy_mixture")


# In the middle of a block, at its end, and in a later one.
@pytest.mark.parametrize("first_step", [3, 5, 11])
def test_a_resumed_run_reads_the_batches_of_an_uninterrupted_one(
    twelve_batches, first_step
):
  resumed = training_batches(first_step, 12)
  assert len(resumed) == 12 - first_step
  for batch, expected in zip(resumed, twelve_batches[first_step:]):
    assert set(batch) == set(expected)
    for name in expected:
      np.testing.assert_array_equal(batch[name], expected[name])


# From the beginning, and after a block of which three batches are left.
@pytest.mark.parametrize("first_step", [0, 3])
def test_batches_are_left_out(twelve_batches, first_step):
  skipped = [1, 3, 6]
  found = training_batches(first_step, 9, skipped=skipped)
  expected = [x for n, x in enumerate(twelve_batches) if n not in skipped]
  assert rows(found) == rows(expected[first_step:])


def test_blocks_and_seeds_have_different_orders(twelve_batches):
  assert rows(twelve_batches[:5]) != rows(twelve_batches[5:10])
  assert rows(twelve_batches) != rows(training_batches(0, 12, seed=1))


def test_seeds_of_blocks_do_not_repeat():
  seeds = {
      inputs.block_seed(seed, block)
      for seed in range(30)
      for block in range(30)
  }
  assert len(seeds) == 900
  assert all(0 <= seed < 2**31 for seed in seeds)


def test_training_packs_and_splits_the_features(twelve_batches):
  batch = twelve_batches[0]
  assert batch["inputs"].shape == (3, LENGTHS["inputs"])
  assert batch["targets"].shape == (3, LENGTHS["targets"])
  # Several of the short sentences share a row.
  assert batch["inputs_segmentation"].max() > 1


@pytest.mark.parametrize("batch_size", [4, 13, 20])
def test_evaluation_reads_each_example_once(batch_size):
  datasets = inputs.evaluation_datasets("toy_mixture", LENGTHS, "validation")
  assert [dataset.name for dataset in datasets] == ["toy_copy", "toy_reverse"]
  dataset_fns = [dataset.dataset_fn for dataset in datasets]
  batches = as_numpy(lambda: inputs.evaluation_batches(dataset_fns, batch_size))
  num_batches = -(-13 // batch_size)
  assert inputs.count_batches(dataset_fns, batch_size) == 2 * num_batches
  texts = toy_tasks.texts("validation")
  for number, targets in enumerate([texts, [text[::-1] for text in texts]]):
    own, batches = batches[:num_batches], batches[num_batches:]
    for batch in own:
      assert batch.pop("dataset").tolist() == [number] * batch_size
    assert all(set(batch) == {"inputs", "targets"} for batch in own)
    ids = np.concatenate([batch["targets"] for batch in own])
    assert ids.shape == (num_batches * batch_size, LENGTHS["targets"])
    assert [VOCABULARY.decode(row.tolist()) for row in ids[:13]] == targets
    assert not ids[13:].any()


def test_missing_split_is_named():
  with pytest.raises(errors.UserError, match="^'toy_copy' has no 'test' split"):
    inputs.evaluation_datasets("toy_copy", LENGTHS, "test")


def test_inference_fills_the_last_batch_with_empty_rows():
  ids = np.arange(1, 16).reshape(5, 3)
  batches = as_numpy(lambda: inputs.inference_batches({"inputs": ids}, 2))
  assert [batch["batch_number"].tolist() for batch in batches] == [
      [0, 0],
      [1, 1],
      [2, 2],
  ]
  read = np.concatenate([batch["inputs"] for batch in batches])
  np.testing.assert_array_equal(read[:5], ids)
  assert not read[5:].any()


@pytest.mark.parametrize(
    "add_eos, expected",
    [
        # ByteVocabulary: three special ids come before the bytes.
        (True, [[100, 1, 0, 0], [100, 101, 102, 1]]),
        (False, [[100, 0, 0, 0], [100, 101, 102, 103]]),
    ],
)
def test_lines_are_cut_or_padded(add_eos, expected):
  lines = {1: "a", 2: "abcdef"}
  with pytest.warns(errors.UserNotice, match="^1 of 2 inputs is longer"):
    ids = inputs.encode_lines(lines, VOCABULARY, 4, add_eos, "inputs")
  assert ids.dtype == np.int32
  np.testing.assert_array_equal(ids, expected)


def test_no_lines_are_no_rows():
  ids = inputs.encode_lines({}, VOCABULARY, 4, True, "inputs")
  assert ids.shape == (0, 4)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
  """A SentencePiece vocabulary that does not know every letter."""
  path = tmp_path_factory.mktemp("vocabulary") / "model"
  lines = [" ".join(toy_tasks.texts("train"))] * 9
  path.write_bytes(vocabulary_training.train(lines, 60))
  return seqio.SentencePieceVocabulary(str(path), extra_ids=0)


def test_unknown_pieces_of_lines_are_counted(pieces):
  lines = {3: "the switch", 5: "sends Z and \u2603", 9: "\u2603 Z"}
  num_pieces = sum(len(pieces.encode(line)) for line in lines.values())
  unknown = sum(pieces.encode(line).count(2) for line in lines.values())
  assert unknown >= 4
  with pytest.warns(errors.UserNotice) as caught:
    inputs.encode_lines(lines, pieces, 99, True, "inputs")
  assert [str(x.message) for x in caught] == [
      f"{unknown} of {num_pieces} pieces of the inputs are unknown to the "
      "vocabulary (line 5 first: 'Z')."
  ]


def losses(
    task, split="train", max_examples=100, lengths=None, are_recorded=False
):
  """What examples lose: the notices, or what is recorded of a run."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    experiment = types.SimpleNamespace(
        provider=task, lengths=lengths or LENGTHS
    )
    changes = inputs.warn_of_losses(
        experiment,
        split,
        "mesh_eval_dataset_fn",
        max_examples,
        progress.Display(rich.console.Console(file=io.StringIO())),
    )
  if are_recorded:
    return changes
  return [str(x.message) for x in caught if x.category is errors.UserNotice]


def counted_task(texts, end, words=VOCABULARY):
  source = seqio.FunctionDataSource(
      lambda split, shuffle_files, seed=None: (
          tf.data.Dataset.from_tensor_slices(
              {"inputs": texts, "targets": ["a"] * len(texts)}
          )
      ),
      ["train"],
  )
  return seqio.TaskRegistry.get("toy_copy").replace(
      name="counted",
      source=source,
      preprocessors=[seqio.preprocessors.tokenize, end],
      output_features={
          name: seqio.Feature(words) for name in ("inputs", "targets")
      },
  )


ENDS = [
    seqio.preprocessors.append_eos_after_trim,
    seqio.preprocessors.append_eos,
]


@pytest.mark.parametrize("end", ENDS)
def test_cut_examples_are_counted(end):
  texts = ["a" * 47, "a" * 48, "a", "a" * 4800]
  message = (
      "{} are longer than the 48 tokens of Experiment.sequence_length and were "
      "cut, the first is example 2 of counted."
  )
  task = counted_task(texts, end)
  assert losses(task) == ["train split: " + message.format("2 of 4 inputs")]
  assert losses(task, max_examples=2) == [
      "train split, of which only the first examples were read: 1 of 2 inputs "
      "is longer than the 48 tokens of Experiment.sequence_length and was cut, "
      "the first is example 2 of counted."
  ]
  assert losses(task, are_recorded=True) == [
      alarms.Change(
          "texts are cut",
          "inputs of the train split",
          "began",
          {"cut": 2, "of": 4},
      )
  ]
  assert not losses(counted_task(texts[::2], end))
  gin.parse_config("mesh_eval_dataset_fn.num_eval_examples = 1")
  assert not losses(task)


def test_unknown_pieces_of_examples_are_counted(pieces):
  task = counted_task(["the switch", "the Z"], ENDS[0], pieces)
  num_pieces = len(pieces.encode("the switch the Z")) + 2
  assert losses(task) == [
      f"train split: 1 of {num_pieces} pieces of the inputs is unknown to the "
      "vocabulary (example 2 of counted first: 'Z').",
  ]
  (change,) = losses(task, are_recorded=True)
  assert change == alarms.Change(
      "many unknown pieces",
      "inputs of the train split",
      "began",
      {"unknown": 1, "of": num_pieces},
  )
  # One of a hundred is not many.
  task = counted_task(["the Z", *["the switch"] * 60], ENDS[0], pieces)
  assert losses(task)
  assert not losses(task, are_recorded=True)


def test_a_vocabulary_is_found_once_however_many_examples_there_are():
  asked = []

  class Counting(seqio.ByteVocabulary):

    @property
    def unk_id(self):
      asked.append(self)
      return super().unk_id

  losses(counted_task(["a", "b", "c"], ENDS[0], Counting()))
  assert len(asked) <= 2  # For inputs and for targets.


def test_only_preprocessors_that_need_it_are_translated():
  def build(branch):
    statuses = []

    def preprocess(x):
      statuses.append(ag_ctx.control_status_ctx().status.name)
      return branch(x)

    dataset = inputs.without_autograph(
        lambda: tf.data.Dataset.range(3).map(preprocess)
    )
    return statuses, dataset

  def with_python_if(x):
    if x > 1:
      return x * 10
    return x

  with tf.Graph().as_default():
    statuses, dataset = build(lambda x: tf.where(x > 1, x * 10, x))
    assert statuses == ["DISABLED"]
    assert list(tfds.as_numpy(dataset)) == [0, 1, 20]
    statuses, dataset = build(with_python_if)
    assert statuses[0] == "DISABLED"
    assert statuses[-1] != "DISABLED"
    assert list(tfds.as_numpy(dataset)) == [0, 1, 20]


def test_evaluation_masks_the_same_tokens_in_every_run(tmp_path, monkeypatch):
  monkeypatch.setenv("MTF_SWITCH_CACHE", str(tmp_path / "cache"))
  lines = [" ".join(f"word{i * j % 97}" for j in range(60)) for i in range(99)]
  (tmp_path / "text.txt").write_text("\n".join(lines))
  gin.parse_config(f"""
      text_files.path = "{tmp_path / "text.txt"}"
      text_files.document = "line"
      vocabulary.size = 130
      """)

  def read(seed, number=0):
    with tf.Graph().as_default(), tf.Session() as session:
      tf.set_random_seed(seed)
      (dataset,) = inputs.evaluation_datasets(
          "text_files_span_corruption", {"inputs": 64, "targets": 32}, "train"
      )
      batches = inputs.evaluation_batches([dataset.dataset_fn] * 2, 4)
      batches = batches.filter(lambda b: tf.equal(b["dataset"][0], number))
      batch = tf.data.make_one_shot_iterator(batches).get_next()
      return session.run(batch)["targets"]

  targets = read(0)
  np.testing.assert_array_equal(targets, read(1))
  # The datasets that are read before do not matter either.
  np.testing.assert_array_equal(targets, read(0, number=1))
  # Its examples have their length by themselves: nothing is cut.
  assert not losses(
      seqio.get_mixture_or_task("text_files_span_corruption"),
      lengths={"inputs": 64, "targets": 32},
  )
