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

"""The router's losses by hand, against the oracle, and their properties."""

import mesh_tensorflow as mtf
import numpy as np
import pytest

from mtf_switch.layer import losses
from tests import graphs
from tests import oracle


def loss_and_gradient(
    router_probs, expert_index, nonpadding=None, scope="group"
):
  """The loss and its gradient with respect to the probabilities."""
  num_cores, tokens_per_core, num_experts = router_probs.shape

  def build(mesh):
    dims = [
        mtf.Dimension("batch", num_cores),
        mtf.Dimension("tokens_per_core", tokens_per_core),
        mtf.Dimension("experts_unsplit", num_experts),
    ]
    probs = graphs.constant(mesh, router_probs, dims)
    mask = mtf.one_hot(
        graphs.constant(mesh, expert_index.astype(np.int32), dims[:-1]),
        dims[-1],
    )
    real = constant_mask(mesh, nonpadding, dims[:-1])
    loss = losses.load_balance_loss(
        probs, mask * real, real, dims[:1], *dims[1:], scope
    )
    return [loss] + mtf.gradients([loss], [probs])

  (loss, gradient), _ = graphs.evaluate(build)
  return loss, gradient


def constant_mask(mesh, nonpadding, dims):
  """An mtf.Tensor of 0 and 1; None for ones."""
  if nonpadding is None:
    nonpadding = np.ones([dim.size for dim in dims])
  return graphs.constant(mesh, nonpadding.astype(np.float32), dims)


# Figure 11's six tokens on three experts.
SIX_TOKENS = np.array(
    [
        [
            [0.1, 0.7, 0.2],
            [0.7, 0.2, 0.1],
            [0.5, 0.3, 0.2],
            [0.8, 0.1, 0.1],
            [0.3, 0.1, 0.6],
            [0.7, 0.1, 0.2],
        ]
    ]
)
SIX_CHOICES = SIX_TOKENS.argmax(axis=-1)


def test_six_tokens_by_hand():
  # f = (4, 1, 1) / 6; P = (3.1, 1.5, 1.4) / 6;
  # 3 * (4 * 3.1 + 1.5 + 1.4) / 36 = 1.275.
  loss, gradient = loss_and_gradient(SIX_TOKENS, SIX_CHOICES)
  np.testing.assert_allclose(loss, 1.275, rtol=1e-6)  # float32 rounding.
  # Only P is differentiable: dL/dp = N f_i / T = 3 * (4, 1, 1) / 36.
  np.testing.assert_allclose(
      gradient[0], np.tile([4 / 12, 1 / 12, 1 / 12], (6, 1)), rtol=1e-6
  )


def test_padding_by_hand():
  # Without the last two tokens: f = (3, 1, 0) / 4, P = (2.1, 1.3, 0.6) / 4;
  # 3 * (3 * 2.1 + 1.3) / 16 = 1.425.
  nonpadding = np.array([[1, 1, 1, 1, 0, 0]])
  loss, gradient = loss_and_gradient(SIX_TOKENS, SIX_CHOICES, nonpadding)
  np.testing.assert_allclose(loss, 1.425, rtol=1e-6)
  assert not gradient[0, 4:].any()  # Padding neither counts nor learns.


def test_uniform_routing_gives_one():
  probs = np.full((2, 8, 4), 0.25)
  index = np.tile(np.arange(8) % 4, (2, 1))
  loss, _ = loss_and_gradient(probs, index)
  assert loss == 1.0  # All terms are powers of two: exact.


def test_groups_are_averaged_not_pooled():
  rng = np.random.RandomState(0)
  probs = oracle.softmax(rng.randn(3, 10, 5))
  index = probs.argmax(-1)
  one_by_one = [
      loss_and_gradient(probs[i : i + 1], index[i : i + 1])[0] for i in range(3)
  ]
  loss, _ = loss_and_gradient(probs, index)
  np.testing.assert_allclose(loss, np.mean(one_by_one), rtol=1e-6)
  pooled, _ = loss_and_gradient(probs.reshape(1, 30, 5), index.reshape(1, 30))
  assert abs(pooled - loss) > 1e-3  # A mean of products is another number.


@pytest.mark.parametrize("scope", losses.SCOPES)
@pytest.mark.parametrize("num_cores", [1, 3])
@pytest.mark.parametrize("num_experts", [1, 2, 7, 64])
@pytest.mark.parametrize("share_of_padding", [0.0, 0.4])
def test_equals_the_oracle(num_cores, num_experts, share_of_padding, scope):
  rng = np.random.RandomState(num_experts)
  probs = oracle.softmax(rng.randn(num_cores, 12, num_experts))
  nonpadding = (rng.rand(num_cores, 12) >= share_of_padding).astype(int)
  loss, _ = loss_and_gradient(probs, probs.argmax(-1), nonpadding, scope)
  np.testing.assert_allclose(
      loss,
      oracle.load_balance_loss(probs, probs.argmax(-1), nonpadding, scope),
      rtol=1e-6,  # Sums of at most 768 float32 terms of one sign.
  )


