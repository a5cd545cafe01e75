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

"""Figures 15 and 16: hand-worked cases, the oracle, identities."""

import functools

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import dispatch
from mtf_switch.layer import router as router_lib
from mtf_switch.layer import routing as routing_lib
from mtf_switch.layer import switch_layer
from tests import graphs
from tests import oracle
from tests.layer.test_losses import SIX_TOKENS

# Jitter is tested for itself; equalities here are without it.
FIELDS = ("expert_index", "expert_gate", "position_in_expert", "routed", "kept")


def sizes(num_cores, tokens_per_core, num_experts, capacity, d_model):
  return dims_lib.switch_dims(
      "batch",
      num_cores,
      tokens_per_core,
      num_experts,
      capacity,
      mtf.Dimension("d_model", d_model),
  )


def route(router_probs, capacity, nonpadding=None, dtype=tf.float32):
  """Routes tokens whose probabilities are given.

  The inputs are log-probabilities and the router's weights the identity, so
  that the router's softmax returns the probabilities.

  Returns:
    a dict of arrays: the fields of Routing, of the one choice, and the two
    tensors.
  """
  num_cores, tokens_per_core, num_experts = router_probs.shape
  dims = sizes(num_cores, tokens_per_core, num_experts, capacity, num_experts)
  tensors = ("dispatch_tensor", "combine_tensor")

  def build(mesh):
    group = [dims.num_cores, dims.tokens_per_core]
    inputs = graphs.constant(mesh, np.log(router_probs), group + [dims.d_model])
    weights = graphs.constant(
        mesh, np.eye(num_experts), [dims.d_model, dims.num_experts_unsplit]
    )
    real = None
    if nonpadding is not None:
      real = graphs.constant(mesh, nonpadding.astype(np.float32), group)
    routing = router_lib.SwitchRouter()(inputs, weights, dims, nonpadding=real)
    dispatcher = dispatch.EinsumDispatcher(routing, dims, dtype)
    return [routing_lib.first_of(getattr(routing, name)) for name in FIELDS] + [
        mtf.cast(getattr(dispatcher, name), tf.float32) for name in tensors
    ]

  results, _ = graphs.evaluate(build)
  return dict(zip(FIELDS + tensors, results))


def test_six_tokens_by_hand():
  routing = route(SIX_TOKENS, capacity=2)
  np.testing.assert_array_equal(routing["expert_index"], [[1, 0, 0, 0, 2, 0]])
  # Expert 0 takes its first two tokens; the fourth and sixth are dropped.
  np.testing.assert_array_equal(routing["kept"], [[1, 1, 1, 0, 1, 0]])
  np.testing.assert_array_equal(
      routing["position_in_expert"][0, [0, 1, 2, 4]], [0, 0, 1, 0]
  )
  np.testing.assert_allclose(
      routing["expert_gate"], [[0.7, 0.7, 0.5, 0, 0.6, 0]], rtol=1e-6
  )
  expected = np.zeros((6, 3, 2))
  expected[0, 1, 0] = expected[1, 0, 0] = 0.7
  expected[2, 0, 1], expected[4, 2, 0] = 0.5, 0.6
  np.testing.assert_allclose(routing["combine_tensor"][0], expected, rtol=1e-6)
  np.testing.assert_array_equal(
      routing["dispatch_tensor"][0], (expected > 0).astype(float)
  )


def test_padding_takes_no_slot():
  # The second token is padding, so the fourth gets the slot it would have had.
  routing = route(SIX_TOKENS, 2, np.array([[1, 0, 1, 1, 1, 1]]))
  np.testing.assert_array_equal(routing["routed"], [[1, 0, 1, 1, 1, 1]])
  np.testing.assert_array_equal(routing["kept"], [[1, 0, 1, 1, 1, 0]])
  assert not routing["dispatch_tensor"][0, 1].any()


