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

"""Files and prepared datasets as data sources."""

import itertools

import pytest
import seqio
import tensorflow.compat.v2 as tf
import tensorflow_datasets as tfds

from tasks import errors
from tasks import file_sources
from tasks import sources

NUM_RECORDS = {"a": 100, "b": 70, "c": 3}


def read(file):
  for number in range(NUM_RECORDS[file]):
    yield f"{file}{number}".encode()


def parsed(record):
  return {"text": tf.strings.join([record, "!"])}


def files_source(read_file=read, files=tuple(NUM_RECORDS), **kwargs):
  return file_sources.FilesSource(
      lambda split: list(files) if split == "train" else [],
      read_file,
      parsed,
      ["train", "validation"],
      lambda: "three files",
      **kwargs,
  )


def texts(source, **kwargs):
  return [
      example["text"].decode()
      for example in tfds.as_numpy(source.get_dataset("train", **kwargs))
  ]


ALL = [
    f"{file}{n}!" for file, count in NUM_RECORDS.items() for n in range(count)
]


def test_records_in_order():
  assert texts(files_source(), shuffle=False) == ALL


def test_the_seed_determines_the_shuffling():
  source = files_source()
  shuffled = texts(source, shuffle=True, seed=1)
  assert sorted(shuffled) == sorted(ALL) and shuffled != ALL
  assert texts(source, shuffle=True, seed=1) == shuffled
  others = [texts(source, shuffle=True, seed=seed) for seed in range(2, 6)]
  assert any(other != shuffled for other in others)
  # Files are read in parallel: no long sequence is from one file.
  runs = [
      len(list(run)) for _, run in itertools.groupby(x[0] for x in shuffled)
  ]
  assert max(runs[:4]) <= 16


def test_sources_of_one_graph_are_told_apart():
  """They share functions of the graph if they read in the same way."""

  class InCapitals(file_sources.FilesSource):

    def read(self, file, split):
      return (record.upper() for record in super().read(file, split))

  capitals = InCapitals(
      lambda split: ["c"], read, parsed, ["train"], lambda: "capitals"
  )
  others = [files_source(files="ab"), files_source(files="c"), capitals]
  with tf.Graph().as_default():
    datasets = [source.get_dataset("train", shuffle=False) for source in others]
    found = [
        [example["text"].decode() for example in tfds.as_numpy(dataset)]
        for dataset in datasets
    ]
  assert found == [ALL[:170], ALL[170:], ["C0!", "C1!", "C2!"]]


def test_a_share_of_the_files():
  info = seqio.ShardInfo(index=1, num_shards=3)
  of_b = texts(files_source(), shuffle=False, shard_info=info)
  assert of_b == [text for text in ALL if text.startswith("b")]


def test_an_empty_file_has_no_records():
  assert texts(files_source(lambda file: iter(())), shuffle=False) == []


def test_records_are_counted_at_most_once():
  times_read = []

  def counted(file):
    times_read.append(file)
    return read(file)

  assert files_source().num_input_examples("train") is None
  source = files_source(counted, count=True)
  assert source.num_input_examples("train") == len(ALL)
  assert source.num_input_examples("train") == len(ALL)
  assert times_read == ["a", "b", "c"]


def test_sources_describe_themselves():
  source = files_source()
  assert source.describe() == "three files"
  assert source.is_present()
  assert not files_source(files=()).is_present()
  assert source.list_shards("train") == ["a", "b", "c"]
  with pytest.raises(errors.DataError) as raised:
    source.get_dataset("dev")
  assert str(raised.value) == (
      "There is no split 'dev'; there are train and validation."
  )


def test_an_error_within_a_dataset_is_kept(monkeypatch):
  monkeypatch.setattr(errors, "_in_datasets", [])

  def broken(file):
    yield f"{file}0".encode()
    raise errors.DataError(f"{file}, line 2: broken.")

  assert errors.raised_in_dataset() is None
  with pytest.raises(tf.errors.OpError):
    texts(files_source(broken, files=["a"]), shuffle=False)
  assert str(errors.raised_in_dataset()) == "a, line 2: broken."


# The second is an old version, which TFDS no longer prepares.
@pytest.mark.parametrize("name", ["squad/v1.1:3.0.0", "c4/en:2.0.0"])
def test_a_dataset_that_is_not_prepared(name):
  source = sources.TfdsSource(name, ["train", "validation"])
  assert source.describe() == f"TFDS {name}"
  assert source.splits == ("train", "validation")
  assert not source.is_present()
  for ask in (
      source.get_dataset,
      source.num_input_examples,
      source.list_shards,
  ):
    with pytest.raises(errors.DataError) as raised:
      ask("train")
    assert f"The dataset {name} is not prepared in /" in str(raised.value)
    assert f"tfds.load('{name}')" in str(raised.value)
    assert "\n" not in str(raised.value)


class Numbers(tfds.core.GeneratorBasedBuilder):
  """A small dataset."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    features = tfds.features.FeaturesDict({"number": tf.int64})
    return tfds.core.DatasetInfo(builder=self, features=features)

  def _split_generators(self, dl_manager):
    return {
        "de": self._generate_examples(5),
        "de-validation": self._generate_examples(2),
    }

  def _generate_examples(self, count):
    for number in range(count):
      yield number, {"number": number}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """A directory in which TFDS has prepared a dataset."""
  directory = str(tmp_path_factory.mktemp("tfds"))
  Numbers(data_dir=directory).download_and_prepare()
  return directory


def test_a_dataset_that_is_prepared(data_dir):
  source = sources.TfdsSource(
      lambda: "numbers:1.0.0", {"train": "de", "validation": "de-validation"}
  )
  seqio.set_tfds_data_dir_override(data_dir)
  try:
    assert source.describe() == "TFDS numbers:1.0.0"
    assert source.is_present()
    assert source.num_input_examples("train") == 5
    (shard,) = source.list_shards("train")
    assert "numbers-de.tfrecord" in shard
    dataset = source.get_dataset("train", shuffle=False)
    numbers = [example["number"] for example in tfds.as_numpy(dataset)]
    assert sorted(numbers) == [0, 1, 2, 3, 4]
    with pytest.raises(errors.DataError, match="There is no split 'de'"):
      source.get_dataset("de")
    # As one that the user has stored, without a split.
    source = sources.TfdsSource(
        "numbers:1.0.0", {"train": "de[:3]", "test": "de-test"}
    )
    assert source.num_input_examples("train") == 3
    assert source.missing_splits() == ["test"]
    with pytest.raises(errors.DataError) as raised:
      source.list_shards("test")
    assert str(raised.value) == (
        f"The dataset numbers:1.0.0 in {data_dir}/numbers/1.0.0 has no "
        "'de-test' split; it has de, de-validation."
    )
  finally:
    seqio.set_tfds_data_dir_override(None)


def test_each_use_chooses_between_files_and_tfds():
  use_files = True
  source = file_sources.EitherSource(
      files_source(),
      sources.TfdsSource("squad/v1.1:3.0.0", ["train", "validation"]),
      lambda: use_files,
  )
  assert source.splits == ("train", "validation")
  assert source.describe() == "three files"
  assert source.is_present()
  assert texts(source, shuffle=False) == ALL
  use_files = False
  assert source.describe() == "TFDS squad/v1.1:3.0.0"
  assert not source.is_present()
  with pytest.raises(errors.DataError, match="is not prepared"):
    source.get_dataset("train")
