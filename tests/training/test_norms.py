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

"""Norms of tensors on meshes, at the steps that are due."""

import math

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import placement_mesh
from mtf_switch.training import norms

ROWS, COLUMNS = mtf.Dimension("rows", 4), mtf.Dimension("columns", 3)
X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([3.0, 4.0, 12.0], np.float32)


def norms_on(mesh_shape, layout, dtype=tf.float32):
  """The norms at a step that is due, and at one that is not.

  Returns:
    both, and the operations that ran at each of the two.
  """
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    shape = mtf.convert_to_shape(mesh_shape)
    mesh_impl = placement_mesh.PlacementMeshImpl(
        shape, mtf.convert_to_layout_rules(layout), ["cpu:0"] * shape.size
    )
    tensors = [
        mtf.import_fully_replicated(mesh, tf.constant(array, dtype), dims, "x")
        for array, dims in ((X, [ROWS, COLUMNS]), (Y, [COLUMNS]))
    ]
    # Split, as a result would be.
    tensors = [mtf.identity(x * 1) for x in tensors]
    lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
    is_due = tf.placeholder(tf.bool, [])
    found = norms.at(is_due, lowering, {"all": tensors, "one": tensors[1:]})
    results = []
    for due in (True, False):
      metadata = tf.RunMetadata()
      with tf.Session() as session:
        values = session.run(
            found,
            {is_due: due},
            tf.RunOptions(trace_level=tf.RunOptions.SOFTWARE_TRACE),
            metadata,
        )
      ran = {
          node.node_name.rpartition("/")[2].partition("_")[0]
          for device in metadata.step_stats.dev_stats
          for node in device.node_stats
      }
      results.append((values, ran))
  return results


@pytest.mark.parametrize(
    "mesh_shape, layout",
    [
        ("", ""),
        ("a:2", "rows:a"),  # Y has two copies.
        ("a:2,b:3", "columns:b"),
        ("a:2,b:3", "rows:a,columns:b"),
    ],
)
def test_each_element_counts_once_however_tensors_are_split(mesh_shape, layout):
  (values, _), (others, _) = norms_on(mesh_shape, layout)
  assert values == {
      "all": pytest.approx(math.sqrt((X**2).sum() + 13**2)),
      "one": pytest.approx(13),
  }
  assert others == {"all": 0, "one": 0}


def test_other_steps_compute_nothing():
  (_, ran), (_, others) = norms_on("a:2", "rows:a")
  assert "L2Loss" in ran
  assert "L2Loss" not in others


def test_sums_of_squares_are_float32():
  (values, _), _ = norms_on("", "", tf.bfloat16)
  assert values["one"] == 13
  assert values["one"].dtype == np.float32
