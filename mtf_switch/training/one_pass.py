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

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import functools
from typing import Any

import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch.training import inputs

_OUT_OF_ORDER = "records are not read once each"


def in_order(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Returns a dataset whose elements come in one order, however it is read."""
  options = tf.data.Options()
  options.deterministic = True
  return dataset.with_options(options)


class OutOfOrderError(Exception):
  """The steps of a task read its records in another way than once each."""


class _Seed(int):
  """A seed that knows whether it was used, which begins with an addition."""

  is_used = False

  def __add__(self, other: int) -> int:
    self.is_used = True
    return int(self) + other


class _OnePass:
  """The examples of the sections of a split, one section after the other.

  One pipeline serves all files, because to build one, and to load its
  vocabulary, takes longer than to read a small source.

  Attributes:
    is_exact: whether the files are those that pipelines of their own make: no
      step draws numbers, for which each file has its own seed.
  """

  def __init__(self, split):
    """Builds the pipeline.

    Args:
      split: a cached_split.Split in sections.
    """
    self._split = split
    seed = _Seed(0)
    with tf.Graph().as_default():
      dataset = inputs.without_autograph(functools.partial(self._build, seed))
      self._features = features_of(split.task, dataset)
      examples = tf.data.make_initializable_iterator(dataset)
      self._start_section = examples.initializer
      self._next_example = examples.get_next()
      self._session = tf.Session(config=tf.ConfigProto(device_count={"GPU": 0}))
      self._session.run(tf.tables_initializer())
    self.is_exact = not seed.is_used
    self._next_file = None

  def close(self):
    """Frees what was read."""
    self._session.close()

  @contextlib.contextmanager
  def open(self, number: int):
    """As `open_alone`; an OutOfOrderError while the examples are read."""
    start, stop = self._split.section(number)
    bounds = {self._start: start, self._stop: stop}
    if number != self._next_file:  # The files before it are there.
      self._session.run(self._records.initializer, bounds)
    self._next_file = number + 1
    self._session.run(self._start_section, bounds)
    yield self._features, self._examples()

  def _build(self, seed: int) -> tf.data.Dataset:
    """Returns the examples of a section of the records."""
    tf.set_random_seed(0)  # tf.data mixes it into each seed of its own.
    self._start, self._stop = (tf.placeholder(tf.int64, []) for _ in range(2))
    records = self._split.shuffled().enumerate().skip(self._start)
    self._records = tf.data.make_initializable_iterator(in_order(records))
    section = tf.data.Dataset.range(self._start, self._stop).map(self._record)
    return self._split.preprocessed(section, seed)

  def _record(self, number: tf.Tensor):
    """Returns the next record, which must have that number."""
    found, record = self._records.get_next()
    with tf.control_dependencies(
        [tf.debugging.assert_equal(found, number, message=_OUT_OF_ORDER)]
    ):
      return tf.nest.map_structure(tf.identity, record)

  def _examples(self) -> Iterator[dict[str, Any]]:
    while True:
      try:
        example = self._session.run(self._next_example)
      except tf.errors.OutOfRangeError:
        return
      except tf.errors.InvalidArgumentError as error:
        if _OUT_OF_ORDER in error.message:
          raise OutOfOrderError from error
        raise
      yield example


@contextlib.contextmanager
def open_alone(
    split, number: int
) -> Iterator[tuple[dict[str, Any], Iterable[Mapping[str, Any]]]]:
  """Builds the pipeline of a file.

  Args:
    split: the split.
    number: the file's.

  Yields:
    the description of the features, and the examples.
  """
  with tf.Graph().as_default():
    dataset = inputs.without_autograph(functools.partial(split.dataset, number))
    yield features_of(split.task, dataset), tfds.as_numpy(dataset)


@contextlib.contextmanager
def opener(split):
  """Yields a function that opens a file, as `open_alone`."""
  alone = functools.partial(open_alone, split)
  if not split.is_in_sections:
    yield alone
    return
  with contextlib.closing(_OnePass(split)) as sections:
    yield sections.open if sections.is_exact else alone


def features_of(task: seqio.Task, dataset: tf.data.Dataset) -> dict[str, Any]:
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
