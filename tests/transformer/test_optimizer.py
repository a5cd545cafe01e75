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

"""Adafactor in fewer passes makes the steps that upstream's makes."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import placement_mesh
from mtf_switch.transformer import blocks
from mtf_switch.transformer import optimizer

EXPERTS = mtf.Dimension("experts", 4)
D_MODEL, D_FF = mtf.Dimension("d_model", 128), mtf.Dimension("d_ff", 160)
VARIABLES = {
    "experts_in": [EXPERTS, D_MODEL, D_FF],
    "experts_out": [EXPERTS, D_FF, D_MODEL],
    "embedding": [mtf.Dimension("vocab", 200), D_MODEL],
    # Factored along the experts.
    "many_experts": [
        mtf.Dimension("many_experts", 160),
        mtf.Dimension("pair", 2),
        D_MODEL,
    ],
    "scale": [D_MODEL],
    "no_gradient": [D_MODEL],
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
  """Several blocks in each of the small matrices."""
  monkeypatch.setattr(blocks, "MOST_ENTRIES", 2**12)
  monkeypatch.setattr(blocks, "LEAST_ENTRIES", 2**8)


def steps(optimizer_class, mesh_shape="", layout="", num_steps=3, **options):
  """All variables and slots after some steps, by name; and the graph."""
  shape = mtf.convert_to_shape(mesh_shape)
  with tf.Graph().as_default() as graph:
    mtf_graph = mtf.Graph()
    mesh = mtf.Mesh(mtf_graph, "mesh")
    step = tf.placeholder(tf.float32, [])
    rng = np.random.RandomState(0)
    gradients = []
    for name, dims in VARIABLES.items():
      sizes = [dim.size for dim in dims]
      value = rng.randn(*sizes).astype(np.float32)
      mtf.get_variable(
          mesh,
          name,
          mtf.Shape(dims),
          initializer=tf.constant_initializer(value),
      )
      if name == "no_gradient":
        gradients.append(None)
        continue
      # Of sizes that differ between rows, so that factors matter.
      scale = 10.0 ** rng.uniform(-3, 0, [*sizes[:-1], 1])
      gradient = (rng.randn(*sizes) * scale).astype(np.float32)
      gradients.append(
          mtf.import_fully_replicated(
              mesh, tf.sin(gradient * (1.0 + step)), mtf.Shape(dims)
          )
      )
    updates = optimizer_class(
        learning_rate=0.1, decay_rate=0.7, **options
    ).apply_grads(gradients, mtf_graph.trainable_variables)
    lowering = mtf.Lowering(
        mtf_graph,
        {
            mesh: placement_mesh.PlacementMeshImpl(
                shape, layout, [f"cpu:{i}" for i in range(shape.size)]
            )
        },
        autostack=False,
    )
    updates = [lowering.lowered_operation(update) for update in updates]
    config = tf.ConfigProto(device_count={"CPU": shape.size})
    with tf.Session(config=config) as session:
      session.run(tf.global_variables_initializer())
      session.run(lowering.copy_masters_to_slices())
      for i in range(num_steps):
        session.run(updates, {step: i})
      session.run(lowering.copy_slices_to_masters())
      values = session.run({v.name: v for v in tf.global_variables()})
  return values, graph


def assert_alike(ours, expected):
  """Three steps of float32, with means summed in another order."""
  np.testing.assert_allclose(
      ours, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max()
  )


@pytest.mark.parametrize(
    "mesh_shape, layout",
    [
        ("", ""),
        ("data:2", "experts:data"),
        ("data:2;model:2", "experts:data,d_ff:model,vocab:model"),
        ("model:2", "d_model:model"),
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clipping_threshold": None},
        {"multiply_by_parameter_scale": False},
        {"exclude_from_parameter_scale": ["embedding"]},
        {"beta1": 0.9},
        {"factored": False},
    ],
    ids=str,
)
def test_steps_are_upstreams(options, mesh_shape, layout):
  ours, _ = steps(optimizer.Adafactor, mesh_shape, layout, **options)
  upstreams, _ = steps(mtf.optimize.AdafactorOptimizer, **options)
  assert ours.keys() == upstreams.keys()
  initial, _ = steps(optimizer.Adafactor, num_steps=0, **options)
  for name, expected in upstreams.items():
    assert_alike(ours[name], expected)
    assert (name == "no_gradient:0") == (initial[name] == expected).all()


def test_whole_tensors_make_the_same_steps_in_fewer_passes(monkeypatch):
  """Over each weight with factors; what is small counts too."""
  monkeypatch.setattr(blocks, "MOST_ENTRIES", 2**30)
  ours, graph = steps(optimizer.Adafactor)
  upstreams, upstreams_graph = steps(mtf.optimize.AdafactorOptimizer)
  for name, expected in upstreams.items():
    assert_alike(ours[name], expected)
  # Of each gradient, and of one small step.
  assert [op.type for op in graph.get_operations()].count("Square") == 6
  kinds = [op.type for op in upstreams_graph.get_operations()]
  assert kinds.count("Square") == 15


@pytest.mark.parametrize("name", ["experts_in", "experts_out", "embedding"])
def test_blocks_store_nothing_of_a_weights_size_but_the_weight(name):
  _, graph = steps(optimizer.Adafactor, num_steps=0)
  size = mtf.Shape(VARIABLES[name]).size
  kinds = [
      op.type
      for op in graph.get_operations()
      if op.name.startswith(f"{name}/adafactor/")
      and any(x.shape.num_elements() == size for x in op.outputs)
  ]
  assert kinds.count("MapDefun") == 1
  # These name the same memory differently.
  assert set(kinds) == {"MapDefun", "Reshape"}


def test_stacked_dimensions_keep_a_scale_each():
  options = {"stacked_dim_names": ["experts"]}
  ours, _ = steps(optimizer.Adafactor, **options)
  upstreams, _ = steps(mtf.optimize.AdafactorOptimizer, **options)
  for name, expected in upstreams.items():
    assert_alike(ours[name], expected)
