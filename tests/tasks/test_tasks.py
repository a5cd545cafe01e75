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

"""The tasks, their vocabularies, and the user's own text files."""

import copy
import functools
import gzip
import hashlib
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys

import gin
import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
import seqio
from t5.data import preprocessors
from t5.models import mesh_transformer
import tensorflow.compat.v2 as tf

from tasks import corpus
from tasks import errors
from tasks import prepared_text
from tasks import sources
from tasks import text_files
from tasks import vocabulary

ROOT = pathlib.Path(__file__).parents[2]
LENGTHS = {"inputs": 128, "targets": 29}
MAX_BYTES = 150_000
NUM_PIECES = 1000


pytestmark = pytest.mark.usefixtures("cache_directory")


@pytest.fixture(autouse=True)
def parameters():
  """A small embedded corpus; tests/conftest.py clears gin afterwards."""
  gin.parse_config(
      [
          f"tasks.docstrings.max_bytes = {MAX_BYTES}",
          f"tasks.vocabulary.size = {NUM_PIECES}",
      ]
  )


def examples(name="docstrings_span_corruption", split="train", **kwargs):
  """Returns the examples of a task, as dicts of lists."""
  task = seqio.get_mixture_or_task(name)
  kwargs = {"shuffle": False, "seed": 1, **kwargs}
  lengths = kwargs.pop("sequence_length", LENGTHS)
  return [
      {key: value.tolist() for key, value in example.items()}
      for example in task.get_dataset(
          lengths, split=split, **kwargs
      ).as_numpy_iterator()
  ]


