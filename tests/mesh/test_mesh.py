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

"""Draws that repeat and do not depend on the mesh; reads; einsums."""

import itertools

import mesh_tensorflow as mtf
from mesh_tensorflow import simd_mesh_impl
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import draws
from mtf_switch.mesh import placement_mesh
from mtf_switch.mesh import simd_mesh
from tests import graphs

ROWS, COLUMNS = mtf.Dimension("batch", 8), mtf.Dimension("d_model", 6)
MESHES = [
    ("data:2", "batch:data"),
    ("data:2;model:2", "batch:data,d_model:model"),
    ("model:2", "d_model:model"),
    ("other:2", "batch:data"),
]


def graph_with_draws(mesh):
  shape = [ROWS, COLUMNS]
  x = mtf.ones(mesh, shape)
  return [
      mtf.random_uniform(mesh, shape),
      mtf.random_uniform(mesh, shape),
      mtf.random_normal(mesh, shape),
      mtf.dropout(x, True, rate=0.5, noise_shape=[COLUMNS]),
      mtf.layers.multiplicative_jitter(x, 0.25),
  ]


@pytest.mark.parametrize("mesh_shape, layout", MESHES)
def test_draws_do_not_depend_on_the_mesh(mesh_shape, layout):
  single, _ = graphs.evaluate(graph_with_draws)
  several, _ = graphs.evaluate(graph_with_draws, mesh_shape, layout)
  for one, other in zip(single, several):
    np.testing.assert_array_equal(one, other)


def test_functions_of_slices_have_a_name_scope_for_each_processor():
  """Not a variable scope, which takes more than twice as long."""
  scopes = []

  def negative(x):
    scopes.append(tf.get_variable_scope())
    return tf.negative(x, name="negative")

  with tf.Graph().as_default():
    mesh = placement_mesh.PlacementMeshImpl("data:2", "", ["cpu:0", "cpu:0"])
    slices = mesh.slicewise(negative, tf.constant(1.0)).tensor_list
    assert [x.op.name for x in slices] == [
        "parallel_0/negative",
        "parallel_1/negative",
    ]
    assert scopes == [tf.get_variable_scope()] * 2


def test_each_operation_step_and_seed_draws_anew_and_repeats():
  (first, second, *_), _ = graphs.evaluate(graph_with_draws)
  (again, *_), _ = graphs.evaluate(graph_with_draws)
  (next_step, *_), _ = graphs.evaluate(graph_with_draws, step=1)
  (other_seed, *_), _ = graphs.evaluate(graph_with_draws, seed=1)
  np.testing.assert_array_equal(first, again)
  for one, other in itertools.combinations(
      (first, second, next_step, other_seed), 2
  ):
    assert (one != other).all()


def test_draws_inside_a_loop_differ_between_iterations():
  """Microbatches and decoding steps; also with a counter for each sequence."""

  def build(mesh):
    results = []
    steps = mtf.Dimension("steps", 3)
    for counter_dims in ([], [ROWS]):
      zeros = mtf.zeros(mesh, counter_dims, tf.int32)

      def condition(i, _):
        return mtf.less(mtf.reduce_max(i), 3)

      def body(i, x):
        row = mtf.one_hot(mtf.reduce_max(i), steps)
        return [i + 1, x + mtf.random_uniform(mesh, [ROWS]) * row]

      start = mtf.zeros(mesh, [steps, ROWS])
      results.append(mtf.while_loop(condition, body, [zeros, start])[1])
    return results + [mtf.random_uniform(mesh, [ROWS])]

  results, _ = graphs.evaluate(build)
  again, _ = graphs.evaluate(build, "data:2", "batch:data")
  for x in results[:2]:
    assert x.shape == (3, 8)
    for one, other in itertools.combinations(x, 2):
      assert (one != other).all()
  for one, other in zip(results, again):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_a_core_draws_its_slice_of_the_global_tensor(dtype):
  """SimdMeshImpl's computations on each core, without communication."""
  with tf.Graph().as_default(), tf.Session() as session:
    key = tf.constant([3, 5], tf.int32)
    whole, upper, lower, other = session.run(
        [
            tf.cast(x, tf.float32)
            for x in (
                draws.uniform_at(key, [0, 0], [40, 50], dtype),
                draws.uniform_at(key, [0, 20], [10, 30], dtype),
                draws.uniform_at(key, [tf.constant(30), 0], [10, 50], dtype),
                draws.uniform_at(key + 1, [0, 0], [40, 50], dtype),
            )
        ]
    )
  np.testing.assert_array_equal(whole[:10, 20:], upper)
  np.testing.assert_array_equal(whole[30:], lower)
  assert (whole != other).mean() > 0.9
  assert whole.min() >= 0 and whole.max() < 1
  assert np.all(whole * 2 ** (24 if dtype == tf.float32 else 8) % 1 == 0)


