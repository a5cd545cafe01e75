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

"""Caches that a loop writes in place are its own, and complete."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import caches
from tests import graphs

BATCH, HEADS, D_KV = (
    mtf.Dimension(name, size)
    for name, size in dict(batch=4, heads=2, d_kv=3).items()
)
LENGTH = mtf.Dimension("memory_length", 5)
KEPT = mtf.Shape([BATCH, HEADS, LENGTH, D_KV])
STEPS = 4
# Sequences begin at different positions; the last one ends before the others.
FIRST = np.array([0, 1, 0, 3], np.int32)


def decode(mesh, others_read: bool = False):
  """Two caches that begin as one tensor; a step adds up what both have kept."""
  first = graphs.constant(mesh, np.ones(KEPT.to_integer_list), KEPT)

  def step(position, total, *kept):
    written = []
    for number, old in enumerate(kept):
      if others_read:
        total += mtf.reduce_sum(old, output_shape=[BATCH]) * 0.0
      new = mtf.broadcast(
          total + float(number), mtf.Shape([BATCH, HEADS, D_KV])
      )
      written.append(caches.write(old, new, position, LENGTH))
      total = mtf.reduce_mean(written[-1], output_shape=[BATCH])
    return [position + 1, total, *written]

  outputs = mtf.while_loop(
      lambda position, *_: mtf.less(
          mtf.reduce_min(position), STEPS + int(FIRST.min())
      ),
      step,
      [
          graphs.constant(mesh, FIRST, [BATCH]),
          mtf.zeros(mesh, [BATCH]),
          first,
          first,
      ],
  )
  return [*outputs[1:], first]


def run_twice(build, mesh_shape="", layout=""):
  """Results of a second run, and the types of operations in its loop."""
  types = []

  def run_once():
    graph = tf.get_default_graph()
    for function in graph.as_graph_def().library.function:
      types.extend(node.op for node in function.node_def)
    return [op for op in graph.get_operations() if "While" in op.type]

  results, _ = graphs.evaluate(build, mesh_shape, layout, before_run=run_once)
  return results, types


@pytest.mark.parametrize(
    "mesh_shape, layout",
    [("", ""), ("data:2;model:2", "batch:data,heads:model")],
)
def test_writing_in_place_changes_no_number(mesh_shape, layout):
  def in_place(mesh):
    results = decode(mesh)
    caches.write_in_place(mesh.graph)
    return results

  copied, types = run_twice(decode, mesh_shape, layout)
  assert "TensorScatterUpdate" in types and "InplaceUpdate" not in types
  written, types = run_twice(in_place, mesh_shape, layout)
  assert "TensorScatterUpdate" not in types and "InplaceUpdate" in types
  for one, other in zip(written, copied):
    np.testing.assert_array_equal(one, other)
  total, keys, values, first = written
  assert total.all() and (keys != values).any() and (first == 1).all()
  # Past the end, the last position is written.
  rows = np.minimum(FIRST[:, np.newaxis] + range(STEPS), LENGTH.size - 1)
  for sequence, positions in zip(keys, rows):
    untouched = np.delete(np.arange(LENGTH.size), positions)
    assert (sequence[:, untouched] == 1).all()
    assert (sequence[:, positions] != 1).all()


def test_what_others_read_is_copied():
  def build(mesh):
    results = decode(mesh, others_read=True)
    caches.write_in_place(mesh.graph)
    return results

  _, types = run_twice(build)
  assert "TensorScatterUpdate" in types and "InplaceUpdate" not in types
