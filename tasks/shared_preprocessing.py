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

"""Preprocessing that many tasks share.

The tasks of a mixture of languages differ in their source only. Each function
of a dataset is traced when the dataset is built, and once more prepared when it
is first read, which takes half a second for a task.
"""

from collections.abc import Callable, Mapping
from typing import Any

import seqio
import tensorflow.compat.v1 as tf

# The key of a graph's collection of traces. Those with names are exported with
# the graph.
_TRACES = object()


def traced_once(
    key: Any,
    build: Callable[[tf.data.Dataset], tf.data.Dataset],
    dataset: tf.data.Dataset,
) -> tf.data.Dataset:
  """Returns `build(dataset)`, as a function that a graph has once.

  Args:
    key: equal for all calls with datasets of equal elements whose functions do
      the same.
    build: the function. What differs between the calls is in its argument.
    dataset: its argument.
  """
  if tf.executing_eagerly():
    return build(dataset)
  # Keys may have no hash: features have none.
  traces = tf.get_collection_ref(_TRACES)
  for other, function in traces:
    if other == key:
      return function(dataset)
  # Where TensorFlow puts a function's body in the place of its call, each call
  # has functions of datasets of its own again.
  function = tf.function(
      build, autograph=False, experimental_attributes={"_noinline": True}
  )
  result = function(dataset)
  traces.append((key, function))
  return result


class SharedTask(seqio.Task):
  """A task whose preprocessing a graph has once for all tasks that share it.

  They have the same preprocessors, one by one the same objects, and equal
  features. The examples are those of a seqio.Task.
  """

  def preprocess_precache(
      self, dataset: tf.data.Dataset, seed: int | None = None
  ) -> tf.data.Dataset:
    """See base class."""
    return self._traced_once(super().preprocess_precache, dataset, seed=seed)

  def preprocess_postcache(
      self,
      dataset: tf.data.Dataset,
      sequence_length: Mapping[str, int] | None,
      seed: int | None = None,
  ) -> tf.data.Dataset:
    """See base class."""
    return self._traced_once(
        super().preprocess_postcache,
        dataset,
        sequence_length=sequence_length,
        seed=seed,
    )

  def _trim_output_features(
      self,
      dataset: tf.data.Dataset,
      sequence_length: Mapping[str, int] | None,
  ) -> tf.data.Dataset:
    """See base class."""
    return self._traced_once(
        super()._trim_output_features, dataset, sequence_length=sequence_length
    )

  def replace(self, **changes: Any) -> "SharedTask":
    """Returns a changed copy, of this class; see base class."""
    task = super().replace(**changes)
    return SharedTask(
        task.name,
        source=task.source,
        preprocessors=task.preprocessors,
        output_features=task.output_features,
        postprocess_fn=task.postprocessor,
        metric_fns=task.metric_fns,
        shuffle_buffer_size=task.shuffle_buffer_size,
    )

  def _traced_once(
      self,
      preprocess: Callable[..., tf.data.Dataset],
      dataset: tf.data.Dataset,
      **arguments: Any,
  ) -> tf.data.Dataset:
    """Calls a method of the base class as a function of the graph."""
    key = (
        preprocess.__name__,
        arguments,
        self.preprocessors,
        self.output_features,
    )
    return traced_once(
        key, lambda dataset: preprocess(dataset, **arguments), dataset
    )