@functools.cache
def train_examples():
  return examples()


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
  for name in ("docstrings", "text_files"):
    task = seqio.get_mixture_or_task(f"{name}_span_corruption")
    assert sorted(task.output_features) == ["inputs", "targets"]
    assert tuple(task.splits) == ("train", "validation")
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
dataset = task.get_dataset(
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
  for example in examples(seed=3, shuffle=True):
    digest.update(json.dumps(list(example.values())).encode())
  bindings = [
      f"tasks.docstrings.max_bytes = {MAX_BYTES}",
      f"tasks.vocabulary.size = {NUM_PIECES}",
  ]
  result = subprocess.run(
      [
          sys.executable,
          "-c",
          FRESH_PROCESS,
          str(ROOT),
          str(cache_directory),
          json.dumps(bindings),
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
      examples(
          "docstrings_full_lm", shard_info=seqio.ShardInfo(index, num_shards=2)
      )
      for index in range(2)
  ]
  tokens = [sum(len(x["targets"]) for x in shard) for shard in shards]
  whole = sum(len(x["targets"]) for x in examples("docstrings_full_lm"))
  assert sum(tokens) == whole and min(tokens) > 0.3 * whole


def test_an_unknown_split():
  with pytest.raises(errors.DataError) as raised:
    examples(split="test")
  assert str(raised.value) == (
      "There is no split 'test'; there are train and validation."
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
  sentinels = range(NUM_PIECES, NUM_PIECES + 100)
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
  read = examples(sequence_length=lengths)
  full = [
      (len(x["inputs"]), len(x["targets"])) == (length, targets) for x in read
  ]
  # Except at the ends of the 128 documents that T5 concatenates.
  assert sum(full) >= len(full) - 2 and len(full) > 50


def test_the_targets_need_room():
  with pytest.raises(errors.DataError) as raised:
    examples(sequence_length={"inputs": 128, "targets": 28})
  assert str(raised.value) == (
      "sequence_length = {'inputs': 128, 'targets': 28}: Expected targets "
      "length for span corruption (29) is greater than configured targets "
      "length (28)"
  )


@pytest.mark.parametrize("shuffle", [False, True])
def test_examples_are_a_function_of_the_seed(shuffle):
  first = examples(shuffle=shuffle, seed=5)
  assert examples(shuffle=shuffle, seed=5) == first
  other = examples(shuffle=shuffle, seed=6)
  assert len(other) == len(first) and other != first


def test_each_epoch_drops_different_spans():
  once = examples("docstrings_span_corruption", "validation")
  twice = examples("docstrings_span_corruption", "validation", num_epochs=2)
  assert len(twice) >= 2 * len(once) - 1 and len(once) > 2
  again = twice[len(once) :]
  assert not [x for x in again if x in once]


def test_packed_batches_repeat_bit_for_bit():
  def read():
    dataset = mesh_transformer.mesh_train_dataset_fn(
        "docstrings_span_corruption", LENGTHS, dataset_split="train", seed=9
    )
    return list(dataset.batch(16).take(30).as_numpy_iterator())

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
      assert value.shape == (16, LENGTHS[key.split("_")[0]])
      np.testing.assert_array_equal(value, same[key])
    tokens += np.count_nonzero(batch["inputs"])
  assert tokens > 0.98 * 30 * 16 * 128  # Almost no padding.


def test_a_graph_reads_the_same_as_eager_execution():
  def build():
    task = seqio.get_mixture_or_task("docstrings_span_corruption")
    return task.get_dataset(LENGTHS, "train", seed=4, shuffle=True).take(20)

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
  read = examples("docstrings_full_lm", sequence_length=lengths)
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


# Vocabularies.


def never():
  raise AssertionError("The text was asked for.")


def test_the_vocabulary_is_like_t5s():
  words = vocabulary.LateVocabulary(corpus.docstrings)
  assert (words.pad_id, words.eos_id, words.unk_id) == (0, 1, 2)
  assert words.vocab_size == NUM_PIECES + 100
  assert words.tokenizer.bos_id() == -1
  assert preprocessors.sentinel_id(words) == NUM_PIECES + 99
  assert words.encode("<extra_id_0> <extra_id_99>") == [
      NUM_PIECES + 99,
      NUM_PIECES,
  ]
  text = "Returns the number of elements in the array."
  ids = words.encode(text)
  assert words.decode(ids) == text and len(ids) < 20
  np.testing.assert_array_equal(words.encode_tf(tf.constant(text)), ids)
  assert words.decode_tf(tf.constant(ids)).numpy().decode() == text


def test_a_vocabulary_is_created_copied_and_compared_without_its_text():
  words = vocabulary.LateVocabulary(never)
  assert pickle.loads(pickle.dumps(words)) == copy.deepcopy(words) == words
  assert words != vocabulary.LateVocabulary(corpus.docstrings)
  with pytest.raises(AssertionError, match="The text was asked for"):
    _ = words.vocab_size


def test_a_copy_from_before_use_equals_one_from_after():
  words = vocabulary.LateVocabulary(corpus.docstrings)
  before = pickle.dumps(words)
  assert words.vocab_size == NUM_PIECES + 100
  after = pickle.dumps(words)
  assert pickle.loads(before) == pickle.loads(after) == words
  assert pickle.loads(before).encode("array") == words.encode("array")


def test_a_vocabulary_follows_gin():
  words = vocabulary.LateVocabulary(corpus.docstrings)
  assert words.vocab_size == NUM_PIECES + 100
  gin.parse_config("tasks.vocabulary.size = 900")
  assert words.vocab_size == 1000


def test_training_repeats_bit_for_bit():
  lines = list(vocabulary.sample_lines(corpus.docstrings(), 30_000))
  model = vocabulary.train(lines, 500)
  assert vocabulary.train(iter(lines), 500) == model
  assert vocabulary.train(lines[9:], 500) != model


def test_a_vocabulary_is_trained_on_the_training_split_once(monkeypatch):
  text = corpus.docstrings()
  lines = set(vocabulary.sample_lines(text, 10**9))
  train = "\n".join(text.documents("train")).splitlines()
  assert lines == set(filter(None, train))
  path = pathlib.Path(vocabulary.trained_on(text, NUM_PIECES))
  model = vocabulary.train(
      vocabulary.sample_lines(text, vocabulary.SAMPLE_BYTES), NUM_PIECES
  )
  assert path.read_bytes() == model
  monkeypatch.setattr(vocabulary, "train", never)
  assert vocabulary.trained_on(text, NUM_PIECES) == str(path)


def test_the_sample_is_from_all_over_the_text():
  text = corpus.docstrings()
  size = text.num_bytes("train")
  sampled = set(vocabulary.sample_lines(text, size // 4))
  # Lines repeat, and one in four of the distinct ones is taken.
  assert sum(len(line) for line in sampled) < 0.4 * size
  documents = list(text.documents("train"))
  for part in (documents[:20], documents[-20:]):
    lines = set("\n".join(part).splitlines()) - {""}
    assert 0.15 < len(lines & sampled) / len(lines) < 0.35


def test_a_short_text_makes_a_small_vocabulary():
  model = sentencepiece.SentencePieceProcessor(
      model_proto=vocabulary.train(["a few words", "a few more words"], 8000)
  )
  assert 10 < model.get_piece_size() < 50
  assert model.decode(model.encode("more words")) == "more words"


def test_a_vocabulary_that_cannot_be_trained():
  with pytest.raises(errors.DataError) as raised:
    vocabulary.train(["abcdef"], 5)
  assert re.fullmatch(
      r"No vocabulary of 5 pieces can be trained on this text: Vocabulary size "
      r"is smaller than required_chars\. 5 vs \d+\. .*",
      str(raised.value),
  )


def write_model(path: pathlib.Path, **options) -> str:
  """Trains a small SentencePiece model as a user might."""
  with path.open("wb") as file:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["some words of one's own"] * 9),
        model_writer=file,
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
  return str(path)


def test_the_users_own_model(tmp_path):
  path = write_model(
      tmp_path / "own.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1
  )
  gin.parse_config(f"tasks.vocabulary.path = {path!r}")
  words = vocabulary.LateVocabulary(never)
  assert words.sentencepiece_model_file == path
  pieces = sentencepiece.SentencePieceProcessor(model_file=path)
  assert words.vocab_size == pieces.get_piece_size() + 100
  assert words.encode("own words") == pieces.encode("own words")


def test_models_that_cannot_be_used(tmp_path):
  def complaint(path):
    gin.parse_config(f"tasks.vocabulary.path = {path!r}")
    with pytest.raises(errors.DataError) as raised:
      _ = vocabulary.LateVocabulary(never).vocab_size
    return str(raised.value)

  (tmp_path / "text.model").write_text("This is no model.")
  for name in ("absent.model", "text.model"):
    path = str(tmp_path / name)
    assert complaint(path) == (
        f"vocabulary.path = {path!r} is not a SentencePiece model that can be "
        "read."
    )
  path = write_model(tmp_path / "other.model")
  assert complaint(path) == (
      f"vocabulary.path = {path!r} has (-1, 2, 0) as ids of padding, end and "
      "unknown; T5 needs (0, 1, 2)."
  )


def test_gin_chooses_a_vocabulary_by_name():
  words = vocabulary.LateVocabulary("t5")
  gin.parse_config("tasks.vocabulary.name = 'embedded'")
  assert words.vocab_size == NUM_PIECES + 100
  own = vocabulary.LateVocabulary(corpus.docstrings)
  assert words.encode("the array") == own.encode("the array")
  gin.parse_config("tasks.vocabulary.name = 'bytes'")
  # 3 special ids, 256 bytes, 100 sentinels.
  assert words.vocab_size == own.vocab_size == 3 + 256 + 100
  assert words.encode("ab") == [100, 101]
  assert preprocessors.sentinel_id(words) == 358
  np.testing.assert_array_equal(words.encode_tf(tf.constant("ab")), [100, 101])
  assert words.decode([100, 101, words.eos_id]) == "ab"


def test_a_vocabulary_of_an_unknown_name():
  gin.parse_config("tasks.vocabulary.name = 't6'")
  with pytest.raises(errors.DataError) as raised:
    _ = vocabulary.LateVocabulary("t5").vocab_size
  assert str(raised.value) == (
      "vocabulary.name = 't6' is not known; use 't5', 'mt5', 'embedded' or "
      "'bytes', or set vocabulary.path."
  )


def test_a_published_vocabulary_that_is_not_reachable(monkeypatch, tmp_path):
  place = str(tmp_path / "absent.model")
  monkeypatch.setitem(vocabulary.PUBLISHED, "mt5", place)
  words = vocabulary.LateVocabulary("mt5")
  assert words.vocab_size == 250_100  # For planning, without the file.
  with pytest.raises(errors.DataError) as raised:
    words.encode("a")
  assert str(raised.value) == (
      f"The vocabulary 'mt5' cannot be read from {place}; set vocabulary.path "
      "to a copy of it, or vocabulary.name = 'embedded' or 'bytes' to do "
      "without."
  )


def test_a_model_that_has_sentinels_gets_no_more(tmp_path):
  """Like mT5's, with the first sentinel as the last piece."""
  sentinels = [f"\u2581<extra_id_{i}>" for i in reversed(range(3))]
  path = write_model(
      tmp_path / "own.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1
  )
  model = sentencepiece_model_pb2.ModelProto()
  model.ParseFromString(pathlib.Path(path).read_bytes())
  num_pieces = len(model.pieces)
  for sentinel in sentinels:
    user_defined = model.SentencePiece.USER_DEFINED
    model.pieces.add(piece=sentinel, score=0.0, type=user_defined)
  pathlib.Path(path).write_bytes(model.SerializeToString())
  gin.parse_config(f"tasks.vocabulary.path = {path!r}")
  words = vocabulary.LateVocabulary("mt5")
  assert words.vocab_size == num_pieces + 3
  assert words.encode("<extra_id_0>") == [num_pieces + 2]
  assert preprocessors.sentinel_id(words) == num_pieces + 2


# The user's text files.

PARAGRAPHS = ["First line.\nSecond line.", "Caf\u00e9.", "The last."]
TEXT = "\n\nFirst line.\nSecond line.\n\n \n\nCaf\u00e9.\n\nThe last."
LINES = ["First line.", "Second line.", "Caf\u00e9.", "The last."]
OBJECTS = [{"text": text, "url": "x"} for text in PARAGRAPHS] + [{"text": " "}]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "name, content, document, expected",
    [
        ("a.txt", TEXT, "paragraph", PARAGRAPHS),
        ("a.txt", TEXT, "line", LINES),
        ("no_suffix", TEXT, "paragraph", PARAGRAPHS),
        ("windows.txt", "\ufeff" + TEXT.replace("\n", "\r\n"), "line", LINES),
        (
            "windows.txt",
            "\ufeff" + TEXT.replace("\n", "\r\n"),
            "paragraph",
            PARAGRAPHS,
        ),
        ("a.jsonl", "\n".join(map(json.dumps, OBJECTS)), "line", PARAGRAPHS),
        (
            "a.json",
            "\n\n".join(map(json.dumps, OBJECTS)) + "\n",
            "line",
            PARAGRAPHS,
        ),
        ("a.json", "\n" + json.dumps(OBJECTS), "paragraph", PARAGRAPHS),
        ("a.json", json.dumps(OBJECTS, indent=2), "paragraph", PARAGRAPHS),
        ("empty.txt", "", "paragraph", []),
        ("empty.jsonl", "\n", "paragraph", []),
    ],
)
def test_every_format_of_text(
    tmp_path, name, content, document, expected, packed
):
  path = tmp_path / (name + ".gz" * packed)
  data = content.encode("utf-8")
  path.write_bytes(gzip.compress(data) if packed else data)
  assert list(text_files.read_documents(str(path), document)) == expected


def write_files(directory: pathlib.Path, *names: str):
  for name in names:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"Text of {name}.\n\nMore of {name}.")


def test_the_files_of_a_path(tmp_path, monkeypatch):
  names = ["b.txt", "a.json.gz", "d/c.jsonl", "d/e/f.txt.gz", "x[1].txt"]
  others = ["README.md", ".hidden.txt", ".git/g.txt", "d/n.zip", "txt"]
  write_files(tmp_path, *names, *others)

  def found(path):
    return [
        os.path.relpath(name, tmp_path) for name in text_files.find_files(path)
    ]

  assert found(str(tmp_path)) == sorted(names)
  assert found(f"{tmp_path}/") == sorted(names)
  assert found(f"{tmp_path}/d") == ["d/c.jsonl", "d/e/f.txt.gz"]
  assert found(f"{tmp_path}/*.txt") == ["b.txt", "x[1].txt"]
  assert found(f"{tmp_path}/*") == [
      "README.md", "a.json.gz", "b.txt", "txt", "x[1].txt"
  ]  # fmt: skip
  assert found(f"{tmp_path}/x[1].txt") == ["x[1].txt"]
  assert found(f"{tmp_path}/README.md") == ["README.md"]
  monkeypatch.setenv("HOME", str(tmp_path))
  assert found("~/b.txt") == ["b.txt"]


def test_an_unknown_file_system():
  with pytest.raises(errors.DataError) as raised:
    text_files.find_files("nowhere://a/b.txt")
  message = str(raised.value)
  assert message.startswith(
      "text_files.path = 'nowhere://a/b.txt': File system"
  )
  assert "\n" not in message


def test_no_such_files(tmp_path):
  write_files(tmp_path, "README.md")
  for path, reason in (
      ("", "the directory has no file that ends in .txt, .json, .jsonl"),
      ("/absent.txt", "no file matches"),
      ("/*.txt", "no file matches"),
  ):
    path = f"{tmp_path}{path}"
    with pytest.raises(errors.DataError) as raised:
      text_files.find_files(path)
    assert str(raised.value) == f"text_files.path = {path!r}: {reason}."


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "a.jsonl",
            b'{"text": "a"}\n\n{"body": 1, "url": 2}',
            '{file}, line 3: the object has no string under "text"; its keys '
            "are body, url.",
        ),
        (
            "a.jsonl",
            b'{"text": ["a"]}',
            '{file}, line 1: the object has no string under "text"; its keys '
            "are text.",
        ),
        (
            "a.json",
            b"{}",
            '{file}, line 1: the object has no string under "text"; its keys '
            "are none.",
        ),
        (
            "a.jsonl",
            b'{"text": "a"}\n"a"',
            "{file}, line 2: str found where an object with the document under "
            '"text" is needed.',
        ),
        (
            "a.json",
            b'[{"text": "a"}, 5]',
            "{file}, entry 2: int found where an object with the document "
            'under "text" is needed.',
        ),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"text": ',
            "{file}, line 2: this is not JSON (Expecting value); a line is to "
            "be one object, or the file one array of objects.",
        ),
        (
            "a.json",
            b'[{"text": "a"}',
            "{file}: this is not JSON (Expecting ',' delimiter); a line is to "
            "be one object, or the file one array of objects.",
        ),
        (
            "a.txt",
            b"Good.\n\nCaf\xe9.",
            "{file}, line 3: this is not UTF-8 text.",
        ),
        (
            "a.txt.gz",
            b"This is plain text.",
            "{file}, after line 0: this is not a whole gzip file.",
        ),
        (
            "a.txt.gz",
            # Without a time: these bytes are part of the test's name.
            gzip.compress(b"Good.\n" * 9, mtime=0)[:-8],
            "{file}, after line 9: this is not a whole gzip file.",
        ),
    ],
)
def test_files_without_the_format_of_their_name(
    tmp_path, name, content, message
):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(errors.DataError) as raised:
    list(text_files.read_documents(str(path), "paragraph"))
  assert str(raised.value) == message.format(file=path)


