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

"""Beam search against all sequences there are, and against upstream's."""

import mtf_switch  # isort: skip  # noqa: F401
import functools

import gin
import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tests import graphs

END = 1
MODELS = 24
# What models call; and what gin still calls so.
BEAM_SEARCH = mtf.beam_search.beam_search
UPSTREAMS = gin.get_configurable("mesh_tensorflow.beam_search.beam_search")


@functools.cache
def log_probs(vocabulary, length):
  """Random models, [MODELS, step, last id, next id]."""
  rng = np.random.RandomState(0)
  logits = 2 * rng.randn(MODELS, length, vocabulary, vocabulary)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@functools.cache
def all_scores(vocabulary, length, alpha):
  """The scores of all sequences, {ids: [MODELS]}, cut ones included."""
  table = log_probs(vocabulary, length)
  scores = {}

  def extend(ids, total):
    step = len(ids)
    if step and (ids[-1] == END or step == length):
      scores[ids] = total / ((5 + step) / 6) ** alpha
      return
    for new in range(vocabulary):
      last = ids[-1] if ids else 0
      extend((*ids, new), total + table[:, step, last, new])

  extend((), np.zeros(MODELS))
  return scores


def search(fn, beam, vocabulary, length, alpha, mesh_shape="", **options):
  """Each model's ids, with what follows the end, and scores."""
  dims = [mtf.Dimension("batch", MODELS), mtf.Dimension("beam", beam)]
  length_dim = mtf.Dimension("length", length)
  last_dim = mtf.Dimension("last", vocabulary)
  vocab_dim = mtf.Dimension("vocab", vocabulary)
  layout = "batch:data" if mesh_shape.startswith("data") else "vocab:model"

  def build(mesh):
    table = graphs.constant(
        mesh,
        log_probs(vocabulary, length),
        [dims[0], length_dim, last_dim, vocab_dim],
    )

    def logits_fn(step, ids, states):
      (steps,) = states
      last = mtf.gather(ids, step - 1, length_dim)
      now = mtf.gather(table, step, length_dim)
      logits = mtf.einsum(
          [now, mtf.one_hot(last, last_dim)], output_shape=dims + [vocab_dim]
      )
      # What is added to all logits of a token changes no probability.
      logits += mtf.cast(last, tf.float32)
      # The state is the ids but the last: what it says is what they say.
      seen = mtf.cast(ids, tf.float32) - steps
      new = mtf.one_hot(step - 1, length_dim) * mtf.cast(last, tf.float32)
      logits += (
          1e3
          * mtf.reduce_sum(mtf.square(seen - new), reduced_dim=length_dim)
          * mtf.one_hot(mtf.constant(mesh, 0, dtype=tf.int32), vocab_dim)
      )
      return logits, [steps + new]

    ids = mtf.zeros(mesh, dims + [length_dim], tf.int32)
    return fn(
        logits_fn,
        ids,
        alpha,
        states=[mtf.cast(ids, tf.float32)],
        layout=mtf.convert_to_layout_rules(layout),
        mesh_shape=mtf.convert_to_shape(mesh_shape),
        **options,
    )

  (ids, scores), _ = graphs.evaluate(
      build, mesh_shape, layout if mesh_shape else ""
  )
  return ids[:, 0], scores[:, 0]


def sequence(ids):
  """The ids up to the end."""
  ids = ids.tolist()
  return tuple(ids[: ids.index(END) + 1] if END in ids else ids)


def optima(vocabulary, length, alpha):
  return np.max(list(all_scores(vocabulary, length, alpha).values()), axis=0)


def scores_of(ids, vocabulary, length, alpha):
  """The scores of sequences, one for each model."""
  every = all_scores(vocabulary, length, alpha)
  return np.array([every[sequence(row)][i] for i, row in enumerate(ids)])


@pytest.mark.parametrize(
    "alpha, mesh_shape",
    [(-0.5, ""), (3.0, ""), (0.6, "model:2"), (0.0, "data:2")],
)
def test_with_a_place_for_every_sequence_the_best_is_found(alpha, mesh_shape):
  # At most 3^3 sequences of four ids go on, and one id is the end.
  ids, scores = search(BEAM_SEARCH, 27, 4, 4, alpha, mesh_shape)
  np.testing.assert_allclose(scores, optima(4, 4, alpha), rtol=1e-5)
  np.testing.assert_allclose(scores, scores_of(ids, 4, 4, alpha), rtol=1e-5)
  assert not any(row[len(sequence(row)) :].any() for row in ids)


def num_optima(found, alpha):
  return np.isclose(found, optima(9, 5, alpha), rtol=1e-5).sum()


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_four_beams_find_what_upstreams_and_greedy_decoding_miss(alpha):
  """B28: upstream looks at two continuations, and goes on past an end."""
  ids, scores = search(BEAM_SEARCH, 4, 9, 5, alpha)
  found = scores_of(ids, 9, 5, alpha)
  np.testing.assert_allclose(scores, found, rtol=1e-5)
  assert num_optima(found, alpha) >= 22
  greedy, _ = search(BEAM_SEARCH, 1, 9, 5, alpha, stop_early=False)
  greedy = scores_of(greedy, 9, 5, alpha)
  assert (found - greedy).min() > -1e-5
  ids, _ = search(UPSTREAMS, 4, 9, 5, alpha)
  found = scores_of(ids, 9, 5, alpha)
  assert num_optima(found, alpha) < 20
  assert (found < greedy - 1e-5).sum() > 4


def test_fewer_continuations_are_still_sequences_that_end_once():
  gin.parse_config("beam_search.num_prefilter = 2")  # As on a TPU.
  ids, scores = search(BEAM_SEARCH, 4, 9, 5, 3.0)
  np.testing.assert_allclose(scores, scores_of(ids, 9, 5, 3.0), rtol=1e-5)
  assert num_optima(scores, 3.0) < MODELS
  assert not any(row[len(sequence(row)) :].any() for row in ids)
