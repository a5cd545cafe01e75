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

"""Figures: the numbers that training and evaluation report, made of sums.

Upstream reports the loss, which contains the auxiliary losses, the z-loss and
the smoothing of labels, and divides it by all positions. Here cross-entropy is
by itself: natural logarithm, for each real target token.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow.compat.v1 as tf

# Of a step with a teacher: what it minimizes, and for each real target token
# the sums of distillation.distill.
OF_DISTILLATION = (
    "loss",
    "soft_cross_entropy",
    "teacher_cross_entropy",
    "agreement",
)


def of_batch(sums: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """The figures of one batch.

  Args:
    sums: of loss.loss_and_sums, by name.

  Returns:
    scalars: "cross_entropy" and "neg_log_perplexity" (minus it) for each real
    target token, "packing_efficiency" (the share of real tokens among the
    positions of inputs and targets) and, for sparse models, "aux_loss" and
    "z_loss" (coefficients included, summed over layers) and "fraction_dropped"
    (of the choices of real tokens, over all layers); and of each Switch layer,
    as "<layer>/<name>", LAYER_FIGURES. 0 for a batch without real tokens.
  """
  return _figures(sums, tf.math.divide_no_nan)


def _figures(sums, divide: Callable[[Any, Any], Any]) -> dict[str, Any]:
  """The figures of sums; `divide` decides the value of 0 / 0."""
  figures = {
      "cross_entropy": divide(sums["cross_entropy"], sums["target_tokens"]),
      "neg_log_perplexity": divide(
          -sums["cross_entropy"], sums["target_tokens"]
      ),
      "packing_efficiency": divide(sums["real_tokens"], sums["positions"]),
      **{
          name: divide(sums[name], sums["target_tokens"])
          for name in OF_DISTILLATION
          if name in sums
      },
  }
  layers = [
      name.removesuffix("/routed") for name in sums if name.endswith("/routed")
  ]
  if not layers:
    return figures

  def over_layers(name):
    return tf.add_n([sums[f"{layer}/{name}"] for layer in layers])

  figures["aux_loss"] = over_layers("aux_loss")
  figures["z_loss"] = over_layers("z_loss")
  figures["fraction_dropped"] = divide(
      over_layers("dropped"), over_layers("routed")
  )
  for layer in layers:
    of_layer = _figures_of_layer(
        {
            name.removeprefix(f"{layer}/"): value
            for name, value in sums.items()
            if name.startswith(f"{layer}/")
        },
        divide,
    )
    figures.update(
        {f"{layer}/{name}": value for name, value in of_layer.items()}
    )
  return figures


# The figures of a layer. The load of an expert is the number of real tokens'
# choices of it, before capacity, relative to the mean over experts.
LAYER_FIGURES = {
    "entropy": "of the router's probabilities, natural logarithm",
    "gate": "the mean probability of the chosen experts",
    "fraction_dropped": "of the choices",
    "load_max": "the greatest load",
    "load_min": "the smallest load",
    "load_cv": "the standard deviation of the loads",
    "load_histogram": "how many experts lie in each of the bins of LOAD_BINS",
    "aux_loss": "the load-balance loss, alpha included",
    "z_loss": "the router z-loss, its coefficient included",
    "load": "the load of each expert",
    "capacity": "the slots of an expert, relative to the mean load",
}
# The lower ends of the bins; the last one has no upper end.
LOAD_BINS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0)


def _figures_of_layer(sums, divide) -> dict[str, Any]:
  """The figures of one layer; see LAYER_FIGURES."""
  load = sums["expert_load"]
  mean = tf.reduce_mean(load, axis=-1, keepdims=True)
  load = tf.cast(divide(load, mean), tf.float32)
  # Comparisons, so that a load that is not a number is in no bin.
  is_at_least = load[..., tf.newaxis] >= tf.constant(LOAD_BINS)
  at_least = tf.reduce_sum(tf.cast(is_at_least, tf.float32), axis=-2)
  above = tf.concat(
      [at_least[..., 1:], tf.zeros_like(at_least[..., :1])], axis=-1
  )
  return {
      "entropy": divide(sums["entropy"], sums["tokens"]),
      "gate": divide(sums["gate"], sums["routed"]),
      "fraction_dropped": divide(sums["dropped"], sums["routed"]),
      "load_max": tf.reduce_max(load, axis=-1),
      "load_min": tf.reduce_min(load, axis=-1),
      "load_cv": tf.math.reduce_std(load, axis=-1),
      "load_histogram": at_least - above,
      "aux_loss": sums["aux_loss"],
      "z_loss": sums["z_loss"],
      "load": load,
      "capacity": divide(sums["slots"], tf.squeeze(mean, axis=-1)),
  }


def of_datasets(
    num_datasets: int, dataset: tf.Tensor, **batch_sums: tf.Tensor
) -> dict[str, tuple[tf.Tensor, tf.Operation]]:
  """The figures of whole datasets, as metrics of an Estimator.

  Args:
    num_datasets: the number of datasets.
    dataset: [1], or [num_cores] equal ones from a TPU: the number of the
      dataset that the batch is from.
    **batch_sums: [1, ...], or [num_cores, ...], of loss.loss_and_sums.

  Returns:
    as `of_batch`, but [num_datasets, ...], each over all real tokens of the
    dataset, with the operation that adds a batch. Losses are means over
    batches, weighted by their target tokens. NaN for a dataset without real
    tokens.
  """
  batch = {name: tf.reduce_mean(x, axis=0) for name, x in batch_sums.items()}
  sums, updates = {}, []
  for name, value in batch.items():
    if name.endswith("_loss"):
      value *= batch["target_tokens"]
    # Float64, so that the number and order of the batches do not show.
    sums[name] = tf.get_variable(
        f"figures/{name}",
        shape=[num_datasets, *value.shape],
        dtype=tf.float64,
        initializer=tf.zeros_initializer(),
        trainable=False,
        collections=[tf.GraphKeys.LOCAL_VARIABLES],
    )
    row = tf.IndexedSlices(tf.cast(value, tf.float64)[tf.newaxis], dataset[:1])
    updates.append(sums[name].scatter_add(row))
  update = tf.group(*updates)
  figures = _figures(
      {
          name: x / sums["target_tokens"] if name.endswith("_loss") else x
          for name, x in sums.items()
      },
      tf.divide,
  )
  return {
      name: (tf.cast(value, tf.float32), update)
      for name, value in figures.items()
  }
