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

"""The pre-training tasks, with T5's preprocessors.

Each text makes two tasks: `_span_corruption` for models with an encoder and a
decoder, and `_full_lm` for models with a decoder only.
"""

from collections.abc import Callable, Mapping, Sequence
import functools

import seqio
from t5.data import preprocessors
from t5.evaluation import metrics
import tensorflow.compat.v2 as tf

from tasks import corpus
from tasks import errors
from tasks import prepared_text
from tasks import text_files
from tasks import vocabulary

# Documents are shuffled among as many as this holds; all, for most texts.
SHUFFLE_BYTES = 256 * 2**20


class PreparedTextSource(seqio.DataSource):
  """Documents of a prepared text, which is prepared on first use."""

  def __init__(self, text: Callable[[], prepared_text.PreparedText]):
    """Does no work.

    Args:
      text: returns the text.
    """
    super().__init__(splits=prepared_text.SPLITS)
    self._text = text

  @property
  def supports_arbitrary_sharding(self) -> bool:
    """As seqio.FunctionDataSource: seqio shards the examples."""
    return False

  def list_shards(self, split: str) -> Sequence[str]:
    """Returns one name: there is one file for each split."""
    return [split]

  def num_input_examples(self, split: str) -> int:
    """Returns the number of documents in a split."""
    return self._text().num_documents(split)

  def get_dataset(
      self,
      split: str = "train",
      shuffle: bool = True,
      seed: int | None = None,
      shard_info: seqio.ShardInfo | None = None,
      **unused,
  ) -> tf.data.Dataset:
    """Returns the documents.

    Args:
      split: one of prepared_text.SPLITS.
      shuffle: whether to shuffle the documents.
      seed: of the shuffling.
      shard_info: a part to take; seqio asks for one only of as many as there
        are in `list_shards`, that is for all.
      **unused: what seqio hands to every source.

    Returns:
      Examples with one feature, "text".

    Raises:
      DataError: there is no such split.
    """
    if split not in self.splits:
      raise errors.DataError(
          f"There is no split {split!r}; there are {' and '.join(self.splits)}."
      )
    text = self._text()
    dataset = tf.data.TFRecordDataset(text.path(split))
    if shuffle:
      num_documents = text.num_documents(split)
      bytes_a_document = text.num_bytes(split) / num_documents
      buffer_size = min(num_documents, int(SHUFFLE_BYTES / bytes_a_document))
      dataset = dataset.shuffle(max(1, buffer_size), seed=seed)
    return dataset.map(lambda document: {"text": document})


def span_corruption(
    dataset: tf.data.Dataset,
    sequence_length: Mapping[str, int],
    output_features: Mapping[str, seqio.Feature],
) -> tf.data.Dataset:
  """T5's span corruption: 15% of the tokens, in spans of 3 on average.

  Args:
    dataset: examples with tokenized "targets".
    sequence_length: positions for "inputs" and "targets".
    output_features: the task's.

  Returns:
    examples with "inputs", in which a sentinel stands for each span, and
    "targets", in which a sentinel stands for all between them.

  Raises:
    DataError: the targets' length is too small for that of the inputs.

  Source: T5 (Raffel et al. 2019), section 3.3.4.
  """
  try:
    return preprocessors.span_corruption(
        dataset, sequence_length, output_features
    )
  except ValueError as error:
    raise errors.DataError(
        f"sequence_length = {dict(sequence_length)}: {error}"
    ) from error


def register(name: str, text: Callable[[], prepared_text.PreparedText]) -> None:
  """Registers the tasks of a text with seqio.

  Args:
    name: what the tasks' names start with.
    text: returns the text.
  """
  feature = seqio.Feature(vocabulary.TextVocabulary(text), add_eos=True)
  source = PreparedTextSource(text)

  # As T5's "c4_v220_span_corruption".
  seqio.TaskRegistry.add(
      f"{name}_span_corruption",
      source=source,
      preprocessors=[
          functools.partial(
              seqio.preprocessors.rekey,
              key_map={"inputs": None, "targets": "text"},
          ),
          seqio.preprocessors.tokenize,
          seqio.CacheDatasetPlaceholder(),
          span_corruption,
          seqio.preprocessors.append_eos_after_trim,
      ],
      output_features={"inputs": feature, "targets": feature},
      metric_fns=[metrics.sequence_accuracy, metrics.edit_distance],
  )
  # As T5's "c4_v220_full_lm".
  seqio.TaskRegistry.add(
      f"{name}_full_lm",
      source=source,
      preprocessors=[
          functools.partial(
              seqio.preprocessors.rekey, key_map={"targets": "text"}
          ),
          seqio.preprocessors.tokenize,
          seqio.CacheDatasetPlaceholder(),
          preprocessors.full_lm,
      ],
      output_features={"targets": feature},
      metric_fns=[],
  )


register("docstrings", corpus.docstrings)
register("text_files", text_files.text_files)
