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

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.mesh import splits
from mtf_switch.transformer import token_losses

# Added to a probability whose logarithm is taken.
_LEAST = 1e-30


def against_logits(
    teacher_logits: mtf.Tensor, weights: mtf.Tensor, temperature: float
) -> token_losses.Term:
  """The cross-entropy of a softmax against another one.

  Args:
    teacher_logits: `[batch, length, vocab]`; gets no gradient.
    weights: of the cross-entropies in the loss that is trained, `[batch,
      length]` float32.
    temperature: divides the logits of both.

  Returns:
    a term whose value is the cross-entropy, natural logarithm.
  """

  def of_slice(logits, weights, teacher_logits):
    # At temperature 1, TensorFlow computes both softmaxes once for this loss
    # and for those of the labels, see cross_entropy.
    student = _divided(logits, temperature)
    probs = tf.nn.softmax(_divided(teacher_logits, temperature))
    softmax, log_z = token_losses.softmax_and_log_z(student)
    soft = log_z - tf.reduce_sum(probs * student, axis=-1)
    return (softmax - probs) * (weights / temperature)[:, tf.newaxis], [soft]

  def of_mesh(logits, teacher_logits):
    vocab = logits.shape.dims[-1]
    student, teacher = (
        mtf.cast(x, tf.float32) / temperature for x in (logits, teacher_logits)
    )
    log_probs = student - mtf.reduce_logsumexp(student, vocab)
    probs = mtf.stop_gradient(mtf.softmax(teacher, vocab))
    return [-mtf.reduce_sum(probs * log_probs, reduced_dim=vocab)]

  return token_losses.Term([teacher_logits], of_slice, of_mesh, 1, weights)


def _divided(logits: tf.Tensor, temperature: float) -> tf.Tensor:
  """Logits divided by a temperature."""
  return logits if temperature == 1 else logits / temperature


def against_choices(
    ids: mtf.Tensor,
    log_probs: mtf.Tensor,
    weights: mtf.Tensor,
    temperature: float,
) -> token_losses.Term:
  """The cross-entropy of a softmax against the most probable tokens.

  All other tokens count as one, which has the rest of the probability: with all
  tokens in ids it is the cross-entropy, with fewer it is less, because the rest
  teaches nothing about its parts.

  Args:
    ids: different tokens, `[batch, length, choices]` int32.
    log_probs: the logarithms of their probabilities, as many.
    weights: of the cross-entropies in the loss that is trained, `[batch,
      length]` float32.
    temperature: divides the logits.

  Returns:
    a term whose value is the cross-entropy, natural logarithm.
  """
  choices = ids.shape.dims[-1]

  def of_slice(logits, weights, ids, log_probs):
    student = _divided(logits, temperature)
    softmax, log_z = token_losses.softmax_and_log_z(student)
    probs = tf.exp(log_probs)
    log_q = tf.gather(student, ids, batch_dims=1) - log_z[:, tf.newaxis]
    soft = -tf.reduce_sum(probs * log_q, axis=-1)
    weights = (weights / temperature)[:, tf.newaxis]
    # Of the gradient: the factor of the softmax, but for the choices.
    factor = weights
    if choices.size < logits.shape.as_list()[-1]:
      others = _with_choices(softmax, ids, tf.zeros_like(probs))
      rest = tf.nn.relu(1 - tf.reduce_sum(probs, axis=-1))
      rest_of_student = tf.reduce_sum(others, axis=-1) + _LEAST
      soft -= rest * tf.math.log(rest_of_student)
      factor *= (1 - rest / rest_of_student)[:, tf.newaxis]
    of_choices = (tf.exp(log_q) - probs) * weights
    return _with_choices(softmax * factor, ids, of_choices), [soft]

  def of_mesh(logits, ids, log_probs):
    vocab = logits.shape.dims[-1]
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
      return [soft]
    rest = mtf.relu(1 - mtf.reduce_sum(probs, reduced_dim=vocab))
    rest_of_student = mtf.reduce_sum(
        mtf.exp(log_q) * (1 - is_choice), reduced_dim=vocab
    )
    rest = mtf.stop_gradient(rest)
    return [soft - rest * mtf.log(rest_of_student + _LEAST)]

  return token_losses.Term([ids, log_probs], of_slice, of_mesh, 1, weights)


def _with_choices(x: tf.Tensor, ids: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
  """Replaces the values of some tokens.

  Args:
    x: `[tokens, vocab]`.
    ids: different tokens, `[tokens, choices]` int32.
    values: their new values.
  """
  rows = tf.range(tf.shape(ids)[0])[:, tf.newaxis]
  places = tf.stack([tf.broadcast_to(rows, ids.shape), ids], -1)
  return tf.tensor_scatter_nd_update(x, places, values)


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
