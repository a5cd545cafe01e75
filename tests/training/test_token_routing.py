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

"""What routers decide, read from layers, against NumPy and training."""

import mtf_switch  # isort: skip  # noqa: F401
import contextlib

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import placement
from mtf_switch.training import token_routing
from mtf_switch.training import training_step
from mtf_switch.transformer import loss
from mtf_switch.transformer import reports
from tests import graphs
from tests import oracle
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.

BATCH, LENGTHS = 8, {"inputs": 12, "targets": 8}
GROUPS, EXPERTS = 4, 4
SIZES = (
    "task = 'toy_copy'",
    f"batch_size = {BATCH}",
    f"sequence_length = {LENGTHS}",
    "d_model = 16",
    "d_ff = 8",
    "d_kv = 8",
    "num_heads = 2",
    "num_blocks = 1",
    f"num_experts = {EXPERTS}",
    f"num_cores = {GROUPS}",
    "SwitchFeedForward.min_expert_capacity = 1",
)
LM = (
    *SIZES,
    "task = 'toy_lm'",
    "sequence_length = {'targets': 8}",
    # Without attention the router's choice follows from the token alone.
    "transformer.make_layer_stack.layers = [@SwitchFeedForward]",
)
# Both of a layer's sets of experts, one of which sees the encoder's output.
TRANSFORMER = (
    *SIZES,
    "encoder/make_layer_stack.layers = [@SwitchSelfAttention]",
    "decoder/make_layer_stack.layers ="
    " [@SwitchEncDecAttention, @SwitchFeedForward]",
    "SwitchSelfAttention.experts = @SwitchFeedForward",
    "SwitchEncDecAttention.experts = @SwitchFeedForward",
)
ROUTERS = {
    "switch": "SwitchFeedForward.router = @switch_router",
    "top_2": "SwitchFeedForward.router = @top_2_router",
    "no_token_left_behind": (
        "SwitchFeedForward.router = @no_token_left_behind_router"
    ),
}
CERTAIN = (
    "SwitchFeedForward.exploration = 'argmax'",
    "dropout_rate = 0.0",
    "top_2_router.second_policy_train = 'all'",
    "capacity_factor_train = 0.5",
)


def ids_of(experiment_):
  """Rows of all lengths, so that groups have padding, by feature."""
  rng = np.random.RandomState(0)
  features = {}
  for name in experiment_.provider.output_features:
    ids = rng.randint(2, 250, (BATCH, LENGTHS[name]))
    ends = rng.randint(1, LENGTHS[name] + 1, (BATCH, 1))
    features[name] = ids * (np.arange(LENGTHS[name]) < ends)
  return features


def packed(experiment_):
  """The same as training has them, one sequence in a row."""
  ids = ids_of(experiment_)
  return ids | {f"{name}_segmentation": x > 0 for name, x in ids.items()}


def on_mesh(mesh, experiment_, ids):
  features = {name: tf.constant(x.astype(int)) for name, x in ids.items()}
  return placement.import_features(mesh, features, BATCH, LENGTHS)


def route(experiment_, mode, step=0, variables=()):
  """The layers, their Tokens as arrays, and some variables by their ends."""
  ids = ids_of(experiment_)
  if mode == "train":
    ids = packed(experiment_)
  layers = []

  def build(mesh):
    found = token_routing.route(
        experiment_.build_model(),
        on_mesh(mesh, experiment_, ids),
        mode,
        utils.get_variable_dtype(),
    )
    layers.extend(layer for layer, _ in found)
    values = {v.name: v.value for v in mesh.graph.trainable_variables}
    wanted = [
        next(x for name, x in values.items() if name.endswith(end))
        for end in variables
    ]
    return [x for _, tokens in found for x in tokens] + wanted

  results, _ = graphs.evaluate(build, step=step)
  size = len(token_routing.Tokens._fields)
  tokens = [
      token_routing.Tokens(*results[i * size : (i + 1) * size])
      for i in range(len(layers))
  ]
  return layers, tokens, results[len(layers) * size :]