def test_damaged_and_absent_files(tmp_path):
  data = bytearray(gzip.compress(b"Good.\n" * 9))
  data[10] = 0xFF  # An invalid type of block.
  (tmp_path / "damaged.txt.gz").write_bytes(data)
  for name, message in (
      (
          "damaged.txt.gz",
          "{file}, after line 0: this is not a whole gzip file.",
      ),
      (
          "absent.txt",
          "{file} cannot be read: {file}; No such file or directory",
      ),
  ):
    file = f"{tmp_path}/{name}"
    with pytest.raises(errors.DataError) as raised:
      list(text_files.read_documents(file, "line"))
    assert str(raised.value) == message.format(file=file)


def test_a_paragraph_without_end(tmp_path, monkeypatch):
  monkeypatch.setattr(text_files, "MAX_DOCUMENT_BYTES", 50)
  path = tmp_path / "a.txt"
  path.write_text("Twenty characters..\n" * 9)
  with pytest.raises(errors.DataError) as raised:
    list(text_files.read_documents(str(path), "paragraph"))
  assert str(raised.value) == (
      f"{path}, line 3: more than 50 characters without an empty line; if each "
      "line is a document set text_files.document = 'line'."
  )
  assert len(list(text_files.read_documents(str(path), "line"))) == 9


