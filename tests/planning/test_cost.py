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

"""FLOPs and bytes over links, by hand and by formula."""

import mtf_switch  # isort: skip  # noqa: F401
import collections
import warnings

import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import operations
from mtf_switch.planning import communication
from mtf_switch.planning import cost
from mtf_switch.planning import slices as slices_lib
from mtf_switch.planning import step_graph
from mtf_switch.transformer import dot_product
from mtf_switch.transformer import feed_forward
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.


def test_products_by_hand():
  graph = mtf.Graph()
  mesh = mtf.Mesh(graph, "mesh")
  batch, d_model, d_ff = (
      mtf.Dimension(name, size)
      for name, size in (("batch", 6), ("d_model", 10), ("d_ff", 14))
  )
  with tf.Graph().as_default():
    x = mtf.zeros(mesh, [batch, d_model])
    weights = mtf.zeros(mesh, [d_model, d_ff])
    hidden = mtf.einsum([x, weights], [batch, d_ff])
    # Entries are multiplied one by one here.
    mtf.einsum([hidden, hidden], [])
    mtf.einsum([hidden, mtf.zeros(mesh, [d_ff])], [batch, d_ff])
  slices = slices_lib.Slices(
      mtf.convert_to_shape("data:2;model:7"),
      mtf.convert_to_layout_rules("batch:data,d_ff:model"),
  )
  counts = [cost.multiplications(x, slices.size) for x in graph.operations]
  assert [x for x in counts if x] == [3 * 10 * 2]


def executed(experiment_):
  """The FLOPs of a step on one core."""
  graph = step_graph.StepGraph(experiment_, on_tpu=False)
  return cost.executed_flops(graph.operations(), whole)


@pytest.mark.parametrize("attention", ["", "TruncatedNormal"])
def test_executed_products_are_those_of_the_formula(attention):
  """A dense model on one core: every weight, forward and twice backward."""
  layers = [f"@{attention}SelfAttention", "@transformer_layers.DenseReluDense"]
  decoder_layers = [layers[0], f"@{attention}EncDecAttention", layers[1]]
  experiment_ = plans.on_one_cpu(
      "t5_tiny",
      "num_layers = 1",
      f"encoder/transformer.make_layer_stack.layers = [{', '.join(layers)}]",
      "decoder/transformer.make_layer_stack.layers = ["
      f"{', '.join(decoder_layers)}]",
      sizes=[*plans.DENSE_SIZES, "batch_size = 3"],
  )
  d_model, heads, d_ff, vocabulary = 32, 4 * 8, 64, 384
  inputs, targets = 3 * 24, 3 * 16
  projection = d_model * heads

  def weighted(rows, memory):
    return 2 * rows * memory * heads

  forward = (
      inputs * (4 * projection + 2 * d_model * d_ff)
      + weighted(inputs, 24)
      + targets * (6 * projection + 2 * d_model * d_ff)
      + weighted(targets, 16)
      # Keys and values of the memory are made from the inputs.
      + inputs * 2 * projection
      + weighted(targets, 24)
      + targets * d_model * vocabulary
  )
  multiplications = 3 * forward
  if not attention:
    # Upstream multiplies the table of biases by a one-hot matrix of positions,
    # which has no gradient.
    multiplications += 2 * (24 * 24 + 16 * 16) * 4 * 32
  assert executed(experiment_) == 2 * multiplications


def test_empty_slots_are_executed_unless_rows_are_ragged():
  """On two cores too, each of which executes half, and sends the same."""

  def graph_with(dispatch):
    experiment_ = plans.toy(
        "switch_lm_tiny",
        "data",
        "task = 'toy_lm'",
        "data_parallelism = 2",
        "sequence_length = {'targets': 24}",
        "capacity_factor_train = 2.0",
        f"SwitchFeedForward.dispatch = '{dispatch}'",
    )
    graph = step_graph.StepGraph(experiment_, on_tpu=False)
    return experiment_, graph

  def executed_on(graph, *mesh):
    slices = slices_lib.Slices(*mesh)
    return cost.executed_flops(graph.operations(), slices.size)

  experiment_, slots = graph_with("index")
  mesh = experiment_.mesh, experiment_.layout
  sent = collections.Counter(
      c._replace(operation="") for c in slots.collectives(*mesh)
  )
  _, rows = graph_with("ragged")
  num_layers = len(feed_forward.switches(experiment_.build_model()))
  # 8 groups of 48 tokens have 8 x 12 slots each.
  empty = 8 * (8 * 12 - 48) * num_layers * 3 * 2 * 2 * 32 * 64
  one_core = mtf.Shape([]), mtf.LayoutRules([])
  assert executed_on(slots, *one_core) - executed_on(rows, *one_core) == empty
  assert executed_on(slots, *mesh) - executed_on(rows, *mesh) == empty / 2
  assert sent == collections.Counter(
      c._replace(operation="") for c in rows.collectives(*mesh)
  )
  of_experts = [c for c in sent if c.shape in ((8, 32, 64), (8, 64, 32))]
  assert {c.purpose for c in of_experts} == {"gradients"}
  assert len(of_experts) == 2


