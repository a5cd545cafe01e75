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

"""Small C4 and mC4 data on disk, in the formats of the real data."""

import gzip
import json
import os
import pathlib

import seqio
import tensorflow.compat.v2 as tf
import tensorflow_datasets as tfds

# The other fields of a record beside its text.
REST = {
    "timestamp": "2019-04-25T12:57:54Z",
    "url": "https://example.org/bread",
}


def write(path: pathlib.Path, texts: list[str]):
  """Writes a shard of JSON, compressed if its name ends in .gz."""
  open_file = gzip.open if path.suffix == ".gz" else open
  with open_file(path, "wt", encoding="utf-8") as file:
    for text in texts:
      file.write(json.dumps({"text": text, **REST}) + "\n")


def store_in_tfds(
    directory: pathlib.Path, name: str, texts: dict[str, list[str]]
):
  """Writes a prepared dataset with C4's features.

  Args:
    directory: TFDS's data directory.
    name: with config and version, "c4/en:3.1.0".
    texts: the texts of each split.
  """
  path = directory / name.replace(":", "/")
  path.mkdir(parents=True)
  names = ["text", *REST, "content-type", "content-length"]
  features = tfds.features.FeaturesDict(
      {feature: tfds.features.Text() for feature in names}
  )
  split_infos = []
  for split, texts_of_split in texts.items():
    file = path / f"c4-{split}.tfrecord-00000-of-00001"
    with tf.io.TFRecordWriter(os.fspath(file)) as writer:
      for text in texts_of_split:
        example = {feature: text for feature in names}
        writer.write(features.serialize_example(example))
    split_infos.append(
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(texts_of_split)],
            num_bytes=file.stat().st_size,
        )
    )
  tfds.folder_dataset.write_metadata(
      data_dir=path,
      features=features,
      split_infos=split_infos,
      filename_template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
  )


def read(task_name: str, split: str) -> list[str]:
  """Returns the texts from the source of a task, in their order."""
  source = seqio.get_mixture_or_task(task_name).source
  dataset = source.get_dataset(split, shuffle=False)
  return [
      example["text"].decode("utf-8") for example in dataset.as_numpy_iterator()
  ]
