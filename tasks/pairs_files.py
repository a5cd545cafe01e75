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

"""The user's own pairs: inputs and targets in TSV, CSV or JSON files.

For the forms of files see pair_rows.py, for options pair_options.py and for
metrics pair_metrics.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import functools
import itertools
import os
import pathlib
from typing import Any

import seqio
import tensorflow.compat.v2 as tf

from tasks import cache
from tasks import errors
from tasks import file_sources
from tasks import pair_metrics
from tasks import pair_options
from tasks import pairs
from tasks import prepared_text
from tasks import sources
from tasks import text_notes
from tasks import vocabulary
from tasks.pair_options import Options

# Of the first pairs, which are read before a run to know what they are like.
_NUM_SAMPLES = 1000

# Part of the cache key; increased when the same files give different text.
_FORMAT = 1


def _serialized(pair: pairs.Pair) -> bytes:
  """Returns a pair as a tf.train.Example."""

  def texts(values):
    values = [value.encode("utf-8") for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

  features = {"inputs": texts([pair.inputs]), "answers": texts(pair.answers)}
  return tf.train.Example(
      features=tf.train.Features(feature=features)
  ).SerializeToString(deterministic=True)


def _parsed(record: tf.Tensor) -> dict[str, tf.Tensor]:
  """Returns "inputs", "targets" and "answers" of a serialized pair."""
  example = tf.io.parse_single_example(
      record,
      {
          "inputs": tf.io.FixedLenFeature([], tf.string),
          "answers": tf.io.FixedLenSequenceFeature(
              [], tf.string, allow_missing=True
          ),
      },
  )
  return {
      "inputs": example["inputs"],
      "targets": example["answers"][0],
      "answers": example["answers"],
  }


class PairsSource(file_sources.FilesSource):
  """Pairs of files; a training set is shuffled as a whole if it fits."""

  def __init__(self, options: Callable[[], Options]):
    """Reads nothing.

    Args:
      options: returns the options; called at each use.
    """
    super().__init__(
        lambda split: pair_options.find_files(options(), split),
        read=lambda file: self.read(file, "train"),
        parse=_parsed,
        splits=pair_options.SPLITS,
        describe=lambda: options().describe(),
        count=True,
    )
    self._options = options
    self._samples: dict[tuple[str, ...], int] = {}

  def read(self, file: str, split: str) -> Iterator[bytes]:
    """See base class."""
    return map(_serialized, pairs.read(self._options(), file, split))

  def list_shards(self, split: str) -> Sequence[str]:
    """Returns the files of a split, after a look at the first pairs.

    Raises:
      DataError: there are no files or no pairs, or the files are not of their
        kind.
    """
    files = super().list_shards(split)
    self._bytes_a_pair(split, files)
    return files

  def get_dataset(
      self,
      split: str = "train",
      shuffle: bool = True,
      seed: int | None = None,
      shard_info: seqio.ShardInfo | None = None,
      **unused,
  ) -> tf.data.Dataset:
    """See base class."""
    dataset = super().get_dataset(split, shuffle, seed, shard_info)
    if shuffle:
      files = self.list_shards(split)
      size = self._bytes_a_pair(split, files)
      num_bytes = sum(tf.io.gfile.stat(file).length for file in files)
      # The whole set, even compressed, if the memory suffices.
      buffer_size = min(sources.SHUFFLE_BYTES, 20 * num_bytes) // size
      dataset = dataset.shuffle(_NUM_SAMPLES + buffer_size, seed=seed)
    return dataset

  def _bytes_a_pair(self, split: str, files: Sequence[str]) -> int:
    """Returns the mean size of the first pairs; notes their line breaks."""
    key = (split, *files)
    if key not in self._samples:
      found = itertools.islice(
          (
              pair
              for file in files
              for pair in pairs.read(self._options(), file, split)
          ),
          _NUM_SAMPLES,
      )
      found = list(found)
      if not found:
        share = self._options().validation_share
        raise errors.DataError(
            f"pairs_files.validation_share = {share} leaves no pairs for the "
            f"{split} split of {', '.join(files)}."
        )
      size = sum(len(_serialized(pair)) for pair in found)
      self._samples[key] = 1 + size // len(found)
      if vocabulary.is_of_pieces():
        text_notes.warn_of_breaks(files[0], [pair.answers[0] for pair in found])
    return self._samples[key]


def training_text(
    options: Callable[[], Options] = pair_options.from_gin,
) -> prepared_text.PreparedText:
  """Returns the texts of the training set, to train a vocabulary on.

  Raises:
    DataError: there are none, or they are broken.
  """
  chosen = options()
  files = pair_options.find_files(chosen, "train")
  stats = {file: tf.io.gfile.stat(file) for file in files}
  key = {
      "format": _FORMAT,
      "files": {file: [s.length, s.mtime_nsec] for file, s in stats.items()},
      "directory": os.getcwd(),  # The base of relative paths.
      "options": repr(chosen),
  }

  def build(directory: pathlib.Path):
    texts = (
        ("train", text)
        for file in files
        for pair in pairs.read(chosen, file, "train")
        for text in [pair.inputs, *pair.answers]
    )
    prepared_text.write(directory, texts, {"files": files})

  return prepared_text.PreparedText(cache.build_once("pairs_files", key, build))


def _answers_or_text(
    text: str, example: Mapping[str, Any], is_target: bool = False
) -> str | list[str]:
  """Returns a prediction, or all that would be correct if they are several."""
  if not is_target:
    return text
  answers = [tf.compat.as_text(answer) for answer in example["answers"]]
  return answers if len(answers) > 1 else answers[0]


def register(name: str, options: Options | Callable[[], Options]) -> None:
  """Registers a task of pairs with seqio.

  Args:
    name: the task's.
    options: the options, or a function that returns them when they are used.
  """
  find = options if callable(options) else functools.partial(_itself, options)

  def metric(targets, predictions):
    chosen = find()
    return pair_metrics.compute(
        chosen.metric_names, chosen.label_texts, targets, predictions
    )

  metric.__name__ = "pairs_files.metrics"
  metric.describe = lambda: ", ".join(find().metric_names)
  feature = seqio.Feature(
      vocabulary.LateVocabulary(functools.partial(training_text, find)),
      add_eos=True,
  )
  seqio.TaskRegistry.add(
      name,
      source=PairsSource(find),
      preprocessors=[
          seqio.preprocessors.tokenize,
          seqio.CacheDatasetPlaceholder(),
          seqio.preprocessors.append_eos_after_trim,
      ],
      output_features={"inputs": feature, "targets": feature},
      postprocess_fn=_answers_or_text,
      metric_fns=[metric],
  )


def _itself(options: Options) -> Options:
  return options


register("pairs_files", pair_options.from_gin)