def test_an_expert_with_one_slot_keeps_one_token():
  # As printed (inclusive sum, strict <) a capacity of 1 keeps none.
  routing = route(SIX_TOKENS, capacity=1)
  np.testing.assert_array_equal(routing["kept"], [[1, 1, 0, 0, 1, 0]])


def test_equal_probabilities_go_to_the_first_expert():
  routing = route(np.full((1, 3, 4), 0.25), capacity=2)
  np.testing.assert_array_equal(routing["expert_index"], [[0, 0, 0]])
  np.testing.assert_array_equal(routing["kept"], [[1, 1, 0]])


def test_a_gate_too_small_for_its_dtype_keeps_its_slot():
  # Dispatch derived from combine, as printed, would lose the token where the
  # gate underflows; here it is derived from the mask.
  probs = oracle.softmax(np.zeros((1, 2, 3)))
  dims = sizes(1, 2, 3, 2, 3)

  def build(mesh):
    group = [dims.num_cores, dims.tokens_per_core]
    inputs = graphs.constant(mesh, np.log(probs), group + [dims.d_model])
    weights = graphs.constant(
        mesh, np.eye(3), [dims.d_model, dims.num_experts_unsplit]
    )
    routing = router_lib.SwitchRouter()(inputs, weights, dims)
    routing = routing._replace(expert_gate=routing.expert_gate * 0.0)
    dispatcher = dispatch.EinsumDispatcher(routing, dims, tf.float32)
    return [dispatcher.dispatch_tensor]

  (dispatch_tensor,), _ = graphs.evaluate(build)
  assert dispatch_tensor.sum() == 2


@pytest.mark.parametrize("padding", ["none", "some", "all"])
@pytest.mark.parametrize(
    "num_cores, tokens_per_core, num_experts, capacity",
    [
        (1, 6, 3, 2),
        (2, 16, 1, 16),
        (3, 10, 4, 1),
        (2, 32, 64, 2),
        (1, 24, 8, 24),
    ],
)
def test_equals_the_oracle(
    num_cores, tokens_per_core, num_experts, capacity, padding
):
  rng = np.random.RandomState(tokens_per_core)
  shape = (num_cores, tokens_per_core)
  probs = oracle.softmax(2 * rng.randn(*shape, num_experts))
  nonpadding = {
      "none": np.ones(shape, int),
      "some": (rng.rand(*shape) < 0.7).astype(int),
      "all": np.zeros(shape, int),
  }[padding]
  routing = route(probs, capacity, nonpadding)
  expert_index, slot, gate = oracle.router(probs, capacity, nonpadding)
  np.testing.assert_array_equal(routing["expert_index"], expert_index)
  np.testing.assert_array_equal(routing["kept"], slot >= 0)
  np.testing.assert_allclose(
      routing["combine_tensor"],
      oracle.combine_tensor(expert_index, slot, gate, num_experts, capacity),
      atol=1e-6,  # Probabilities in float32.
  )


def bound_router(mesh, router_weights, dims, **options):
  """Figure 15's router with these weights."""
  return functools.partial(
      router_lib.SwitchRouter(**options),
      router_weights=graphs.constant(
          mesh, router_weights, [dims.d_model, dims.num_experts_unsplit]
      ),
  )


