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

"""Attention's gin names: one kernel, two schemes of initial values."""

import mtf_switch  # isort: skip  # noqa: F401
from mesh_tensorflow.transformer import transformer_layers
import numpy as np
import pytest

from mtf_switch.transformer import attention
from mtf_switch.transformer import head_major
from tests import gin_files
from tests import graphs
from tests import test_gin

SELF_ATTENTION = ["HeadMajorSelfAttention", "TruncatedNormalSelfAttention"]
ENC_DEC_ATTENTION = [
    "HeadMajorEncDecAttention",
    "TruncatedNormalEncDecAttention",
]


def layer_of(name, *bindings):
  """The layer that the stack would make of a reference to a gin name."""
  gin_files.parse([], [*bindings, f"value_of.macro = @{name}"])
  return gin_files.value_of()()


@pytest.mark.parametrize("name", ["t5_tiny", "mt5_base", "switch_tiny"])
def test_dense_and_sparse_models_use_the_same_kernels(name):
  gin_files.parse([f"models/{name}.gin"], gin_files.SHRUNK)
  model = gin_files.build_model(128)
  found = {
      type(layer)
      for stack in (model.encoder, model.decoder)
      for layer in stack.layer_stack.layers
      if isinstance(layer, transformer_layers.SelfAttention)
  }
  assert found == {attention.SelfAttention, attention.EncDecAttention}


@pytest.mark.parametrize("name", SELF_ATTENTION + ENC_DEC_ATTENTION)
def test_variables_are_named_as_upstreams(name):
  # The stack names them after the class.
  layer = layer_of(name)
  upstreams = name.removeprefix("HeadMajor").removeprefix("TruncatedNormal")
  assert type(layer).__name__ == upstreams
  assert isinstance(layer, getattr(transformer_layers, upstreams))
  assert layer.attention_fn is head_major.attention_fn


@pytest.mark.parametrize("name", SELF_ATTENTION + ENC_DEC_ATTENTION)
def test_bindings_of_upstreams_self_attention_reach_each_layer(name):
  layer = layer_of(
      name,
      "SelfAttention.num_heads = 3",
      "SelfAttention.dropout_rate = 0.25",
      "SelfAttention.relative_attention_type = 'bias_shared'",
      "transformer_layers.SelfAttention.key_value_size = 7",
  )
  assert layer.num_heads == 3
  assert layer.dropout_rate == 0.25
  assert layer.key_value_size == 7
  assert layer.relative_attention_type == (
      "bias_shared" if name in SELF_ATTENTION else None
  )


@pytest.mark.parametrize("name", ENC_DEC_ATTENTION)
def test_bindings_of_upstreams_enc_dec_attention_reach_each_layer(name):
  layer = layer_of(name, "EncDecAttention.dropout_rate = 0.25")
  assert layer.dropout_rate == 0.25


@pytest.mark.parametrize("names", [SELF_ATTENTION, ENC_DEC_ATTENTION])
def test_bindings_of_one_gin_name_do_not_reach_the_other(names):
  for bound, other in (names, reversed(names)):
    bindings = [f"{bound}.initializer_scale = 0.5", f"{bound}.num_heads = 3"]
    layer = layer_of(bound, *bindings)
    assert (layer.initializer_scale, layer.num_heads) == (0.5, 3)
    layer = layer_of(other, *bindings)
    assert layer.initializer_scale != 0.5 and layer.num_heads == 8


def initial_values(*bindings):
  """The variables of a small T5 before training, by name."""
  gin_files.parse(["models/t5_tiny.gin"], [*gin_files.SHRUNK, *bindings])
  names = []

  def build(mesh):
    test_gin.loss_of(mesh)
    names.extend(v.name for v in mesh.graph.trainable_variables)
    return [v.value for v in mesh.graph.trainable_variables]

  values, _ = graphs.evaluate(build)
  return dict(zip(names, values, strict=True))


def test_a_dense_model_starts_from_the_very_values_of_upstreams_layers():
  ours = initial_values()
  upstreams = initial_values(
      "encoder/transformer.make_layer_stack.layers = ["
      "@transformer_layers.SelfAttention, @transformer_layers.DenseReluDense]",
      "decoder/transformer.make_layer_stack.layers = ["
      "@transformer_layers.SelfAttention, @transformer_layers.EncDecAttention,"
      "@transformer_layers.DenseReluDense]",
  )
  assert list(ours) == list(upstreams)
  # No arithmetic differs: TensorFlow seeds them by their order in the graph.
  for name, value in ours.items():
    np.testing.assert_array_equal(value, upstreams[name], err_msg=name)


def test_one_scale_reaches_attention_and_feed_forward_layers_alike():
  truncated = 'include "initial_values/truncated_normal.gin"'
  plain = initial_values(truncated)
  halved = initial_values(truncated, "initializer_scale = 0.025")
  for name, value in halved.items():
    is_table = name.endswith(("scale", "bias", "embedding"))
    # sigma = sqrt(s / n), of the same draws: a power of two is exact.
    expected = plain[name] * (1.0 if is_table else 0.5)
    np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=name)
