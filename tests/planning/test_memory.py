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

"""The peak of small graphs, counted by hand.

Vectors have 100 entries: 400 bytes in float32, 200 in bfloat16. A cast writes
a result of its own; most other operations of these graphs work in place.
"""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.planning import memory

N = mtf.Dimension("n", 100)
M = mtf.Dimension("m", 100)


@pytest.fixture(name="mesh")
def fixture_mesh():
  with tf.Graph().as_default():
    yield mtf.Mesh(mtf.Graph(), "mesh")


def peak(mesh, gradients=()):
  schedule = memory.Schedule(mesh.graph.operations, gradients)
  return schedule.peak(lambda x: x.size * x.dtype.size)


def zeros(mesh, dtype=tf.float32):
  return mtf.zeros(mesh, [N], dtype)


def short(x):
  return mtf.cast(x, tf.bfloat16)


def long(x):
  return mtf.cast(x, tf.float32)


def dot(x, y):
  """A product that writes 4 bytes, while it reads both."""
  return mtf.einsum([x, y], output_shape=[])


def variable(mesh, name, activation_dtype=tf.float32):
  return mtf.get_variable(
      mesh,
      name,
      [N],
      dtype=mtf.VariableDType(activation_dtype=activation_dtype),
  )


def test_a_tensor_is_freed_after_its_last_reader(mesh):
  short(long(short(zeros(mesh))))
  assert peak(mesh) == (0, 400 + 200)


def test_a_tensor_stays_until_its_last_reader(mesh):
  x = zeros(mesh)
  dot(x, long(short(x)))
  assert peak(mesh) == (0, 400 + 200 + 400)


@pytest.mark.parametrize(
    "alias",
    [
        mtf.stop_gradient,
        lambda x: mtf.reshape(x, [M]),
    ],
    ids=["stop_gradient", "reshape"],
)
def test_aliases_cost_nothing(mesh, alias):
  short(alias(long(alias(zeros(mesh, tf.bfloat16)))))
  assert peak(mesh) == (0, 200 + 400)


def test_an_alias_keeps_its_tensor(mesh):
  x = zeros(mesh)
  alias = mtf.stop_gradient(x)
  dot(alias, long(short(x)))
  assert peak(mesh) == (0, 400 + 200 + 400)


def test_what_may_be_recomputed_is_not_copied(mesh):
  short(mtf.recompute_grad(long, [zeros(mesh, tf.bfloat16)]))
  assert peak(mesh) == (0, 200 + 400)


def test_an_elementwise_result_lies_where_its_input_lay(mesh):
  x = 2.0 * (1.0 + mtf.relu(zeros(mesh)))
  assert peak(mesh) == (0, 400)
  x += zeros(mesh)
  assert peak(mesh) == (0, 400 + 400)


def test_it_does_not_while_others_read_the_input(mesh):
  x = zeros(mesh)
  dot(x, mtf.relu(x))
  assert peak(mesh) == (0, 400 + 400 + 4)


def test_it_does_not_where_there_are_several(mesh):
  mtf.slicewise(
      lambda x: (x, x),
      [zeros(mesh)],
      output_shape=[[N], [N]],
      output_dtype=[tf.float32, tf.float32],
      splittable_dims=[N],
  )
  assert peak(mesh) == (0, 400 + 2 * 400)


def test_it_does_not_where_it_is_smaller(mesh):
  short(zeros(mesh))
  assert peak(mesh) == (0, 400 + 200)


def test_what_nobody_reads_is_freed_at_once(mesh):
  zeros(mesh)
  short(zeros(mesh))
  zeros(mesh)
  # Constants come first; of the three only the one that is read stays.
  assert peak(mesh) == (0, 400 + 400)


def test_a_variable_costs_nothing(mesh):
  x = variable(mesh, "x")
  dot(x, x)
  assert peak(mesh) == (0, 4)


def test_a_variable_of_another_dtype_is_copied(mesh):
  x = variable(mesh, "x", tf.bfloat16)
  dot(x, x)
  assert peak(mesh) == (0, 200 + 2)


def test_assignments_do_not_wait_for_each_other(mesh):
  variables = [variable(mesh, name) for name in "xy"]
  early, late = zeros(mesh), long(short(zeros(mesh)))
  mtf.Assign([x.operation for x in variables], [early, late])
  assert peak(mesh) == (0, 400 + 200)


