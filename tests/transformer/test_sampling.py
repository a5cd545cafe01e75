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

"""The choice of a token against NumPy's, and against upstream's draws."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
from mesh_tensorflow import ops
import numpy as np
import pytest

from tests import graphs

BATCH = mtf.Dimension("batch", 6)


# Two chunks and a half, and three.
@pytest.mark.parametrize("vocab", [320, 384])
@pytest.mark.parametrize("mesh_shape", ["", "data:2"])
def test_the_first_of_the_greatest_is_chosen(vocab, mesh_shape):
  vocab_dim = mtf.Dimension("vocab", vocab)
  # Few values: each is there more than once, in several chunks.
  logits = np.random.RandomState(0).randint(0, 5, [vocab, BATCH.size]) * 1.0
  logits[7, 0] = logits[200, 0] = logits[300, 0] = 9
  logits[:, 1] = -1e9
  logits[-1, 2] = 9

  def build(mesh):
    return [
        mtf.sample_with_temperature(
            graphs.constant(mesh, logits, [vocab_dim, BATCH]), vocab_dim, 0.0
        )
    ]

  (ids,), _ = graphs.evaluate(build, mesh_shape, "batch:data")
  assert ids.dtype == np.int32
  assert ids[:3].tolist() == [7, 0, vocab - 1]
  np.testing.assert_array_equal(ids, logits.argmax(axis=0))


def test_draws_are_upstreams_in_either_order():
  vocab_dim = mtf.Dimension("vocab", 40)
  logits = np.random.RandomState(0).randn(40, BATCH.size)

  def ids(sample, array, dims):
    return graphs.evaluate(
        lambda mesh: [
            sample(graphs.constant(mesh, array, dims), vocab_dim, 1.0)
        ]
    )[0][0]

  upstreams = ids(ops.sample_with_temperature, logits.T, [BATCH, vocab_dim])
  assert (upstreams != logits.argmax(axis=0)).any()
  for array, dims in (
      (logits.T, [BATCH, vocab_dim]),
      (logits, [vocab_dim, BATCH]),
  ):
    ours = ids(mtf.sample_with_temperature, array, dims)
    np.testing.assert_array_equal(ours, upstreams)
