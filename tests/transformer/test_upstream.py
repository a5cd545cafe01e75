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

from mtf_switch import errors
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import dispatch
from mtf_switch.layer import losses
from mtf_switch.layer import router as router_lib
from mtf_switch.transformer import feed_forward
from tests import graphs
from tests import oracle

NUM_CORES, TOKENS, EXPERTS, CAPACITY, D_MODEL = 3, 16, 4, 5, 8
FIGURE_15 = router_lib.SwitchRouter()


def both_routers(
    nonpadding,
    dtype=tf.float32,
    train=False,
    gating=moe._switch_gating,  # pylint: disable=protected-access
    router=FIGURE_15,
    inputs=None,
    capacity=CAPACITY,
    step=0,
    **hparams,
):
  """Upstream's and our dispatch, combine and loss, with the same weights.

  Args:
    nonpadding: [NUM_CORES, TOKENS], or None.
    dtype: of the activations.
    train: whether upstream trains.
    gating: upstream's.
    router: ours.
    inputs: [NUM_CORES, TOKENS, D_MODEL]; None for random ones.
    capacity: slots of an expert.
    step: keys the draws.
    **hparams: arguments of MoE1D.

  Returns:
    upstream's three arrays; ours; and the router's probabilities, its weights
    and the inputs.
  """
  if inputs is None:
    inputs = np.random.RandomState(0).randn(NUM_CORES, TOKENS, D_MODEL)
  dims = dims_lib.switch_dims(
      "batch",
      NUM_CORES,
      inputs.shape[1],
      EXPERTS,
      capacity,
      mtf.Dimension("d_model", D_MODEL),
  )
  hparams.setdefault("switch_policy_train", "argmax")

  def build(mesh):
    group = [dims.num_cores, dims.tokens_per_core]
    x = mtf.cast(graphs.constant(mesh, inputs, group + [dims.d_model]), dtype)
    real = None
    if nonpadding is not None:
      real = graphs.constant(mesh, nonpadding.astype(np.float32), group)
    # Some of upstream's gatings count on an outer batch.
    outer = [mtf.Dimension("outer_batch", 1)]
    upstream = gating(
        mtf.reshape(x, outer + x.shape.dims),
        outer_expert_dims=None,
        experts_dim=dims.num_experts_unsplit,
        expert_capacity_dim=dims.expert_capacity,
        hparams=moe.MoE1D(**hparams)._hparams,
        train=train,
        variable_dtype=mtf.VariableDType(tf.float32, tf.float32, dtype),
        importance=None if real is None else mtf.reshape(real, outer + group),
    )
    kernel = mesh.graph.all_variables[0]
    # The same variable at full precision, as our router reads it.
    master = mtf.import_fully_replicated(
        mesh,
        kernel.get_master().read_value(),
        kernel.shape,
    )
    decisions = router(x, master, dims, nonpadding=real)
    dispatcher = dispatch.EinsumDispatcher(decisions, dims, dtype)
    ours = (
        dispatcher.dispatch_tensor,
        dispatcher.combine_tensor,
        decisions.aux_loss,
    )
    return [mtf.to_float(t) for t in upstream + ours] + [
        decisions.router_probs,
        master,
        mtf.to_float(x),
    ]

  results, _ = graphs.evaluate(build, step=step)
  upstream = [x[0] if x.ndim else x for x in results[:3]]
  return upstream, results[3:6], results[6:]


