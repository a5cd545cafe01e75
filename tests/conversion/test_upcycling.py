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
"""Which weights of a dense model become which of a Switch model."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.conversion import account
from mtf_switch.conversion import checkpoint_writer
from mtf_switch.conversion import upcycling
from tests.training import test_warm_start

BFLOAT16 = np.dtype(tf.bfloat16.as_numpy_dtype)


def switch_of_t5_small():
  return test_warm_start.shapes_of(
      "models/switch_tiny.gin",
      *test_warm_start.SIZES,
      "num_blocks = 3",
      "num_cores = 1",
      "num_experts = 4",
  )


def made(shapes, dtype="f4"):
  return {
      name: checkpoint_writer.Variable(name, tuple(shape), np.dtype(dtype))
      for name, shape in shapes.items()
  }


def test_a_checkpoint_of_t5_by_hand():
  model, dense = switch_of_t5_small(), test_warm_start.t5_small()
  found = upcycling.match(model, dense, "there")
  # 6 Switch layers: the second of each pair, with two matrices and a router.
  assert len(found.of_experts) == 12 and len(found.fresh) == 6
  assert len(found.copied) + 12 + 6 == len(model)
  kernel = "SwitchFeedForward/experts/wi/kernel"
  assert found.of_experts[f"encoder/block_002/layer_003/{kernel}"] == (
      "encoder/block_005/layer_001/DenseReluDense/wi/kernel"
  )
  assert found.of_experts[f"decoder/block_001/layer_005/{kernel}"] == (
      "decoder/block_003/layer_002/DenseReluDense/wi/kernel"
  )
  # The norm of a layer that becomes sparse comes along.
  assert found.copied["encoder/block_002/layer_003/rms_norm/scale"] == (
      "encoder/block_005/layer_001/layer_norm/scale"
  )
  assert found.left_out == [
      "decoder/block_000/layer_001/EncDecAttention/relative_attention_bias"
  ]
  entries = upcycling.entries(
      found, made(model).values(), made(dense, "f2"), 0.5
  )
  rows = {row[1]: (row[0], *row[2:]) for row in account.rows(entries)}
  assert len(rows) == len(model) + 1
  assert rows[f"encoder/block_002/layer_003/{kernel}"] == (
      "encoder/block_005/layer_001/DenseReluDense/wi/kernel",
      "4 x 512 x 2048",
      "4,194,304",
      "copied to 4 experts, noise of 0.5, float16 to float32",
  )
  router = "encoder/block_002/layer_003/SwitchFeedForward/router/kernel"
  assert rows[router] == ("fresh", "512 x 4", "2,048", "drawn by --seed")
  assert rows["left out"][0] == found.left_out[0]
  assert account.summary(entries).startswith(
      f"{len(found.copied) + 12} tensors with "
  )
  assert "; 6 are fresh, with 12,288 values; 1 left out" in account.summary(
      entries
  )


def test_weights_without_a_place_are_refused():
  dense = test_warm_start.t5_small()
  dense["encoder/block_006/layer_000/SelfAttention/q"] = (512, 512)
  with pytest.raises(
      errors.UserError,
      match="encoder/block_006/layer_000/SelfAttention/q: only in there",
  ):
    upcycling.match(switch_of_t5_small(), dense, "there")


def test_copies_and_their_noise():
  weight = np.random.RandomState(0).randn(64, 32).astype(BFLOAT16)
  copies = upcycling.experts_of(weight, "a", 3, 0.0, 5, np.dtype(np.float32))
  assert copies.dtype == np.float32
  np.testing.assert_array_equal(copies, np.stack([weight] * 3).astype("f4"))
  noisy = [
      upcycling.experts_of(weight, *x, np.dtype(np.float32))
      for x in (("a", 3, 0.5, 5), ("a", 2, 0.5, 5), ("b", 2, 0.5, 5))
  ]
  # An expert's noise is a function of seed, variable and expert.
  np.testing.assert_array_equal(noisy[0][:2], noisy[1])
  added = [(x - copies[:1]).reshape(-1, 64 * 32) for x in noisy]
  assert (
      np.abs(
          np.corrcoef(np.concatenate([added[0], added[2]])) - np.eye(5)
      ).max()
      < 0.1
  )
  np.testing.assert_allclose(
      added[0].std(1), 0.5 * weight.astype("f4").std(), rtol=0.05
  )
