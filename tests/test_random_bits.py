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

"""Bits of points, one after the other in Python's integers."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch import random_bits


def mix(bits):
  bits %= 2**32
  bits = ((bits ^ (bits >> 16)) * 0x7FEB352D) % 2**32
  bits = ((bits ^ (bits >> 15)) * 0x846CA68B) % 2**32
  return bits ^ (bits >> 16)


def test_bits_are_those_of_integers():
  key, rows, columns = [3, -5], [0, 7, 2**30], [0, 1, 500]
  expected = [
      [mix(mix(mix(3) + mix(row - 5)) + mix(column - 5)) for column in columns]
      for row in rows
  ]
  with tf.Graph().as_default(), tf.Session() as session:
    bits = session.run(
        random_bits.at(
            tf.constant(key), [tf.constant(rows)[:, tf.newaxis], columns]
        )
    )
  np.testing.assert_array_equal(bits, expected)
