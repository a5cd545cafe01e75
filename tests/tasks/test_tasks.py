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

"""The pre-training tasks: their sources, span corruption and full_lm."""

import functools
import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import seqio
from t5.data import preprocessors
from t5.models import mesh_transformer
import tensorflow.compat.v2 as tf
import tensorflow_datasets as tfds

from mtf_switch.training import inputs
from tasks import corpus
from tasks import errors
from tasks import pretraining
from tasks import sources
from tests import small_corpus

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("small_corpus")


@functools.cache
def train_examples():
  return small_corpus.examples()


def spans(ids, sentinels):
  """Splits ids at each sentinel: [(sentinel or None, [id, ...]), ...]."""
  cut = [(None, [])]
  for i in ids:
    if i in sentinels:
      cut.append((i, []))
    else:
      cut[-1][1].append(i)
  return cut


# Registration.


def test_names_and_splits():
  for name, splits in (
      ("docstrings", ("train", "validation", "test")),
      ("text_files", ("train", "validation")),
  ):
    task = seqio.get_mixture_or_task(f"{name}_span_corruption")
    assert sorted(task.output_features) == ["inputs", "targets"]
    assert tuple(task.splits) == splits
    prefix_lm = seqio.get_mixture_or_task(f"{name}_prefix_lm")
    assert sorted(prefix_lm.output_features) == ["inputs", "targets"]
    language_model = seqio.get_mixture_or_task(f"{name}_full_lm")
    assert sorted(language_model.output_features) == ["targets"]


FRESH_PROCESS = """
import hashlib, json, os, sys

sys.path.insert(0, sys.argv[1])
import tasks
assert not {"mtf_switch", "mesh_tensorflow", "torch"} & set(sys.modules)
assert not os.path.exists(os.environ["MTF_SWITCH_CACHE"])

import gin, seqio
import tensorflow as tf
assert "docstrings_span_corruption" in seqio.TaskRegistry.names()

os.environ["MTF_SWITCH_CACHE"] = sys.argv[2]
gin.parse_config(json.loads(sys.argv[3]))
tf.random.set_seed(0)  # As in tests/conftest.py.
task = seqio.get_mixture_or_task("docstrings_span_corruption")
dataset = tf.autograph.experimental.do_not_convert(task.get_dataset)(
    {"inputs": 128, "targets": 29}, "train", seed=3, shuffle=True)
digest = hashlib.sha256()
for example in dataset.as_numpy_iterator():
  digest.update(json.dumps([x.tolist() for x in example.values()]).encode())
print(digest.hexdigest())
"""


def test_a_fresh_process_imports_without_work_and_reads_the_same(
    cache_directory, tmp_path
):
  digest = hashlib.sha256()
  for example in small_corpus.examples(seed=3, shuffle=True):
    digest.update(json.dumps(list(example.values())).encode())
  result = subprocess.run(
      [
          sys.executable,
          "-c",
          FRESH_PROCESS,
          str(ROOT),
          str(cache_directory),
          json.dumps(small_corpus.BINDINGS),
      ],
      env={
          **os.environ,
          "MTF_SWITCH_CACHE": str(tmp_path / "untouched"),
          "PYTHONHASHSEED": "7",
      },
      capture_output=True,
      text=True,
  )
  assert result.stdout == digest.hexdigest() + "\n", result.stderr


# The source.


def test_the_source_yields_the_documents_in_order_or_shuffled():
  text = corpus.docstrings()
  source = sources.PreparedTextSource(corpus.docstrings, lambda: "")

  def read(**kwargs):
    dataset = source.get_dataset(**kwargs)
    return [x["text"].decode() for x in dataset.as_numpy_iterator()]

  for split in ("train", "validation"):
    documents = list(text.documents(split))
    assert read(split=split, shuffle=False) == documents
    assert source.num_input_examples(split) == len(documents)
  documents = read(split="train", shuffle=False)
  shuffled = read(split="train", shuffle=True, seed=1)
  assert sorted(shuffled) == sorted(documents) and shuffled != documents
  assert read(split="train", shuffle=True, seed=1) == shuffled
  assert read(split="train", shuffle=True, seed=2) != shuffled


def test_the_shuffle_is_limited_in_bytes(monkeypatch):
  monkeypatch.setattr(sources, "SHUFFLE_BYTES", 1)  # A buffer of one document.
  source = sources.PreparedTextSource(corpus.docstrings, lambda: "")
  seqio.test_utils.assert_dataset(
      source.get_dataset("train", shuffle=True, seed=1),
      [{"text": text} for text in corpus.docstrings().documents("train")],
  )


def test_seqio_shards_the_examples():
  shards = [
      small_corpus.examples(
          "docstrings_full_lm", shard_info=seqio.ShardInfo(index, num_shards=2)
      )
      for index in range(2)
  ]
  tokens = [sum(len(x["targets"]) for x in shard) for shard in shards]
  whole = sum(
      len(x["targets"]) for x in small_corpus.examples("docstrings_full_lm")
  )
  assert sum(tokens) == whole and min(tokens) > 0.3 * whole


