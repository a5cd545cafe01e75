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

"""Beam search, in the place of mesh_tensorflow.beam_search.

Upstream's looks at the two best continuations of a beam alone
(`num_prefilter`), lets a finished sequence fill a place among the living ones
and go on past its end, and returns any finished sequence before a better one
that the length cuts.
"""

from collections.abc import Callable, Sequence

import gin
import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import compat
from mtf_switch import operations
from mtf_switch.mesh import splits

# The log-probability of a place without a sequence: finite, because gathering
# multiplies by zeros, and greater than the mark of top_k, -1e9.
_NEVER = -1e7


def beam_search(
    logits_fn: Callable,
    initial_ids: mtf.Tensor,
    alpha: float,
    states: Sequence[mtf.Tensor] | None = None,
    eos_id: int = 1,
    stop_early: bool = True,
    decode_length: mtf.Tensor | None = None,
    use_tpu: bool = True,
    dtype: tf.DType = tf.float32,
    layout=None,
    mesh_shape=None,
    num_prefilter: int | None = None,
) -> tuple[mtf.Tensor, mtf.Tensor]:
  """Searches for the sequence of the greatest score.

  The score is the logarithm of its probability, divided by
  ((5 + length) / 6)^alpha (arXiv 1609.08144), the end included.

  Args:
    logits_fn: from the number of a step, the ids so far, `[batch, beam,
      length]`, and the states to logits `[batch, beam, vocab]` and new states.
    initial_ids: `[batch, beam, length]`, zeros.
    alpha: the greater, the better for long sequences.
    states: `[batch, beam, ...]`.
    eos_id: the id that ends a sequence.
    stop_early: whether to stop as soon as nothing better can be found.
    decode_length: int32 scalar, the most ids of a sequence; None for length.
    use_tpu: upstream's; of no effect.
    dtype: of logits and scores.
    layout: layout rules; together with mesh_shape they say how vocab is split,
      so that each core first looks at its part.
    mesh_shape: the mesh.
    num_prefilter: how many continuations of a beam each core looks at; 0 for
      all that can matter. None for gin's `beam_search.num_prefilter` and, where
      that is not set, upstream's 2 on a TPU, where more are slow, and 0
      elsewhere.

  Returns:
    ids `[batch, beam, length]`, the best first, and their scores. Where the
    search stopped early, only the first is sure to be in its place. A sequence
    without an end is one that decode_length cut.
  """
  del use_tpu
  batch_dim, beam_dim, length_dim = initial_ids.shape.dims
  mesh = initial_ids.mesh
  places = mtf.Shape([batch_dim, beam_dim])
  if num_prefilter is None:
    num_prefilter = _num_prefilter()
  if decode_length is None:
    decode_length = mtf.constant(mesh, length_dim.size, dtype=tf.int32)
  decode_length = mtf.minimum(decode_length, length_dim.size)

  def penalty(length):
    return mtf.pow((5.0 + mtf.cast(length, dtype)) / 6.0, alpha)

  def scores_of(log_probs, length):
    exists = mtf.greater(log_probs, _NEVER / 2)
    return mtf.where(exists, log_probs / penalty(length), _never(log_probs))

  def goes_on(step, alive, log_probs, finished, scores, *unused_states):
    del alive, finished
    is_short = mtf.less(step, decode_length)
    if not stop_early:
      return is_short
    # Whatever follows makes a sequence less probable.
    bound = scores_of(
        mtf.reduce_max(log_probs, reduced_dim=beam_dim),
        # The length of the greatest penalty: the longest if alpha > 0.
        decode_length if alpha > 0 else step + 1,
    )
    best = mtf.reduce_max(scores, reduced_dim=beam_dim)
    return mtf.logical_and(is_short, mtf.reduce_any(mtf.less(best, bound)))

  def one_step(step, alive, log_probs, finished, scores, *states):
    logits, new_states = logits_fn(step, alive, list(states))
    vocab_dim = logits.shape.dims[-1]
    # Twice as many as beams, because each may end.
    candidates = mtf.Dimension("candidates", 2 * beam_dim.size)
    longer, beam, ids = _best_continuations(
        logits,
        log_probs,
        candidates,
        splits_of_vocab(vocab_dim),
        num_prefilter or candidates.size,
    )
    sequences = _take(alive, beam, beam_dim)
    sequences += ids * mtf.one_hot(step, length_dim, dtype=tf.int32)
    ends = mtf.cast(mtf.equal(ids, eos_id), dtype)
    scores, index = _best(
        [scores, scores_of(longer + (1.0 - ends) * _NEVER, step + 1)], beam_dim
    )
    finished = _take(_both([finished, sequences]), index)
    # A finished sequence has no place among the living ones, even a free one.
    log_probs, index = _top_k(longer + ends * _NEVER, candidates, beam_dim)
    alive = _take(sequences, index)
    beam = _take(beam, index)
    new_states = [_take(x, beam, beam_dim) for x in new_states]
    return [step + 1, alive, log_probs, finished, scores, *new_states]

  def splits_of_vocab(vocab_dim):
    if layout is None or mesh_shape is None:
      return 1
    return mtf.tensor_dim_to_mesh_dim_size(layout, mesh_shape, vocab_dim)

  first = mtf.one_hot(
      mtf.constant(mesh, 0, dtype=tf.int32),
      beam_dim,
      on_value=0.0,
      off_value=_NEVER,
      dtype=dtype,
  )
  step, alive, log_probs, finished, scores, *_ = mtf.while_loop(
      goes_on,
      one_step,
      [
          mtf.constant(mesh, 0, dtype=tf.int32),
          initial_ids,
          mtf.broadcast(first, places),
          initial_ids,
          mtf.constant(mesh, _NEVER, places, dtype=dtype),
          *(states or ()),
      ],
  )
  # At the greatest length, sequences without an end are cut.
  cut = scores_of(log_probs, decode_length)
  cut = mtf.where(mtf.less(step, decode_length), _never(cut), cut)
  scores, index = _best([scores, cut], beam_dim)
  return _take(_both([finished, alive]), index), scores


