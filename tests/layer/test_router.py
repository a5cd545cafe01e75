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

"""Every router against the oracle, by hand, and its gradients."""

import dataclasses
import functools

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import dispatch
from mtf_switch.layer import losses
from mtf_switch.layer import router as router_lib
from mtf_switch.layer import scores as scores_lib
from mtf_switch.layer import slots
from mtf_switch.layer import switch_layer
from mtf_switch.mesh import placement_mesh
from tests import oracle
from tests.layer.test_losses import SIX_TOKENS

D_MODEL = 5
ROUTERS = {
    "router": router_lib.SwitchRouter(),
    "top_2": router_lib.Top2Router(second_policy_eval="threshold"),
    "top_3": router_lib.TopNRouter(num_choices=3),
    "ntlb": router_lib.NoTokenLeftBehindRouter(),
    "ntlb_2": router_lib.NoTokenLeftBehindRouter(max_stages=2),
}
LEAST_EXPERTS = {"top_2": 2, "top_3": 3}
FIELDS = (
    "expert_index",
    "position_in_expert",
    "routed",
    "kept",
    "expert_gate",
    "router_probs",
    "aux_loss",
    "z_loss",
)
TENSORS = ("dispatch_tensor", "combine_tensor")


class Program:
  """What a function of tensors returns, lowered once and run many times."""

  def __init__(self, build, *shapes, dtype=tf.float32):
    """Builds and lowers.

    Args:
      build: from an mtf.Tensor for each of shapes to a list of mtf.Tensor.
      *shapes: lists of mtf.Dimension.
      dtype: of the inputs.
    """
    with tf.Graph().as_default():
      graph = mtf.Graph()
      mesh = mtf.Mesh(graph, "mesh")
      self._placeholders = [
          tf.placeholder(dtype, [dim.size for dim in dims]) for dims in shapes
      ]
      outputs = build(
          *(
              mtf.import_fully_replicated(
                  mesh, x, mtf.Shape(dims), name="input"
              )
              for x, dims in zip(self._placeholders, shapes)
          )
      )
      outputs = [mtf.anonymize(x) for x in outputs]
      impl = placement_mesh.PlacementMeshImpl(
          mtf.Shape([]), "", ["cpu:0"], 0, 0
      )
      lowering = mtf.Lowering(graph, {mesh: impl}, autostack=False)
      self._outputs = [lowering.export_to_tf_tensor(x) for x in outputs]
      self._session = tf.Session()

  def __call__(self, *arrays):
    return self._session.run(
        self._outputs, dict(zip(self._placeholders, arrays))
    )


def sizes(num_cores, tokens_per_core, num_experts, capacity, d_model=D_MODEL):
  return dims_lib.switch_dims(
      "batch",
      num_cores,
      tokens_per_core,
      num_experts,
      capacity,
      mtf.Dimension("d_model", d_model),
  )


def input_shapes(dims):
  """Those of the inputs, the router's weights and the padding."""
  group = [dims.num_cores, dims.tokens_per_core]
  return (
      group + [dims.d_model],
      [dims.d_model, dims.num_experts_unsplit],
      group,
  )


def route(routers, dims, dtype=tf.float32):
  """A function from inputs, weights and padding to each router's results.

  Args:
    routers: functions that return a Routing.
    dims: the layer's dimensions.
    dtype: of the inputs and weights.

  Returns:
    a function that returns, for each router, a dict of FIELDS and TENSORS.
  """

  def build(inputs, weights, nonpadding):
    results = []
    for router in routers:
      routing = router(
          inputs,
          weights,
          dims,
          nonpadding=mtf.cast(nonpadding, tf.float32),
      )
      dispatcher = dispatch.EinsumDispatcher(routing, dims, dtype)
      results += [getattr(routing, name) for name in FIELDS]
      results += [getattr(dispatcher, name) for name in TENSORS]
    return results

  program = Program(build, *input_shapes(dims), dtype=dtype)
  names = FIELDS + TENSORS

  def run(inputs, weights, nonpadding):
    results = program(inputs, weights, nonpadding)
    return [
        dict(zip(names, results[i : i + len(names)]))
        for i in range(0, len(results), len(names))
    ]

  return run


