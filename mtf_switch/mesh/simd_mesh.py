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

"""The mesh of TPU cores."""

import mesh_tensorflow as mtf
from mesh_tensorflow import simd_mesh_impl
import numpy as np
from tensorflow.python.tpu.ops import tpu_ops

from mtf_switch.mesh import draws


class SimdMeshImpl(simd_mesh_impl.SimdMeshImpl):
  """Upstream's mesh of TPU cores, with its communication corrected.

  Draws are reproducible and need no all-reduce. An exchange keeps its dtype:
  upstream's all-to-all silently sends float32 as bfloat16. Sums over cores are
  upstream's: over more than 8 cores, those of bfloat16 add and send float32.
  """

  def __init__(self, *args, seed: int = 0, step=None, **kwargs):
    """Creates the mesh.

    Args:
      *args: upstream's arguments.
      seed: an integer.
      step: the global step, an integer scalar tensor; None for step 0.
      **kwargs: upstream's keyword arguments.
    """
    super().__init__(*args, **kwargs)
    self.keys = draws.Keys(seed, step)
    self._group_assignments = {}

  def _create_group_assignment(self, mesh_axes):
    """As upstream's, a loop over all cores, but once for each set of axes.

    Args:
      mesh_axes: integers.

    Returns:
      an array `[groups, cores of a group]` of physical cores.
    """
    key = tuple(sorted(mesh_axes))
    if key not in self._group_assignments:
      self._group_assignments[key] = np.array(
          super()._create_group_assignment(mesh_axes), np.int32
      )
    return self._group_assignments[key]

  def alltoall(self, x, mesh_axis, split_axis, concat_axis):
    """Exchanges parts of slices along a mesh axis, without casting them.

    Args:
      x: a LaidOutTensor.
      mesh_axis: an integer.
      split_axis: the axis along which a slice is divided among the cores.
      concat_axis: the axis along which the received parts are joined.

    Returns:
      a LaidOutTensor.
    """
    return self.LaidOutTensor(
        [
            tpu_ops.all_to_all(
                x.to_laid_out_tensor().one_slice,
                concat_dimension=concat_axis,
                split_dimension=split_axis,
                split_count=self.shape[mesh_axis].size,
                group_assignment=self._create_group_assignment([mesh_axis]),
            )
        ]
    )

  def allreduce(self, x, mesh_axes, reduction_fn_string):
    """Reduces over cores; maxima and minima take log2(n) shifts of the slice.

    Upstream gathers all n slices for them, each as a sum with zeros: infinite
    entries become NaN, and integers float32.

    Args:
      x: a LaidOutTensor.
      mesh_axes: integers, the axes to reduce over.
      reduction_fn_string: "SUM", "MAX" or "MIN".

    Returns:
      a LaidOutTensor.
    """
    if reduction_fn_string == "SUM":
      return super().allreduce(x, mesh_axes, reduction_fn_string)
    return reduce_by_shifts(
        self, x.to_laid_out_tensor(), mesh_axes, reduction_fn_string
    )

  def random(self, shape, tf_fn, kwargs):
    """Draws each core's slice on that core, keyed by the global position.

    Args:
      shape: an mtf.Shape, of the global tensor.
      tf_fn: tf.random.uniform or tf.random.normal.
      kwargs: its other arguments, except for seed.

    Returns:
      a LaidOutTensor.
    """
    key_at = self.keys.next()
    slice_shape = self.slice_shape(shape)
    split_axes = [
        (axis, mesh_axis)
        for axis, mesh_axis in enumerate(
            self.tensor_layout(shape).tensor_axis_to_mesh_axis
        )
        if mesh_axis is not None
    ]

    def draw(*slices):
      begin = [0] * len(slice_shape)
      for (axis, _), coordinate in zip(split_axes, slices):
        begin[axis] = coordinate * slice_shape[axis]
      return draws.scaled(
          tf_fn,
          lambda dtype: draws.uniform_at(
              key_at(*slices[len(split_axes) :]), begin, slice_shape, dtype
          ),
          **kwargs,
      )

    coordinates = [
        self.laid_out_pcoord(mesh_axis) for _, mesh_axis in split_axes
    ]
    return self.slicewise(draw, *coordinates, *self.keys.slices())


def reduce_by_shifts(mesh_impl, x, mesh_axes, reduction_fn_string: str):
  """The maximum or minimum over cores, by recursive doubling.

  Args:
    mesh_impl: of CPU, GPU or TPU cores.
    x: a LaidOutTensor.
    mesh_axes: integers, the axes to reduce over.
    reduction_fn_string: "MAX" or "MIN", which may count a slice twice.

  Returns:
    a LaidOutTensor.
  """
  reduce = mtf.binary_reduction_fn(reduction_fn_string)
  for mesh_axis in mesh_axes:
    seen = 1
    while seen < mesh_impl.shape[mesh_axis].size:
      others = mesh_impl.shift_by_n_processors(x, mesh_axis, seen, wrap=True)
      x = mesh_impl.slicewise(reduce, x, others)
      seen *= 2
  return x