def test_gradients_are_counted_apart(mesh):
  gradient = short(zeros(mesh))
  assert peak(mesh) == (0, 400 + 200)
  assert peak(mesh, [gradient, None]) == (200, 400)


def test_a_gradient_of_another_shape_is_one(mesh):
  gradient = mtf.reshape(short(zeros(mesh)), [M])
  assert peak(mesh, [gradient]) == (200, 400)


def test_a_tensor_stays_for_the_backward_pass(mesh):
  x = variable(mesh, "x")
  loss = mtf.reduce_sum(mtf.square(short(x)))
  # The square lies where the rounded x lay.
  assert peak(mesh) == (0, 200 + 2)
  mtf.gradients([loss], [x])
  # The rounded x stays; its square, the square's gradient, and the product of
  # the two are there beside it.
  assert peak(mesh) == (0, 4 * 200)


def test_a_loop_takes_what_its_body_takes(mesh):
  mtf.while_loop(
      lambda i, x: mtf.less(i, 3),
      lambda i, x: (i + 1, long(short(x))),
      [mtf.constant(mesh, 0, dtype=tf.int32), zeros(mesh)],
  )
  # The number and the vector, and the body's two vectors.
  assert peak(mesh) == (0, 4 + 400 + 200 + 400)


def test_a_loop_copies_a_first_value_that_others_read(mesh):
  x = zeros(mesh)
  _, y = mtf.while_loop(
      lambda i, x: mtf.less(i, 3),
      lambda i, x: (i + 1, long(short(x))),
      [mtf.constant(mesh, 0, dtype=tf.int32), x],
  )
  dot(x, y)
  assert peak(mesh) == (0, 4 + 2 * 400 + 200 + 400)


def test_a_loop_keeps_what_its_body_reads(mesh):
  w = variable(mesh, "w", tf.bfloat16)
  mtf.while_loop(
      lambda i: mtf.less(i, 3),
      lambda i: (i + mtf.cast(dot(w, w), tf.int32),),
      [mtf.constant(mesh, 0, dtype=tf.int32)],
  )
  # w rounded; the number; the product, and the product as a number.
  assert peak(mesh) == (0, 200 + 4 + 2 + 4)


@pytest.mark.parametrize("recomputed, vectors", [(False, 4), (True, 1)])
def test_recomputation_keeps_only_what_layers_read(recomputed, vectors):
  """Each of four squares reads a vector, and so does its gradient."""

  def layer(x):
    for _ in range(4):
      x = mtf.square(x)
    return x

  def peak_of(num_layers):
    with tf.Graph().as_default():
      mesh = mtf.Mesh(mtf.Graph(), "mesh")
      x = weight = variable(mesh, "x")
      for _ in range(num_layers):
        x = mtf.recompute_grad(layer, [x]) if recomputed else layer(x)
      mtf.gradients([mtf.reduce_sum(x)], [weight])
      return peak(mesh).activations

  assert peak_of(9) - peak_of(8) == vectors * 400


class WithScratch(operations.Operation):
  """Makes 400 bytes of as many, and needs 200 more meanwhile."""

  def __init__(self, x):
    super().__init__([x], name="with_scratch")
    self._outputs = [mtf.Tensor(self, x.shape, x.dtype)]
    self.scratch = [mtf.Tensor(self, x.shape, tf.bfloat16)]


def test_scratch_counts_while_its_operation_runs(mesh):
  short(WithScratch(zeros(mesh)).outputs[0])
  assert peak(mesh) == (0, 400 + 400 + 200)


def test_on_a_tpu_operations_stay_in_the_order_of_the_graph(mesh):
  for _ in range(3):
    mtf.reduce_sum(long(zeros(mesh, tf.bfloat16)))

  def peak_of(on_tpu):
    schedule = memory.Schedule(mesh.graph.operations, on_tpu=on_tpu)
    return schedule.peak(lambda x: x.size * x.dtype.size)

  # One after the other; or all that is ready, before it is summed.
  assert peak_of(on_tpu=True) == (0, 200 + 400)
  assert peak_of(on_tpu=False) == (0, 200 + 3 * 400)
