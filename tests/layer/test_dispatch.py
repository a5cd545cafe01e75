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

"""Copying rows carries out the same routing as Appendix F's einsums."""

import mtf_switch  # isort: skip  # noqa: F401
import dataclasses

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.layer import dispatch as dispatch_lib
from mtf_switch.transformer import dispatchers
from mtf_switch.transformer import feed_forward
from tests import graphs
from tests.layer.test_blocks import ROUTERS
from tests.transformer.test_feed_forward import BATCH
from tests.transformer.test_feed_forward import D_FF
from tests.transformer.test_feed_forward import D_MODEL
from tests.transformer.test_feed_forward import EXPERTS
from tests.transformer.test_feed_forward import LENGTH
from tests.transformer.test_feed_forward import make_context
from tests.transformer.test_feed_forward import make_inputs
from tests.transformer.test_feed_forward import make_sequence_id


def step(dispatch, mesh_shape, layout, **options):
  """The output, loss and all gradients of a layer in training."""
  layer = feed_forward.SwitchFeedForward(
      num_experts=EXPERTS,
      num_cores=4,
      hidden_size=D_FF,
      dispatch=dispatch,
      **options,
  )

  def build(mesh):
    x = make_inputs(mesh)
    context = make_context(
        mesh,
        model=graphs.Model(mesh_shape, layout),
        sequence_id=make_sequence_id(mesh),
    )
    y = layer.call(context, x)
    loss = mtf.reduce_sum(y * make_inputs(mesh, seed=1)) + context.losses[0]
    weights = [v.value for v in mesh.graph.trainable_variables]
    return [y, loss] + mtf.gradients([loss], [x] + weights)

  return graphs.evaluate(build, mesh_shape, layout)


def assert_close(one, other):
  """To 1e-6 of the largest entry, the loss to that of its terms' partial sums.

  The terms of the loss, of the order of 1, nearly cancel.
  """
  largest = np.abs(other).max() if other.ndim else 1.0
  np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * largest)


@pytest.mark.parametrize(
    "dispatch, router, mesh_shape, layout",
    [
        ("ragged", router, mesh_shape, layout)
        for mesh_shape, layout in (("", ""), ("data:2", "batch:data"))
        for router in ROUTERS
    ]
    + [
        ("index", router, mesh_shape, layout)
        for mesh_shape, layout in (
            ("", ""),
            ("data:2", "batch:data,experts:data"),
            ("data:4", "batch:data,experts:data"),
        )
        for router in ROUTERS
    ]
    + [
        (
            "index",
            "top_2",
            "data:2;model:2",
            "batch:data,experts:data,d_ff:model",
        ),
        ("index", "top_2", "model:2", "d_model:model"),
    ],
)
def test_outputs_and_all_gradients_are_those_of_the_einsum(
    dispatch, router, mesh_shape, layout
):
  # Draws of the router's would be the same; those of experts are too.
  changes = dict(exploration="argmax")
  if router == "top_2":
    changes["second_policy_train"] = "threshold"
  options = dict(
      router=dataclasses.replace(ROUTERS[router], **changes),
      capacity_factor_train=1.0,
      expert_dropout_rate=0.3,
  )
  einsum, slow = step("einsum", mesh_shape, layout, **options)
  copied, fast = step(dispatch, mesh_shape, layout, **options)
  assert len(copied) == 6  # Of the input, the router and two matrices.
  for one, other in zip(copied, einsum):
    assert other.any()
    # The same products; only the sum over a token's choices is another.
    assert_close(one, other)
  assert sum(fast["einsum"]) < sum(slow["einsum"])

  def moved(counters):
    return {k: v for k, v in counters.items() if k.startswith("alltoall")}

  assert moved(fast) == moved(slow)


@pytest.mark.parametrize("router", ROUTERS)
def test_rows_of_several_cores_are_those_of_one(router):
  """Noise of the router and of the experts included, and dropped tokens."""
  options = dict(
      router=dataclasses.replace(ROUTERS[router], exploration="sample"),
      capacity_factor_train=1.0,
      expert_dropout_rate=0.3,
      activation="gelu",
  )
  one_core, _ = step("ragged", "", "", **options)
  for size in (2, 4):
    cores, counters = step("ragged", f"data:{size}", "batch:data", **options)
    assert len(cores) == len(one_core) == 6
    for one, other in zip(cores, one_core):
      # A product's rounding depends on its rows, a sum's on its order.
      assert_close(one, other)
    # The gradients of the router and of two matrices, and scalars.
    sizes = [size * EXPERTS * D_MODEL * n for n in (1, D_FF, D_FF)]
    sent = [
        value
        for name, values in counters.items()
        for value in values
        if name.startswith("allreduce")
    ]
    assert sorted(v for v in sent if v > size) == sizes