def run_layer(
    inputs, router_weights, w_in, w_out, num_cores, capacity, nonpadding=None
):
  """The layer's outputs, loss, and the router's own probabilities."""
  batch, length, d_model = inputs.shape
  num_experts, _, d_ff = w_in.shape
  dims = sizes(
      num_cores, batch * length // num_cores, num_experts, capacity, d_model
  )

  def build(mesh):
    hidden = mtf.Dimension("d_ff", d_ff)
    batch_dims = [
        mtf.Dimension("batch", batch),
        mtf.Dimension("length", length),
    ]
    x = graphs.constant(mesh, inputs, batch_dims + [dims.d_model])
    wi = graphs.constant(mesh, w_in, [dims.num_experts, dims.d_model, hidden])
    wo = graphs.constant(mesh, w_out, [dims.num_experts, hidden, dims.d_model])

    def feed_forward(expert_inputs, multiply, choices):
      del multiply, choices
      h = mtf.einsum(
          [expert_inputs, wi],
          output_shape=expert_inputs.shape.dims[:-1] + [hidden],
      )
      return mtf.einsum([mtf.relu(h), wo], output_shape=expert_inputs.shape)

    real = None
    if nonpadding is not None:
      real = graphs.constant(mesh, nonpadding.astype(np.float32), batch_dims)
    outputs, routing = switch_layer.switch_layer(
        x,
        bound_router(mesh, router_weights, dims),
        feed_forward,
        dims,
        nonpadding=real,
    )
    return [outputs, routing.aux_loss, routing.router_probs, routing.kept]

  return graphs.evaluate(build)[0]


@pytest.mark.parametrize("share_of_padding", [0.0, 0.3])
@pytest.mark.parametrize("num_cores", [1, 4])
@pytest.mark.parametrize("num_experts, capacity", [(1, 3), (3, 2), (8, 12)])
def test_the_layer_equals_the_oracle(
    num_cores, num_experts, capacity, share_of_padding
):
  rng = np.random.RandomState(num_experts)
  inputs = rng.randn(4, 12, 5)
  w_in = rng.randn(num_experts, 5, 7)
  w_out = rng.randn(num_experts, 7, 5)
  nonpadding = (rng.rand(4, 12) >= share_of_padding).astype(int)
  outputs, aux_loss, router_probs, kept = run_layer(
      inputs,
      rng.randn(5, num_experts),
      w_in,
      w_out,
      num_cores,
      capacity,
      nonpadding,
  )
  expected, expected_loss = oracle.switch_layer(
      inputs.reshape(num_cores, -1, 5),
      router_probs,
      w_in,
      w_out,
      capacity,
      nonpadding.reshape(num_cores, -1),
  )
  # float32 matmuls of depth 5 and 7, given the same probabilities.
  np.testing.assert_allclose(
      outputs.reshape(expected.shape),
      expected,
      atol=1e-6 * np.abs(expected).max(),
      rtol=1e-6,
  )
  np.testing.assert_allclose(aux_loss, expected_loss, rtol=1e-6)
  dropped = kept.reshape(4, 12) == 0
  assert np.all(outputs[dropped] == 0.0)  # Exactly: only the residual passes.
  if capacity * num_experts * num_cores < nonpadding.sum():
    assert (dropped & (nonpadding == 1)).any()


def test_one_expert_with_room_for_all_is_the_dense_layer():
  """Outputs and all gradients; the only gate is exactly 1."""
  rng = np.random.RandomState(0)
  inputs, w_in, w_out = rng.randn(2, 6, 5), rng.randn(5, 7), rng.randn(7, 5)
  dims = sizes(2, 6, 1, 6, 5)

  def build(mesh):
    hidden = mtf.Dimension("d_ff", 7)
    length = mtf.Dimension("length", 6)
    shape = [dims.num_cores, length, dims.d_model]
    results = []
    for sparse in (True, False):
      x = graphs.constant(mesh, inputs, shape)
      experts = [dims.num_experts] if sparse else []
      wi = graphs.constant(
          mesh, w_in[None] if sparse else w_in, experts + [dims.d_model, hidden]
      )
      wo = graphs.constant(
          mesh,
          w_out[None] if sparse else w_out,
          experts + [hidden, dims.d_model],
      )

      def feed_forward(inner, multiply=None, choices=None, wi=wi, wo=wo):
        del multiply, choices
        h = mtf.einsum(
            [inner, wi], output_shape=inner.shape.dims[:-1] + [hidden]
        )
        return mtf.einsum([mtf.relu(h), wo], output_shape=inner.shape)

      if sparse:
        router = bound_router(mesh, rng.randn(5, 1), dims)
        y, _ = switch_layer.switch_layer(x, router, feed_forward, dims)
      else:
        y = feed_forward(x)
      gradients = mtf.gradients([mtf.reduce_sum(mtf.square(y))], [x, wi, wo])
      results += [y] + gradients
    return results

  results, _ = graphs.evaluate(build)
  for name, sparse, dense in zip(
      ("y", "x", "wi", "wo"), results[:4], results[4:]
  ):
    np.testing.assert_allclose(
        sparse.reshape(dense.shape),
        dense,
        atol=1e-6 * np.abs(dense).max(),  # Another order of the same sums.
        err_msg=name,
    )