def probabilities_of(read, embedding, router):
  """The probabilities of experts by NumPy, `[batch, length, experts]`."""
  x = embedding[read].astype(np.float64)
  x /= np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
  return oracle.softmax(x @ router.astype(np.float64))


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_tokens_go_where_the_weights_send_them(router, mode):
  experiment_ = plans.on_one_cpu(
      "switch_lm_tiny", *CERTAIN, ROUTERS[router], sizes=LM
  )
  (layer,), (tokens,), (embedding, kernel) = route(
      experiment_, mode, variables=("embedding", "router/kernel")
  )
  targets = ids_of(experiment_)["targets"]
  # A decoder reads a start, and then each token but the last.
  read = np.pad(targets, [(0, 0), (1, 0)])[:, :-1]
  probs = probabilities_of(read, embedding, kernel)
  is_real = targets > 0
  in_groups = probs.reshape(GROUPS, -1, EXPERTS), is_real.reshape(GROUPS, -1)
  capacity = in_groups[0].shape[1] // EXPERTS // 2
  if mode == "infer":  # Nothing is dropped.
    capacity = in_groups[0].shape[1]
  if router == "top_2":
    expected, slot, _ = oracle.top_n(in_groups[0], capacity, in_groups[1], 2)
  else:
    one = oracle.router if router == "switch" else oracle.no_token_left_behind
    expected, slot = (
        x[..., np.newaxis]
        for x in one(in_groups[0], capacity, in_groups[1])[:2]
    )
  choices = expected.shape[-1]
  assert layer == token_routing.Layer(
      "transformer/block_000/layer_000", "targets", EXPERTS, choices
  )
  expected, slot = (x.reshape(BATCH, -1, choices) for x in (expected, slot))
  assert (tokens.is_real == is_real).all()
  assert (tokens.experts == expected)[is_real].all()
  assert (tokens.asked == is_real[..., np.newaxis]).all()
  assert (tokens.kept == (slot >= 0)).all()
  assert (mode == "train") == (tokens.asked != tokens.kept).any()
  np.testing.assert_allclose(
      tokens.probabilities[is_real],
      np.take_along_axis(probs, expected, axis=-1)[is_real],
      rtol=1e-4,
  )
  gates = np.take_along_axis(probs, expected, axis=-1)
  if router == "top_2":
    gates /= gates.sum(axis=-1, keepdims=True)
  np.testing.assert_allclose(
      tokens.gates[is_real], (gates * (slot >= 0))[is_real], rtol=1e-4
  )
  order = np.argsort(-probs, axis=-1)[..., : choices + 1]
  assert (tokens.best == order)[is_real].all()
  np.testing.assert_allclose(
      tokens.best_probabilities[is_real],
      np.take_along_axis(probs, order, axis=-1)[is_real],
      rtol=1e-4,
  )


def test_layers_are_told_apart_by_the_tokens_that_they_route():
  experiment_ = plans.on_one_cpu("switch_tiny", sizes=TRANSFORMER)
  layers, tokens, _ = route(experiment_, tf.estimator.ModeKeys.PREDICT)
  assert [(x.name, x.feature) for x in layers] == [
      ("encoder/block_000/layer_000/SwitchSelfAttention/query", "inputs"),
      ("encoder/block_000/layer_000/SwitchSelfAttention/key_value", "inputs"),
      ("decoder/block_000/layer_000/SwitchEncDecAttention/query", "targets"),
      ("decoder/block_000/layer_000/SwitchEncDecAttention/key_value", "inputs"),
      ("decoder/block_000/layer_001", "targets"),
  ]
  ids = ids_of(experiment_)
  for layer, of_layer in zip(layers, tokens):
    assert (of_layer.is_real == (ids[layer.feature] > 0)).all()
    assert of_layer.experts.shape == (BATCH, LENGTHS[layer.feature], 1)


def test_drops_are_those_that_training_reports():
  experiment_ = plans.on_one_cpu(
      "switch_lm_tiny",
      "capacity_factor_train = 1.0",
      "transformer.make_layer_stack.layers ="
      " [@transformer_layers.SelfAttention, @SwitchFeedForward]",
      ROUTERS["top_2"],
      "top_2_router.second_threshold_train = 1.0",
      "transformer.LayerStack.recompute_grads = True",
      sizes=LM,
  )
  names = []

  def build(mesh):
    step = training_step.build(
        experiment_, mesh, on_mesh(mesh, experiment_, packed(experiment_)), 1.0
    )
    found = {k: x for k, x in step.sums.items() if k.endswith(("ped", "ted"))}
    names.extend(found)
    return list(found.values())

  sums, _ = graphs.evaluate(build, step=3)
  sums = dict(zip(names, sums))
  layers, tokens, _ = route(experiment_, "train", step=3)
  counted = {}
  for layer, of_layer in zip(layers, tokens):
    counted[f"{layer.name}/routed"] = of_layer.asked.sum()
    counted[f"{layer.name}/dropped"] = (of_layer.asked - of_layer.kept).sum()
  assert counted == sums
  assert all(counted[f"{layer.name}/dropped"] > 0 for layer in layers)
  # The noise of another step is another one.
  _, others, _ = route(experiment_, "train", step=4)
  assert any((a.asked != b.asked).any() for a, b in zip(tokens, others))


def test_layers_compute_nothing_for_it():
  experiment_ = plans.on_one_cpu("switch_lm_tiny", sizes=LM)

  def count(collecting):
    counts = []

    def build(mesh):
      model = experiment_.build_model()
      features = on_mesh(mesh, experiment_, ids_of(experiment_))
      with collecting(model) as collected:
        loss.logits_of(model, features, "infer", utils.get_variable_dtype())
      assert not hasattr(model, "routings")
      counts.extend([len(mesh.graph.operations), len(collected or ())])
      return [mtf.constant(mesh, 1.0)]

    graphs.evaluate(build)
    return counts

  operations, _ = count(lambda model: contextlib.nullcontext())
  assert count(reports.collecting_routings) == [operations, 1]