def test_slices_are_uniform_and_neighbours_unrelated():
  with tf.Graph().as_default(), tf.Session() as session:
    x = session.run(
        draws.uniform_at(tf.constant([0, 0]), [0, 0], [1000, 1000])
    ).astype(float)
  # A million draws: the mean's standard error is 2.9e-4, a bin's 3e-4.
  assert abs(x.mean() - 0.5) < 1.5e-3
  histogram = np.histogram(x, bins=10, range=(0, 1))[0] / x.size
  assert np.abs(histogram - 0.1).max() < 1.5e-3
  for one, other in ((x[1:], x[:-1]), (x[:, 1:], x[:, :-1]), (x, x.T)):
    correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    # The transpose's diagonal is itself: 1000 of a million.
    assert abs(correlation) < 6e-3


@pytest.mark.parametrize(
    "tf_fn, kwargs, check",
    [
        (tf.random.uniform, dict(minval=2.0, maxval=4.0), (2.0, 4.0, 3.0)),
        (
            tf.random.uniform,
            dict(minval=3, maxval=7, dtype=tf.int32),
            (3, 7, 4.5),
        ),
        (tf.random.normal, dict(mean=1.0, stddev=2.0), (-20.0, 20.0, 1.0)),
    ],
)
def test_a_core_draws_from_the_distribution_asked_for(tf_fn, kwargs, check):
  def uniform(dtype):
    return draws.uniform_at(tf.constant([1, 2]), [0], [10**5], dtype)

  with tf.Graph().as_default(), tf.Session() as session:
    x = session.run(draws.scaled(tf_fn, uniform, **kwargs))
  low, high, mean = check
  assert x.min() >= low and x.max() < high
  assert abs(x.mean() - mean) < 0.03  # Four standard errors or more.
  if "stddev" in kwargs:
    assert abs(x.std() - 2.0) < 0.03


def test_a_draw_on_tpu_cores_needs_no_all_reduce():
  """B27: upstream pays one for each draw."""

  def operations(mesh_impl_class):
    with tf.Graph().as_default() as tf_graph:
      graph = mtf.Graph()
      mesh = mtf.Mesh(graph, "mesh")
      mtf.random_uniform(mesh, [ROWS, COLUMNS])
      mtf.random_normal(mesh, [COLUMNS])
      mtf.while_loop(
          lambda i, _: mtf.less(i, 3),
          lambda i, x: [i + 1, x + mtf.random_uniform(mesh, [ROWS])],
          [mtf.zeros(mesh, [], tf.int32), mtf.zeros(mesh, [ROWS])],
      )
      impl = mesh_impl_class("data:4;model:2", "batch:data", None, None)
      if mesh_impl_class is simd_mesh.SimdMeshImpl:
        draws.seed_loops(graph)
      mtf.Lowering(graph, {mesh: impl}, autostack=False)
      types = [op.type for op in tf_graph.get_operations()]
      for function in tf_graph.as_graph_def().library.function:
        types += [node.op for node in function.node_def]
      return types

  upstream = simd_mesh_impl.SimdMeshImpl
  assert operations(upstream).count("CrossReplicaSum") == 3
  assert "CrossReplicaSum" not in operations(simd_mesh.SimdMeshImpl)