@pytest.mark.parametrize(
    "strategy",
    [
        dispatch_lib.EinsumDispatcher,
        dispatch_lib.IndexDispatcher,
        dispatch_lib.RaggedDispatcher,
        dispatch_lib.BlockDispatcher,
        dispatch_lib.TokenDispatcher,
    ],
)
def test_every_strategy_is_the_contract_and_no_other_strategy(strategy):
  assert strategy.__bases__ == (dispatch_lib.Dispatcher,)
  methods = {
      name
      for name, value in vars(strategy).items()
      if callable(value) and not name.startswith("_")
  }
  assert methods - {"choices"} == {"dispatch", "multiply", "combine"}


def test_the_rows_of_tokens_are_not_kept_for_the_backward_pass():
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    layer = feed_forward.SwitchFeedForward(
        num_experts=EXPERTS, num_cores=4, hidden_size=D_FF, dispatch="ragged"
    )
    x = make_inputs(mesh)
    y = layer.call(make_context(mesh, model=graphs.Model("", "")), x)
    forward = list(mesh.graph.operations)
    weights = [v.value for v in mesh.graph.trainable_variables]
    mtf.gradients([mtf.reduce_sum(mtf.square(y))], [x, *weights])
    backward = mesh.graph.operations[len(forward) :]
  computed = {tensor for op in forward for tensor in op.outputs}
  kept = {
      tensor.shape.dimension_names[-1]
      for op in backward
      for tensor in op.inputs
      if tensor in computed and "rows" in tensor.shape.dimension_names
      # Which token a row has is cheap to keep.
      and tensor.dtype.is_floating
  }
  assert kept == {"d_ff"}


@pytest.mark.parametrize("dispatch", ["ragged", "index"])
def test_no_tensor_has_tokens_experts_and_slots(dispatch):
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    x = make_inputs(mesh)
    y = feed_forward.SwitchFeedForward(
        num_experts=EXPERTS, num_cores=4, hidden_size=D_FF, dispatch=dispatch
    ).call(make_context(mesh, model=graphs.Model("", "")), x)
    mtf.gradients([mtf.reduce_sum(y)], [x])
    for op in mesh.graph.operations:
      for tensor in op.outputs:
        names = tensor.shape.dimension_names
        assert not {"tokens_per_core", "expert_capacity"} <= set(names), op.name


@pytest.mark.parametrize(
    "option, mesh_shape, layout, dispatcher",
    [
        (None, "", "", dispatch_lib.RaggedDispatcher),
        ("index", "", "", dispatch_lib.IndexDispatcher),
        ("einsum", "", "", dispatch_lib.EinsumDispatcher),
        (None, "data:2", "batch:data", dispatch_lib.RaggedDispatcher),
        (None, "data:4", "batch:data", dispatch_lib.RaggedDispatcher),
        (
            None,
            "data:2",
            "batch:data,experts:data",
            dispatch_lib.IndexDispatcher,
        ),
        (None, "model:2", "d_ff:model", dispatch_lib.IndexDispatcher),
        (None, None, None, dispatch_lib.IndexDispatcher),
    ],
)
def test_the_default_leaves_out_empty_slots_where_it_can(
    option, mesh_shape, layout, dispatcher
):
  assert chosen(option, mesh_shape, layout, tokens_per_core=512) == dispatcher
  # With little for each expert of a core one product of all slots is faster.
  few = dispatch_lib.IndexDispatcher if option is None else dispatcher
  assert chosen(option, mesh_shape, layout, tokens_per_core=16) == few


@pytest.mark.parametrize("mesh_size, rows", [(1, 64), (2, 32), (4, 16)])
def test_the_rows_of_a_core_decide(mesh_size, rows):
  dispatcher = chosen(
      None, f"data:{mesh_size}", "batch:data", tokens_per_core=64, d_model=10**6
  )
  assert (dispatcher == dispatch_lib.RaggedDispatcher) == (rows >= 32)


