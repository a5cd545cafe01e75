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

"""The mesh of a graph, and the features placed on it."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.mesh import placement_mesh
from mtf_switch.mesh import simd_mesh


def place(
    mesh_shape: mtf.Shape,
    layout: mtf.LayoutRules,
    devices: Sequence[str] | None,
    seed: int,
    step: tf.Tensor | None,
    tpu_context=None,
) -> tuple[mtf.Mesh, mtf.MeshImpl]:
  """Creates a graph's mesh and its implementation.

  Args:
    mesh_shape: the mesh.
    layout: the dimensions that its axes split.
    devices: a device name for each processor; None leaves it to TensorFlow.
    seed: keys the noise.
    step: an integer scalar tensor that keys it too; None if there is none.
    tpu_context: TPUEstimator's description of the TPU; None for CPU and GPU.

  Returns:
    the mesh of a new mtf.Graph, and its implementation.

  Raises:
    UserError: the TPU has another number of cores.
  """
  devices = devices or [""] * mesh_shape.size
  if tpu_context is None:
    return mtf.Mesh(mtf.Graph(), "mesh"), placement_mesh.PlacementMeshImpl(
        mesh_shape, layout, devices, seed=seed, step=step
    )
  if mesh_shape.size != tpu_context.num_replicas:
    axes = ",".join(f"{axis.name}:{axis.size}" for axis in mesh_shape)
    raise errors.UserError(
        f"Experiment.mesh_shape = {axes!r} is for {mesh_shape.size} cores, but "
        f"the TPU has {tpu_context.num_replicas}; change the layout's "
        "data_parallelism or model_parallelism."
    )
  # As upstream. No TPU has run it: tests build the graph.
  # Worker 0 also caches the programs of all replicas, some 300 MB each.
  hosts = [
      tpu_context.tpu_host_placement_function(host_id=i)
      for i in range(tpu_context.num_hosts)
  ]
  used = [300 * 1000000 * tpu_context.num_replicas] + [0] * (len(hosts) - 1)
  placer = mtf.utils.BalancedVariablePlacer(hosts, used)
  assignment = tpu_context.device_assignment
  return mtf.Mesh(mtf.Graph(), "mesh", placer), simd_mesh.SimdMeshImpl(
      mesh_shape,
      layout,
      devices,
      assignment,
      logical_to_physical=_logical_to_physical(
          mesh_shape, [int(size) for size in assignment.topology.mesh_shape]
      ),
      seed=seed,
      step=step,
  )


def _logical_to_physical(
    mesh_shape: mtf.Shape, topology: Sequence[int]
) -> list[int] | None:
  """The assignment of TPU cores to a mesh that keeps neighbours close.

  Args:
    mesh_shape: the mesh.
    topology: `[x, y, z, cores of a chip]`.

  Returns:
    the TPU's core for each core of the mesh; None for the order of the device
    assignment, which is a single ring if chips have one core each. Upstream's
    tiling needs two cores a chip and fails otherwise.
  """
  if topology[-1] != 2 or mesh_shape.size == 1:
    return None
  return mtf.simd_mesh_impl.auto_logical_to_physical_tpu(
      mesh_shape.to_integer_list, topology
  )


@contextlib.contextmanager
def placeholders_for_variables() -> Iterator[None]:
  """Replaces variables by placeholders, in graphs that are never run.

  Graphs of models of any size can then be inspected without memory or time.

  Yields:
    nothing.
  """

  def placeholder(name, shape, dtype, **unused_kwargs):
    with tf.name_scope(None):
      return tf.placeholder(dtype, shape, name)

  with tf.variable_scope(tf.get_variable_scope(), custom_getter=placeholder):
    yield


def import_features(
    mesh: mtf.Mesh,
    features: Mapping[str, tf.Tensor],
    batch_size: int,
    lengths: Mapping[str, int],
    outer_batch_size: int = 1,
) -> dict[str, mtf.Tensor]:
  """Places the features of a batch on the mesh.

  Args:
    mesh: the mesh.
    features: integers `[batch_size, length]` by name. Packing adds features
      such as "inputs_segmentation", of the length of "inputs". A teacher's
      cache adds numbers of any type, `[batch_size, length, choices]` too.
    batch_size: sequences in the batch.
    lengths: positions for "inputs" and "targets".
    outer_batch_size: outer batches that the batch is divided into.

  Returns:
    int32 or float32 `[batch, length]` by name; with several outer batches,
    `[outer_batch, batch, length]`.
  """
  batch_dims = [mtf.Dimension("batch", batch_size // outer_batch_size)]
  if outer_batch_size > 1:
    batch_dims.insert(0, mtf.Dimension("outer_batch", outer_batch_size))
  imported = {}
  for name, value in features.items():
    length_dim = mtf.Dimension("length", lengths[name.split("_")[0]])
    more_dims = [mtf.Dimension("choices", n) for n in value.shape.as_list()[2:]]
    shape = mtf.Shape([*batch_dims, length_dim, *more_dims])
    if value.dtype.is_integer:
      value = tf.cast(value, tf.int32)
    value = tf.reshape(value, shape.to_integer_list)
    imported[name] = mtf.import_fully_replicated(mesh, value, shape, name=name)
  return imported
