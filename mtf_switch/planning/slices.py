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

"""The sizes of a layout's slices."""

from collections.abc import Iterable
import math

import mesh_tensorflow as mtf


class Slices:
  """The sizes of the slices that one core holds."""

  def __init__(self, mesh_shape: mtf.Shape, layout: mtf.LayoutRules):
    """Records the layout; see Experiment.mesh and Experiment.layout."""
    self._mesh_shape = mesh_shape
    self._layout = layout
    self._sizes = {}

  def of(self, dim: mtf.Dimension) -> int:
    """Returns the size of a slice of a dimension."""
    if dim not in self._sizes:
      self._sizes[dim] = mtf.tensor_dim_to_size_per_split(
          self._layout, self._mesh_shape, dim
      )
    return self._sizes[dim]

  def size(self, dims: Iterable[mtf.Dimension]) -> int:
    """Returns the number of entries of a slice with such dimensions."""
    return math.prod(self.of(dim) for dim in dims)

  def bytes(self, tensor: mtf.Tensor) -> int:
    """Returns the bytes of a slice of a tensor."""
    return self.size(tensor.shape.dims) * tensor.dtype.size

  def bytes_of_variables(self, variables: Iterable[mtf.Variable]) -> int:
    """Returns the bytes of the slices of variables, as they are stored."""
    return sum(
        self.size(variable.shape.dims) * variable.slice_dtype.size
        for variable in variables
    )
