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

"""Figure 14 against hand-worked numbers, the oracle and its properties."""

import mesh_tensorflow as mtf
import numpy as np
import pytest

from mtf_switch import losses
from tests import graphs
from tests import oracle


def loss_and_gradient(router_probs, expert_index, nonpadding=None):
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
    real = None
    if nonpadding is not None:
      real = graphs.constant(mesh, nonpadding.astype(np.float32), dims[:-1])
      mask *= real
    loss = losses.load_balance_loss(probs, mask, *dims, nonpadding=real)
    return [loss] + mtf.gradients([loss], [probs])

  (loss, gradient), _ = graphs.evaluate(build)
  return loss, gradient


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


def test_a_group_of_padding_does_not_count():
  rng = np.random.RandomState(1)
  probs = oracle.softmax(rng.randn(2, 6, 3))
  index = probs.argmax(-1)
  nonpadding = np.array([[1] * 6, [0] * 6])
  loss, gradient = loss_and_gradient(probs, index, nonpadding)
  alone, _ = loss_and_gradient(probs[:1], index[:1])
  np.testing.assert_allclose(loss, alone, rtol=1e-6)
  assert not gradient[1].any()


def test_a_batch_of_padding_gives_zero_and_no_nan():
  probs = np.full((2, 6, 3), 1 / 3)
  loss, gradient = loss_and_gradient(probs, probs.argmax(-1), np.zeros((2, 6)))
  assert loss == 0.0
  assert not gradient.any()


@pytest.mark.parametrize("num_cores", [1, 3])
@pytest.mark.parametrize("num_experts", [1, 2, 7, 64])
@pytest.mark.parametrize("share_of_padding", [0.0, 0.4])
def test_equals_the_oracle(num_cores, num_experts, share_of_padding):
  rng = np.random.RandomState(num_experts)
  probs = oracle.softmax(rng.randn(num_cores, 12, num_experts))
  nonpadding = (rng.rand(num_cores, 12) >= share_of_padding).astype(int)
  loss, _ = loss_and_gradient(probs, probs.argmax(-1), nonpadding)
  np.testing.assert_allclose(
      loss,
      oracle.load_balance_loss(probs, probs.argmax(-1), nonpadding),
      rtol=1e-6,  # Sums of at most 768 float32 terms of one sign.
  )
