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

"""Figures made of sums, by hand."""

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.training import figures


def evaluate(build):
  """Runs a function of no argument in a graph of its own."""
  with tf.Graph().as_default(), tf.Session() as session:
    return session.run(build())


# Sums of two layers over a batch.
FIRST = {
    "tokens": 10.0,
    "routed": 16.0,
    "dropped": 4.0,
    "entropy": 5.0,
    "gate": 12.0,
    # The mean is 2; relative to it: 0, 0.5, 0, 1, 1.5, 0, 0.5, 4.5.
    "expert_load": [0.0, 1.0, 0.0, 2.0, 3.0, 0.0, 1.0, 9.0],
    "aux_loss": 0.25,
    "z_loss": 0.125,
    "slots": 3.0,
}
SECOND = {
    "tokens": 10.0,
    "routed": 48.0,
    "dropped": 0.0,
    "entropy": 20.0,
    "gate": 12.0,
    "expert_load": [6.0] * 8,
    "aux_loss": 0.5,
    "z_loss": 0.25,
    "slots": 9.0,
}


def sparse_sums(cross_entropy=30.0, target_tokens=10.0, **layers):
  """Sums of a model; its layers are "encoder/<name>"."""
  return {
      "cross_entropy": cross_entropy,
      "target_tokens": target_tokens,
      "real_tokens": 3 * target_tokens,
      "positions": 40.0,
      **{
          f"encoder/{layer}/{name}": value
          for layer, sums in layers.items()
          for name, value in sums.items()
      },
  }


def figures_of_batch(sums):
  """By name, vectors as lists."""
  figures_ = evaluate(
      lambda: figures.of_batch({k: tf.constant(x) for k, x in sums.items()})
  )
  return {name: value.tolist() for name, value in figures_.items()}


def approx(expected):
  """Numbers by name, and lists of them."""
  return {name: pytest.approx(value) for name, value in expected.items()}


def test_figures_of_a_batch():
  assert figures_of_batch(sparse_sums(first=FIRST, second=SECOND)) == approx(
      {
          "cross_entropy": 3.0,
          "neg_log_perplexity": -3.0,
          "packing_efficiency": 30 / 40,
          "aux_loss": 0.75,
          "z_loss": 0.375,
          "fraction_dropped": 4 / 64,
          "encoder/first/entropy": 0.5,
          "encoder/first/gate": 0.75,
          "encoder/first/fraction_dropped": 0.25,
          "encoder/first/load_max": 4.5,
          "encoder/first/load_min": 0.0,
          # Squares around 1: three of 1, two of 0.25, 0, 0.25 and 12.25.
          "encoder/first/load_cv": math.sqrt(16 / 8),
          # A load on the border of two bins is in the upper one.
          "encoder/first/load_histogram": [3, 0, 2, 0, 1, 0, 1, 0, 1],
          "encoder/first/aux_loss": 0.25,
          "encoder/first/z_loss": 0.125,
          "encoder/first/load": [0.0, 0.5, 0.0, 1.0, 1.5, 0.0, 0.5, 4.5],
          "encoder/first/capacity": 1.5,
          "encoder/second/entropy": 2.0,
          "encoder/second/gate": 0.25,
          "encoder/second/fraction_dropped": 0.0,
          "encoder/second/load_max": 1.0,
          "encoder/second/load_min": 1.0,
          "encoder/second/load_cv": 0.0,
          "encoder/second/load_histogram": [0, 0, 0, 0, 8, 0, 0, 0, 0],
          "encoder/second/aux_loss": 0.5,
          "encoder/second/z_loss": 0.25,
          "encoder/second/load": [1.0] * 8,
          "encoder/second/capacity": 1.5,
      }
  )


def test_each_layer_has_the_figures_that_are_described():
  names = figures_of_batch(sparse_sums(first=FIRST))
  assert [
      name.removeprefix("encoder/first/") for name in names if "/" in name
  ] == list(figures.LAYER_FIGURES)


def test_only_the_loads_grow_with_the_number_of_experts():
  def shapes(num_experts):
    layer = {**FIRST, "expert_load": [1.0] * num_experts}
    return {
        name: np.shape(value)
        for name, value in figures_of_batch(sparse_sums(a=layer)).items()
    }

  few, many = shapes(2), shapes(64)
  assert few.pop("encoder/a/load") == (2,)
  assert many.pop("encoder/a/load") == (64,)
  assert few == many


def test_the_last_bin_has_no_upper_end():
  load = [0.0] * 63 + [1.0]  # One expert takes all: 64 times the mean.
  layer = {**FIRST, "expert_load": load}
  of_layer = figures_of_batch(sparse_sums(a=layer))
  assert of_layer["encoder/a/load_max"] == 64
  assert of_layer["encoder/a/load_histogram"] == [63] + [0] * 7 + [1]


def nothing(layer):
  """The sums of a layer that has seen padding only."""
  return {name: np.zeros_like(x).tolist() for name, x in layer.items()}