def test_two_groups_by_hand_in_both_scopes():
  probs = np.array([[[0.75, 0.25], [0.5, 0.5]], [[0.25, 0.75], [0.0, 1.0]]])
  index = np.array([[0, 0], [1, 1]])
  # First group f = (1, 0), P = (5, 3) / 8: 2 * 5 / 8 = 1.25;
  # second f = (0, 1), P = (1, 7) / 8: 2 * 7 / 8 = 1.75; mean 1.5.
  loss, gradient = loss_and_gradient(probs, index)
  assert loss == 1.5  # Eighths are exact.
  # N f_i / (T G) in each group.
  np.testing.assert_array_equal(
      gradient.reshape(4, 2), np.eye(2).repeat(2, 0) * 0.5
  )
  # All together f = (1, 1) / 2, P = (3, 5) / 8: 2 * (3 + 5) / 16 = 1.
  loss, gradient = loss_and_gradient(probs, index, scope="batch")
  assert loss == 1.0
  np.testing.assert_array_equal(gradient, np.full((2, 2, 2), 0.25))
  # Without the third token f = (2, 1) / 3, P = (5, 7) / 12:
  # 2 * (10 + 7) / 36 = 17 / 18. The third token learns nothing.
  loss, gradient = loss_and_gradient(
      probs, index, np.array([[1, 1], [0, 1]]), "batch"
  )
  np.testing.assert_allclose(loss, 17 / 18, rtol=1e-6)
  assert not gradient[1, 0].any()
  np.testing.assert_allclose(gradient[1, 1], [4 / 9, 2 / 9], rtol=1e-6)


def z_loss_and_gradient(router_logits, nonpadding=None):
  """The z-loss and its gradient with respect to the logits."""
  num_cores, tokens_per_core, num_experts = router_logits.shape

  def build(mesh):
    dims = [
        mtf.Dimension("batch", num_cores),
        mtf.Dimension("tokens_per_core", tokens_per_core),
        mtf.Dimension("experts_unsplit", num_experts),
    ]
    logits = graphs.constant(mesh, router_logits, dims)
    real = constant_mask(mesh, nonpadding, dims[:-1])
    loss = losses.router_z_loss(logits, real, dims[-1])
    return [loss] + mtf.gradients([loss], [logits])

  (loss, gradient), _ = graphs.evaluate(build)
  return loss, gradient


def test_z_loss_by_hand():
  # exp sums to 2 + 6 = 8, to 1 + 1 = 2, to 8 and, padding, to 2 e^9.
  logits = np.array(
      [[np.log([2.0, 6.0]), [0.0, 0.0]], [np.log([4.0, 4.0]), [9.0, 9.0]]]
  )
  nonpadding = np.array([[1, 1], [1, 0]])
  loss, gradient = z_loss_and_gradient(logits, nonpadding)
  # ((3 ln 2)^2 + (ln 2)^2 + (3 ln 2)^2) / 3, not a mean of groups' means.
  np.testing.assert_allclose(loss, 19 / 3 * np.log(2) ** 2, rtol=1e-6)
  # 2 ln(z) p_i / 3.
  np.testing.assert_allclose(
      gradient,
      np.log(2)
      / 3
      * np.array([[[1.5, 4.5], [1.0, 1.0]], [[3.0, 3.0], [0.0, 0.0]]]),
      rtol=1e-6,
  )


def test_z_loss_survives_logits_whose_exponentials_overflow():
  loss, gradient = z_loss_and_gradient(np.full((1, 1, 2), 200.0))
  np.testing.assert_allclose(loss, (200 + np.log(2)) ** 2, rtol=1e-6)
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize("num_cores", [1, 3])
@pytest.mark.parametrize("num_experts", [1, 2, 7, 64])
@pytest.mark.parametrize("share_of_padding", [0.0, 0.4])
def test_z_loss_equals_the_oracle(num_cores, num_experts, share_of_padding):
  rng = np.random.RandomState(num_experts)
  logits = 3 * rng.randn(num_cores, 12, num_experts)
  nonpadding = (rng.rand(num_cores, 12) >= share_of_padding).astype(int)
  loss, _ = z_loss_and_gradient(logits, nonpadding)
  np.testing.assert_allclose(
      loss,
      oracle.router_z_loss(logits, nonpadding),
      rtol=1e-6,  # Squares of logarithms: no cancellation.
  )


@pytest.mark.parametrize("padded_groups", [[0, 1], [1]])
@pytest.mark.parametrize("name", ["group", "batch", "z"])
def test_padding_gives_no_loss_no_nan_and_no_gradient(name, padded_groups):
  rng = np.random.RandomState(2)
  logits = rng.randn(2, 6, 3)
  nonpadding = np.ones((2, 6))
  nonpadding[padded_groups] = 0

  def loss_of(logits, nonpadding):
    if name == "z":
      return z_loss_and_gradient(logits, nonpadding)
    probs = oracle.softmax(logits)
    return loss_and_gradient(probs, probs.argmax(-1), nonpadding, name)

  loss, gradient = loss_of(logits, nonpadding)
  assert not gradient[padded_groups].any()
  if len(padded_groups) == 2:
    assert loss == 0.0
  else:
    alone, alone_gradient = loss_of(logits[:1], nonpadding[:1])
    np.testing.assert_allclose(loss, alone, rtol=1e-6)
    np.testing.assert_allclose(gradient[:1], alone_gradient, rtol=1e-6)
