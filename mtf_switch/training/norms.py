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

"""Norms of many tensors together, at some steps only."""

from collections.abc import Mapping, Sequence

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf


def at(
    is_due: tf.Tensor,
    lowering: mtf.Lowering,
    groups: Mapping[str, Sequence[mtf.Tensor]],
) -> dict[str, tf.Tensor]:
  """Returns the norm of each group of tensors, at the steps that are due.

  The tensors stay where they are; only sums of squares travel. The graph is the
  same at all steps, and other steps compute nothing.

  Args:
    is_due: a bool scalar; whether to compute them.
    lowering: of the tensors' graph, onto CPUs or GPUs.
    groups: tensors by name, of one mesh.

  Returns:
    float32 scalars by name: the root of the sum of all squares, 0 where
    nothing is due.
  """
  # Outside the condition: an exchange that is put off until somebody reads it
  # belongs to every step.
  slices = {name: _slices(lowering, xs) for name, xs in groups.items()}

  def compute():
    return [_norm(parts) for parts in slices.values()]

  def leave_out():
    return [tf.constant(0.0) for _ in slices]

  values = tf.cond(is_due, compute, leave_out, strict=True)
  return dict(zip(slices, values))


def _slices(
    lowering: mtf.Lowering, tensors: Sequence[mtf.Tensor]
) -> list[tf.Tensor]:
  """The slices that make up tensors, each once, of the copies on a mesh."""
  slices = []
  for x in tensors:
    mesh_impl = lowering.mesh_impl(x.mesh)
    parts = lowering.tensors[x].to_laid_out_tensor().tensor_list
    by_place = {}
    for number, part in enumerate(parts):
      place = tuple(mesh_impl.slice_begin(x.shape, number))
      by_place.setdefault(place, part)
    slices += by_place.values()
  return slices


def _norm(slices: Sequence[tf.Tensor]) -> tf.Tensor:
  """The root of the sum of the squares of all elements."""
  halves = []
  for part in slices:
    with tf.device(part.device):
      # Half the sum of squares, without a tensor of squares.
      halves.append(tf.nn.l2_loss(tf.cast(part, tf.float32)))
  return tf.sqrt(2 * tf.add_n(halves))
