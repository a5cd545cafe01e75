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

"""The examples of a cached split, for its files in one pass over the source."""

from collections.abc import Callable, Iterable, Iterator, Mapping
import contextlib
import functools
import itertools
from typing import Any

import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch.training import inputs

# tf.data's steps that make one example of each record, and keep their order.
_ONE_TO_ONE = (
    "_MapDataset",
    "_OptionsDataset",
    "_ParallelMapDataset",
    "_PrefetchDataset",
)

# The features and the examples of a file, for its number.
Open = Callable[
    [int],
    contextlib.AbstractContextManager[
        tuple[dict[str, Any], Iterable[Mapping[str, Any]]]
    ],
]


def in_order(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Returns a dataset whose elements come in one order, however it is read."""
  options = tf.data.Options()
  options.deterministic = True
  return dataset.with_options(options)


@contextlib.contextmanager
def opener(split, first: int) -> Iterator[Open]:
  """Lets the files of a split be read, in the order of their numbers.

  Files that are sections of one order of the records come out of one pipeline:
  to build one for each, and to read up to its section, takes far longer. Where
  the steps before the placeholder draw numbers, or do not make one example of
  each record, only a pipeline of its own makes a file that does not depend on
  the others.

  Args:
    split: a cached_split.Split.
    first: the number of the first file that will be read.

  Yields:
    a function that opens a file.
  """
  alone = functools.partial(_open_alone, split)
  if not split.is_in_sections:
    yield alone
    return
  position = split.section(first)[0]
  with tf.Graph().as_default():
    tf.set_random_seed(0)  # tf.data mixes it into each seed of its own.
    records = split.shuffled().skip(position)
    dataset = inputs.without_autograph(
        lambda: split.preprocessed(records, seed=0)
    )
    if not _is_one_to_one(dataset, records):
      yield alone
      return
    features = _features(split.task, dataset)
    with contextlib.closing(iter(tfds.as_numpy(dataset))) as examples:

      def open_section(number):
        nonlocal position
        start, stop = split.section(number)
        section = itertools.islice(examples, start - position, stop - position)
        position = stop
        return contextlib.nullcontext((features, section))

      yield open_section


def _is_one_to_one(dataset: tf.data.Dataset, records: tf.data.Dataset) -> bool:
  """Whether a dataset makes one example of each record, in their order."""
  while dataset is not records:
    dataset = getattr(dataset, "_dataset", dataset)  # Of TensorFlow 1.
    if type(dataset).__name__ not in _ONE_TO_ONE:
      return False
    (dataset,) = dataset._inputs()  # pylint: disable=protected-access
  return True


@contextlib.contextmanager
def _open_alone(split, number: int):
  """Builds the pipeline of a file; see `opener`."""
  with tf.Graph().as_default():
    dataset = inputs.without_autograph(functools.partial(split.dataset, number))
    yield _features(split.task, dataset), tfds.as_numpy(dataset)


def _features(task: seqio.Task, dataset: tf.data.Dataset) -> dict[str, Any]:
  """Returns the shape and dtype of each feature, as seqio's reader needs them.

  Args:
    task: the task.
    dataset: its preprocessed examples.

  Raises:
    UserError: a shape is unknown beyond its first axis.
  """
  features = {}
  for name, spec in tf.data.experimental.get_structure(dataset).items():
    if not isinstance(spec, tf.TensorSpec) or None in spec.shape[1:]:
      raise errors.UserError(
          f"{task.name!r} cannot be cached: the shape of {name!r} is not known "
          "beyond its first axis."
      )
    shape = spec.shape.as_list()
    features[name] = {
        "shape": [None, *shape[1:]] if shape else [],
        "dtype": spec.dtype.name,
    }
  return features
