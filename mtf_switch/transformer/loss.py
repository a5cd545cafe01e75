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

"""The loss that training minimizes, and the sums behind all figures.

The loss is

    1 / loss_denominator * sum over the real targets of
        (cross-entropy + label smoothing + z_loss * log(Z)^2)
    + sum over the Switch layers of
        (alpha * load-balance loss + coefficient * router z-loss)

where Z is the denominator of the vocabulary's softmax. `cross_entropy_loss` is
the first term, the layers report the second (`add_router_loss`), and
`loss_and_sums` adds the two. Upstream's own programs know the model's losses
only as `context.losses`, in the activations' dtype.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import functools
import inspect

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import cross_entropy as cross_entropy_lib
from mtf_switch.transformer import layer_stack
from mtf_switch.transformer import reports

_ROUTER_LOSS = "router_loss"

# From the model, the features, its logits, the loss of the targets and the
# number of microbatches to another loss of the targets, and more sums.
ChangeLoss = Callable[..., tuple[mtf.Tensor, Mapping[str, mtf.Tensor]]]


def loss_and_sums(
    model,
    features: Mapping[str, mtf.Tensor],
    mode: str,
    variable_dtype: mtf.VariableDType,
    num_microbatches: int = 1,
    change_loss: ChangeLoss | None = None,
) -> tuple[mtf.Tensor, dict[str, mtf.Tensor]]:
  """Returns the loss of a batch or microbatch, and the sums of its figures.

  Args:
    model: a Bitransformer or Unitransformer.
    features: int32 [batch, length] by name.
    mode: tf.estimator.ModeKeys.TRAIN or EVAL.
    variable_dtype: dtypes of the variables.
    num_microbatches: microbatches in a batch.
    change_loss: changes the loss of the targets; None to leave it.

  Returns:
    the loss, a float32 scalar, which in training includes the routers' losses;
    and float32 sums by name: "cross_entropy", over the real target tokens, and
    "target_tokens", their number; "real_tokens" and "positions", of inputs and
    targets; and the reports of the layers (see `reports`). The loss and the
    sums of microbatches add up to those of their batch, and the sums of batches
    to those of a dataset.
  """
  if layer_stack.has_upstream_experts(model):
    features = _with_padding_told(model, features)
  with (
      reports.collecting(model) as sums,
      _target_loss_in(tf.float32, model),
  ):
    logits, target_loss = _call(
        model, features, mode, variable_dtype, True, num_microbatches
    )
  if "cross_entropy" not in sums:
    # The model's loss function is not ours.
    cross_entropy = _cross_entropy(model, logits, features["targets"])
    sums["cross_entropy"] = mtf.reduce_sum(cross_entropy)
    sums["target_tokens"] = mtf.reduce_sum(is_real(features["targets"]))
  loss = mtf.cast(target_loss, tf.float32)
  if change_loss:
    loss, more = change_loss(model, features, logits, loss, num_microbatches)
    sums.update(more)
  if _ROUTER_LOSS in sums:
    loss += sums.pop(_ROUTER_LOSS)
  return loss, {**_packing(features), **sums}


def add_router_loss(context, loss: mtf.Tensor):
  """Adds the losses of a layer's router to the loss that is trained.

  Args:
    context: the layer's transformer.Context, in training.
    loss: a float32 scalar, coefficients included.
  """
  if context.losses is None:
    return  # The call has no loss.
  if reports.are_collected(context.model):
    reports.add(context.model, _ROUTER_LOSS, loss)
  else:
    context.losses.append(mtf.cast(loss, context.activation_dtype))


@gin.configurable(module="mtf_switch")
def cross_entropy_loss(
    model,
    context,
    logits: mtf.Tensor,
    targets: mtf.Tensor,
    vocab_dim: mtf.Dimension,
    dtype: tf.DType | None = None,
) -> mtf.Tensor:
  """Upstream's training loss, computed in float32 and without one-hot targets.

  For Unitransformer.loss_fn. Its options are upstream's: label_smoothing,
  z_loss, loss_on_targets_only and loss_denominator of Unitransformer. It
  reports "cross_entropy" and "target_tokens".

  Args:
    model: a Unitransformer.
    context: a transformer.Context.
    logits: [batch, length, vocab].
    targets: [batch, length] int32; 0 is padding, and negative tokens are not to
      be learnt.
    vocab_dim: the dimension of the vocabulary.
    dtype: the result's; None for the activations', which upstream's programs
      expect.

  Returns:
    a scalar.
  """
  cross_entropy, log_z = cross_entropy_lib.softmax_cross_entropy(
      model, logits, mtf.maximum(targets, 0), vocab_dim
  )
  real = is_real(targets)
  reports.add(model, "cross_entropy", mtf.reduce_sum(cross_entropy * real))
  reports.add(model, "target_tokens", mtf.reduce_sum(real))
  loss = cross_entropy
  if model.label_smoothing:
    # The rest of the target's probability, spread evenly.
    mean = mtf.reduce_mean(
        mtf.cast(logits, tf.float32), output_shape=targets.shape
    )
    loss += model.label_smoothing * (log_z - cross_entropy - mean)
  if model.z_loss and context.train:
    loss += model.z_loss * mtf.square(log_z)
  weights = target_weights(model, targets)
  loss = mtf.reduce_sum(loss * weights) / model.loss_denominator(
      targets, context.num_microbatches
  )
  return mtf.cast(loss, context.activation_dtype if dtype is None else dtype)


def is_real(targets: mtf.Tensor) -> mtf.Tensor:
  """1 for a real target, as float32, otherwise 0.

  Args:
    targets: int32; by upstream's convention 0 is padding, and a negative one is
      not to be learnt.
  """
  return mtf.cast(mtf.greater(targets, 0), tf.float32)


def target_weights(model, targets: mtf.Tensor) -> mtf.Tensor:
  """1 for a target that is trained on, as float32, otherwise 0.

  Args:
    model: a Unitransformer, which may have loss_on_targets_only.
    targets: `[batch, length]` int32.
  """
  weights = is_real(targets)
  if model.loss_on_targets_only:
    is_input = transformer.delimited_lm_inputs_mask(targets)
    weights *= mtf.cast(mtf.logical_not(is_input), tf.float32)
  return weights


def log_likelihood(
    model,
    features: Mapping[str, mtf.Tensor],
    mode: str,
    variable_dtype: mtf.VariableDType,
) -> mtf.Tensor:
  """The logarithm of the probability of each sequence of targets.

  Args:
    model: a Bitransformer or Unitransformer.
    features: int32 [batch, length] by name.
    mode: tf.estimator.ModeKeys.PREDICT, in which no token is dropped.
    variable_dtype: dtypes of the variables.

  Returns:
    [batch] float32, not split: the natural logarithm, of the real targets.
  """
  targets = features["targets"]
  logits = logits_of(model, features, mode, variable_dtype)
  return mtf.anonymize(
      -mtf.reduce_sum(
          _cross_entropy(model, logits, targets),
          reduced_dim=targets.shape.dims[-1],
      )
  )


def logits_of(
    model,
    features: Mapping[str, mtf.Tensor],
    mode: str,
    variable_dtype: mtf.VariableDType,
) -> mtf.Tensor:
  """A model's logits of each target, `[batch, length, vocab]`.

  Args:
    model: a Bitransformer or Unitransformer.
    features: int32 [batch, length] by name.
    mode: tf.estimator.ModeKeys.EVAL or PREDICT.
    variable_dtype: dtypes of the variables.
  """
  features = _with_padding_told(model, features)
  logits, _ = _call(model, features, mode, variable_dtype, compute_loss=False)
  return logits


@contextlib.contextmanager
def _target_loss_in(dtype: tf.DType, model) -> Iterator[None]:
  """Has a model's loss function return a dtype while the context is open.

  Upstream calls the function, with arguments of its own. A loss function that
  has no argument `dtype`, such as a user's, stays as it is.

  Args:
    dtype: the dtype.
    model: a Bitransformer or Unitransformer.
  """
  decoder = getattr(model, "decoder", model)
  loss_fn = getattr(decoder, "_loss_fn", None)
  if not loss_fn or "dtype" not in inspect.signature(loss_fn).parameters:
    yield
    return
  # pylint: disable=protected-access
  decoder._loss_fn = functools.partial(loss_fn, dtype=dtype)
  try:
    yield
  finally:
    decoder._loss_fn = loss_fn


def _with_padding_told(
    model, features: Mapping[str, mtf.Tensor]
) -> Mapping[str, mtf.Tensor]:
  """Features in which padding is told, so that it takes no slot of an expert.

  A Bitransformer does so itself.
  """
  if not isinstance(model, transformer.Unitransformer):
    return features
  is_real = mtf.cast(mtf.not_equal(features["targets"], 0), tf.int32)
  return {"targets_segmentation": is_real, **features}


def _packing(features: Mapping[str, mtf.Tensor]) -> dict[str, mtf.Tensor]:
  """The numbers of real tokens and of positions, of inputs and targets.

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


def _cross_entropy(
    model, logits: mtf.Tensor, targets: mtf.Tensor
) -> mtf.Tensor:
  """The cross-entropy of each target, float32; 0 where it is not real."""
  cross_entropy, _ = cross_entropy_lib.softmax_cross_entropy(
      getattr(model, "decoder", model),
      logits,
      mtf.maximum(targets, 0),
      logits.shape.dims[-1],
  )
  return cross_entropy * is_real(targets)


def _call(
    model,
    features: Mapping[str, mtf.Tensor],
    mode: str,
    variable_dtype: mtf.VariableDType,
    compute_loss: bool,
    num_microbatches: int = 1,
):
  """Returns a model's logits and the loss that upstream knows of, or None."""
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