def build(directory, files, document="paragraph"):
  directory.mkdir()
  text_files.build(directory, [str(file) for file in files], document)
  text = prepared_text.PreparedText(directory)
  return text, {s: list(text.documents(s)) for s in prepared_text.SPLITS}


def test_documents_are_split_by_their_text(tmp_path):
  names = [f"Document {i}." for i in range(2000)]
  (tmp_path / "a.txt").write_text("\n\n".join(names))
  (tmp_path / "b.txt").write_text("\n".join(reversed(names)))
  text, paragraphs = build(tmp_path / "paragraphs", [tmp_path / "a.txt"])
  _, lines = build(tmp_path / "lines", [tmp_path / "b.txt"], "line")
  for split in prepared_text.SPLITS:
    assert sorted(paragraphs[split]) == sorted(lines[split])
    assert text.num_documents(split) == len(paragraphs[split])
  assert paragraphs["train"] == [
      name for name in names if name not in paragraphs["validation"]
  ]
  # 50 expected, with a standard deviation of 7.
  assert 25 < len(paragraphs["validation"]) < 75


def test_equal_documents_are_in_one_split(tmp_path):
  names = [f"Document {i}." for i in range(500)]
  (tmp_path / "a.txt").write_text("\n\n".join(names + names[::-1]))
  _, documents = build(tmp_path / "out", [tmp_path / "a.txt"])
  assert not set(documents["train"]) & set(documents["validation"])
  assert sum(map(len, documents.values())) == 1000


