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

"""Builds small Mesh TensorFlow graphs and runs them on CPU devices."""

import collections

import mesh_tensorflow as mtf
import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import draws
from mtf_switch.mesh import placement_mesh


class Model:
  """The attributes of a Unitransformer that layers read."""

  ensemble_dim = None
  ensemble_dims = []

  def __init__(self, mesh_shape=None, layout=None):
    self.mesh_shape = mesh_shape
    self.layout = layout


def constant(mesh, array, dims) -> mtf.Tensor:
  """Returns an array as an mtf.Tensor; float64 becomes float32."""
  array = np.asarray(array)
  if array.dtype == np.float64:
    array = array.astype(np.float32)
  return mtf.import_fully_replicated(
      mesh, tf.constant(array), mtf.Shape(dims), name="constant"
  )


def evaluate(
    build, mesh_shape="", layout="", seed=0, step=0, before_run=lambda: []
):
  """Builds a graph, lowers it onto a mesh of CPU devices and runs it.

  Args:
    build: a function from an mtf.Mesh to a list of mtf.Tensor.
    mesh_shape: for example "data:2".
    layout: for example "batch:data,experts:data".
    seed: of variables and random draws.
    step: the global step, a key of the draws.
    before_run: returns tf.Operations to run after initialization.

  Returns:
    a list of arrays, and the Lowering's counters, lists of values by name.
  """
  shape = mtf.convert_to_shape(mesh_shape)
  with tf.Graph().as_default():
    tf.set_random_seed(seed)
    graph = mtf.Graph()
    mesh = mtf.Mesh(graph, "mesh")
    outputs = [mtf.anonymize(x) for x in build(mesh)]
    impl = placement_mesh.PlacementMeshImpl(
        shape, layout, [f"cpu:{i}" for i in range(shape.size)], seed, step
    )
    draws.seed_loops(graph)
    lowering = mtf.Lowering(graph, {mesh: impl}, autostack=False)
    tensors = [lowering.export_to_tf_tensor(x) for x in outputs]
    config = tf.ConfigProto(device_count={"CPU": shape.size})
    with tf.Session(config=config) as session:
      session.run(tf.global_variables_initializer())
      session.run(before_run())
      session.run(lowering.copy_masters_to_slices())
      results = session.run(tensors)
  counters = collections.defaultdict(list)
  for name, value in lowering.counters:
    counters[name].append(value)
  return results, counters
