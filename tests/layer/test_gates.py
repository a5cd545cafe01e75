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

"""Gates of one, and the gates of a router whose experts were pruned."""

import functools

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.layer import router as router_lib
from mtf_switch.layer import switch_layer
from tests import oracle
from tests.layer import test_router

EXPERTS, KEPT = 4, [2, 0]
# Two groups of six tokens, and a slot of each expert.
SIZES = 2, 6, EXPERTS, 1
RNG = np.random.RandomState(0)
INPUTS = RNG.randn(2, 6, test_router.D_MODEL)
WEIGHTS = RNG.randn(test_router.D_MODEL, EXPERTS)
REAL = np.ones([2, 6])


@pytest.mark.parametrize(
    "router", [router_lib.SwitchRouter, router_lib.NoTokenLeftBehindRouter]
)
def test_gates_of_one_have_the_gradient_of_probabilities(router):
  dims = test_router.sizes(*SIZES)

  def build(inputs, weights, nonpadding):
    results = []
    for gate in ("probability", "one"):
      routing = router(gate=gate)(inputs, weights, dims, False, nonpadding)
      loss = mtf.reduce_sum(
          routing.expert_gate
          * mtf.cast(
              mtf.range(inputs.mesh, dims.tokens_per_core, tf.int32), tf.float32
          )
      )
      results += [
          routing.expert_gate,
          routing.kept,
          *mtf.gradients([loss], [inputs, weights]),
      ]
    return results

  results = test_router.Program(build, *test_router.input_shapes(dims))(
      INPUTS, WEIGHTS, REAL
  )
  gate, kept, *gradients = results[:4]
  one, kept_by_one, *gradients_of_one = results[4:]
  assert (kept == kept_by_one).all() and (one == kept).all()
  assert (gate < 1).all() and not kept.all()
  for expected, found in zip(gradients, gradients_of_one):
    assert np.abs(expected).max() > 0.01
    np.testing.assert_array_equal(found, expected)


def test_equal_experts_are_one_layer_but_for_dropped_tokens():
  dims = test_router.sizes(*SIZES)
  d_output = mtf.Dimension("d_output", 3)

  def build(inputs, weights, unused_nonpadding, kernel):
    experts = mtf.broadcast(kernel, [dims.num_experts, *kernel.shape.dims])

    def feed_forward(x, multiply, choices):
      del choices
      return mtf.relu(multiply(x, experts, d_output))

    outputs, routing = switch_layer.switch_layer(
        inputs,
        functools.partial(
            router_lib.SwitchRouter(gate="one"), router_weights=weights
        ),
        feed_forward,
        dims,
    )
    return [outputs, routing.kept]

  program = test_router.Program(
      build, *test_router.input_shapes(dims), [dims.d_model, d_output]
  )
  kernel = RNG.randn(test_router.D_MODEL, 3)
  outputs, kept = program(INPUTS, WEIGHTS, REAL, kernel)
  assert 0 < kept.sum() < kept.size
  dense = np.maximum(INPUTS @ kernel, 0)
  np.testing.assert_allclose(outputs, dense * kept, rtol=1e-5, atol=1e-6)


def test_several_choices_have_no_gates_of_one():
  for router in (router_lib.Top2Router, router_lib.TopNRouter):
    with pytest.raises(errors.UserError, match="takes 2, whose gates sum"):
      router(gate="one")
  assert router_lib.TopNRouter(gate="one", num_choices=1).gate == "one"


def test_removed_experts_keep_their_share_of_the_softmax():
  dims = test_router.sizes(2, 6, len(KEPT), 6)
  inputs_dims, (d_model, _), group = test_router.input_shapes(dims)
  columns = mtf.Dimension("experts_and_removed", EXPERTS)

  def build(inputs, weights, nonpadding):
    routing = router_lib.SwitchRouter()(
        inputs, weights, dims, nonpadding=nonpadding
    )
    return [routing.expert_index, routing.expert_gate, routing.router_probs]

  program = test_router.Program(build, inputs_dims, [d_model, columns], group)
  order = KEPT + [x for x in range(EXPERTS) if x not in KEPT]
  index, gate, probs = program(INPUTS, WEIGHTS[:, order], REAL)
  expected = oracle.softmax(INPUTS @ WEIGHTS)
  np.testing.assert_allclose(probs, expected[..., KEPT], rtol=1e-5)
  best = expected.argmax(-1)
  # Some tokens keep their expert, with the gate it had; others lose it.
  stays = np.isin(best, KEPT)
  assert 0 < stays.sum() < stays.size
  assert (np.take(KEPT, index[..., 0])[stays] == best[stays]).all()
  np.testing.assert_allclose(gate[stays, 0], expected.max(-1)[stays], rtol=1e-5)
  np.testing.assert_allclose(
      gate[..., 0], expected[..., KEPT].max(-1), rtol=1e-5
  )