def test_few_documents_leave_one_for_validation(tmp_path):
  (tmp_path / "a.txt").write_text("One.\n\nTwo.\n\nThree.\n\nTwo.")
  _, documents = build(tmp_path / "out", [tmp_path / "a.txt"])
  assert len(set(documents["validation"])) == 1
  assert len(set(documents["train"])) == 2
  assert sum(map(len, documents.values())) == 4


@pytest.mark.parametrize(
    "document, other", [("paragraph", "line"), ("line", "paragraph")]
)
def test_a_single_document(tmp_path, document, other):
  (tmp_path / "a.txt").write_text("All there is.")
  with pytest.raises(errors.DataError) as raised:
    build(tmp_path / "out", [tmp_path / "a.txt"], document)
  assert str(raised.value) == (
      f"There is only one document in {tmp_path}/a.txt, and at least two are "
      "needed, to train on and to validate with; text_files.document sets the "
      f"unit of plain text ({document!r} now, or {other!r})."
  )


def test_empty_files(tmp_path):
  for name in ("a.txt", "b.jsonl"):
    (tmp_path / name).write_text("\n")
  with pytest.raises(errors.DataError) as raised:
    build(tmp_path / "out", [tmp_path / "a.txt", tmp_path / "b.jsonl"])
  assert str(raised.value) == (
      f"There is no text in {tmp_path}/a.txt to {tmp_path}/b.jsonl."
  )