def test_products_in_a_loop_count_for_each_microbatch():
  def executed_with(*params):
    return executed(plans.on_one_cpu("switch_lm_tiny", *plans.LM[:2], *params))

  microbatch = "serialize_num_microbatches.tokens_per_microbatch_per_replica"
  # 16 groups of a row, at once or twice 8.
  assert executed_with("num_cores = 16") == executed_with(
      "num_cores = 16", f"{microbatch} = 192"
  )


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("all_to_all", 96 * 3 / 4),
        ("all_reduce", 96 * 2 * 3 / 4),
        ("all_gather", 96 * 3),
        ("permute", 96),
    ],
)
def test_bytes_over_links_by_hand(kind, expected):
  """An operand of 2 x 6 float32s, twice, among four cores."""
  collective = communication.Collective(
      kind, "other", "op", ("data",), 4, (2, 6), tf.float32, 2
  )
  assert collective.bytes == 96
  assert cost.bytes_over_links(collective) == expected


def dims_of(**sizes):
  return [mtf.Dimension(name, size) for name, size in sizes.items()]


def whole(dims):
  """A SliceSize on one core."""
  return mtf.Shape(list(dims)).size


def counts(graph):
  return [cost.multiplications(x, whole) for x in graph.operations]


@pytest.fixture(name="mesh")
def fixture_mesh():
  with tf.Graph().as_default():
    yield mtf.Mesh(mtf.Graph(), "mesh")


def product(x, new_dim, make=operations.slicewise, **kwargs):
  """A matrix product as a function of slices."""
  *rows, d_input = x.shape.dims
  weights = mtf.zeros(x.mesh, [d_input, new_dim])
  return make(
      tf.matmul,
      [x, weights],
      output_shape=[*rows, new_dim],
      splittable_dims=rows,
      **kwargs,
  )


def test_a_function_of_slices_counts_what_it_declares(mesh):
  rows, d_in, d_out = dims_of(rows=3, d_in=5, d_out=7)
  x = mtf.zeros(mesh, [rows, d_in])
  product(x, d_out, multiplications=lambda size: size([rows, d_in, d_out]))
  assert sum(counts(mesh.graph)) == 3 * 5 * 7


def test_tensorflow_s_gradient_of_a_product_counts_twice(mesh):
  rows, d_in, d_out = dims_of(rows=3, d_in=5, d_out=7)
  x = mtf.zeros(mesh, [rows, d_in])
  y = product(x, d_out, multiplications=lambda size: size([rows, d_in, d_out]))
  mtf.gradients([mtf.reduce_sum(y)], [x])
  assert sum(counts(mesh.graph)) == 3 * 3 * 5 * 7


def test_a_function_of_slices_that_declares_nothing_is_unknown(mesh):
  rows, d_in, d_out = dims_of(rows=3, d_in=5, d_out=7)
  product(mtf.zeros(mesh, [rows, d_in]), d_out, make=mtf.slicewise)
  assert counts(mesh.graph)[-1] is None


def test_what_may_be_split_along_all_dimensions_has_no_products(mesh):
  x = mtf.zeros(mesh, dims_of(rows=3, d_in=5))
  mtf.gradients([mtf.reduce_sum(mtf.tanh(mtf.cast(x, tf.bfloat16)))], [x])
  assert set(counts(mesh.graph)) == {0}


def test_an_operation_of_a_class_of_its_own_is_unknown(mesh):
  class Unknown(mtf.Operation):

    def __init__(self, x):
      super().__init__([x], name="unknown")
      self._outputs = [mtf.Tensor(self, x.shape, x.dtype)]

  class Known(operations.Operation, Unknown):
    pass

  x = mtf.zeros(mesh, dims_of(rows=3))
  assert cost.multiplications(Unknown(x), whole) is None
  assert cost.multiplications(Known(x), whole) == 0


def test_recomputation_counts_a_product_again(mesh):
  batch, heads, memory, d_kv = dims_of(batch=2, heads=3, memory=5, d_kv=7)
  k = mtf.zeros(mesh, [batch, memory, heads, d_kv])
  q = mtf.zeros(mesh, [batch, heads, d_kv])
  y = mtf.recompute_grad(
      lambda q: dot_product.attend(q, k, k, memory, d_kv, d_kv), [q]
  )
  mtf.gradients([mtf.reduce_sum(y)], [q])
  # Forward, forward again, and backward as much as both; two products each.
  assert sum(counts(mesh.graph)) == 4 * 2 * (2 * 3 * 5 * 7)


@pytest.mark.parametrize("dispatch", ["ragged", "index", "einsum"])
def test_names_of_operations_do_not_matter(dispatch):
  experiment_ = plans.on_one_cpu(
      "switch_lm_tiny",
      *plans.LM,
      plans.RECOMPUTE,
      f"SwitchFeedForward.dispatch = '{dispatch}'",
  )
  graph = step_graph.StepGraph(experiment_, on_tpu=False).graph
  named = counts(graph)
  for operation in graph.operations:
    operation._name = "renamed"  # pylint: disable=protected-access
  assert counts(graph) == named
  # All operations of this package declare their products.
  assert None not in named


def test_a_plan_says_so_when_it_cannot_count(monkeypatch):
  def undeclared(*args, multiplications, **kwargs):
    del multiplications
    return mtf.slicewise(*args, **kwargs)

  def notices():
    experiment_ = plans.on_one_cpu(
        "t5_tiny", "num_layers = 1", sizes=plans.DENSE_SIZES
    )
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always")
      executed(experiment_)
    return [str(x.message) for x in caught if x.category is errors.UserNotice]

  assert not notices()
  monkeypatch.setattr(operations, "slicewise", undeclared)
  (notice,) = notices()
  assert "no FLOPs for" in notice and "\n" not in notice