def half_padding():
  nonpadding = np.ones((NUM_CORES, TOKENS))
  nonpadding[:, TOKENS // 2 :] = 0
  return nonpadding


@pytest.mark.parametrize("train", [False, True])
def test_without_padding_the_two_agree(train):
  upstream, ours, _ = both_routers(np.ones((NUM_CORES, TOKENS)), train=train)
  np.testing.assert_array_equal(ours[0], upstream[0])
  for one, other in zip(ours[1:], upstream[1:]):
    np.testing.assert_allclose(one, other, rtol=1e-6)  # The same float32 ops.
  assert ours[0].sum() < NUM_CORES * TOKENS  # Some tokens were dropped.


def test_with_padding_the_slots_agree_and_the_loss_does_not():
  """B1: upstream counts padding in f and P, and shrinks the loss by it."""
  nonpadding = half_padding()
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


@pytest.mark.parametrize(
    "gating, router, hparams",
    [
        (moe._top_2_gating, router_lib.Top2Router(), {}),
        (
            moe._top_n_gating,
            router_lib.TopNRouter(num_choices=3),
            {"top_n_num_experts_per_token": 3},
        ),
    ],
)
@pytest.mark.parametrize("padded", [False, True])
def test_more_choices_agree_but_for_the_share_of_padding_squared(
    gating, router, hparams, padded
):
  """B2: upstream masks the padding and then divides by it twice."""
  nonpadding = half_padding() if padded else np.ones((NUM_CORES, TOKENS))
  upstream, ours, (probs, *_) = both_routers(
      nonpadding,
      gating=gating,
      router=router,
      second_policy_eval="all",
      **hparams,
  )
  np.testing.assert_array_equal(ours[0], upstream[0])
  np.testing.assert_allclose(ours[1], upstream[1], rtol=1e-5)
  loss = oracle.load_balance_loss(probs, probs.argmax(-1), nonpadding)
  np.testing.assert_allclose(ours[2], loss, rtol=1e-6)
  np.testing.assert_allclose(
      upstream[2], loss * nonpadding.mean() ** 2, rtol=1e-6
  )


def z_losses(nonpadding, num_microbatches):
  """Upstream's z-loss and ours of the same logits."""
  experts = mtf.Dimension("experts_unsplit", 3)
  group = [mtf.Dimension("batch", 1), mtf.Dimension("tokens_per_core", 2)]

  def build(mesh):
    real = graphs.constant(mesh, np.array([nonpadding], np.float32), group)
    logits = graphs.constant(mesh, np.ones((1, 2, 3)), group + [experts])
    return [
        moe._router_z_loss(logits, experts, num_microbatches, real),
        losses.router_z_loss(logits, real, experts),
    ]

  return graphs.evaluate(build)[0]


def test_upstreams_z_loss_needs_microbatches_and_a_token_and_ours_does_not():
  """B4: it divides by what may be None or zero."""
  np.testing.assert_allclose(*z_losses([1, 0], num_microbatches=1), rtol=1e-6)
  with pytest.raises(ValueError, match="None values not supported"):
    z_losses([1, 0], num_microbatches=None)
  upstream, ours = z_losses([0, 0], num_microbatches=1)
  assert np.isnan(upstream)
  assert ours == 0.0


def test_upstreams_capacity_exceeds_small_groups_and_ours_does_not():
  """B5: four slots for three tokens; the fourth gets a gate of -1e9."""
  upstream = moe.MoE1D(moe_gating="switch", num_experts=2, hidden_size=2)
  ours = feed_forward.SwitchFeedForward(
      num_experts=2, num_cores=1, hidden_size=2, min_expert_capacity=4
  )
  assert sizes_of(upstream, batch=1, length=3)[1] == 4
  with pytest.warns(errors.UserNotice, match="in force is 2, not 1.25"):
    assert sizes_of(ours, batch=1, length=3)[1] == 3
  inputs = np.random.RandomState(0).randn(NUM_CORES, 3, D_MODEL)
  upstream, ours, _ = both_routers(
      np.ones((NUM_CORES, 3)),
      gating=moe._switch_max_gating,
      router=by_gate(),
      inputs=inputs,
      capacity=4,
  )
  assert upstream[1].min() < -1e8
  assert ours[1].min() == 0.0 and ours[0].sum() == inputs[..., 0].size


def by_gate():
  return router_lib.SwitchRouter(priority="gate")


def test_the_greatest_gates_first_agree_with_upstreams_switch_max():
  upstream, ours, _ = both_routers(
      np.ones((NUM_CORES, TOKENS)),
      gating=moe._switch_max_gating,
      router=by_gate(),
      capacity=3,
  )
  # Upstream's order of dimensions is another, and its empty slots hold a token
  # with a gate of 0.
  np.testing.assert_allclose(
      ours[1], upstream[1].transpose(0, 3, 1, 2), rtol=1e-6
  )


def test_upstream_always_rounds_down_and_ours_as_asked():
  """B7: 1024 tokens on 96 experts are 10.67 slots."""
  upstream = moe.MoE1D(
      moe_gating="switch",
      num_experts=96,
      hidden_size=2,
      capacity_factor_eval=1.0,
      capacity_factor_train=1.0,
  )
  assert sizes_of(upstream, batch=1024, length=1)[1] == 10
  for rounding, capacity in (("floor", 10), ("round", 11), ("ceil", 11)):
    ours = feed_forward.SwitchFeedForward(
        num_experts=96,
        num_cores=1,
        hidden_size=2,
        capacity_factor_eval=1.0,
        capacity_factor_train=1.0,
        capacity_rounding=rounding,
    )
    assert sizes_of(ours, batch=1024, length=1)[1] == capacity


def test_upstreams_evaluation_draws_second_experts_and_ours_does_not():
  """B10: "random" is its default outside training too."""
  assert moe.MoE1D()._hparams.moe_second_policy_eval == "random"
  (upstream, ours, _), (upstream_again, ours_again, _) = (
      both_routers(
          np.ones((NUM_CORES, TOKENS)),
          gating=moe._top_2_gating,
          router=router_lib.Top2Router(),
          capacity=TOKENS,
          second_threshold_eval=1.0,
          step=step,
      )
      for step in (0, 1)
  )
  assert (upstream[0] != upstream_again[0]).any()
  np.testing.assert_array_equal(ours[0], ours_again[0])


def test_upstreams_predictions_depend_on_the_batch_and_ours_do_not():
  """B12: eight times the same row, and four slots."""
  upstream = moe.MoE1D(
      moe_gating="switch",
      num_experts=8,
      hidden_size=2,
      capacity_factor_eval=1.0,
  )
  ours = feed_forward.SwitchFeedForward(
      num_experts=8, num_cores=1, hidden_size=2, capacity_factor_eval=1.0
  )
  for layer, kept in ((upstream, 4), (ours, 8)):
    dims = [mtf.Dimension("batch", 8), mtf.Dimension("length", 1)]

    def build(mesh, layer=layer, dims=dims):
      context = context_of(mesh, dims, D_MODEL, mode="infer")
      x = np.ones((8, 1, D_MODEL))
      return [
          layer.call(
              context,
              graphs.constant(mesh, x, dims + [context.model.model_dim]),
          )
      ]

    ((*rows,),), _ = graphs.evaluate(build)
    for i, row in enumerate(rows):
      assert np.abs(rows[0]).max() > 1e-3
      np.testing.assert_allclose(row, rows[0] * (i < kept), atol=1e-6)


def test_upstreams_second_place_loss_needs_a_third_place():
  """B18: it reads masks[2], which two choices do not have."""

  def two_choices(**hparams):
    return both_routers(
        np.ones((NUM_CORES, TOKENS)),
        gating=moe._top_n_gating,
        router=router_lib.TopNRouter(num_choices=2),
        top_n_num_experts_per_token=2,
        second_policy_eval="all",
        **hparams,
    )

  with pytest.raises(IndexError):
    two_choices(use_second_place_loss=True)
  upstream, ours, _ = two_choices()
  np.testing.assert_array_equal(ours[0], upstream[0])


def test_no_token_left_behind_agrees_but_for_the_loss():
  """B20: upstream averages it over all choices."""
  upstream, ours, (probs, *_) = both_routers(
      np.ones((NUM_CORES, TOKENS)),
      gating=moe._ntlb_gating,
      router=router_lib.NoTokenLeftBehindRouter(),
      capacity=TOKENS // EXPERTS,
  )
  # Upstream's have a dimension more, of size 1.
  for one, other in zip(ours[:2], upstream[:2]):
    np.testing.assert_allclose(one, other.reshape(one.shape), rtol=1e-6)
  assert ours[0].sum() == NUM_CORES * TOKENS
  real = np.ones((NUM_CORES, TOKENS))
  by_choice = [
      oracle.load_balance_loss(probs, index, real)
      for index in np.moveaxis(np.argsort(-probs, axis=-1), -1, 0)
  ]
  np.testing.assert_allclose(ours[2], by_choice[0], rtol=1e-6)
  np.testing.assert_allclose(upstream[2], np.mean(by_choice), rtol=1e-6)
  assert by_choice[0] > 1.0
  np.testing.assert_allclose(upstream[2], 1.0, rtol=1e-6)  # No matter what.


def test_upstream_takes_any_name_for_no_noise_and_ours_refuses_it():
  """B20: only "input_jitter" is known to its no-token-left-behind."""
  plain, typo = (
      both_routers(
          np.ones((NUM_CORES, TOKENS)),
          gating=moe._ntlb_gating,
          train=True,
          switch_policy_train=policy,
      )[0]
      for policy in ("argmax", "input_droput")
  )
  np.testing.assert_array_equal(plain[1], typo[1])
  with pytest.raises(errors.UserError, match="'input_droput' is not known"):
    feed_forward.SwitchFeedForward(
        num_experts=2,
        hidden_size=2,
        router=router_lib.NoTokenLeftBehindRouter,
        exploration="input_droput",
    )


def test_upstreams_switch_max_sees_the_future_and_our_causal_routers_do_not():
  """B21: a later token with a greater gate takes an earlier one's slot."""
  inputs = np.random.RandomState(0).randn(NUM_CORES, TOKENS, D_MODEL)
  changed = inputs.copy()
  changed[:, TOKENS // 2 :] *= 3  # The same choices, greater gates.

  def early(inputs, priority):
    upstream, ours, _ = both_routers(
        np.ones((NUM_CORES, TOKENS)),
        gating=moe._switch_max_gating,
        router=router_lib.NoTokenLeftBehindRouter(priority=priority),
        inputs=inputs,
        capacity=3,
    )
    return upstream[1][..., : TOKENS // 2], ours[1][:, : TOKENS // 2]

  upstream, ours = early(inputs, "causal")
  upstream_changed, ours_unchanged = early(changed, "causal")
  assert (upstream.sum((1, 2)) != upstream_changed.sum((1, 2))).any()
  np.testing.assert_array_equal(ours, ours_unchanged)


def context_of(mesh, dims, d_model=2, mesh_shape="data:1", mode="train"):
  """The transformer.Context of a layer by itself; all tokens are real."""
  model = graphs.Model(mesh_shape, "batch:data")
  model.model_dim = mtf.Dimension("d_model", d_model)
  return transformer.Context(
      model,
      mesh,
      dims[:1],
      dims[1],
      mtf.VariableDType(tf.float32),
      mode=mode,
      losses=[],
      sequence_id=mtf.ones(mesh, dims, tf.int32),
  )


@pytest.mark.parametrize(
    "num_tokens, mesh_axis, upstream, ours",
    [
        (1500, 1, (1, 1500), 2),  # Larger than the 1024 asked for,
        (4106, 1, (2053, 2), 2),  # or next to nothing.
        (4106, 2, (4106, 1), 2),
    ],
)
def test_ours_takes_the_nearest_number_of_groups_and_upstream_any(
    num_tokens, mesh_axis, upstream, ours
):
  """B13."""
  assert moe._split_into_groups(num_tokens, 1024, mesh_axis) == upstream
  assert (
      dims_lib.num_groups(
          num_tokens, group_size=1024, strict=False, multiple_of=mesh_axis
      )
      == ours
  )
  with pytest.raises(errors.UserError, match="group_size = 1024"):
    dims_lib.num_groups(num_tokens, group_size=1024)


def sizes_of(layer, mesh_shape="data:1", batch=4, length=3):
  """The (number of groups, slots of an expert) that a layer dispatches to."""
  graph = mtf.Graph()
  mesh = mtf.Mesh(graph, "mesh")
  dims = [mtf.Dimension("batch", batch), mtf.Dimension("length", length)]
  with tf.Graph().as_default():
    context = context_of(mesh, dims, mesh_shape=mesh_shape)
    layer.call(context, mtf.zeros(mesh, dims + [context.model.model_dim]))
  shapes = [t.shape for op in graph.operations for t in op.outputs]
  (sizes,) = {
      (shape.get_dim_by_name("batch").size, shape.dims[-1].size)
      for shape in shapes
      if shape.ndims >= 3
      and shape.dims[-1].name == "expert_capacity"
      and "batch" in shape.dimension_names
  }
  return sizes


def test_upstreams_groups_depend_on_the_mesh_and_ours_do_not():
  """Twelve tokens in groups of six or fewer: two groups, on four cores four."""
  upstream = moe.MoE1D(
      moe_gating="switch", num_experts=2, hidden_size=2, group_size=6
  )
  ours = feed_forward.SwitchFeedForward(
      num_experts=2, num_cores=4, hidden_size=2, capacity_factor_train=1.34
  )
  meshes = ("data:1", "data:2", "data:4")
  assert [sizes_of(upstream, mesh)[0] for mesh in meshes] == [2, 2, 4]
  assert [sizes_of(ours, mesh)[0] for mesh in meshes] == [4, 4, 4]


def test_upstream_gives_four_slots_where_equation_3_gives_one():
  """Its least capacity is 4; here the factor asked for is the one in force."""
  upstream = moe.MoE1D(moe_gating="switch", num_experts=16, hidden_size=2)
  ours = feed_forward.SwitchFeedForward(
      num_experts=16, num_cores=1, hidden_size=2
  )
  assert sizes_of(upstream, batch=4, length=5)[1] == 4
  # 20 x 1.25 / 16 = 1.56; upstream does not tell that it is not 1.25 either.
  with pytest.warns(errors.UserNotice, match="in force is 0.8, not 1.25"):
    assert sizes_of(ours, batch=4, length=5)[1] == 1