def _num_prefilter() -> int:
  """Gin's choice, under upstream's name, or the default."""
  bindings = gin.get_bindings("mesh_tensorflow.beam_search.beam_search")
  return bindings.get("num_prefilter", 2 if splits.is_on_tpu() else 0)


def _never(like: mtf.Tensor) -> mtf.Tensor:
  return mtf.constant(like.mesh, _NEVER, like.shape, dtype=like.dtype)


def _both(pair):
  """[batch, n, ...] and [batch, m, ...] -> [batch, n + m, ...]."""
  return mtf.concat(
      [mtf.rename_dimension(x, x.shape.dims[1].name, "both") for x in pair],
      "both",
  )


def _best(scores, beam_dim):
  """The greatest scores of a pair, [batch, beam], and their places in both."""
  scores = _both(scores)
  return _top_k(scores, scores.shape.dims[-1], beam_dim)


def _top_k(x, dim, k_dim):
  """mtf.top_k in one operation; upstream's is a loop for less than 5."""
  if splits.is_on_tpu():
    return mtf.top_k(x, dim, k_dim)
  return mtf.TopKOperation(x, dim, k_dim).outputs


def _take(x, index, dim=None):
  """What an index chooses.

  Args:
    x: [batch, n, ...], or with `dim` anywhere, [batch, ..., n, ...].
    index: [batch, m], int32.
    dim: the dimension n; None for the second one.

  Returns:
    [batch, m, ...], m in the place of n.
  """
  dim = dim or x.shape.dims[1]
  chosen = index.shape.dims[1]
  output_shape = mtf.Shape([chosen if d == dim else d for d in x.shape.dims])
  if splits.is_on_tpu():
    # By a one-hot product. Under another name, in case n and m are one
    # dimension.
    old = mtf.Dimension("old_" + dim.name, dim.size)
    x = mtf.rename_dimension(x, dim.name, old.name)
    return mtf.gather(x, index, old, output_shape=output_shape)
  axis = x.shape.dims.index(dim)
  return operations.slicewise(
      lambda x, index: tf.gather(x, index, axis=axis, batch_dims=1),
      [x, index],
      output_shape=output_shape,
      multiplications=None,
      splittable_dims=[d for d in x.shape.dims if d != dim],
      grad_function=0,
      name="take",
  )


def _best_continuations(logits, log_probs, candidates, vocab_splits, prefilter):
  """The most probable continuations.

  Args:
    logits: `[batch, beam, vocab]`.
    log_probs: `[batch, beam]`, the logarithms of the beams' probabilities.
    candidates: the dimension of the result.
    vocab_splits: the parts of vocab that are on cores of their own.
    prefilter: how many of each beam and part are looked at, at least 2.

  Returns:
    `[batch, candidates]` each: the logarithms of their probabilities, int32 the
    beams that they continue, and int32 the ids that continue them.
  """
  batch_dim, beam_dim, vocab_dim = logits.shape.dims
  parts = mtf.Dimension(vocab_dim.name, vocab_splits)
  minor = mtf.Dimension("minor_vocab", vocab_dim.size // vocab_splits)
  kept = mtf.Dimension("prefilter", min(max(prefilter, 2), minor.size))
  values, minor_ids = _top_k(
      mtf.reshape(logits, [batch_dim, beam_dim, parts, minor]), minor, kept
  )
  # Within a beam the order is that of the logits: what is not kept needs no
  # probability.
  values = values - mtf.reduce_logsumexp(logits, vocab_dim) + log_probs
  of_beam = parts.size * kept.size
  all_kept = mtf.Dimension("all_kept", beam_dim.size * of_beam)
  flat = [batch_dim, all_kept]
  values, index = _top_k(mtf.reshape(values, flat), all_kept, candidates)
  minor_ids = _take(mtf.reshape(minor_ids, flat), index)
  part = index % of_beam // kept.size
  return values, index // of_beam, part * minor.size + minor_ids


compat.replace_beam_search(beam_search)