def test_an_unknown_split():
  with pytest.raises(errors.DataError) as raised:
    small_corpus.examples(split="dev")
  assert str(raised.value) == (
      "There is no split 'dev'; there are train and validation and test."
  )


def test_a_text_too_small_for_a_split():
  with pytest.raises(errors.EmptySplitError) as raised:
    small_corpus.examples(split="test")
  size = corpus.docstrings().num_bytes("train")
  assert str(raised.value) == (
      f"documentation of the installed packages: with {size} bytes to train on "
      "there is nothing for the 'test' split; take more text "
      "(docstrings.max_bytes of the embedded corpus)."
  )


def test_no_validation_docstring_is_in_the_training_text():
  text = corpus.docstrings()
  train = " ".join(" ".join(d.split()) for d in text.documents("train"))
  documents = list(text.documents("validation"))
  assert documents
  for document in documents:
    assert " ".join(document.split()) not in train


# Span corruption.


def test_inputs_and_targets_together_are_the_text():
  """Without shuffling, the segments are the concatenated documents."""
  words = (
      seqio.get_mixture_or_task("docstrings_span_corruption")
      .output_features["targets"]
      .vocabulary
  )
  sentinels = range(words.vocab_size - 100, words.vocab_size)
  restored = []
  for example in train_examples():
    assert example["inputs"][-1] == example["targets"][-1] == words.eos_id
    inputs = spans(example["inputs"][:-1], sentinels)
    targets = spans(example["targets"][:-1], sentinels)
    # The same sentinels, in T5's order: from the last id downward.
    order = [sentinel for sentinel, _ in inputs[1:]]
    assert order == [words.vocab_size - 1 - i for i in range(len(order))]
    assert [sentinel for sentinel, _ in targets] == [None, *order]
    assert not targets[0][1]
    assert all(ids for _, ids in targets[1:])
    for (_, kept), (_, dropped) in zip(inputs, targets[1:] + [(None, [])]):
      restored += kept + dropped
  expected = []
  for document in corpus.docstrings().documents("train"):
    expected += words.encode(document)
  assert restored == expected


def test_15_percent_of_the_tokens_are_dropped_in_spans_of_3():
  sentinels = range(small_corpus.NUM_PIECES, small_corpus.NUM_PIECES + 100)
  dropped = kept = num_spans = 0
  for example in train_examples():
    targets = spans(example["targets"][:-1], sentinels)[1:]
    num_spans += len(targets)
    dropped += sum(len(ids) for _, ids in targets)
    inputs = spans(example["inputs"][:-1], sentinels)
    kept += sum(len(ids) for _, ids in inputs)
  assert dropped + kept > 30_000
  # T5 rounds the numbers of tokens and of spans in each segment: 21 of 141.
  assert dropped / (dropped + kept) == pytest.approx(21 / 141, abs=0.001)
  assert dropped / num_spans == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("length, targets", [(512, 114), (128, 29)])
def test_sequences_are_full(length, targets):
  """The paper's lengths are 512 and 114."""
  lengths = {"inputs": length, "targets": targets}
  read = small_corpus.examples(sequence_length=lengths)
  full = [
      (len(x["inputs"]), len(x["targets"])) == (length, targets) for x in read
  ]
  # Except at the ends of the 128 documents that T5 concatenates.
  assert sum(full) >= len(full) - 2 and len(full) > 50


def documents_of(number, shortest, read):
  """A dataset of tokenized documents; `read` gets each when it is read."""

  def documents():
    for n in range(number):
      read.append(n)
      ids = np.arange(3, 3 + shortest + n % 20, dtype=np.int32)
      yield {"targets": ids}

  signature = {"targets": tf.TensorSpec([None], tf.int32)}
  return tf.data.Dataset.from_generator(documents, output_signature=signature)


def span_corruption_of(corrupt, documents, count=-1):
  """Examples of span corruption, from documents."""
  feature = seqio.Feature(seqio.ByteVocabulary())
  with seqio.utils.map_seed_manager(7):
    examples = corrupt(
        documents,
        sequence_length={"inputs": 32, "targets": 12},
        output_features={"inputs": feature, "targets": feature},
    )
  return list(tfds.as_numpy(examples.take(count)))


def test_span_corruption_is_that_of_t5():
  """Bit for bit: 300 documents are merged in three parts."""
  documents = documents_of(300, shortest=1, read=[]).repeat(2)
  ours = span_corruption_of(pretraining.span_corruption, documents)
  theirs = span_corruption_of(preprocessors.span_corruption, documents)
  assert len(ours) == len(theirs) > 100
  for one, other in zip(ours, theirs):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_array_equal(one[name], other[name])


def test_the_first_examples_need_the_first_documents_only():
  read = []
  documents = documents_of(128 * 20, shortest=180, read=read)
  # Of 713 in the documents that are merged.
  assert span_corruption_of(pretraining.span_corruption, documents, count=600)
  assert 128 <= len(read) < 2 * 128


def test_the_targets_need_room():
  with pytest.raises(errors.DataError) as raised:
    small_corpus.examples(sequence_length={"inputs": 128, "targets": 28})
  assert str(raised.value) == (
      "sequence_length = {'inputs': 128, 'targets': 28}: Expected targets "
      "length for span corruption (29) is greater than configured targets "
      "length (28)"
  )


