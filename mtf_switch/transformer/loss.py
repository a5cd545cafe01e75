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

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
import inspect
from typing import NamedTuple

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import cross_entropy as cross_entropy_lib
from mtf_switch.transformer import layer_stack
from mtf_switch.transformer import reports
from mtf_switch.transformer import token_losses

_ROUTER_LOSS = "router_loss"


class Change(NamedTuple):
  """A change of the loss of the targets.

  Attributes:
    share: the factor of the loss without the change, a number or a float32
      scalar.
    terms: what is added to it.
    sums: from the values of the terms to more sums by name.
  """

  share: float | tf.Tensor
  terms: Sequence[token_losses.Term]
  sums: Callable[..., Mapping[str, mtf.Tensor]]


# From the model, the features and the number of microbatches.
ChangeLoss = Callable[..., Change]


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
  with reports.collecting(model) as sums:
    with _put_off(model) as losses:
      logits, loss = _call(
          model, features, mode, variable_dtype, True, num_microbatches
      )
    # Outside the model's call, whose variables have a scope.
    change = change_loss and change_loss(model, features, num_microbatches)
    loss = mtf.cast(loss, tf.float32)
    if change:
      loss *= change.share
    for target_loss in losses:
      loss += target_loss(change=change)
  if change and not losses:
    soft_loss, values = token_losses.evaluate(
        _decoder(model), logits, change.terms
    )
    loss += soft_loss
    sums.update(change.sums(values))
  if "cross_entropy" not in sums:
    # The model's loss function is not ours.
    cross_entropy = _cross_entropy(model, logits, features["targets"])
    sums["cross_entropy"] = mtf.reduce_sum(cross_entropy)
    sums["target_tokens"] = mtf.reduce_sum(is_real(features["targets"]))
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
    change: Change | None = None,
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
    change: adds to the loss, and to what is reported; None for nothing.

  Returns:
    a scalar.
  """
  del vocab_dim  # The logits' last.
  weights = target_weights(model, targets) / model.loss_denominator(
      targets, context.num_microbatches
  )
  of_labels = cross_entropy_lib.against_labels(
      targets,
      weights * change.share if change else weights,
      label_smoothing=model.label_smoothing,
      z_loss=model.z_loss if context.train else 0.0,
  )
  loss, [(_, cross_entropy), *more] = token_losses.evaluate(
      model, logits, [of_labels, *(change.terms if change else ())]
  )
  real = is_real(targets)
  sums = {
      "cross_entropy": mtf.reduce_sum(cross_entropy * real),
      "target_tokens": mtf.reduce_sum(real),
      **(change.sums(more) if change else {}),
  }
  for name, value in sums.items():
    reports.add(model, name, value)
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
def _put_off(model) -> Iterator[list[Callable[..., mtf.Tensor]]]:
  """Puts off the loss of a model's targets while the context is open.

  Upstream calls the loss function, with arguments of its own, before a change
  of the loss is known. One that takes no change, such as a user's, is called.

  Args:
    model: a Bitransformer or Unitransformer.

  Yields:
    a list, to which a call of the model adds a function from the change to the
    loss in float32. The call itself has a loss of 0 then.
  """
  put_off = []
  decoder = _decoder(model)
  loss_fn = getattr(decoder, "_loss_fn", None)
  if not loss_fn or "change" not in inspect.signature(loss_fn).parameters:
    yield put_off
    return

  def put_off_loss(model, context, *args):
    put_off.append(
        functools.partial(loss_fn, model, context, *args, dtype=tf.float32)
    )
    return mtf.zeros(context.mesh, [], dtype=context.activation_dtype)

  # pylint: disable=protected-access
  decoder._loss_fn = put_off_loss
  try:
    yield put_off
  finally:
    decoder._loss_fn = loss_fn


def _decoder(model):
  """The part of a model that has the logits."""
  return getattr(model, "decoder", model)


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
  _, [(_, cross_entropy)] = token_losses.evaluate(
      _decoder(model), logits, [cross_entropy_lib.against_labels(targets)]
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
