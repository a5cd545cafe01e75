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

"""The figures that training and evaluation report.

Upstream reports the loss, which contains the auxiliary losses, the z-loss and
the smoothing of labels, and divides it by all positions. Here cross-entropy is
by itself: natural logarithm, for each real target token.
"""

from collections.abc import Callable, Mapping
from typing import Any

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import embedding
from mtf_switch.transformer import metrics


def totals(
    model,
    features: Mapping[str, mtf.Tensor],
    mode: str,
    variable_dtype: mtf.VariableDType,
    num_microbatches: int = 1,
) -> dict[str, mtf.Tensor]:
  """Runs the model on a batch, or a microbatch, and adds up.

  Args:
    model: a Bitransformer or Unitransformer.
    features: int32 `[batch, length]` by name.
    mode: tf.estimator.ModeKeys.TRAIN or EVAL.
    variable_dtype: dtypes of the variables.
    num_microbatches: microbatches in a batch.

  Returns:
    float32 sums that add up over microbatches and batches: "loss", which
    training minimizes; "cross_entropy", over the real target tokens, and
    "target_tokens", their number; "real_tokens" and "positions", of inputs and
    targets; and what the layers give to `metrics`, whose "router_loss" is part
    of the loss.
  """
  with metrics.collecting() as collected:
    logits, loss = _call(
        model, features, mode, variable_dtype, True, num_microbatches
    )
  if "cross_entropy" not in collected:
    # The model's loss is upstream's, which does not give it.
    cross_entropy = _cross_entropy(model, logits, features["targets"])
    collected["cross_entropy"] = mtf.reduce_sum(cross_entropy)
    collected["target_tokens"] = mtf.reduce_sum(_is_real(features["targets"]))
  loss = mtf.cast(loss, tf.float32)
  if "router_loss" in collected:
    loss += collected.pop("router_loss")
  return {"loss": loss, **_packing(features), **collected}


def _packing(features: Mapping[str, mtf.Tensor]) -> dict[str, mtf.Tensor]:
  """Tokens that are no padding, and positions for them, of inputs and targets.

  Rows that only fill up the last batch of an evaluation have no positions.
  """
  fed = [features[name] for name in ("inputs", "targets") if name in features]
  tokens_in_row = mtf.add_n(
      [
          mtf.reduce_sum(
              mtf.cast(mtf.not_equal(ids, 0), tf.float32),
              reduced_dim=ids.shape.dims[-1],
          )
          for ids in fed
      ]
  )
  rows = mtf.reduce_sum(mtf.cast(mtf.greater(tokens_in_row, 0), tf.float32))
  return {
      "real_tokens": mtf.reduce_sum(tokens_in_row),
      "positions": rows * sum(ids.shape.dims[-1].size for ids in fed),
  }


def log_likelihood(
    model,
    features: Mapping[str, mtf.Tensor],
    mode: str,
    variable_dtype: mtf.VariableDType,
) -> mtf.Tensor:
  """The logarithm of the probability of each sequence of targets.

  Args:
    model: a Bitransformer or Unitransformer.
    features: int32 `[batch, length]` by name.
    mode: tf.estimator.ModeKeys.PREDICT, in which no token is dropped.
    variable_dtype: dtypes of the variables.

  Returns:
    `[batch]` float32, not split: the natural logarithm, of the real targets.
  """
  targets = features["targets"]
  logits, _ = _call(model, features, mode, variable_dtype, compute_loss=False)
  return mtf.anonymize(
      -mtf.reduce_sum(
          _cross_entropy(model, logits, targets),
          reduced_dim=targets.shape.dims[-1],
      )
  )


def _is_real(targets: mtf.Tensor) -> mtf.Tensor:
  """Upstream's convention: 0 is padding, a negative one is not to be learnt."""
  return mtf.cast(mtf.greater(targets, 0), tf.float32)


def _cross_entropy(
    model, logits: mtf.Tensor, targets: mtf.Tensor
) -> mtf.Tensor:
  """The cross-entropy of each target, float32; 0 where it is not real."""
  cross_entropy, _ = embedding.softmax_cross_entropy(
      getattr(model, "decoder", model),
      logits,
      mtf.maximum(targets, 0),
      logits.shape.dims[-1],
  )
  return cross_entropy * _is_real(targets)


def _call(
    model,
    features: Mapping[str, mtf.Tensor],
    mode: str,
    variable_dtype: mtf.VariableDType,
    compute_loss: bool,
    num_microbatches: int = 1,
):
  """The model's logits and loss."""
  targets = features["targets"]
  target_segments = features.get("targets_segmentation")
  kwargs = dict(
      targets=targets,
      compute_loss=compute_loss,
      mode=mode,
      variable_dtype=variable_dtype,
      num_microbatches=num_microbatches,
  )
  if isinstance(model, transformer.Unitransformer):
    return model.call_simple(
        inputs=transformer.autoregressive_inputs(
            targets, sequence_id=target_segments
        ),
        sequence_id=target_segments,
        position=features.get("targets_position"),
        **kwargs,
    )
  return model.call_simple(
      inputs=features["inputs"],
      encoder_sequence_id=features.get("inputs_segmentation"),
      encoder_position=features.get("inputs_position"),
      decoder_sequence_id=target_segments,
      decoder_subsequence_id=features.get("targets_subsegmentation"),
      decoder_position=features.get("targets_position"),
      **kwargs,
  )


