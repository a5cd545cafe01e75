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

"""Functions of matrices in blocks are those of the whole matrices."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import blocks


def run(fn, *args, **kwargs):
  """The results of a function of constants, in a graph."""
  with tf.Graph().as_default(), tf.Session() as session:
    args = [tf.constant(x, tf.float32) for x in args]
    return session.run(fn(*args, **kwargs))


def random(*shape):
  return np.random.RandomState(len(shape)).randn(*shape).astype(np.float32)


@pytest.mark.parametrize(
    "rows, columns, expected",
    [
        (256, 1024, 256),
        (768, 2048, 128),
        (32128, 256, 1004),
        # Too small, prime, and too wide for a block of its own.
        (100, 100, 100),
        (10007, 128, 10007),
        (4, 2**20, 4),
    ],
)
def test_blocks_divide_the_rows(rows, columns, expected):
  assert blocks.rows_of_block(rows, columns) == expected


@pytest.mark.parametrize("number", [1, 2])
def test_a_case_by_hand(number):
  x = [[1, 2, 3], [4, 5, 6]]
  over_columns, over_rows = run(blocks.sums_of_squares, x, blocks=number)
  np.testing.assert_array_equal(over_columns, [14, 77])
  np.testing.assert_array_equal(over_rows, [17, 29, 45])
  total = run(
      blocks.weighted_sum_of_squares, x, [1, 10], [1, 0, 2], blocks=number
  )
  assert total == 19 + 10 * 88
  result = run(blocks.subtract_scaled, x, x, [1, 10], [1, 0, 2], blocks=number)
  np.testing.assert_array_equal(result, [[0, 2, -3], [-36, 5, -114]])


@pytest.mark.parametrize("number", [1, 2, 8])
def test_each_matrix_has_its_factors(number):
  """Sums of some dozen float32, in another order."""
  x, y = random(3, 8, 5), random(3, 8, 5)[::-1]
  by_row, by_column = random(3, 8), random(3, 5)
  weights = by_row[:, :, np.newaxis] * by_column[:, np.newaxis]
  over_columns, over_rows = run(blocks.sums_of_squares, x, blocks=number)
  np.testing.assert_allclose(over_columns, (x**2).sum(2), rtol=1e-6)
  np.testing.assert_allclose(over_rows, (x**2).sum(1), rtol=1e-6)
  args = by_row, by_column
  total = run(blocks.weighted_sum_of_squares, x, *args, blocks=number)
  terms = x**2 * weights
  np.testing.assert_allclose(
      total, terms.sum(), rtol=0, atol=1e-6 * np.abs(terms).sum()
  )
  result = run(blocks.subtract_scaled, x, y, *args, blocks=number)
  np.testing.assert_allclose(result, x - y * weights, rtol=1e-5, atol=1e-6)


def test_weights_of_one_shape_share_their_functions():
  with tf.Graph().as_default() as graph:
    for columns in (5, 5, 6):
      blocks.sums_of_squares(tf.zeros([8, columns]), blocks=2)
    assert len(graph.as_graph_def().library.function) == 2
