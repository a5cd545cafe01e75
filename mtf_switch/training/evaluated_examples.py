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

"""How many examples of a split an evaluation reads, and which."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import values
from mtf_switch.training import strict_gin

MakeDataset = Callable[[], tf.data.Dataset]


@gin.configurable("eval", module="mtf_switch.evaluation")
@dataclasses.dataclass(frozen=True)
class Cap:
  """The most examples of each task that evaluations read, set with gin.

  Attributes:
    num_examples: how many; None for all.
    sample_seed: None for the first ones; a number draws them from the whole
      split, the same ones for the same number.
  """

  num_examples: values.Count | None = None
  sample_seed: values.CountOrZero | None = None

  def __post_init__(self):
    values.check_fields(self, "eval")

  def apply(self, dataset_fn: MakeDataset) -> MakeDataset:
    """Returns what makes a dataset of no more examples, in their order.

    Args:
      dataset_fn: makes the dataset of all.
    """
    if self.num_examples is None:
      return dataset_fn
    if self.sample_seed is None:
      return lambda: dataset_fn().take(self.num_examples)
    # Counting reads all examples.
    is_chosen = functools.cache(lambda: self._sample(count(dataset_fn)))
    return lambda: _chosen(dataset_fn(), is_chosen())

  def _sample(self, size: int) -> np.ndarray:
    """Which of so many examples are drawn, `[size]` bools."""
    order = np.random.RandomState(self.sample_seed).permutation(size)
    return order < self.num_examples

  def record(self, num_evaluated: int) -> dict[str, Any]:
    """Returns what a record says of an evaluation; empty if it was of all.

    Args:
      num_evaluated: the examples that it read.
    """
    if self.num_examples is None or num_evaluated < self.num_examples:
      return {}
    return dict(zip(RECORDED, (num_evaluated, self.sample_seed)))

  def describe(self, num_evaluated: int) -> str:
    """Returns the same for the terminal, to follow the figures."""
    if not self.record(num_evaluated):
      return ""
    if self.sample_seed is None:
      return f"  (the first {num_evaluated:,} examples)"
    return f"  (a sample of {num_evaluated:,} examples)"


# The keys of `record`, which are no metrics.
RECORDED = ("num_examples", "sample_seed")


def cap() -> Cap:
  """Returns gin's choice, which may have T5's name."""
  chosen = Cap()
  of_t5 = strict_gin.value("mesh_eval_dataset_fn.num_eval_examples")
  if chosen.num_examples is None and of_t5 is not None and of_t5 > 0:
    return Cap(of_t5)
  return chosen


def count(dataset_fn: MakeDataset) -> int:
  """Returns the number of a dataset's examples, all of which are read."""
  with tf.Graph().as_default():
    return sum(1 for _ in tfds.as_numpy(dataset_fn()))


def _chosen(examples: tf.data.Dataset, is_chosen: np.ndarray):
  pairs = tf.data.Dataset.zip(
      (examples, tf.data.Dataset.from_tensor_slices(is_chosen))
  )
  return pairs.filter(lambda example, chosen: chosen).map(
      lambda example, chosen: example
  )
