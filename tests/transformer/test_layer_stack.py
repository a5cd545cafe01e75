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

"""Switch layers within the stack: losses, recomputation, what is refused."""

import mtf_switch  # isort: skip  # noqa: F401
import contextlib
import warnings

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import reports
from tests import graphs

BATCH, LENGTH, VOCABULARY = 4, 8, 32

# A language model with two layers that have experts.
LM = """
transformer.make_layer_stack.layers = [
    @transformer_layers.SelfAttention, @SwitchFeedForward]
transformer.make_layer_stack.num_layers = 2
transformer.make_layer_stack.layer_stack_cls = @SwitchLayerStack
transformer.LayerStack.sublayers_per_layer = [
    @transformer.sublayer_rms_norm, @transformer.sublayer_call_layer,
    @transformer.sublayer_residual]
transformer.LayerStack.sublayers_initial = []
transformer.LayerStack.sublayers_final = [@transformer.sublayer_rms_norm]
transformer.Unitransformer.d_model = 16
transformer.Unitransformer.max_length = 8
transformer.Unitransformer.autoregressive = True
transformer_layers.SelfAttention.num_heads = 2
transformer_layers.SelfAttention.key_value_size = 8
SwitchFeedForward.num_experts = 4
SwitchFeedForward.num_cores = 2
SwitchFeedForward.hidden_size = 32
SwitchFeedForward.capacity_factor_train = 1.0
"""
UPSTREAM = """
transformer.make_layer_stack.layers = [
    @transformer_layers.SelfAttention, @moe.MoE1D]
transformer.make_layer_stack.layer_stack_cls = @transformer.LayerStack
moe.MoE1D.num_experts = 4
moe.MoE1D.moe_gating = "switch"
moe.MoE1D.hidden_size = 32
"""
RECOMPUTE = "transformer.LayerStack.recompute_grads = True"


@pytest.fixture
def gin_config():
  """Sets gin's bindings, and forgets them after the test."""

  def parse(*texts):
    gin.clear_config()
    for text in texts:
      gin.parse_config(text, skip_unknown=False)

  with gin.unlock_config():
    yield parse
    gin.clear_config()


def make_model(**kwargs):
  return transformer.Unitransformer(
      transformer.make_layer_stack(),
      input_vocab_size=VOCABULARY,
      output_vocab_size=VOCABULARY,
      **kwargs,
  )


def loss_of(
    model,
    mesh,
    mode=tf.estimator.ModeKeys.TRAIN,
    dtype=tf.float32,
    padding_mask=True,
):
  dims = [mtf.Dimension("batch", BATCH), mtf.Dimension("length", LENGTH)]
  ids = np.random.RandomState(0).randint(2, VOCABULARY, (BATCH, LENGTH))
  targets = graphs.constant(mesh, ids.astype(np.int32), dims)
  _, loss = model.call_simple(
      transformer.autoregressive_inputs(targets),
      targets,
      compute_loss=True,
      mode=mode,
      variable_dtype=mtf.VariableDType(tf.float32, tf.float32, dtype),
      sequence_id=mtf.ones(mesh, dims, tf.int32) if padding_mask else None,
  )
  return loss


def gradients_of(loss, mesh):
  return mtf.gradients(
      [loss], [v.value for v in mesh.graph.trainable_variables]
  )


@pytest.mark.parametrize("padding_mask", [True, False])
def test_a_language_model_trains_with_and_without_a_padding_mask(
    gin_config, padding_mask
):
  gin_config(LM)

  def build(mesh):
    loss = loss_of(make_model(), mesh, padding_mask=padding_mask)
    names = [v.name for v in mesh.graph.trainable_variables]
    assert sum("SwitchFeedForward/router/kernel" in n for n in names) == 2
    return [loss] + gradients_of(loss, mesh)

  (loss, *gradients), _ = graphs.evaluate(build)
  assert np.isfinite(loss)
  assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("reports_are_collected", [True, False])
