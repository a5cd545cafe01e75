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

from mtf_switch import compat  # isort: skip  # noqa: F401
from collections.abc import Callable, Mapping
from typing import Any

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch import metrics


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
    scalars that add up over microbatches and batches: "loss", which training
    minimizes; "cross_entropy", summed over the real target tokens, and
    "target_tokens", their number; and what the layers give to `metrics`.
  """
  targets = features["targets"]
  target_segments = features.get("targets_segmentation")
  kwargs = dict(
      targets=targets,
      compute_loss=True,
      mode=mode,
      variable_dtype=variable_dtype,
      num_microbatches=num_microbatches,
  )
  with metrics.collecting() as collected:
    if isinstance(model, transformer.Unitransformer):
      logits, loss = model.call_simple(
          inputs=transformer.autoregressive_inputs(
              targets, sequence_id=target_segments
          ),
          sequence_id=target_segments,
          position=features.get("targets_position"),
          **kwargs,
      )
    else:
      logits, loss = model.call_simple(
          inputs=features["inputs"],
          encoder_sequence_id=features.get("inputs_segmentation"),
          encoder_position=features.get("inputs_position"),
          decoder_sequence_id=target_segments,
          decoder_subsequence_id=features.get("targets_subsegmentation"),
          decoder_position=features.get("targets_position"),
          **kwargs,
      )
  cross_entropy = mtf.layers.softmax_cross_entropy_with_logits(
      mtf.cast(logits, tf.float32), targets, logits.shape.dims[-1]
  )
  # Upstream's convention: 0 is padding, a negative target is not to be learnt.
  is_real = mtf.cast(mtf.greater(targets, 0), tf.float32)
  return {
      "loss": loss,
      "cross_entropy": mtf.reduce_sum(cross_entropy * is_real),
      "target_tokens": mtf.reduce_sum(is_real),
      **collected,
  }


def of_batch(totals_: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """The figures of one batch.

  Args:
    totals_: scalars, from `totals`.

  Returns:
    scalars: "cross_entropy" and "neg_log_perplexity" (minus it) for each real
    target token and, for sparse models, "aux_loss" (coefficient included,
    summed over layers) and "fraction_dropped" (of the real tokens, over all
    layers). 0 for a batch without real tokens.
  """
  return _figures(totals_, tf.math.divide_no_nan)


def of_split(**totals_: tf.Tensor) -> dict[str, tuple[tf.Tensor, tf.Operation]]:
  """The figures of a split, as metrics of an Estimator.

  Args:
    **totals_: `[1]`, or `[num_cores]` equal ones from a TPU, from `totals`.

  Returns:
    as `of_batch`, over all real tokens, each with the operation that takes a
    batch in. The aux_loss is the mean over batches, weighed with their tokens.
    NaN for a split without real tokens.
  """

  def ratio_over_batches(numerator, denominator):
    # Float64, so that the number and order of the batches do not show.
    sums = tf.get_variable(
        f"figures/sums_{len(tf.local_variables())}",
        shape=[2],
        dtype=tf.float64,
        initializer=tf.zeros_initializer(),
        trainable=False,
        collections=[tf.GraphKeys.LOCAL_VARIABLES],
    )
    batch = [
        tf.reduce_sum(tf.cast(x, tf.float64)) for x in (numerator, denominator)
    ]
    update = tf.assign_add(sums, tf.stack(batch))
    return tf.cast(sums[0] / sums[1], tf.float32), update

  tokens = totals_["target_tokens"]
  figures = _figures(totals_, ratio_over_batches)
  if "aux_loss" in figures:
    figures["aux_loss"] = ratio_over_batches(
        totals_["aux_loss"] * tokens, tokens
    )
  return figures


def _figures(totals_, divide: Callable[[Any, Any], Any]) -> dict[str, Any]:
  figures = {
      "cross_entropy": divide(
          totals_["cross_entropy"], totals_["target_tokens"]
      ),
      "neg_log_perplexity": divide(
          -totals_["cross_entropy"], totals_["target_tokens"]
      ),
  }
  if "aux_loss" in totals_:
    figures["aux_loss"] = totals_["aux_loss"]
    figures["fraction_dropped"] = divide(
        totals_["dropped_tokens"], totals_["routed_tokens"]
    )
  return figures


def send_to_host(model_dir: str, figures: Mapping[str, tf.Tensor]):
  """Brings the figures of a step from the TPU to its host.

  As upstream's host call, which writes them and the layers' summaries to
  TensorBoard; besides, the last figures stay in variables of the host. No TPU
  has run it: tests build the graph.

  Args:
    model_dir: the directory for TensorBoard.
    figures: scalars on the TPU.

  Returns:
    the host call, and for each figure a variable that hooks can fetch.
  """
  for figure in figures.items():
    tf.add_to_collection(mtf.utils.SCALAR_SUMMARIES_COLLECTION_KEY, figure)
  collection = tf.get_collection(mtf.utils.SCALAR_SUMMARIES_COLLECTION_KEY)
  names = [name for name, _ in collection]
  write_summaries, tensors = mtf.utils.create_host_call(model_dir)
  with mtf.utils.outside_all_rewrites():
    latest = {
        name: tf.get_variable(
            f"figures/{name}",
            shape=[],
            initializer=tf.zeros_initializer(),
            trainable=False,
            collections=[tf.GraphKeys.LOCAL_VARIABLES],
        )
        for name in figures
    }

  def host_call_fn(global_step, *values):
    received = dict(zip(names, values))
    return [
        write_summaries(global_step, *values),
        [v.assign(tf.reduce_mean(received[n])) for n, v in latest.items()],
    ]

  return (host_call_fn, tensors), latest
