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

"""Cross-entropy and the figures made of it, by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import math

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import figures
from mtf_switch import metrics
from tests import graphs

BATCH = mtf.Dimension("batch", 2)
LENGTH = mtf.Dimension("length", 3)
VOCABULARY = mtf.Dimension("vocab", 4)

# Two real tokens in the first sequence, one in the second. 0 is padding, and
# -2 a token that is not to be learnt.
TARGETS = [[1, 3, 0], [-2, 2, 0]]
# Probabilities of the tokens that are counted: 1/2, 1/4, 1/8.
PROBABILITIES = [
    [[1 / 6, 1 / 2, 1 / 6, 1 / 6], [1 / 4] * 4, [1, 0.01, 0.01, 0.01]],
    [[1, 0.01, 0.01, 0.01], [1 / 2, 1 / 4, 1 / 8, 1 / 8], [1, 0.1, 0.1, 0.1]],
]


class ModelWithOtherLosses:
  """Gives logits, and a loss that has little to do with them."""

  def call_simple(self, inputs, targets, compute_loss, **kwargs):
    del targets, kwargs
    assert compute_loss
    for layer_loss in (0.25, 0.5):
      metrics.add("aux_loss", mtf.constant(inputs.mesh, layer_loss))
      metrics.add("routed_tokens", mtf.constant(inputs.mesh, 8.0))
    metrics.add("dropped_tokens", mtf.constant(inputs.mesh, 4.0))
    # Any constant may be added to logits.
    logits = graphs.constant(
        inputs.mesh, np.log(PROBABILITIES) + 7, [BATCH, LENGTH, VOCABULARY]
    )
    return logits, mtf.constant(inputs.mesh, 100.0)


def totals(model):
  names = []

  def build(mesh):
    tokens = graphs.constant(mesh, np.array(TARGETS, np.int32), [BATCH, LENGTH])
    totals_ = figures.totals(
        model,
        {"inputs": tokens, "targets": tokens},
        tf.estimator.ModeKeys.TRAIN,
        mtf.VariableDType(),
    )
    names.extend(totals_)
    return list(totals_.values())

  values, _ = graphs.evaluate(build)
  return dict(zip(names, values))


def test_cross_entropy_is_of_real_targets_alone():
  assert totals(ModelWithOtherLosses()) == pytest.approx(
      {
          "loss": 100,
          "cross_entropy": math.log(2) + math.log(4) + math.log(8),
          "target_tokens": 3,
          "aux_loss": 0.75,
          "routed_tokens": 16,
          "dropped_tokens": 4,
      }
  )


def evaluate(build):
  """Runs a function of no argument in a graph of its own."""
  with tf.Graph().as_default(), tf.Session() as session:
    return session.run(build())


def test_figures_of_a_batch():
  def build():
    return figures.of_batch(
        {
            name: tf.constant(value)
            for name, value in totals(ModelWithOtherLosses()).items()
        }
    )

  assert evaluate(build) == pytest.approx(
      {
          "cross_entropy": 2 * math.log(2),
          "neg_log_perplexity": -2 * math.log(2),
          "aux_loss": 0.75,
          "fraction_dropped": 0.25,
      }
  )


def test_batch_without_real_tokens_has_no_cross_entropy():
  empty = {"cross_entropy": 0.0, "target_tokens": 0.0}
  of_batch = evaluate(
      lambda: figures.of_batch({k: tf.constant(v) for k, v in empty.items()})
  )
  assert of_batch == {"cross_entropy": 0, "neg_log_perplexity": 0}


def figures_of_split(batches):
  """What an Estimator reports after it has seen the batches."""
  with tf.Graph().as_default(), tf.Session() as session:
    placeholders = {
        name: tf.placeholder(tf.float32, [1]) for name in batches[0]
    }
    values_and_updates = figures.of_split(**placeholders)
    session.run(tf.local_variables_initializer())
    for batch in batches:
      session.run(
          [update for _, update in values_and_updates.values()],
          {placeholders[name]: [value] for name, value in batch.items()},
      )
    return session.run(
        {name: value for name, (value, _) in values_and_updates.items()}
    )


def test_figures_of_a_split_weigh_tokens_and_not_batches():
  full = dict(
      cross_entropy=30.0,
      target_tokens=10.0,
      aux_loss=0.1,
      routed_tokens=40.0,
      dropped_tokens=8.0,
  )
  nearly_empty = dict(
      cross_entropy=6.0,
      target_tokens=2.0,
      aux_loss=0.4,
      routed_tokens=8.0,
      dropped_tokens=0.0,
  )
  empty = dict.fromkeys(full, 0.0)
  assert figures_of_split([full, nearly_empty, empty]) == pytest.approx(
      {
          "cross_entropy": 3.0,
          "neg_log_perplexity": -3.0,
          "aux_loss": (0.1 * 10 + 0.4 * 2) / 12,
          "fraction_dropped": 8 / 48,
      }
  )


def test_many_batches_lose_no_precision():
  # In float32 the sum would stop growing: 2^24 + 1 = 2^24.
  large = {"cross_entropy": 2.0**24, "target_tokens": 2.0**24}
  small = {"cross_entropy": 1.0, "target_tokens": 0.0}
  exact = figures_of_split([large] + [small] * 64)["cross_entropy"]
  assert exact == np.float32(1 + 2.0**-18)


def test_split_without_tokens_is_not_a_number():
  empty = {"cross_entropy": 0.0, "target_tokens": 0.0}
  assert math.isnan(figures_of_split([empty])["cross_entropy"])


def test_host_of_a_tpu_keeps_the_figures(tmp_path):
  with tf.Graph().as_default(), tf.Session() as session:
    tf.train.create_global_step()
    sent = {"cross_entropy": 2.5, "aux_loss": 0.5}
    (host_call_fn, tensors), latest = figures.send_to_host(
        str(tmp_path), {name: tf.constant(x) for name, x in sent.items()}
    )
    # Each core sends a copy, and TPUEstimator joins them.
    _, updates = host_call_fn(*(tf.tile(tensor, [4]) for tensor in tensors))
    session.run(tf.local_variables_initializer())
    session.run(tf.global_variables_initializer())
    session.run(updates)
    assert session.run(latest) == sent
