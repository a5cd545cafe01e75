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

"""mesh_tensorflow's `_switch_gating` and this router.

Where both are defined they agree; each known difference is asserted as one.
"""

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import moe
from mesh_tensorflow.transformer import transformer
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import dims as dims_lib
from mtf_switch import dispatch
from mtf_switch import layers
from mtf_switch import router as router_lib
from tests import graphs
from tests import oracle

NUM_CORES, TOKENS, EXPERTS, CAPACITY, D_MODEL = 3, 16, 4, 5, 8


def both_routers(nonpadding, dtype=tf.float32, train=False):
  """Upstream's and our dispatch, combine and loss, with the same weights."""
  dims = dims_lib.switch_dims(
      "batch",
      NUM_CORES,
      TOKENS,
      EXPERTS,
      CAPACITY,
      mtf.Dimension("d_model", D_MODEL),
  )
  inputs = np.random.RandomState(0).randn(NUM_CORES, TOKENS, D_MODEL)

  def build(mesh):
    group = [dims.num_cores, dims.tokens_per_core]
    x = mtf.cast(graphs.constant(mesh, inputs, group + [dims.d_model]), dtype)
    real = None
    if nonpadding is not None:
      real = graphs.constant(mesh, nonpadding.astype(np.float32), group)
    upstream = moe._switch_gating(  # pylint: disable=protected-access
        x,
        outer_expert_dims=None,
        experts_dim=dims.num_experts_unsplit,
        expert_capacity_dim=dims.expert_capacity,
        hparams=moe.HParams(
            moe_switch_policy_train="argmax",
            moe_switch_policy_eval="argmax",
            moe_word_embed_mode=None,
            moe_use_second_place_expert_prob=None,
            moe_z_loss=None,
        ),
        train=train,
        variable_dtype=mtf.VariableDType(tf.float32, tf.float32, dtype),
        importance=real,
    )
    kernel = mesh.graph.all_variables[0]
    # The same variable at full precision, as our router reads it.
    master = mtf.import_fully_replicated(
        mesh,
        kernel.get_master().read_value(),
        kernel.shape,
    )
    routing = router_lib.router(x, master, dims, nonpadding=real)
    dispatcher = dispatch.EinsumDispatcher(routing, dims, dtype)
    ours = (
        dispatcher.dispatch_tensor,
        dispatcher.combine_tensor,
        routing.aux_loss,
    )
    return [mtf.to_float(t) for t in upstream + ours] + [
        routing.router_probs,
        master,
        mtf.to_float(x),
    ]

  results, _ = graphs.evaluate(build)
  return results[:3], results[3:6], results[6:]


@pytest.mark.parametrize("train", [False, True])
def test_without_padding_the_two_agree(train):
  upstream, ours, _ = both_routers(np.ones((NUM_CORES, TOKENS)), train=train)
  np.testing.assert_array_equal(ours[0], upstream[0])
  for one, other in zip(ours[1:], upstream[1:]):
    np.testing.assert_allclose(one, other, rtol=1e-6)  # The same float32 ops.
  assert ours[0].sum() < NUM_CORES * TOKENS  # Some tokens were dropped.