def prepare(shape, capacity, *routers, is_training=False, **options):
  """A function from probabilities of this shape to a dict for each router."""
  num_cores, tokens_per_core, num_experts = shape
  dims = sizes(num_cores, tokens_per_core, num_experts, capacity, num_experts)
  routers = [dataclasses.replace(x, **options) for x in routers]
  run = route(
      [functools.partial(x, is_training=is_training) for x in routers], dims
  )
  all_real = np.ones((num_cores, tokens_per_core))
  return lambda probs, nonpadding=all_real: run(
      np.log(probs), np.eye(num_experts), nonpadding
  )


def route_probs(router_probs, capacity, *routers, **options):
  """Routes tokens whose probabilities are given; a dict for each router."""
  return prepare(router_probs.shape, capacity, *routers, **options)(
      router_probs
  )


def expected(name, probs, capacity, nonpadding, priority):
  """The oracle's expert_index, slot, gate and asks, with a choices axis."""
  if name.startswith("ntlb"):
    results = oracle.no_token_left_behind(
        probs, capacity, nonpadding, priority, 2 if name == "ntlb_2" else None
    )
    return *(x[..., None] for x in results), nonpadding[..., None]
  num_choices = {"top_2": 2, "top_3": 3}.get(name, 1)
  asks = np.repeat(nonpadding[..., None], num_choices, axis=-1)
  if name == "top_2":
    best_two = -np.sort(-probs.astype(np.float64), axis=-1)[..., :2]
    asks[..., 1] *= best_two[..., 1] / best_two.sum(-1) > 0.2
  return (
      *oracle.top_n(probs, capacity, nonpadding, num_choices, priority, asks),
      asks,
  )