@pytest.mark.parametrize("shuffle", [False, True])
def test_examples_are_a_function_of_the_seed(shuffle):
  first = small_corpus.examples(shuffle=shuffle, seed=5)
  assert small_corpus.examples(shuffle=shuffle, seed=5) == first
  other = small_corpus.examples(shuffle=shuffle, seed=6)
  assert len(other) == len(first) and other != first


def test_each_epoch_drops_different_spans():
  once = small_corpus.examples("docstrings_span_corruption", "validation")
  twice = small_corpus.examples(
      "docstrings_span_corruption", "validation", num_epochs=2
  )
  assert len(twice) >= 2 * len(once) - 1 and len(once) > 2
  again = twice[len(once) :]
  assert not [x for x in again if x in once]


def test_packed_batches_repeat_bit_for_bit():
  def read():
    dataset = inputs.without_autograph(
        functools.partial(
            mesh_transformer.mesh_train_dataset_fn,
            "docstrings_span_corruption",
            small_corpus.LENGTHS,
            dataset_split="train",
            seed=9,
        )
    )
    return list(dataset.batch(16).take(10).as_numpy_iterator())

  first, second = read(), read()
  tokens = 0
  for batch, same in zip(first, second, strict=True):
    assert sorted(batch) == [
        "inputs",
        "inputs_position",
        "inputs_segmentation",
        "targets",
        "targets_position",
        "targets_segmentation",
    ]
    for key, value in batch.items():
      assert value.shape == (16, small_corpus.LENGTHS[key.split("_")[0]])
      np.testing.assert_array_equal(value, same[key])
    tokens += np.count_nonzero(batch["inputs"])
  assert tokens > 0.98 * 10 * 16 * 128  # Almost no padding.


def test_a_graph_reads_the_same_as_eager_execution():
  def build():
    task = seqio.get_mixture_or_task("docstrings_span_corruption")
    return inputs.without_autograph(
        functools.partial(
            task.get_dataset,
            small_corpus.LENGTHS,
            "train",
            seed=4,
            shuffle=True,
        )
    ).take(20)

  eager = [x["inputs"].tolist() for x in build().as_numpy_iterator()]
  with tf.Graph().as_default():
    tf.random.set_seed(0)  # As in tests/conftest.py.
    iterator = tf.compat.v1.data.make_one_shot_iterator(build())
    element = iterator.get_next()["inputs"]
    with tf.compat.v1.Session() as session:
      graph = [session.run(element).tolist() for _ in range(20)]
  assert graph == eager


def test_language_model_examples_are_the_text():
  words = (
      seqio.get_mixture_or_task("docstrings_full_lm")
      .output_features["targets"]
      .vocabulary
  )
  lengths = {"targets": 64}
  read = small_corpus.examples("docstrings_full_lm", sequence_length=lengths)
  tokens = sum((x["targets"] for x in read), [])
  expected = []
  for document in corpus.docstrings().documents("train"):
    expected += words.encode(document) + [words.eos_id]
  assert tokens == expected
  assert {len(x["targets"]) for x in read[:100]} == {64}


def test_the_metrics_compare_texts():
  task = seqio.get_mixture_or_task("docstrings_span_corruption")
  results = {}
  for metric in task.metric_fns:
    results.update(metric(["a b", "c d"], ["a b", "c e"]))
  assert results["sequence_accuracy"] == 50.0
  assert results["mean_edit"] == 0.5


# Prefix language modelling.


def prefix_lm_examples(**lengths):
  return small_corpus.examples("docstrings_prefix_lm", sequence_length=lengths)


def test_inputs_and_then_targets_are_the_text():
  """Without shuffling, the segments are the concatenated documents."""
  words = (
      seqio.get_mixture_or_task("docstrings_prefix_lm")
      .output_features["targets"]
      .vocabulary
  )
  restored = []
  for example in prefix_lm_examples(inputs=64, targets=32):
    assert example["inputs"][-1] == example["targets"][-1] == words.eos_id
    restored += example["inputs"][:-1] + example["targets"][:-1]
  expected = []
  for document in corpus.docstrings().documents("train"):
    expected += words.encode(document)
  assert restored == expected


def test_both_parts_of_a_segment_are_full():
  *full, last = prefix_lm_examples(inputs=64, targets=32)
  assert len(full) > 300
  assert {(len(x["inputs"]), len(x["targets"])) for x in full} == {(64, 32)}
  # 63 : 31, as in the others.
  given, asked = len(last["inputs"]) - 1, len(last["targets"]) - 1
  assert given == (given + asked) * 63 // 94 and asked >= 1


def test_prefix_lm_needs_room_for_a_token_and_the_end():
  with pytest.raises(errors.DataError) as raised:
    prefix_lm_examples(inputs=64, targets=1)
  assert str(raised.value) == (
      "sequence_length = {'inputs': 64, 'targets': 1}: inputs and targets need "
      "at least 2 positions each, one of them for the end."
  )