def of_batch(totals_: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """The figures of one batch.

  Args:
    totals_: sums, from `totals`.

  Returns:
    scalars: "cross_entropy" and "neg_log_perplexity" (minus it) for each real
    target token, "packing_efficiency" (the share of real tokens among the
    positions of inputs and targets) and, for sparse models, "aux_loss" and
    "z_loss" (coefficients included, summed over layers) and "fraction_dropped"
    (of the choices of real tokens, over all layers); and of each Switch layer,
    as "<layer>/<name>", LAYER_FIGURES. 0 for a batch without real tokens.
  """
  return _figures(totals_, tf.math.divide_no_nan)


def _figures(totals_, divide: Callable[[Any, Any], Any]) -> dict[str, Any]:
  figures = {
      "cross_entropy": divide(
          totals_["cross_entropy"], totals_["target_tokens"]
      ),
      "neg_log_perplexity": divide(
          -totals_["cross_entropy"], totals_["target_tokens"]
      ),
      "packing_efficiency": divide(
          totals_["real_tokens"], totals_["positions"]
      ),
  }
  layers = [
      name.removesuffix("/routed")
      for name in totals_
      if name.endswith("/routed")
  ]
  if not layers:
    return figures

  def over_layers(name):
    return tf.add_n([totals_[f"{layer}/{name}"] for layer in layers])

  figures["aux_loss"] = over_layers("aux_loss")
  figures["z_loss"] = over_layers("z_loss")
  figures["fraction_dropped"] = divide(
      over_layers("dropped"), over_layers("routed")
  )
  for layer in layers:
    of_layer = _figures_of_layer(
        {
            name.removeprefix(f"{layer}/"): value
            for name, value in totals_.items()
            if name.startswith(f"{layer}/")
        },
        divide,
    )
    figures.update(
        {f"{layer}/{name}": value for name, value in of_layer.items()}
    )
  return figures


# The figures of a layer; the load of an expert is the number of choices of
# real tokens that fell on it, before capacity, and all loads are relative to
# their mean.
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
}
# The lower ends of the bins; the last one has no upper end.
LOAD_BINS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0)


def _figures_of_layer(totals_, divide) -> dict[str, Any]:
  """The figures of one layer; see LAYER_FIGURES."""
  load = totals_["expert_load"]
  load = divide(load, tf.reduce_mean(load, axis=-1, keepdims=True))
  load = tf.cast(load, tf.float32)
  # Comparisons, so that a load that is not a number is in no bin.
  is_at_least = load[..., tf.newaxis] >= tf.constant(LOAD_BINS)
  at_least = tf.reduce_sum(tf.cast(is_at_least, tf.float32), axis=-2)
  above = tf.concat(
      [at_least[..., 1:], tf.zeros_like(at_least[..., :1])], axis=-1
  )
  return {
      "entropy": divide(totals_["entropy"], totals_["tokens"]),
      "gate": divide(totals_["gate"], totals_["routed"]),
      "fraction_dropped": divide(totals_["dropped"], totals_["routed"]),
      "load_max": tf.reduce_max(load, axis=-1),
      "load_min": tf.reduce_min(load, axis=-1),
      "load_cv": tf.math.reduce_std(load, axis=-1),
      "load_histogram": at_least - above,
      "aux_loss": totals_["aux_loss"],
      "z_loss": totals_["z_loss"],
  }


def of_datasets(
    num_datasets: int, dataset: tf.Tensor, **totals_: tf.Tensor
) -> dict[str, tuple[tf.Tensor, tf.Operation]]:
  """The figures of whole datasets, as metrics of an Estimator.

  Args:
    num_datasets: how many there are.
    dataset: `[1]`, or `[num_cores]` equal ones from a TPU: the number of the
      dataset that the batch is from.
    **totals_: `[1, ...]`, or `[num_cores, ...]`, from `totals`.

  Returns:
    as `of_batch`, but `[num_datasets, ...]`, each over all real tokens of the
    dataset, with the operation that takes a batch in. Losses are means over
    batches, weighed with their target tokens. NaN for a dataset without real
    tokens.
  """
  batch = {name: tf.reduce_mean(x, axis=0) for name, x in totals_.items()}
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


def send_to_host(model_dir: str, figures: Mapping[str, tf.Tensor]):
  """Brings the figures of a step from the TPU to its host.

  As upstream's host call, which writes them and the layers' summaries to
  TensorBoard; besides, the last figures stay in variables of the host. No TPU
  has run it: tests build the graph.

  Args:
    model_dir: the directory for TensorBoard.
    figures: scalars and vectors on the TPU.

  Returns:
    the host call, and for each figure a variable that hooks can fetch.
  """
  for name, figure in figures.items():
    if figure.shape.rank == 0:
      tf.add_to_collection(
          mtf.utils.SCALAR_SUMMARIES_COLLECTION_KEY, (name, figure)
      )
  collection = tf.get_collection(mtf.utils.SCALAR_SUMMARIES_COLLECTION_KEY)
  # Upstream's writer knows scalars only.
  vectors = [name for name, figure in figures.items() if figure.shape.rank]
  names = [name for name, _ in collection] + vectors
  write_summaries, tensors = mtf.utils.create_host_call(model_dir)
  tensors = [*tensors, *(tf.expand_dims(figures[n], 0) for n in vectors)]
  with mtf.utils.outside_all_rewrites():
    latest = {
        name: tf.get_variable(
            f"figures/{name}",
            shape=figure.shape,
            initializer=tf.zeros_initializer(),
            trainable=False,
            collections=[tf.GraphKeys.LOCAL_VARIABLES],
        )
        for name, figure in figures.items()
    }

  def host_call_fn(global_step, *values):
    received = dict(zip(names, values))
    return [
        write_summaries(global_step, *values[: len(collection)]),
        [
            v.assign(tf.reduce_mean(received[n], axis=0))
            for n, v in latest.items()
        ],
    ]

  return (host_call_fn, tensors), latest