def test_recomputation_changes_no_loss_gradient_or_report(
    gin_config, reports_are_collected
):
  """B8: the load-balance loss, its gradient, jitter and dropout included."""

  def step(*bindings):
    gin_config(
        LM,
        "SwitchFeedForward.aux_loss_coefficient = 1.0",
        "SwitchFeedForward.z_loss_coefficient = 0.1",
        "SwitchFeedForward.expert_dropout_rate = 0.3",
        *bindings,
    )
    names = []

    def build(mesh):
      model = make_model()
      collecting = contextlib.nullcontext({})
      if reports_are_collected:
        collecting = reports.collecting(model)
      with collecting as collected:
        loss = loss_of(model, mesh)
      names.extend(sorted(collected))
      values = [collected[name] for name in names]
      if reports_are_collected:
        loss += collected["router_loss"]
      return [loss, *values] + gradients_of(loss, mesh)

    results, counters = graphs.evaluate(build)
    return names, results, sum(counters["einsum"])

  names, plain, products = step()
  again_names, again, more_products = step(RECOMPUTE)
  assert names == again_names
  assert bool(names) == reports_are_collected
  assert more_products > 1.1 * products  # It does recompute.
  for one, other in zip(plain, again, strict=True):
    # The same operations, which the library may fuse otherwise.
    np.testing.assert_allclose(
        one, other, atol=1e-6 * max(np.abs(one).max(), 1e-3)
    )


def test_upstream_loses_the_loss_of_what_it_recomputes(gin_config):
  """B8: it is an error there."""
  gin_config(LM, UPSTREAM, RECOMPUTE)
  with pytest.raises(ValueError, match="usable"):
    graphs.evaluate(
        lambda mesh: [loss_of(make_model(mesh_shape="", layout=""), mesh)]
    )


