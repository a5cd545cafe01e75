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

"""Fewer experts than cores: an outer batch, and copies of all experts."""

import functools

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.mesh import placement
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import loss as loss_lib
from tests import gin_files
from tests import graphs

BATCH, LENGTH, D_MODEL, D_FF, EXPERTS = 8, 16, 12, 20, 2
# Two cores hold the experts, one each; the other two have copies.
MESH = "replica:2;data:2"
LAYOUT = "outer_batch:replica,batch:data,experts:data"


def batch_dims(outer_batch_size):
  dims = [mtf.Dimension("batch", BATCH // outer_batch_size)]
  if outer_batch_size > 1:
    dims.insert(0, mtf.Dimension("outer_batch", outer_batch_size))
  return dims


def step(mesh, outer_batch_size, layer, model=None):
  """Loss, output and gradients; their entries do not depend on the cut."""
  dims = batch_dims(outer_batch_size)
  length, d_model = mtf.Dimension("length", LENGTH), mtf.Dimension(
      "d_model", D_MODEL
  )
  generator = np.random.RandomState(0)

  def tensor(array, *last):
    shape = mtf.Shape(dims + [length, *last])
    return graphs.constant(mesh, array.reshape(shape.to_integer_list), shape)

  x, target = (
      tensor(generator.randn(BATCH, LENGTH, D_MODEL), d_model) for _ in "xy"
  )
  real = tensor((generator.rand(BATCH, LENGTH) < 0.8).astype(np.int32))
  context = transformer.Context(
      model or graphs.Model("", ""),
      mesh,
      dims,
      length,
      mtf.VariableDType(tf.float32),
      mode=tf.estimator.ModeKeys.TRAIN,
      sequence_id=real,
      losses=[],
  )
  y = layer.call(context, x)
  loss = mtf.reduce_sum(y * target) + context.losses[0]
  weights = [v.value for v in mesh.graph.trainable_variables]
  return [loss, context.losses[0], y] + mtf.gradients([loss], [x] + weights)


def make_layer(**options):
  defaults = dict(num_experts=EXPERTS, num_cores=4, hidden_size=D_FF)
  return feed_forward.SwitchFeedForward(**{**defaults, **options})


def assert_equal(ones, others, tolerance):
  assert len(ones) == len(others) > 5
  for one, other in zip(ones, others):
    assert np.abs(one).max() > 0
    np.testing.assert_allclose(
        one.reshape(other.shape), other, atol=tolerance * np.abs(one).max()
    )


@pytest.mark.parametrize(
    "router, priority, dispatch",
    [
        ("switch_router", "position", "ragged"),
        ("top_2_router", "gate", "einsum"),
        ("top_n_router", "causal", "ragged"),
        ("no_token_left_behind_router", "position", "index"),
        ("no_token_left_behind_router", "causal", "einsum"),
    ],
)
def test_the_cut_changes_nothing(router, priority, dispatch):
  layer = make_layer(
      router=gin.get_configurable(router),
      priority=priority,
      dispatch=dispatch,
      num_experts=3,
      exploration="argmax",
  )
  whole, cut = (
      graphs.evaluate(functools.partial(step, outer_batch_size=n, layer=layer))
      for n in (1, 2)  # Two groups in each outer batch.
  )
  # The same sums in the same order, or nearly.
  assert_equal(whole[0], cut[0], 1e-6)


@pytest.mark.parametrize(
    "mesh_shape, layout, router, dispatch",
    [
        (MESH, LAYOUT, "switch_router", "index"),
        (MESH, LAYOUT, "top_2_router", "einsum"),
        ("replica:2", "outer_batch:replica", "switch_router", "index"),
        (MESH, "outer_batch:replica,batch:data", "top_2_router", "ragged"),
    ],
)
def test_no_mesh_changes_outputs_or_gradients(
    mesh_shape, layout, router, dispatch
):
  """Noise included."""
  layer = make_layer(
      router=gin.get_configurable(router),
      dispatch=dispatch,
      router_jitter=0.1,
      expert_dropout_rate=0.2,
  )
  single, _ = graphs.evaluate(lambda mesh: step(mesh, 2, layer))
  model = graphs.Model(mesh_shape, layout)
  several, _ = graphs.evaluate(
      lambda mesh: step(mesh, 2, layer, model), mesh_shape, layout
  )
  # Sums over cores come in another order.
  assert_equal(single, several, 1e-5)


def test_what_travels():
  """Tokens among the cores of a copy, gradients of experts between copies."""
  model = graphs.Model(MESH, LAYOUT)

  def build(mesh):
    return [mtf.reduce_sum(x) for x in step(mesh, 2, make_layer(), model)]

  _, counters = graphs.evaluate(build, MESH, LAYOUT)
  assert not [name for name in counters if name.startswith("allconcat")]
  all_to_alls = {k: v for k, v in counters.items() if k.startswith("alltoall")}
  # Of 4 cores, each with one group; for each expert 32 tokens x 1.25 / 2.
  payload = 4 * EXPERTS * 20 * D_MODEL
  assert all_to_alls == {"alltoall/1/reshape_op": [payload] * 4}
  # wi and wo, of all 4 cores half of the experts each.
  weights = 4 * (EXPERTS // 2) * D_MODEL * D_FF
  of_replicas = [
      value
      for name, values in counters.items()
      if name.startswith("allreduce/[0]/einsum")
      for value in values
  ]
  assert of_replicas == [weights] * 2
  # No core does another's work.
  assert sum(counters["einsum"]) < 1.01 * sum(counters["einsum_unique"])


@pytest.mark.parametrize(
    "num_cores, message",
    [
        (
            2,
            "num_cores = 2 groups cannot be dealt out to outer_batch_size = 4 "
            "outer batches; make it a multiple of 8.",
        ),
        (
            4,
            "num_cores = 1 cannot be split over a mesh axis of 2; use a mesh "
            "axis of 1 or make num_cores a multiple of 2.",
        ),
    ],
)
def test_groups_that_cannot_be_dealt_out_are_refused(num_cores, message):
  model = graphs.Model(MESH, LAYOUT)
  layer = make_layer(num_cores=num_cores)
  with pytest.raises(errors.UserError) as error:
    graphs.evaluate(lambda mesh: step(mesh, 4, layer, model))
  assert str(error.value) == message


VOCABULARY = 64
# Embedding, attention and loss, and two Switch layers.
LANGUAGE_MODEL = (
    *gin_files.SHRUNK,
    "num_cores = 4",
    "transformer.make_layer_stack.layers = [@SwitchSelfAttention]",
    "SwitchSelfAttention.experts = @SwitchFeedForward",
    "SwitchFeedForward.min_expert_capacity = 1",
)


def sums_and_gradients(mesh, outer_batch_size, mesh_shape="", layout=""):
  """A training step of the model in gin's configuration, packed."""
  generator = np.random.default_rng(0)
  lengths = {"inputs": 16, "targets": 8}
  features = {}
  for name, length in lengths.items():
    ids = generator.integers(1, VOCABULARY, [4, length])
    ids[:, -3:] = 0
    features[name] = tf.constant(ids)
    features[f"{name}_segmentation"] = tf.constant(
        (ids > 0) * (1 + (np.arange(length) >= 5))
    )
    features[f"{name}_position"] = tf.constant(
        np.tile(np.arange(length) % 5, [4, 1])
    )
  features = placement.import_features(
      mesh, features, 4, lengths, outer_batch_size
  )
  loss, sums = loss_lib.loss_and_sums(
      gin_files.build_model(VOCABULARY, mesh_shape, layout),
      features,
      tf.estimator.ModeKeys.TRAIN,
      mtf.VariableDType(tf.float32),
  )
  weights = [v.value for v in mesh.graph.trainable_variables]
  return [loss, *sums.values(), *mtf.gradients([loss], weights)]


def test_a_whole_model():
  """Noise included: it is drawn in the same order, whatever the cut."""
  gin_files.parse(["models/switch_lm_tiny.gin"], LANGUAGE_MODEL)
  single, _ = graphs.evaluate(lambda mesh: sums_and_gradients(mesh, 1))
  several, _ = graphs.evaluate(
      lambda mesh: sums_and_gradients(mesh, 2, MESH, LAYOUT), MESH, LAYOUT
  )
  assert len(single) == len(several) > 15
  for one, other in zip(single, several):
    # Sums over cores, through all layers.
    np.testing.assert_allclose(
        one, other, rtol=1e-5, atol=1e-5 * np.abs(one).max()
    )
