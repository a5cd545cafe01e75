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

"""Cross-entropy of a softmax against a teacher's probabilities."""

from collections.abc import Callable, Sequence

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.mesh import splits

# Added to a probability whose logarithm is taken.
_LEAST = 1e-30


def against_logits(
    model, logits: mtf.Tensor, teacher_logits: mtf.Tensor, temperature: float
) -> mtf.Tensor:
  """The cross-entropy of a softmax against another one.

  Args:
    model: a Unitransformer; it knows how the mesh splits the vocabulary.
    logits: `[batch, length, vocab]`.
    teacher_logits: as logits; gets no gradient.
    temperature: divides both.

  Returns:
    `[batch, length]` float32, natural logarithm.
  """
  vocab = logits.shape.dims[-1]
  if splits.are_whole(model, [vocab]):
    return _logits_of_whole_vocabulary(logits, teacher_logits, temperature)
  student, teacher = (
      mtf.cast(x, tf.float32) / temperature for x in (logits, teacher_logits)
  )
  log_probs = student - mtf.reduce_logsumexp(student, vocab)
  return -mtf.reduce_sum(
      mtf.stop_gradient(mtf.softmax(teacher, vocab)) * log_probs,
      reduced_dim=vocab,
  )


def _logits_of_whole_vocabulary(
    logits: mtf.Tensor, teacher_logits: mtf.Tensor, temperature: float
) -> mtf.Tensor:
  """As against_logits, with few passes over the logits.

  At temperature 1, TensorFlow computes both softmaxes once for this loss and
  for those of the labels, see cross_entropy.
  """

  def forward(logits, teacher_logits):
    student = _divided(logits, temperature)
    probs = tf.nn.softmax(_divided(teacher_logits, temperature))
    softmax, log_z = _softmax(student)
    soft = log_z - tf.reduce_sum(probs * student, axis=-1)
    return soft, softmax, probs

  def backward(gradient, softmax, probs):
    return (softmax - probs) * gradient

  return _with_gradient(
      forward,
      backward,
      logits,
      [teacher_logits],
      [logits.shape, logits.shape],
      temperature,
  )


def _divided(logits: tf.Tensor, temperature: float) -> tf.Tensor:
  """Logits divided by a temperature, float32."""
  logits = tf.cast(logits, tf.float32)
  return logits if temperature == 1 else logits / temperature