@pytest.mark.parametrize("mesh_size", [1, 2])
def test_a_step_reads_each_slice_once(mesh_size):
  """Both passes and the optimizer see one value of a weight."""
  tf_graph = tf.Graph()
  with tf_graph.as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    rows, columns = mtf.Dimension("rows", 4), mtf.Dimension("columns", 6)
    weight = mtf.get_variable(mesh, "weight", mtf.Shape([rows, columns]))
    x = mtf.ones(mesh, mtf.Shape([rows]))
    y = mtf.einsum([mtf.einsum([x, weight], [columns]), weight], [rows])
    (gradient,) = mtf.gradients([mtf.reduce_sum(y)], [weight])
    update = mtf.assign(weight.operation, weight - gradient)
    mesh_impl = placement_mesh.PlacementMeshImpl(
        f"all:{mesh_size}",
        "columns:all",
        [f"cpu:{i}" for i in range(mesh_size)],
    )
    lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
    name = lowering.lowered_operation(update).name
  nodes = tf.graph_util.extract_sub_graph(tf_graph.as_graph_def(), [name]).node
  assert [x.op for x in nodes].count("AssignVariableOp") == mesh_size
  assert [x.op for x in nodes].count("ReadVariableOp") == mesh_size


@pytest.mark.parametrize(
    "equation, a, b",
    [
        # A projection, the gradient of its input and that of its weights.
        ("abc,cd->abd", (2, 3, 4), (4, 5)),
        ("abd,cd->abc", (2, 3, 5), (4, 5)),
        ("abd,abc->cd", (2, 3, 5), (2, 3, 4)),
        ("abc,abd->cd", (2, 3, 4), (2, 3, 5)),
        # The same of experts.
        ("abcd,ade->abce", (2, 3, 4, 5), (2, 5, 6)),
        ("abce,ade->abcd", (2, 3, 4, 6), (2, 5, 6)),
        ("abce,abcd->ade", (2, 3, 4, 6), (2, 3, 4, 5)),
        # Vectors, and results that are scalars for each of a batch.
        ("ab,b->a", (2, 3), (3,)),
        ("a,b->ab", (2,), (3,)),
        ("ab,ab->a", (2, 3), (2, 3)),
        ("ab,ab->", (2, 3), (2, 3)),
    ],
)
def test_einsums_that_are_matrix_products_transpose_nothing(equation, a, b):
  rng = np.random.RandomState(0)
  a, b = rng.randn(*a), rng.randn(*b)
  with tf.Graph().as_default() as graph:
    mesh_impl = placement_mesh.PlacementMeshImpl("", "", ["cpu:0"])
    y = mesh_impl.einsum(equation, tf.constant(a), tf.constant(b))
    kinds = {op.type for op in graph.get_operations()}
    with tf.Session() as session:
      result = session.run(y)
  # Float64, summed in another order.
  np.testing.assert_allclose(result, np.einsum(equation, a, b), rtol=1e-12)
  assert kinds & {"MatMul", "BatchMatMulV2"}
  assert not kinds & {"Einsum", "Transpose"}


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("abc,bcd->abd", [(2, 3, 4), (3, 4, 5)]),
        ("abc,dbe->ade", [(2, 3, 4), (6, 3, 5)]),
        ("abc,cab->ab", [(2, 3, 4), (4, 2, 3)]),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)]),
    ],
)
def test_other_einsums_stay_einsums(equation, shapes):
  rng = np.random.RandomState(0)
  operands = [rng.randn(*shape) for shape in shapes]
  with tf.Graph().as_default():
    mesh_impl = placement_mesh.PlacementMeshImpl("", "", ["cpu:0"])
    y = mesh_impl.einsum(equation, *map(tf.constant, operands))
    with tf.Session() as session:
      result = session.run(y)
  np.testing.assert_allclose(result, np.einsum(equation, *operands), rtol=1e-12)
