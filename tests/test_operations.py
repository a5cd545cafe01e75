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
"""Functions of slices with declared products, beside upstream's."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import operations

ROWS, WIDTH = mtf.Dimension("rows", 3), mtf.Dimension("width", 5)


@pytest.fixture(name="x")
def fixture_x():
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    yield mtf.zeros(mesh, [ROWS, WIDTH], tf.bfloat16)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"output_shape": [ROWS]},
        {"output_dtype": tf.float32, "name": "named"},
        {"output_shape": [[ROWS], []], "output_dtype": [tf.int32, tf.float32]},
    ],
    ids=str,
)
def test_outputs_are_those_of_upstreams_function(x, options):
  options = {"splittable_dims": [ROWS], **options}
  ours = operations.slicewise(tf.identity, [x], multiplications=None, **options)
  upstreams = mtf.slicewise(tf.identity, [x], **options)
  assert isinstance(ours, tuple) == isinstance(upstreams, tuple)
  if not isinstance(ours, tuple):
    ours, upstreams = (ours,), (upstreams,)
  assert [(y.shape, y.dtype) for y in ours] == [
      (y.shape, y.dtype) for y in upstreams
  ]
  operation = ours[0].operation
  assert operation.splittable_dims == upstreams[0].operation.splittable_dims
  assert operation.name == options.get("name", "slicewise")


def test_a_copy_declares_what_the_original_does(x):
  y = operations.slicewise(
      tf.identity,
      [x],
      multiplications=lambda slice_size: slice_size([ROWS, WIDTH]),
      splittable_dims=[ROWS],
  )
  (copy,), _ = x.graph.clone_operations([y.operation], {})
  assert copy.multiplications(lambda dims: mtf.Shape(dims).size) == 15


@pytest.mark.parametrize("size", [1, 3])
def test_an_axis_of_one_core_splits_nothing(x, size):
  y = operations.slicewise(
      tf.identity, [x], multiplications=None, splittable_dims=[WIDTH]
  )
  devices = [""] * size
  mesh_impl = mtf.placement_mesh_impl.PlacementMeshImpl(
      f"axis:{size}", "rows:axis", devices
  )
  if size == 1:
    mtf.Lowering(x.graph, {x.mesh: mesh_impl})
  else:
    with pytest.raises(ValueError, match="'rows' is not declared"):
      mtf.Lowering(x.graph, {x.mesh: mesh_impl})
  assert y.operation.splittable_dims == {"width"}