def _softmax(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """The softmax and the logarithm of its denominator, as in cross_entropy."""
  softmax = tf.nn.softmax(logits)
  log_z = tf.reduce_max(logits, axis=-1) - tf.math.log(
      tf.reduce_max(softmax, axis=-1)
  )
  return softmax, log_z


def _with_gradient(
    forward: Callable,
    backward: Callable,
    logits: mtf.Tensor,
    others: Sequence[mtf.Tensor],
    kept_shapes: Sequence[mtf.Shape],
    temperature: float,
    used_again: Sequence[mtf.Tensor] = (),
) -> mtf.Tensor:
  """Calls a function of logits that has a gradient of its own.

  Args:
    forward: from slices of logits and others to `[batch, length]` float32, and
      what is kept for the gradient, float32.
    backward: from the gradient of the result, `[batch, length, 1]` and divided
      by the temperature, what is kept, and slices of used_again, to the
      gradient of the logits.
    logits: `[batch, length, vocab]`, vocab not split.
    others: what has no gradient.
    kept_shapes: the shapes of what is kept.
    temperature: divides the logits.
    used_again: those of others that backward has.

  Returns:
    `[batch, length]` float32.
  """
  shape = mtf.Shape(logits.shape.dims[:-1])

  def gradients(op, gradient, *_):
    of_logits = operations.slicewise(
        lambda gradient, *kept: tf.cast(
            backward(gradient[..., tf.newaxis] / temperature, *kept),
            logits.dtype,
        ),
        [gradient, *op.outputs[1:], *used_again],
        output_shape=logits.shape,
        output_dtype=logits.dtype,
        multiplications=None,
        splittable_dims=shape.dims,
        name="soft_cross_entropy_gradient",
    )
    return [of_logits, *[None] * len(others)]

  value, *_ = operations.slicewise(
      forward,
      [logits, *others],
      output_shape=[shape, *kept_shapes],
      output_dtype=[tf.float32] * (1 + len(kept_shapes)),
      multiplications=None,
      splittable_dims=shape.dims,
      grad_function=gradients,
      name="soft_cross_entropy",
  )
  return value


def against_choices(
    model,
    logits: mtf.Tensor,
    ids: mtf.Tensor,
    log_probs: mtf.Tensor,
    temperature: float,
) -> mtf.Tensor:
  """The cross-entropy of a softmax against the most probable tokens.

  All other tokens count as one, which has the rest of the probability: with all
  tokens in ids it is the cross-entropy, with fewer it is less, because the rest
  teaches nothing about its parts.

  Args:
    model: a Unitransformer; it knows how the mesh splits the vocabulary.
    logits: `[batch, length, vocab]`.
    ids: different tokens, `[batch, length, choices]` int32.
    log_probs: the logarithms of their probabilities, as many.
    temperature: divides the logits.

  Returns:
    `[batch, length]` float32, natural logarithm.
  """
  vocab, choices = logits.shape.dims[-1], ids.shape.dims[-1]
  if splits.are_whole(model, [vocab]):
    return _choices_of_whole_vocabulary(logits, ids, log_probs, temperature)
  student = mtf.cast(logits, tf.float32) / temperature
  log_q = student - mtf.reduce_logsumexp(student, vocab)
  # One choice after the other: together they would need choices times as much
  # memory as the logits.
  probs, is_choice = mtf.zeros_like(log_q), mtf.zeros_like(log_q)
  for token, log_prob in zip(
      mtf.unstack(ids, choices), mtf.unstack(log_probs, choices)
  ):
    is_token = mtf.one_hot(token, vocab)
    is_choice += is_token
    probs += is_token * mtf.exp(log_prob)
  soft = -mtf.reduce_sum(mtf.stop_gradient(probs) * log_q, reduced_dim=vocab)
  if choices.size == vocab.size:
    return soft
  rest = mtf.relu(1 - mtf.reduce_sum(probs, reduced_dim=vocab))
  rest_of_student = mtf.reduce_sum(
      mtf.exp(log_q) * (1 - is_choice), reduced_dim=vocab
  )
  return soft - mtf.stop_gradient(rest) * mtf.log(rest_of_student + _LEAST)


def _choices_of_whole_vocabulary(
    logits: mtf.Tensor,
    ids: mtf.Tensor,
    log_probs: mtf.Tensor,
    temperature: float,
) -> mtf.Tensor:
  """As against_choices, with few passes over the logits."""
  dims = logits.shape.dims[:-1]
  has_rest = ids.shape.dims[-1].size < logits.shape.dims[-1].size

  def forward(logits, ids, log_probs):
    student = _divided(logits, temperature)
    softmax, log_z = _softmax(student)
    probs = tf.exp(log_probs)
    batch_dims = ids.shape.ndims - 1
    log_q = tf.gather(student, ids, batch_dims=batch_dims)
    log_q -= log_z[..., tf.newaxis]
    soft = -tf.reduce_sum(probs * log_q, axis=-1)
    # Of the gradient: the factor of the softmax, but for the choices.
    factor = tf.ones_like(log_z)
    if has_rest:
      others = _with_choices(softmax, ids, tf.zeros_like(probs))
      rest = tf.nn.relu(1 - tf.reduce_sum(probs, axis=-1))
      rest_of_student = tf.reduce_sum(others, axis=-1) + _LEAST
      soft -= rest * tf.math.log(rest_of_student)
      factor -= rest / rest_of_student
    of_choices = tf.exp(log_q) - probs
    return soft, softmax, factor[..., tf.newaxis], of_choices

  def backward(gradient, softmax, factor, of_choices, ids):
    return _with_choices(
        softmax * (factor * gradient), ids, of_choices * gradient
    )

  one = mtf.Dimension("one", 1)
  return _with_gradient(
      forward,
      backward,
      logits,
      [ids, log_probs],
      [logits.shape, mtf.Shape([*dims, one]), ids.shape],
      temperature,
      used_again=[ids],
  )


def _with_choices(x: tf.Tensor, ids: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
  """Replaces the values of some tokens.

  Args:
    x: `[batch, length, vocab]`.
    ids: different tokens, `[batch, length, choices]` int32.
    values: their new values.
  """
  flat_ids = tf.reshape(ids, [-1, ids.shape[-1]])
  rows = tf.range(tf.size(ids) // ids.shape[-1])[:, tf.newaxis]
  places = tf.stack([tf.broadcast_to(rows, flat_ids.shape), flat_ids], -1)
  flat = tf.tensor_scatter_nd_update(
      tf.reshape(x, [-1, x.shape[-1]]),
      places,
      tf.reshape(values, flat_ids.shape),
  )
  return tf.reshape(flat, x.shape)


def choices(
    model, logits: mtf.Tensor, num_choices: int, temperature: float
) -> tuple[mtf.Tensor, mtf.Tensor]:
  """The most probable tokens, the most probable first.

  Args:
    model: a Unitransformer; it knows how the mesh splits the vocabulary.
    logits: `[batch, length, vocab]`.
    num_choices: how many.
    temperature: divides the logits.

  Returns:
    the tokens, `[batch, length, choices]` int32, and the logarithms of their
    probabilities, as many float32.
  """
  vocab = logits.shape.dims[-1]
  dim = mtf.Dimension("choices", num_choices)
  logits = mtf.cast(logits, tf.float32) / temperature
  log_probs = logits - mtf.reduce_logsumexp(logits, vocab)
  if not splits.are_whole(model, [vocab]):
    values, ids = mtf.top_k(log_probs, vocab, dim)
    return ids, values
  shape = mtf.Shape([*logits.shape.dims[:-1], dim])
  return operations.slicewise(
      lambda x: tf.math.top_k(x, num_choices)[::-1],
      [log_probs],
      output_shape=[shape, shape],
      output_dtype=[tf.int32, tf.float32],
      multiplications=None,
      splittable_dims=shape.dims[:-1],
      grad_function=0,
      name="choices",
  )
