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

"""Rewritten graphs beside those that TensorFlow says it has run."""

import mtf_switch  # isort: skip  # noqa: F401
import collections

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import placement_mesh
from mtf_switch.planning import graph_optimizer

ROWS = mtf.Dimension("rows", 64)
COLUMNS = mtf.Dimension("columns", 32)
MATRIX = mtf.Shape([ROWS, COLUMNS])


def placeholder(mesh, *dims):
  shape = [dim.size for dim in dims]
  return mtf.import_fully_replicated(
      mesh, tf.placeholder(tf.float32, shape), mtf.Shape(dims)
  )


def both(build):
  """Builds a graph; returns its nodes and those of TensorFlow that have run.

  Args:
    build: a function from an mtf.Mesh to a list of results.

  Returns:
    the nodes of graph_optimizer, and how often each kind of TensorFlow's has
    run.
  """
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    results = build(mesh)
    nodes = [
        graph_optimizer.Node(x, x.inputs, x.outputs)
        for x in mesh.graph.operations
    ]
    nodes = graph_optimizer.optimize(nodes, results)
    step = tf.placeholder(tf.int32, [])
    impl = placement_mesh.PlacementMeshImpl("", "", [""], seed=0, step=step)
    lowering = mtf.Lowering(mesh.graph, {mesh: impl})
    tensors = [lowering.export_to_tf_tensor(x) for x in results]
    feed = {
        x.outputs[0]: np.ones(x.outputs[0].shape)
        for x in tf.get_default_graph().get_operations()
        if x.type == "Placeholder"
    }
    metadata = tf.RunMetadata()
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      session.run(
          tensors,
          feed,
          options=tf.RunOptions(output_partition_graphs=True),
          run_metadata=metadata,
      )
  (partition,) = metadata.partition_graphs
  return nodes, collections.Counter(node.op for node in partition.node)


def count(nodes, kind) -> int:
  return sum(isinstance(node.operation, kind) for node in nodes)


def test_what_nobody_needs_does_not_run():
  def build(mesh):
    x = placeholder(mesh, ROWS)
    mtf.log(x)
    return [mtf.tanh(x)]

  nodes, run = both(build)
  assert count(nodes, mtf.SlicewiseOperation) == 1
  assert (run["Log"], run["Tanh"]) == (0, 1)


def test_what_is_equal_is_computed_once():
  def build(mesh):
    x = placeholder(mesh, ROWS)

    def bias():
      # Lambdas, a constant, and a chain of operations.
      return mtf.tanh(mtf.cast(mtf.less(x, 0.5), tf.float32))

    return [mtf.reduce_sum(mtf.stack([bias(), bias(), x], "stacked"))]

  nodes, run = both(build)
  names = collections.Counter(
      node.operation.name.partition("_")[0] for node in nodes
  )
  assert (names["binary"], names["cast"], names["tanh"]) == (1, 1, 1)
  assert (run["Less"], run["Cast"], run["Tanh"]) == (1, 1, 1)


def test_what_differs_is_computed_each_time():
  def build(mesh):
    x = placeholder(mesh, ROWS)
    draws = [mtf.random_uniform(mesh, [ROWS]) for _ in range(2)]
    products = [mtf.tanh(x * 2.5), mtf.tanh(x * 3.5)]
    return [mtf.reduce_sum(mtf.stack([*draws, *products], "stacked"))]

  nodes, run = both(build)
  assert count(nodes, mtf.RandomOperation) == 2
  assert run["StatelessRandomUniformV2"] == 2
  assert count(nodes, mtf.ScalarMultiplyOperation) == 2
  assert run["Tanh"] == 2


def test_small_factors_come_first():
  """As in a layer's norm: the scale and the mask, before the activations."""

  def build(mesh):
    x = placeholder(mesh, ROWS, COLUMNS)
    scale, mask = placeholder(mesh, COLUMNS), placeholder(mesh, ROWS)
    return [mtf.tanh(x * scale * mask)]

  nodes, run = both(build)
  first, second = [x for x in nodes if len(x.inputs) == 2]
  assert [x.shape.dims for x in first.inputs] == [[COLUMNS], [ROWS]]
  assert first.outputs[0].shape == MATRIX
  assert second.inputs[0] is first.outputs[0]
  assert run["Mul"] == 2


def test_a_factor_that_others_read_stays():
  def build(mesh):
    x = placeholder(mesh, ROWS, COLUMNS)
    scale, mask = placeholder(mesh, COLUMNS), placeholder(mesh, ROWS)
    scaled = x * scale
    return [mtf.tanh(scaled * mask), mtf.sigmoid(scaled)]

  nodes, _ = both(build)
  first, second = [x for x in nodes if len(x.inputs) == 2]
  assert MATRIX in [x.shape for x in first.inputs]
  assert first.outputs[0] in second.inputs


@pytest.mark.parametrize("read_between", [False, True])
def test_sums_wait_for_all_terms(read_between):
  def build(mesh):
    a, b, c = [placeholder(mesh, ROWS) for _ in range(3)]
    two = a + b
    results = [mtf.tanh(two + c)]
    return [*results, mtf.tanh(two)] if read_between else results

  nodes, run = both(build)
  sums = [x for x in nodes if isinstance(x.operation, mtf.AddOperation)]
  if read_between:
    assert [len(x.inputs) for x in sums] == [2, 2]
    assert (run["AddN"], run["AddV2"]) == (0, 2)
  else:
    assert [len(x.inputs) for x in sums] == [3]
    assert (run["AddN"], run["AddV2"]) == (1, 0)