@pytest.mark.parametrize(
    "hidden_size, d_model, is_ragged",
    [
        (1024, 256, False),  # 32 rows * 256 * 1024 = 8.4 million.
        (1024, 384, True),
        (2048, 256, True),
        (None, 512, False),  # One matrix, of 512 * 512.
        (None, 768, True),
    ],
)
def test_small_matrices_take_all_slots_at_once(hidden_size, d_model, is_ragged):
  dispatcher = chosen(
      None, "", "", tokens_per_core=32, d_model=d_model, hidden_size=hidden_size
  )
  assert (dispatcher == dispatch_lib.RaggedDispatcher) == is_ragged


def chosen(
    option,
    mesh_shape,
    layout,
    tokens_per_core,
    d_model=512,
    hidden_size=2048,
):
  """The strategy for training, with as many groups as experts."""
  layer = feed_forward.SwitchFeedForward(
      num_experts=EXPERTS, num_cores=EXPERTS, hidden_size=D_FF
  )
  mesh = mtf.Mesh(mtf.Graph(), "mesh")
  context = make_context(mesh, model=graphs.Model(mesh_shape, layout))
  dims = layer.dims(context, make_inputs(mesh))
  dims = dims._replace(
      tokens_per_core=mtf.Dimension("tokens_per_core", tokens_per_core),
      d_model=mtf.Dimension("d_model", d_model),
  )
  return dispatchers.dispatcher_class(option, context, dims, 1, hidden_size)


@pytest.mark.parametrize(
    "experts, tokens, choices, dispatcher",
    [
        (4, 32, 1, dispatch_lib.TokenDispatcher),
        (4, 16, 2, dispatch_lib.TokenDispatcher),
        (4, 33, 1, dispatch_lib.BlockDispatcher),
        (4, 32, 2, dispatch_lib.BlockDispatcher),
        (48, 48, 1, dispatch_lib.TokenDispatcher),
        (48, 49, 1, dispatch_lib.BlockDispatcher),
        (128, 65, 1, dispatch_lib.BlockDispatcher),
    ],
)
def test_inference_has_a_product_for_each_of_few_choices(
    experts, tokens, choices, dispatcher
):
  layer = feed_forward.SwitchFeedForward(
      num_experts=experts, num_cores=4, hidden_size=D_FF
  )
  mesh = mtf.Mesh(mtf.Graph(), "mesh")
  context = make_context(mesh, model=graphs.Model("", ""))
  context.mode = tf.estimator.ModeKeys.PREDICT
  dims = layer.dims(context, make_inputs(mesh))._replace(
      tokens_per_core=mtf.Dimension("tokens_per_core", tokens),
      expert_capacity=mtf.Dimension("expert_capacity", tokens),
  )
  chosen = dispatchers.dispatcher_class(None, context, dims, choices, D_FF)
  assert chosen == dispatcher


@pytest.mark.parametrize(
    "mesh_shape, layout",
    [
        ("data:2", "batch:data,experts:data"),
        ("model:2", "d_ff:model"),
        ("model:2", "d_model:model"),
    ],
)
def test_ragged_is_refused_where_slots_are_needed(mesh_shape, layout):
  with pytest.raises(errors.UserError, match="use 'index'"):
    step("ragged", mesh_shape, layout)


@pytest.mark.parametrize("dispatch", ["ragged", "index", "einsum"])
def test_a_bfloat16_gate_is_rounded_as_the_combine_tensor_is(dispatch):
  def build(mesh):
    context = make_context(mesh, model=graphs.Model("", ""))
    context.variable_dtype = mtf.VariableDType(
        tf.float32, tf.float32, tf.bfloat16
    )
    x = mtf.cast(make_inputs(mesh), tf.bfloat16)
    results = []
    for name in (dispatch, "einsum"):
      with tf.variable_scope("", reuse=bool(results)):
        y = feed_forward.SwitchFeedForward(
            num_experts=EXPERTS,
            num_cores=4,
            hidden_size=D_FF,
            router_jitter=0.0,
            dispatch=name,
        ).call(context, x)
      assert y.dtype == tf.bfloat16
      results.append(mtf.to_float(y))
    return results

  (one, other), _ = graphs.evaluate(build)
  assert one.shape == (BATCH, LENGTH, D_MODEL)
  np.testing.assert_array_equal(one, other)  # One product each, rounded once.