def test_permuting_the_experts_permutes_the_result():
  rng = np.random.RandomState(3)
  inputs, router_weights = rng.randn(2, 8, 5), rng.randn(5, 4)
  w_in, w_out = rng.randn(4, 5, 7), rng.randn(4, 7, 5)
  order = np.array([2, 0, 3, 1])
  plain = run_layer(inputs, router_weights, w_in, w_out, 2, 2)
  permuted = run_layer(
      inputs, router_weights[:, order], w_in[order], w_out[order], 2, 2
  )
  np.testing.assert_allclose(plain[0], permuted[0], atol=1e-6)
  np.testing.assert_allclose(plain[1], permuted[1], rtol=1e-6)
  np.testing.assert_array_equal(plain[3], permuted[3])


def test_the_router_reads_bfloat16_activations_in_float32():
  """Only the input is rounded; rounding the logits would move the output."""
  rng = np.random.RandomState(4)
  dims = sizes(1, 64, 8, 64, 16)
  inputs, weights = rng.randn(1, 64, 16), rng.randn(16, 8).astype(np.float32)

  def build(mesh):
    group = [dims.num_cores, dims.tokens_per_core]
    x = mtf.cast(
        graphs.constant(mesh, inputs, group + [dims.d_model]), tf.bfloat16
    )
    w = graphs.constant(mesh, weights, [dims.d_model, dims.num_experts_unsplit])
    routing = router_lib.SwitchRouter()(x, w, dims)
    dispatcher = dispatch.EinsumDispatcher(routing, dims, x.dtype)
    assert dispatcher.combine_tensor.dtype == tf.bfloat16
    assert dispatcher.dispatch_tensor.dtype == tf.bfloat16
    assert routing.aux_loss.dtype == tf.float32
    return [routing.router_probs, mtf.cast(x, tf.float32)]

  (probs, rounded_inputs), _ = graphs.evaluate(build)
  np.testing.assert_allclose(
      probs,
      oracle.softmax(rounded_inputs.astype(np.float64) @ weights),
      atol=1e-6,
  )


def test_jitter_multiplies_the_routers_input_and_spares_the_experts():
  rng = np.random.RandomState(5)
  dims = sizes(1, 32, 1, 32, 8)
  inputs = rng.randn(1, 32, 8)

  def build(mesh):
    shape = [dims.num_cores, dims.tokens_per_core, dims.d_model]
    x = graphs.constant(mesh, inputs, shape)
    router = bound_router(
        mesh, rng.randn(8, 1), dims, exploration="input_jitter", jitter=0.5
    )
    seen = []

    def feed_forward(expert_inputs, multiply, choices):
      del multiply, choices
      seen.append(expert_inputs)
      return expert_inputs

    outputs, _ = switch_layer.switch_layer(
        x, router, feed_forward, dims, is_training=True
    )
    return [outputs, seen[0]]

  (outputs, seen), _ = graphs.evaluate(build)
  # One expert: its gate is 1 whatever the noise, and its input is untouched.
  np.testing.assert_allclose(outputs, inputs, rtol=1e-6)
  np.testing.assert_allclose(seen.reshape(inputs.shape), inputs, rtol=1e-6)
