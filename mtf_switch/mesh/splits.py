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

"""The splitting of a model's dimensions by its mesh."""

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_function


def is_on_tpu() -> bool:
  """Whether the graph that is being built will run on a TPU."""
  return tpu_function.get_tpu_context().number_of_shards is not None


def is_on_cpu() -> bool:
  """Whether the graph that is being built will run on CPUs."""
  return not is_on_tpu() and not tf.config.list_physical_devices("GPU")


def ways(model, dim: mtf.Dimension) -> int:
  """The number of parts that a model's mesh splits a dimension into.

  Args:
    model: a Unitransformer.
    dim: the dimension.

  Returns:
    the size of the mesh axis; 1 for dimensions that are not split, and for
    models without a mesh.
  """
  if model.mesh_shape is None:
    return 1
  return mtf.tensor_dim_to_mesh_dim_size(model.layout, model.mesh_shape, dim)


def share_axis(model, dim: mtf.Dimension, other: mtf.Dimension) -> bool:
  """Whether a layout has two dimensions on one mesh axis, even of one core.

  No tensor may have both.

  Args:
    model: a Unitransformer with a mesh.
    dim: a dimension.
    other: another one.
  """
  layout = mtf.convert_to_layout_rules(model.layout)
  mesh_shape = mtf.convert_to_shape(model.mesh_shape)
  axis, other_axis = (
      layout.tensor_dimension_to_mesh_axis(x, mesh_shape) for x in (dim, other)
  )
  return axis is not None and axis == other_axis


def are_whole(model, dims) -> bool:
  """Whether dimensions are known to be whole on each core; never on a TPU.

  The callers' code for CPUs and GPUs is slower than a TPU's own compiler.

  Args:
    model: a Unitransformer.
    dims: mtf.Dimensions, of which only the names count.

  Returns:
    whether the model has a mesh of CPUs or GPUs that splits none of them.
  """
  return (
      not is_on_tpu()
      and model.mesh_shape is not None
      and all(ways(model, dim) == 1 for dim in dims)
  )