def test_layer_that_routes_nothing_has_zeros():
  figures_ = figures_of_batch(sparse_sums(first=nothing(FIRST)))
  assert figures_.pop("cross_entropy") == 3.0
  assert figures_.pop("neg_log_perplexity") == -3.0
  assert figures_.pop("packing_efficiency") == 0.75
  # All experts have as much as each other: nothing.
  assert figures_.pop("encoder/first/load_histogram") == [8] + [0] * 8
  assert figures_.pop("encoder/first/load") == [0] * 8
  assert set(figures_.values()) == {0.0}


EMPTY = dict.fromkeys(
    ["cross_entropy", "target_tokens", "real_tokens", "positions"], 0.0
)


def test_batch_without_real_tokens_has_no_cross_entropy():
  of_batch = evaluate(
      lambda: figures.of_batch({k: tf.constant(v) for k, v in EMPTY.items()})
  )
  assert of_batch == {
      "cross_entropy": 0, "neg_log_perplexity": 0, "packing_efficiency": 0
  }  # fmt: skip


def figures_of_datasets(batches, num_cores=1):
  """An Estimator's report after batches of two datasets.

  Args:
    batches: pairs of the number of a dataset and sums.
    num_cores: cores, each of which sends a copy.

  Returns:
    the figures of each.
  """
  with tf.Graph().as_default(), tf.Session() as session:
    number = tf.placeholder(tf.int32, [num_cores])
    placeholders = {
        name: tf.placeholder(tf.float32, [num_cores, *np.shape(value)])
        for name, value in batches[0][1].items()
    }
    values_and_updates = figures.of_datasets(2, number, **placeholders)
    session.run(tf.local_variables_initializer())
    for dataset, batch in batches:
      feed = {
          placeholders[k]: [value] * num_cores for k, value in batch.items()
      }
      session.run(
          [update for _, update in values_and_updates.values()],
          {number: [dataset] * num_cores, **feed},
      )
    values = session.run(
        {name: value for name, (value, _) in values_and_updates.items()}
    )
  return [
      {name: value[dataset].tolist() for name, value in values.items()}
      for dataset in range(2)
  ]


def figures_of_split(batches, num_cores=1):
  """The figures of the second of two datasets; there is none of the first."""
  return figures_of_datasets([(1, batch) for batch in batches], num_cores)[1]


def test_datasets_do_not_mix():
  first = [sparse_sums(30.0, 10.0, a=FIRST), sparse_sums(4.0, 2.0, a=FIRST)]
  second = [sparse_sums(6.0, 2.0, a=SECOND)]
  # A loss that is not a number stays where it is.
  second[0]["cross_entropy"] = math.nan
  of_first, of_second = figures_of_datasets(
      [(0, first[0]), (1, second[0]), (0, first[1])]
  )
  assert of_first == figures_of_split(first)
  assert of_first["cross_entropy"] == np.float32(34 / 12)
  assert math.isnan(of_second.pop("cross_entropy"))
  assert math.isnan(of_second.pop("neg_log_perplexity"))
  expected = figures_of_split([sparse_sums(6.0, 2.0, a=SECOND)])
  assert of_second.items() <= expected.items()


@pytest.mark.parametrize("num_cores", [1, 4])
def test_figures_of_a_split_are_those_of_all_its_tokens(num_cores):
  split = [
      sparse_sums(30.0, 10.0, a=FIRST, b=SECOND),
      sparse_sums(6.0, 2.0, a=SECOND, b=FIRST),
      sparse_sums(0.0, 0.0, a=nothing(FIRST), b=nothing(SECOND)),
  ]
  together = {
      name: np.sum([batch[name] for batch in split], axis=0, dtype=np.float32)
      for name in split[0]
  }
  for name in together:
    if name.endswith("_loss"):  # A mean over tokens, not a sum.
      of_a, of_b = split[0][name], split[1][name]
      together[name] = np.float32((of_a * 10 + of_b * 2) / 12)
  expected = figures_of_batch(together)
  assert figures_of_split(split, num_cores) == approx(expected)
  # Not the mean over batches.
  assert expected["cross_entropy"] == 3.0
  assert expected["packing_efficiency"] == pytest.approx(36 / 120)
  assert expected["encoder/a/fraction_dropped"] == 4 / 64
  assert expected["encoder/a/aux_loss"] == pytest.approx(3.5 / 12)


def test_split_that_a_layer_sees_nothing_of_has_no_load():
  of_layer = figures_of_split([sparse_sums(a=nothing(FIRST))])
  assert of_layer["cross_entropy"] == 3.0
  assert math.isnan(of_layer["encoder/a/load_max"])
  assert math.isnan(of_layer["encoder/a/entropy"])
  assert of_layer["encoder/a/load_histogram"] == [0] * 9


def test_many_batches_lose_no_precision():
  # In float32 the sum would stop growing: 2^24 + 1 = 2^24.
  large = {**EMPTY, "cross_entropy": 2.0**24, "target_tokens": 2.0**24}
  small = {**EMPTY, "cross_entropy": 1.0}
  exact = figures_of_split([large] + [small] * 64)["cross_entropy"]
  assert exact == np.float32(1 + 2.0**-18)


def test_split_without_tokens_is_not_a_number():
  assert math.isnan(figures_of_split([EMPTY])["cross_entropy"])