def set_path(path):
  gin.parse_config(f"tasks.text_files.path = {str(path)!r}")


def test_text_files_need_a_path():
  with pytest.raises(errors.DataError) as raised:
    text_files.text_files()
  assert str(raised.value) == (
      "text_files.path is not set; give the text to train on, for example "
      "--gin_param=\"text_files.path = '/data/*.txt'\"."
  )


def test_an_unknown_unit_of_plain_text(tmp_path):
  set_path(tmp_path)
  gin.parse_config("tasks.text_files.document = 'page'")
  with pytest.raises(errors.DataError) as raised:
    text_files.text_files()
  assert str(raised.value) == (
      "text_files.document = 'page' is not known; use 'paragraph' (lines up to "
      "an empty one) or 'line'."
  )


def test_text_is_read_once_until_it_changes(tmp_path, monkeypatch):
  path = tmp_path / "a.txt"
  path.write_text("One.\n\nTwo.")

  def directory():
    text_files._prepared.cache_clear()  # As in a new process.
    set_path(path)
    return text_files.text_files().directory

  first = directory()
  with monkeypatch.context() as patch:
    patch.setattr(text_files, "build", never)
    assert directory() == first
  path.write_text("One.\n\nTwo.\n\nThree.")
  second = directory()
  assert second != first
  os.utime(path, ns=(1, 1))
  assert directory() not in (first, second)
  # A vocabulary depends only on the text.
  models = {
      vocabulary.trained_on(prepared_text.PreparedText(entry), 100)
      for entry in (second, directory())
  }
  assert len(models) == 1


def test_tasks_on_the_users_text_have_its_vocabulary(tmp_path):
  path = tmp_path / "speeches" / "a.jsonl.gz"
  path.parent.mkdir()
  with gzip.open(path, "wt") as file:
    for i in range(300):
      speech = " ".join(f"friend{i % 7} roman{j} lend{i}" for j in range(30))
      file.write(json.dumps({"text": speech}) + "\n")
  set_path(path.parent)
  name = "text_files_span_corruption"
  words = seqio.get_mixture_or_task(name).output_features["inputs"].vocabulary
  assert words.encode("friend5") != seqio.get_mixture_or_task(
      "docstrings_span_corruption"
  ).output_features["inputs"].vocabulary.encode("friend5")
  for split in prepared_text.SPLITS:
    read = examples(name, split)
    assert read
    for example in read:
      assert re.search("friend|roman|lend", words.decode(example["inputs"]))