@pytest.mark.parametrize("priority", slots.PRIORITIES)
@pytest.mark.parametrize("num_cores", [1, 3])
@pytest.mark.parametrize("num_experts", [1, 2, 7, 64])
def test_routers_equal_the_oracle(num_cores, num_experts, priority):
  tokens = 18
  rng = np.random.RandomState(num_experts)
  inputs = rng.randn(num_cores, tokens, D_MODEL).astype(np.float32)
  weights = rng.randn(D_MODEL, num_experts).astype(np.float32)
  logits = inputs.astype(np.float64) @ weights
  # One slot; fewer than, or about, as many as tokens; one for every token. A
  # Latin square: each priority and each number of experts meets all three.
  row = list(slots.PRIORITIES).index(priority) + num_cores + num_experts
  capacity = (1, max(2, tokens // num_experts - 1), tokens)[row % 3]
  scope = losses.SCOPES[row % 2]
  options = dict(priority=priority, loss_scope=scope)
  names = [x for x in ROUTERS if num_experts >= LEAST_EXPERTS.get(x, 1)]
  run = route(
      [dataclasses.replace(ROUTERS[x], **options) for x in names],
      sizes(num_cores, tokens, num_experts, capacity),
  )
  for share_of_padding in (0.0, 0.3, 1.0):
    nonpadding = (rng.rand(num_cores, tokens) >= share_of_padding).astype(int)
    for name, ours in zip(names, run(inputs, weights, nonpadding)):
      check(
          ours,
          expected(name, ours["router_probs"], capacity, nonpadding, priority),
          nonpadding,
          logits,
          capacity,
          scope,
          f"{name}, capacity {capacity}, padding {share_of_padding}",
      )


def check(ours, theirs, nonpadding, logits, capacity, scope, where):
  """Compares a router's results with the oracle's."""
  expert_index, slot, gate, asks = theirs
  num_experts = logits.shape[-1]
  probs = ours["router_probs"]
  real = nonpadding == 1
  kept = slot >= 0
  equal = functools.partial(np.testing.assert_array_equal, err_msg=where)
  equal(ours["expert_index"][real], expert_index[real])
  equal(ours["routed"], asks)
  equal(ours["kept"], kept)
  equal(ours["position_in_expert"][kept], slot[kept])

  def close(one, other):
    # Decisions are integers and equal; these are sums, quotients and
    # exponentials in float32, so equal but for some units in the last place.
    np.testing.assert_allclose(
        one, other, atol=1e-6 * np.abs(other).max(), rtol=0, err_msg=where
    )

  close(probs, oracle.softmax(logits))
  close(ours["expert_gate"], gate)
  combine = oracle.combine_tensor(
      expert_index, slot, gate, num_experts, capacity
  )
  close(ours["combine_tensor"], combine)
  equal(
      ours["dispatch_tensor"],
      oracle.combine_tensor(expert_index, slot, kept, num_experts, capacity),
  )
  first = probs.argmax(-1)
  close(
      ours["aux_loss"],
      oracle.load_balance_loss(probs, first, nonpadding, scope),
  )
  close(ours["z_loss"], oracle.router_z_loss(logits, nonpadding))


def test_six_tokens_by_hand_leave_none_behind():
  # Figure 11; two slots. At the first stage expert 1 takes token 0, expert 0
  # tokens 1 and 2, expert 2 token 4; expert 0 turns tokens 3 and 5 away. At the
  # second stage token 3's next best are experts 1 and 2, both 0.1, of which the
  # first, with one slot left, takes it as its second; token 5's is expert 2
  # with 0.2, which takes it as its second.
  (routing,) = route_probs(SIX_TOKENS, 2, router_lib.NoTokenLeftBehindRouter())
  np.testing.assert_array_equal(
      routing["expert_index"][0, :, 0], [1, 0, 0, 1, 2, 2]
  )
  np.testing.assert_array_equal(
      routing["position_in_expert"][0, :, 0], [0, 0, 1, 1, 0, 1]
  )
  assert routing["kept"].all()
  np.testing.assert_allclose(
      routing["expert_gate"][0, :, 0], [0.7, 0.7, 0.5, 0.1, 0.6, 0.2], rtol=1e-6
  )
  # The loss is of the first choices, as without the second stage.
  np.testing.assert_allclose(routing["aux_loss"], 1.275, rtol=1e-6)


def test_stages_serve_a_later_token_where_serial_placement_serves_an_earlier():
  # One slot. Token 1 overflows at expert 0 and next wants expert 1. In stages
  # token 2 is there first; one by one, token 1 is, and token 2 goes to expert
  # 2.
  probs = np.array([[[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.7, 0.2]]])
  router = router_lib.NoTokenLeftBehindRouter()
  for priority, experts in (("position", [0, 2, 1]), ("causal", [0, 1, 2])):
    (routing,) = route_probs(probs, 1, router, priority=priority)
    np.testing.assert_array_equal(routing["expert_index"][0, :, 0], experts)
    assert routing["kept"].all()


def test_top_1_is_the_switch_router_and_learns_by_its_gate():
  probs = oracle.softmax(np.random.RandomState(1).randn(2, 12, 4))
  one, other = route_probs(
      probs,
      2,
      router_lib.SwitchRouter(),
      router_lib.TopNRouter(num_choices=1),
  )
  for name in FIELDS + TENSORS:
    np.testing.assert_array_equal(one[name], other[name], err_msg=name)
  assert one["expert_gate"].max() < 1.0  # Not divided by itself.


@pytest.mark.parametrize(
    "router, least", [(router_lib.Top2Router(), 2), (ROUTERS["top_3"], 3)]
)
def test_too_few_experts_are_refused_by_number(router, least):
  with pytest.raises(errors.UserError, match=f"num_experts.*{least - 1}|of at"):
    route_probs(np.full((1, 2, least - 1), 1 / (least - 1)), 1, router)


def test_no_choices_are_refused():
  with pytest.raises(errors.UserError, match="num_choices = 0 must be a whole"):
    route_probs(
        np.full((1, 2, 2), 0.5),
        1,
        router_lib.TopNRouter(num_choices=0),
    )


# Second gates of 0.1 and 0.4.
TWO_TOKENS = np.array([[[0.9, 0.1], [0.4, 0.6]]])


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize(
    "policy, seconds",
    [("all", [1, 1]), ("none", [0, 0]), ("threshold", [0, 1])],
)
def test_a_policy_says_which_second_experts_are_asked(
    policy, seconds, is_training
):
  name = "train" if is_training else "eval"
  (routing,) = route_probs(
      TWO_TOKENS,
      2,
      router_lib.Top2Router(
          exploration="argmax",
          **{f"second_policy_{name}": policy},
          **{f"second_threshold_{name}": 0.3},
      ),
      is_training=is_training,
  )
  np.testing.assert_array_equal(
      routing["routed"][0], np.stack([[1, 1], seconds], axis=-1)
  )
  # Also where the second expert is left out, the gates add up to 1 with it.
  np.testing.assert_allclose(
      routing["expert_gate"][0],
      np.stack([[0.9, 0.6], np.multiply([0.1, 0.4], seconds)], axis=-1),
      rtol=1e-6,
  )


def test_padding_asks_for_no_second_expert():
  routers = [
      router_lib.Top2Router(second_policy_eval=policy)
      for policy in ("all", "threshold")
  ]
  nonpadding = np.array([[1, 0]])
  for routing in prepare(TWO_TOKENS.shape, 2, *routers)(TWO_TOKENS, nonpadding):
    assert not routing["routed"][0, 1].any()
    assert not routing["dispatch_tensor"][0, 1].any()


def test_random_seconds_are_as_frequent_as_their_gates():
  # Eight gates below and above the threshold, 2000 tokens of each.
  gates = np.array([0.02, 0.05, 0.1, 0.15, 0.19, 0.22, 0.3, 0.45])
  draws = 2000
  probs = np.stack([1 - gates, gates], axis=-1).repeat(draws, axis=0)[None]
  (routing,) = route_probs(
      probs,
      1,
      router_lib.Top2Router(
          exploration="argmax",
          second_policy_train="random",
          second_threshold_train=0.2,
      ),
      is_training=True,
  )
  assert routing["routed"][..., 0].all()
  share = routing["routed"][0, :, 1].reshape(-1, draws).mean(axis=1)
  frequency = np.minimum(1.0, gates / 0.2)
  # Five standard deviations of a mean of Bernoulli draws.
  bound = 5 * np.sqrt(frequency * (1 - frequency) / draws)
  assert np.all(np.abs(share - frequency) <= bound)
  assert bound.max() < 0.06  # The test could tell 0.5 from 0.6.


def test_evaluation_asks_every_second_expert_unless_told_otherwise():
  probs = oracle.softmax(np.random.RandomState(2).randn(1, 50, 3))
  (routing,) = route_probs(probs, 50, router_lib.Top2Router())
  assert routing["kept"].all()


def test_random_is_refused_for_evaluation():
  with pytest.raises(errors.UserError) as error:
    router_lib.Top2Router(second_policy_eval="random")
  assert str(error.value) == (
      "router.second_policy_eval = 'random' is not known; use one of "
      "all, none, threshold."
  )


@pytest.mark.parametrize("name", ["train", "eval"])
def test_unknown_second_policies_are_refused_with_the_legal_ones(name):
  option = f"second_policy_{name}"
  legal = "all, none, threshold" + (", random" if name == "train" else "")
  with pytest.raises(errors.UserError) as error:
    router_lib.Top2Router(**{option: "some"})
  assert str(error.value) == (
      f"router.{option} = 'some' is not known; use one of {legal}."
  )


@pytest.mark.parametrize(
    "option, legal",
    [
        ("exploration", scores_lib.EXPLORATIONS),
        ("priority", slots.PRIORITIES),
        ("loss_scope", ("group", "batch")),
        ("dtype", ("float32", "bfloat16", "float64")),
    ],
)
@pytest.mark.parametrize("name", ROUTERS)
def test_unknown_options_are_refused_with_the_legal_ones(name, option, legal):
  with pytest.raises(errors.UserError) as error:
    dataclasses.replace(ROUTERS[name], **{option: "typo"})
  assert str(error.value) == (
      f"router.{option} = 'typo' is not known; use one of {', '.join(legal)}."
  )


@pytest.mark.parametrize(
    "router, num_choices",
    [("router", 1), ("top_2", 2), ("top_3", 3), ("ntlb", 1)],
)
def test_a_router_knows_its_number_of_choices(router, num_choices):
  """Without a graph; and a graph has as many."""
  assert ROUTERS[router].num_choices == num_choices
  probs = oracle.softmax(np.random.RandomState(0).randn(1, 4, 5))
  (routing,) = route_probs(probs, 4, ROUTERS[router])
  assert routing["expert_index"].shape == (1, 4, num_choices)


def explored(router, *trials, tokens=64):
  """The same random tokens under each of trials.

  Args:
    router: a router.
    *trials: pairs of an exploration's name and is_training.
    tokens: how many.

  Returns:
    a dict of results for each trial.
  """
  rng = np.random.RandomState(3)
  run = route(
      [
          functools.partial(
              dataclasses.replace(
                  router, exploration=name, jitter=0.3, dropout_rate=0.4
              ),
              is_training=is_training,
          )
          for name, is_training in trials
      ],
      sizes(1, tokens, 4, 1),
  )
  return run(
      rng.randn(1, tokens, D_MODEL),
      rng.randn(D_MODEL, 4),
      np.ones((1, tokens)),
  )


@pytest.mark.parametrize("router", ["router", "top_3", "ntlb"])
def test_exploration_acts_in_training_only(router):
  names = sorted(scores_lib.EXPLORATIONS)
  if router != "router":
    names = ["argmax", "input_jitter", "sample"]  # The noise is shared.
  trials = [(name, mode) for name in names for mode in (False, True)]
  results = dict(zip(trials, explored(ROUTERS[router], *trials)))
  plain = results["argmax", False]
  for name in names:
    evaluation, training = results[name, False], results[name, True]
    for field in FIELDS:
      np.testing.assert_array_equal(plain[field], evaluation[field])
    changed = (training["expert_index"] != plain["expert_index"]).any()
    assert changed == (name != "argmax"), name
    # Drawing the expert leaves its probability as it is.
    noisy = (training["router_probs"] != plain["router_probs"]).any()
    assert noisy == (name not in ("argmax", "sample")), name


def test_sampled_experts_are_as_frequent_as_their_probabilities():
  draws = 20000
  probs = np.array([0.55, 0.3, 0.1, 0.05])
  (routing,) = route_probs(
      np.tile(probs, (1, draws, 1)),
      1,
      router_lib.SwitchRouter(exploration="sample"),
      is_training=True,
  )
  share = np.bincount(routing["expert_index"].ravel(), minlength=4) / draws
  # Five standard deviations of a mean of Bernoulli draws.
  assert np.all(
      np.abs(share - probs) <= 5 * np.sqrt(probs * (1 - probs) / draws)
  )


def test_two_sampled_experts_are_drawn_without_replacement():
  draws = 20000
  probs = np.array([0.6, 0.3, 0.1])
  (routing,) = route_probs(
      np.tile(probs, (1, draws, 1)),
      1,
      router_lib.TopNRouter(num_choices=2, exploration="sample"),
      is_training=True,
  )
  pairs = routing["expert_index"][0]
  assert np.all(pairs[:, 0] != pairs[:, 1])
  for first, second in np.ndindex(3, 3):
    if first != second:
      p = probs[first] * probs[second] / (1 - probs[first])
      share = np.mean((pairs == [first, second]).all(axis=1))
      assert abs(share - p) <= 5 * np.sqrt(p * (1 - p) / draws)


def test_a_sampled_experts_gate_is_its_probability():
  (routing,) = explored(router_lib.SwitchRouter(), ("sample", True))
  gate = np.take_along_axis(
      routing["router_probs"], routing["expert_index"], axis=-1
  )
  np.testing.assert_array_equal(routing["expert_gate"], gate * routing["kept"])
  assert (gate < routing["router_probs"].max(-1, keepdims=True)).any()


def test_logits_jitter_adds_uniform_noise():
  """Figure 15 adds 1 - eps to 1 + eps; the 1 cancels in the softmax."""
  tokens = 4000
  jittered, plain = explored(
      router_lib.SwitchRouter(),
      ("logits_jitter", True),
      ("logits_jitter", False),
      tokens=tokens,
  )
  noise = np.log(jittered["router_probs"]) - np.log(plain["router_probs"])
  # Known up to a number for each token: differences of two draws each.
  difference = (noise[0, :, 0] - noise[0, :, 1]) / 0.3
  assert np.abs(difference).max() <= 2 + 1e-4  # float32 logarithms.
  # Triangular on -2..2: variance 2/3, fourth moment 16/15.
  assert abs(difference.mean()) <= 5 * np.sqrt(2 / 3 / tokens)
  assert abs((difference**2).mean() - 2 / 3) <= 5 * np.sqrt(
      (16 / 15 - 4 / 9) / tokens
  )


def test_input_jitter_multiplies_by_uniform_noise():
  """Logits x w (1 + u): with one-hot inputs, each logit has its own draw."""
  tokens = 4000
  dims = sizes(1, tokens, 2, 1, 1)
  (routing,) = route(
      [
          functools.partial(
              router_lib.SwitchRouter(exploration="input_jitter", jitter=0.3),
              is_training=True,
          )
      ],
      dims,
  )(np.ones((1, tokens, 1)), np.array([[1.0, -1.0]]), np.ones((1, tokens)))
  probs = routing["router_probs"][0]
  noise = (np.log(probs[:, 0] / probs[:, 1]) / 2 - 1) / 0.3
  assert np.abs(noise).max() <= 1 + 1e-5
  assert abs(noise.mean()) <= 5 * np.sqrt(1 / 3 / tokens)
  # Of a uniform draw's square: mean 1/3, variance 4/45.
  assert abs((noise**2).mean() - 1 / 3) <= 5 * np.sqrt(4 / 45 / tokens)


@pytest.mark.parametrize("name", sorted(scores_lib.EXPLORATIONS))
def test_noise_spares_what_the_experts_get(name):
  rng = np.random.RandomState(5)
  dims = sizes(2, 6, 3, 6)
  inputs = rng.randn(2, 6, D_MODEL).astype(np.float32)

  def build(x, weights, nonpadding):
    router = router_lib.SwitchRouter(
        exploration=name, jitter=0.5, dropout_rate=0.5
    )
    routing = router(x, weights, dims, True, nonpadding)
    dispatcher = dispatch.EinsumDispatcher(routing, dims, tf.float32)
    return [
        dispatcher.dispatch(x),
        routing.expert_index,
        routing.position_in_expert,
    ]

  seen, expert, slot = Program(build, *input_shapes(dims))(
      inputs, rng.randn(D_MODEL, 3), np.ones((2, 6))
  )
  for core, token in np.ndindex(2, 6):
    at = (expert[core, token, 0], core, slot[core, token, 0])
    np.testing.assert_array_equal(seen[at], inputs[core, token])


def test_routers_without_a_mask_take_all_tokens_as_real():
  rng = np.random.RandomState(6)
  dims = sizes(2, 6, 3, 2)

  def build(inputs, weights, ones):
    results = []
    for name in ("router", "top_2", "ntlb"):
      for real in (None, ones):
        routing = ROUTERS[name](inputs, weights, dims, nonpadding=real)
        results += [getattr(routing, field) for field in FIELDS]
    return results

  results = Program(build, *input_shapes(dims))(
      rng.randn(2, 6, D_MODEL), rng.randn(D_MODEL, 3), np.ones((2, 6))
  )
  for i in range(0, len(results), 2 * len(FIELDS)):
    one = results[i : i + len(FIELDS)]
    other = results[i + len(FIELDS) : i + 2 * len(FIELDS)]
    for x, y in zip(one, other):
      np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("priority", slots.PRIORITIES)
def test_permuting_the_experts_permutes_the_routing(priority):
  rng = np.random.RandomState(7)
  probs = oracle.softmax(2 * rng.randn(2, 10, 4))
  order = np.array([2, 0, 3, 1])
  run = prepare(probs.shape, 3, *ROUTERS.values(), priority=priority)
  for name, plain, permuted in zip(ROUTERS, run(probs), run(probs[..., order])):
    np.testing.assert_array_equal(
        order[permuted["expert_index"]], plain["expert_index"], err_msg=name
    )
    for field in ("position_in_expert", "routed", "kept"):
      np.testing.assert_array_equal(permuted[field], plain[field], err_msg=name)
    np.testing.assert_allclose(
        permuted["combine_tensor"],
        plain["combine_tensor"][:, :, order],
        atol=1e-6,  # The softmax adds in another order.
        err_msg=name,
    )


def test_causal_priority_does_not_look_ahead():
  rng = np.random.RandomState(8)
  probs = oracle.softmax(2 * rng.randn(1, 16, 4))
  others = probs.copy()
  others[:, 8:] = oracle.softmax(2 * rng.randn(1, 8, 4))
  run = prepare(probs.shape, 3, *ROUTERS.values(), priority="causal")
  for name, one, other in zip(ROUTERS, run(probs), run(others)):
    for field in ("expert_index", "routed", "kept", "expert_gate") + TENSORS:
      np.testing.assert_array_equal(
          one[field][:, :8], other[field][:, :8], err_msg=name
      )
    assert (one["expert_index"] != other["expert_index"]).any()


@pytest.mark.parametrize("name", ["top_2", "ntlb"])
def test_position_priority_lets_later_tokens_take_the_slots_of_earlier_ones(
    name,
):
  # One slot. Token 0 takes expert 0; token 1 finds it full (no-token-left-
  # behind) or has it first and expert 1 second (top-2), and so asks for expert
  # 1 after token 2's first choice: served if that is expert 2, not if it is 1.
  first = [[0.7, 0.1, 0.2], [0.6, 0.3, 0.1]]
  probs = np.array([first + [[0.1, 0.2, 0.7]]])
  others = np.array([first + [[0.1, 0.7, 0.2]]])
  run = prepare(probs.shape, 1, ROUTERS[name])
  (one,), (other,) = run(probs), run(others)
  assert one["dispatch_tensor"][0, 1, 1, 0] == 1
  assert other["dispatch_tensor"][0, 1, 1, 0] == 0
  # A first choice with a slot is nothing that they can change.
  np.testing.assert_array_equal(
      one["kept"][0, :, 0][:1], other["kept"][0, :, 0][:1]
  )


def test_gradients_are_the_slopes_of_the_losses():
  """Of outputs, balance and z-loss, for inputs and router, in float64."""
  rng = np.random.RandomState(0)
  num_experts, capacity, tokens = 4, 2, 6
  dims = sizes(2, tokens, num_experts, capacity)
  values = [
      rng.randn(2, tokens, D_MODEL),
      rng.randn(D_MODEL, num_experts),
      (np.arange(2 * tokens) % 5 != 4).reshape(2, tokens).astype(float),
  ]
  target = rng.randn(2, tokens, D_MODEL)
  experts = rng.randn(num_experts, D_MODEL)

  def build(inputs, weights, nonpadding):
    def constant(array, shape):
      return mtf.import_fully_replicated(
          inputs.mesh, tf.constant(array), mtf.Shape(shape), name="constant"
      )

    results = []
    for name in sorted(ROUTERS):
      outputs, routing = switch_layer.switch_layer(
          inputs,
          functools.partial(
              dataclasses.replace(ROUTERS[name], dtype="float64"),
              router_weights=weights,
          ),
          lambda x, multiply, choices: mtf.tanh(
              x * constant(experts, [dims.num_experts, dims.d_model])
          ),
          dims,
          nonpadding=mtf.cast(nonpadding, tf.float32),
      )
      loss = (
          mtf.reduce_sum(outputs * constant(target, inputs.shape.dims))
          + routing.aux_loss
          + routing.z_loss
      )
      results += [loss] + mtf.gradients([loss], [inputs, weights])
    return results

  # No step of the differences comes near a tie, where decisions jump.
  probs = oracle.softmax(values[0] @ values[1])
  best = -np.sort(-probs, axis=-1)
  assert (best[..., :-1] - best[..., 1:]).min() > 2e-3
  assert np.abs(best[..., 1] / best[..., :2].sum(-1) - 0.2).min() > 1e-3

  program = Program(build, *input_shapes(dims), dtype=tf.float64)
  results = program(*values)
  step = 1e-5
  for i in (0, 1):
    differences = np.zeros((len(ROUTERS),) + values[i].shape)
    for at in np.ndindex(values[i].shape):
      sides = []
      for sign in (1, -1):
        moved = [value.copy() for value in values]
        moved[i][at] += sign * step
        sides.append(np.array(program(*moved)[::3]))
      differences[(slice(None),) + at] = (sides[0] - sides[1]) / (2 * step)
    for j, name in enumerate(sorted(ROUTERS)):
      np.testing.assert_allclose(
          results[3 * j + 1 + i],
          differences[j],
          # The step's square, and float64's rounding over the step.
          atol=1e-7 * np.abs(differences[j]).max(),
          rtol=1e-6,
          err_msg=name,
      )
