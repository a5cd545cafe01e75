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

"""Random bits that are a function of a key and of where they are used."""

from collections.abc import Sequence

import tensorflow.compat.v1 as tf


def _mix(bits: tf.Tensor) -> tf.Tensor:
  """Scrambles uint32s one to one: a multiply and xor-shift finalizer."""
  for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
    bits = tf.bitwise.bitwise_xor(
        bits, tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32))
    )
    bits *= tf.constant(factor, tf.uint32)
  return tf.bitwise.bitwise_xor(
      bits, tf.bitwise.right_shift(bits, tf.constant(16, tf.uint32))
  )


def at(key: tf.Tensor, coordinates: Sequence[tf.Tensor]) -> tf.Tensor:
  """Draws 32 bits for each point.

  Args:
    key: [2] int32.
    coordinates: int32 tensors whose shapes broadcast, the coordinates of the
      points. The cheapest order has the shape grow last.

  Returns:
    uint32 of that shape.
  """
  key = tf.bitcast(key, tf.uint32)
  bits = _mix(key[0])
  for coordinate in coordinates:
    bits = _mix(bits + _mix(tf.bitcast(coordinate, tf.uint32) + key[1]))
  return bits
