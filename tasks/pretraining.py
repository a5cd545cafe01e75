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

Each text makes three tasks: `_span_corruption` and `_prefix_lm` for models with
an encoder and a decoder, and `_full_lm` for models with a decoder only.
"""

from collections.abc import Callable, Mapping, Sequence
import functools

import seqio
from t5.data import preprocessors
from t5.evaluation import metrics
import tensorflow.compat.v2 as tf

from tasks import corpus
from tasks import docstring_documents
from tasks import errors
from tasks import shared_preprocessing
from tasks import sources
from tasks import text_files
from tasks import vocabulary

# T5's (Raffel et al. 2019), section 3.3.4.
_NOISE_DENSITY = 0.15
_MEAN_NOISE_SPAN_LENGTH = 3.0
# T5's code merges as many documents before it cuts them, and takes as many
# tokens of a longer one, from a random place.
_MERGED_DOCUMENTS = 128
_MAX_TOKENS = 65536


def span_corruption(
    dataset: tf.data.Dataset,
    sequence_length: Mapping[str, int],
    output_features: Mapping[str, seqio.Feature],
) -> tf.data.Dataset:
  """Applies T5's span corruption: 15% of the tokens, in spans of 3 on average.

  Args:
    dataset: examples with tokenized "targets".
    sequence_length: positions of "inputs" and "targets".
    output_features: the task's.

  Returns:
    examples with "inputs", in which a sentinel replaces each span, and
    "targets", in which a sentinel replaces the tokens between spans.

  Raises:
    DataError: the targets' length is too small for the inputs' length.

  Source: T5 (Raffel et al. 2019), section 3.3.4.
  """
  # The steps of T5's function of this name, with its seeds and its examples.
  try:
    tokens, targets = preprocessors.random_spans_helper(
        inputs_length=sequence_length["inputs"],
        noise_density=_NOISE_DENSITY,
        mean_noise_span_length=_MEAN_NOISE_SPAN_LENGTH,
        extra_tokens_per_span_inputs=1,
        extra_tokens_per_span_targets=1,
    )
  except ValueError as error:
    raise errors.DataError(
        f"sequence_length = {dict(sequence_length)}: {error}"
    ) from error
  if sequence_length["targets"] < targets:
    raise errors.DataError(
        f"sequence_length = {dict(sequence_length)}: Expected targets length "
        f"for span corruption ({targets}) is greater than configured targets "
        f"length ({sequence_length['targets']})"
    )
  dataset = preprocessors.select_random_chunk(
      dataset,
      output_features=output_features,
      feature_key="targets",
      max_length=_MAX_TOKENS,
  )
  return preprocessors.denoise(
      _segments(dataset, tokens),
      output_features,
      inputs_fn=preprocessors.noise_span_to_unique_sentinel,
      targets_fn=preprocessors.nonnoise_span_to_unique_sentinel,
      noise_density=_NOISE_DENSITY,
      noise_mask_fn=functools.partial(
          preprocessors.random_spans_noise_mask,
          mean_noise_span_length=_MEAN_NOISE_SPAN_LENGTH,
      ),
      input_feature_key="inputs",
  )


def _segments(dataset: tf.data.Dataset, length: int) -> tf.data.Dataset:
  """Merges documents and cuts them into segments of a number of tokens.

  T5's two steps, applied to the documents that are merged rather than to the
  dataset: each of their parallel calls would read such a number of documents
  ahead, five times as many as are needed for the first segment of a task.
  """

  def of_merged(documents):
    tokens = documents["targets"].map(lambda ids: {"targets": ids})
    return preprocessors.split_tokens(
        preprocessors.reduce_concat_tokens(
            tokens, feature_key="targets", batch_size=_MERGED_DOCUMENTS
        ),
        feature_key="targets",
        min_tokens_per_segment=None,
        max_tokens_per_segment=length,
    )

  return dataset.window(_MERGED_DOCUMENTS).flat_map(of_merged)


def prefix_lm(
    dataset: tf.data.Dataset,
    sequence_length: Mapping[str, int],
    output_features: Mapping[str, seqio.Feature],
) -> tf.data.Dataset:
  """Applies prefix language modelling: the start of a segment, and the rest.

  T5 parts a segment as long as the inputs at a random place, so that half of
  all positions stay empty, of the inputs and of the targets: rarely do two such
  examples fit into one sequence. Here segments are as long as both together, of
  documents joined as for span corruption, and fill both.

  Args:
    dataset: examples with tokenized "targets".
    sequence_length: positions of "inputs" and "targets", each with one for the
      end.
    output_features: the task's.

  Returns:
    examples with "inputs" and "targets". Segments at the end of the text, which
    are shorter, are parted in the same proportion.

  Raises:
    DataError: a length is less than 2.

  Source: T5 (Raffel et al. 2019), section 3.3.1.
  """
  length = sum(sequence_length[name] - 1 for name in ("inputs", "targets"))
  if min(sequence_length.values()) < 2:
    raise errors.DataError(
        f"sequence_length = {dict(sequence_length)}: inputs and targets need "
        "at least 2 positions each, one of them for the end."
    )

  def part(example):
    tokens = example["targets"]
    size = tf.size(tokens) * (sequence_length["inputs"] - 1) // length
    return {"inputs": tokens[:size], "targets": tokens[size:]}

  dataset = preprocessors.select_random_chunk(
      dataset, output_features, max_length=_MAX_TOKENS
  )
  dataset = _segments(dataset, length)
  return dataset.map(part, num_parallel_calls=tf.data.AUTOTUNE)


def _preprocessors(objective: Callable) -> tuple[Callable, ...]:
  """Returns the steps from a text to inputs and targets."""
  return (
      functools.partial(
          seqio.preprocessors.rekey, key_map={"inputs": None, "targets": "text"}
      ),
      seqio.preprocessors.tokenize,
      seqio.CacheDatasetPlaceholder(),
      objective,
      seqio.preprocessors.append_eos_after_trim,
  )


# The same objects for all tasks, which share them.
SPAN_CORRUPTION = _preprocessors(span_corruption)


Preprocessors = Sequence[Callable[[tf.data.Dataset], tf.data.Dataset]]


def register(
    name: str,
    source: sources.Source,
    words: seqio.Vocabulary,
    cleaning: Preprocessors = (),
) -> None:
  """Registers the three tasks of a text with seqio.

  Args:
    name: the start of the tasks' names.
    source: of examples with "text".
    words: the vocabulary.
    cleaning: preprocessors to apply before tokenization.
  """
  register_span_corruption(f"{name}_span_corruption", source, words, cleaning)
  feature = seqio.Feature(words, add_eos=True)
  # As in T5's "c4_v220_prefix_lm".
  seqio.TaskRegistry.add(
      f"{name}_prefix_lm",
      source=source,
      preprocessors=[*cleaning, *_preprocessors(prefix_lm)],
      output_features={"inputs": feature, "targets": feature},
      metric_fns=[],
  )
  # As in T5's "c4_v220_full_lm".
  seqio.TaskRegistry.add(
      f"{name}_full_lm",
      source=source,
      preprocessors=[
          *cleaning,
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


def register_span_corruption(
    name: str,
    source: sources.Source,
    words: seqio.Vocabulary,
    cleaning: Preprocessors = (),
    shuffle_buffer_size: int = seqio.SHUFFLE_BUFFER_SIZE,
) -> None:
  """Registers a span corruption task, as T5's "c4_v220_span_corruption".

  Args:
    name: the task's.
    source: as for `register`.
    words: as for `register`.
    cleaning: as for `register`.
    shuffle_buffer_size: examples in the shuffle buffer, all of which are read
      before the task yields its first example.
  """
  feature = seqio.Feature(words, add_eos=True)
  seqio.TaskRegistry.add_provider(
      name,
      shared_preprocessing.SharedTask(
          name,
          source=source,
          preprocessors=[*cleaning, *SPAN_CORRUPTION],
          output_features={"inputs": feature, "targets": feature},
          metric_fns=[metrics.sequence_accuracy, metrics.edit_distance],
          shuffle_buffer_size=shuffle_buffer_size,
      ),
  )


register(
    "docstrings",
    sources.PreparedTextSource(
        corpus.docstrings,
        lambda: "documentation of the installed packages",
        splits=docstring_documents.SPLITS,
    ),
    vocabulary.LateVocabulary(corpus.docstrings),
)
register(
    "text_files",
    sources.PreparedTextSource(
        text_files.text_files, text_files.describe, text_files.is_present
    ),
    vocabulary.LateVocabulary(text_files.text_files),
)