def test_with_padding_the_slots_agree_and_the_loss_does_not():
  """B1: upstream counts padding in f and P, and shrinks the loss by it."""
  nonpadding = np.ones((NUM_CORES, TOKENS))
  nonpadding[:, TOKENS // 2 :] = 0
  upstream, ours, (probs, *_) = both_routers(nonpadding)
  np.testing.assert_array_equal(ours[0], upstream[0])
  np.testing.assert_allclose(ours[1], upstream[1], rtol=1e-6)
  index = probs.argmax(-1)
  np.testing.assert_allclose(
      ours[2],
      oracle.load_balance_loss(probs, index, nonpadding),
      rtol=1e-6,
  )
  with_padding = oracle.load_balance_loss(
      probs, index, np.ones_like(nonpadding)
  )
  np.testing.assert_allclose(
      upstream[2], with_padding * nonpadding.mean(), rtol=1e-6
  )
  assert abs(ours[2] - upstream[2]) > 0.3


def test_upstream_cannot_train_without_a_mask_and_ours_can():
  """B3: it casts a mask that is not there."""
  with pytest.raises(AttributeError):
    both_routers(None, train=True)
  _, ours, (probs, *_) = both_routers(None)
  np.testing.assert_allclose(
      ours[2],
      oracle.load_balance_loss(
          probs, probs.argmax(-1), np.ones((NUM_CORES, TOKENS))
      ),
      rtol=1e-6,
  )


def test_upstream_rounds_the_routers_weights_to_bfloat16():
  """B6: its float32 router reads weights that have been rounded before."""
  upstream, ours, (_, kernel, x) = both_routers(
      np.ones((NUM_CORES, TOKENS)), tf.bfloat16
  )

  def loss(weights):
    probs = oracle.softmax(x.astype(float) @ weights)
    return oracle.load_balance_loss(
        probs, probs.argmax(-1), np.ones((NUM_CORES, TOKENS))
    )

  with tf.Graph().as_default(), tf.Session() as session:
    rounded = session.run(tf.cast(tf.cast(kernel, tf.bfloat16), tf.float32))
  np.testing.assert_allclose(ours[2], loss(kernel), rtol=1e-6)
  assert abs(loss(rounded) - loss(kernel)) > 1e-5 * loss(kernel)
  # And its loss comes back as bfloat16, a multiple of 2^-7 near 1.
  assert upstream[2] * 2**7 % 1 == 0
  assert ours[2] * 2**7 % 1 != 0


def sizes_of(layer, mesh_shape="data:1", batch=4, length=3):
  """The (number of groups, slots of an expert) of a layer's dispatch tensor."""
  graph = mtf.Graph()
  mesh = mtf.Mesh(graph, "mesh")
  dims = [mtf.Dimension("batch", batch), mtf.Dimension("length", length)]
  model = graphs.Model(mesh_shape, "batch:data")
  model.model_dim = mtf.Dimension("d_model", 2)
  with tf.Graph().as_default():
    context = transformer.Context(
        model,
        mesh,
        dims[:1],
        dims[1],
        mtf.VariableDType(tf.float32),
        losses=[],
        sequence_id=mtf.ones(mesh, dims, tf.int32),
    )
    layer.call(context, mtf.zeros(mesh, dims + [model.model_dim]))
  shapes = [t.shape for op in graph.operations for t in op.outputs]
  (sizes,) = {
      (shape.get_dim_by_name("batch").size, shape.dims[-1].size)
      for shape in shapes
      if shape.ndims >= 4 and shape.dims[-1].name == "expert_capacity"
  }
  return sizes


def test_upstreams_groups_depend_on_the_mesh_and_ours_do_not():
  """Twelve tokens in groups of six or fewer: two groups, on four cores four."""
  upstream = moe.MoE1D(
      moe_gating="switch", num_experts=2, hidden_size=2, group_size=6
  )
  ours = layers.SwitchFeedForward(num_experts=2, num_cores=4, hidden_size=2)
  meshes = ("data:1", "data:2", "data:4")
  assert [sizes_of(upstream, mesh)[0] for mesh in meshes] == [2, 2, 4]
  assert [sizes_of(ours, mesh)[0] for mesh in meshes] == [4, 4, 4]


def test_upstream_gives_four_slots_where_equation_3_gives_one():
  """Its least capacity is 4; here the factor asked for is the one in force."""
  upstream = moe.MoE1D(moe_gating="switch", num_experts=16, hidden_size=2)
  ours = layers.SwitchFeedForward(num_experts=16, num_cores=1, hidden_size=2)
  assert sizes_of(upstream, batch=4, length=5)[1] == 4
  assert sizes_of(ours, batch=4, length=5)[1] == 1  # 20 x 1.25 / 16 = 1.56.