@pytest.mark.parametrize(
    "bindings, message",
    [
        (
            [RECOMPUTE],
            "LayerStack.recompute_grads loses the auxiliary loss of Switch "
            "layers; set transformer.make_layer_stack.layer_stack_cls = "
            "@SwitchLayerStack.",
        ),
        (
            ["SwitchFeedForward.priority = 'gate'"],
            "The router's priority = 'gate' compares a token with later ones, "
            "which a decoder must not see; use 'position' or 'causal' there "
            "(the gin scope decoder/ sets an option of the decoder alone).",
        ),
        (
            ["SwitchFeedForward.loss_over_layers = 'mean'"],
            "SwitchFeedForward.loss_over_layers = 'mean' works with run_switch "
            "only; elsewhere divide aux_loss_coefficient by the number of "
            "Switch layers.",
        ),
        (
            ["transformer.Unitransformer.ensemble = 2"],
            "SwitchFeedForward does not support ensemble = 2; leave ensembles "
            "off.",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(gin_config, bindings, message):
  gin_config(
      LM,
      "transformer.make_layer_stack.layer_stack_cls = @transformer.LayerStack",
      *bindings,
  )
  with pytest.raises(errors.UserError) as error:
    graphs.evaluate(lambda mesh: [loss_of(make_model(), mesh)])
  # Gin adds lines about the functions on the way.
  assert str(error.value).split("\n")[0] == message


def test_a_reversible_stack_is_refused(gin_config):
  gin_config(
      LM,
      "transformer.make_layer_stack.layer_stack_cls ="
      " @transformer.ReversibleLayerStack",
  )
  with pytest.raises(errors.UserError, match="ReversibleLayerStack"):
    graphs.evaluate(lambda mesh: [loss_of(make_model(), mesh)])


@pytest.mark.parametrize(
    "option, value, legal",
    [
        ("exploration", "input_jiter", "argmax, sample, input_dropout,"),
        ("priority", "gates", "position, gate, causal"),
        ("loss_scope", "core", "group, batch"),
        ("router_dtype", "float16", "float32, bfloat16"),
        ("loss_over_layers", "average", "sum, mean"),
        ("router", "top_2", "@switch_router, @top_2_router, @top_n_router"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_known(
    option, value, legal
):
  options = dict(num_experts=2, num_cores=1, hidden_size=2)
  with pytest.raises(errors.UserError) as error:
    feed_forward.SwitchFeedForward(**options, **{option: value})
  # The router has no "router_" in the names of its options.
  name = option.removeprefix("router_")
  assert f"{name} = {value!r} is not known; use " in str(error.value)
  assert legal in str(error.value)


def losses_and_probabilities(gin_config, *bindings, count=False):
  """The router losses of a step, the layers' and their sum."""
  gin_config(LM, "SwitchFeedForward.router_jitter = 0.0", *bindings)

  def build(mesh):
    model = make_model()
    if count:
      feed_forward.count_switch_layers(model)
    with reports.collecting(model) as collected:
      loss_of(model, mesh)
    prefix = "transformer/block_00"
    return [
        collected["router_loss"],
        *(collected[f"{prefix}{i}/layer_001/aux_loss"] for i in range(2)),
        *(collected[f"{prefix}{i}/layer_001/z_loss"] for i in range(2)),
    ]

  return graphs.evaluate(build)[0]


def test_losses_have_coefficients_of_their_own_and_add_up(gin_config):
  one = losses_and_probabilities(
      gin_config, "SwitchFeedForward.aux_loss_coefficient = 1.0"
  )
  both = losses_and_probabilities(
      gin_config,
      "SwitchFeedForward.aux_loss_coefficient = 0.01",
      "SwitchFeedForward.z_loss_coefficient = 0.1",
  )
  assert one[3] == one[4] == 0  # The z-loss is off by default.
  np.testing.assert_allclose(one[0], one[1] + one[2], rtol=1e-6)
  np.testing.assert_allclose(both[1:3], 0.01 * np.array(one[1:3]), rtol=1e-6)
  # Logits are small at first: a little more than log(4) squared.
  np.testing.assert_allclose(
      both[3:], 0.1 * np.log(4) ** 2 * np.ones(2), rtol=0.2
  )
  np.testing.assert_allclose(both[0], sum(both[1:]), rtol=1e-6)


def test_losses_may_be_averaged_over_the_layers_of_the_model(gin_config):
  added = losses_and_probabilities(gin_config)
  averaged = losses_and_probabilities(
      gin_config, "SwitchFeedForward.loss_over_layers = 'mean'", count=True
  )
  np.testing.assert_allclose(averaged[0], added[0] / 2, rtol=1e-6)


def test_the_routers_loss_is_not_rounded_in_a_bfloat16_model(gin_config):
  """B22: upstream's comes back as a multiple of 2^-7."""
  gin_config(LM, "SwitchFeedForward.aux_loss_coefficient = 1.0")

  def build(mesh):
    dims = [mtf.Dimension("batch", BATCH), mtf.Dimension("length", LENGTH)]
    ids = np.random.RandomState(0).randint(2, VOCABULARY, (BATCH, LENGTH))
    targets = graphs.constant(mesh, ids.astype(np.int32), dims)
    loss, sums = loss_lib.loss_and_sums(
        make_model(),
        {"targets": targets},
        tf.estimator.ModeKeys.TRAIN,
        mtf.VariableDType(tf.float32, tf.float32, tf.bfloat16),
    )
    assert {x.dtype for x in (loss, *sums.values())} == {tf.float32}
    aux = sum(
        sums[f"transformer/block_00{i}/layer_001/aux_loss"] for i in range(2)
    )
    return [aux, loss, *gradients_of(loss, mesh)]

  (aux, loss, *gradients), _ = graphs.evaluate(build)
  assert aux * 2**7 % 1 and loss * 2**7 % 1
  assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(
    "mode, factor, notice",
    [
        ("train", 1.2, "the capacity factor in force is 1, not 1.2: "),
        ("eval", 0.4, "the capacity factor in force is 0.25, not 0.4: "),
        ("train", 1.3, None),  # 1.25 is within 10%.
        ("infer", 0.4, None),  # No capacity.
    ],
)
def test_a_capacity_factor_that_is_not_in_force_is_said_once(
    gin_config, mode, factor, notice
):
  gin_config(
      LM,
      f"SwitchFeedForward.capacity_factor_train = {factor}",
      f"SwitchFeedForward.capacity_factor_eval = {factor}",
  )
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("default")
    with tf.Graph().as_default():
      loss_of(make_model(), mtf.Mesh(mtf.Graph(), "mesh"), mode)
  notices = [w for w in caught if w.category is errors.UserNotice]
  # Two layers, one notice.
  assert len(notices) == (notice is not None)
  if notice:
    assert str(notices[0].message).startswith(notice)
