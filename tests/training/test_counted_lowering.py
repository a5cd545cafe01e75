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

"""How far the lowering of a graph is."""

import io

import mesh_tensorflow as mtf
import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import placement_mesh
from mtf_switch.training import counted_lowering
from mtf_switch.training import progress


@pytest.fixture
def graph():
  """A graph of 9 variables and more than 250 tensors, and its mesh."""
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    x = mtf.ones(mesh, [mtf.Dimension("rows", 2)])
    # Small variables of one shape, which the lowering may combine.
    weights = [mtf.get_variable(mesh, f"weight_{i}", x.shape) for i in range(9)]
    for weight in weights:
      x = x * weight
    for _ in range(240):
      x += 1
    mesh_impl = placement_mesh.PlacementMeshImpl("", "", ["cpu:0"])
    yield mesh.graph, {mesh: mesh_impl}, x


def test_tensors_are_counted_while_they_are_lowered(graph):
  graph, mesh_to_impl, x = graph
  total = counted_lowering.count(graph)
  reports = []
  lowering = counted_lowering.lower(reports.append, graph, mesh_to_impl)
  assert 250 < total == sum(len(o.outputs) for o in graph.operations)
  assert reports == [100, 200]
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    session.run(lowering.copy_masters_to_slices())
    assert session.run(lowering.export_to_tf_tensor(x)).shape == (2,)


def test_a_display_shows_how_much_is_left(graph, monkeypatch):
  monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
  graph, mesh_to_impl, x = graph
  console = rich.console.Console(file=io.StringIO())
  with progress.Display(console) as display:
    lowering = counted_lowering.shown_by(display)(graph, mesh_to_impl)
  assert lowering.export_to_tf_tensor(x).shape == (2,)
  total = counted_lowering.count(graph)
  assert console.file.getvalue().splitlines() == [
      f"lowering the graph: {done} of {total} tensors" for done in (100, 200)
  ]
