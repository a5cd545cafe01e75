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

"""The released Switch Transformers, by hand from their configurations."""

import pytest

from mtf_switch import errors
from mtf_switch.conversion import architecture
from mtf_switch.conversion import huggingface_config
from mtf_switch.conversion import model_architecture
from mtf_switch.transformer import feed_forward
from tests import gin_files

# d_model, d_ff, heads, layers of each stack, step, tied; capacity factors and
# the least capacity.
_BASE = (768, 3072, 12, 12, 2, True, 1.25, 2.0, 4)
RELEASED = {
    **{f"switch_base_{2**n}": (2**n, *_BASE) for n in range(3, 9)},
    "switch_large_128": (128, 1024, 4096, 16, 24, 2, True, 1.25, 2.0, 4),
    "switch_c_2048": (2048, 2080, 6144, 30, 15, 1, False, 1.0, 2.0, 2),
}


def model_of(name):
  gin_files.parse([f"models/released/{name}.gin"], ["num_cores = 8"])
  return gin_files.build_model(32_100)


@pytest.mark.parametrize("name", RELEASED)
def test_released_models(name):
  experts, d_model, d_ff, heads, layers, step, tied, *capacity = RELEASED[name]
  model = model_of(name)
  found = model_architecture.architecture(
      model, 1e-6, model_architecture.HUGGING_FACE
  )
  stack = architecture.Stack(
      huggingface_config.sparse_layers(layers, step), step
  )
  assert found == architecture.Architecture(
      encoder=stack,
      decoder=stack,
      d_model=d_model,
      d_ff=d_ff,
      d_kv=64,
      num_heads=heads,
      vocab_rows=32_128,
      num_experts=experts,
      activation=("relu",),
      is_tied=tied,
  )
  assert {
      (
          switch.capacity_factor_train,
          switch.capacity_factor_eval,
          switch.min_expert_capacity,
      )
      for switch in feed_forward.switches(model)
  } == {tuple(capacity)}
  config = huggingface_config.content(found, {})
  assert config["num_sparse_encoder_layers"] == layers // step


def test_released_xxl():
  model = model_of("switch_xxl_128")
  assert not model.decoder.shared_embedding_and_softmax_weights
  switches = feed_forward.switches(model)
  assert len(switches) == 24
  assert len(model.encoder.layer_stack.layers) == 2 * 24
  for switch in switches:
    assert switch.num_experts == 128
    assert switch.hidden_size == 10_240
    assert switch.activation == ["gelu", "linear"]
    assert switch.capacity_factor_eval == 4.0
    assert switch.min_expert_capacity == 2
  with pytest.raises(errors.UserError, match="GEGLU"):
    model_architecture.architecture(
        model, 1e-6, model_architecture.HUGGING_FACE
    )


def test_every_released_file_is_checked():
  complete = {
      name.removeprefix("models/released/").removesuffix(".gin")
      for name in gin_files.names("models/released")
      if "defaults" not in name
  }
  assert complete == {*RELEASED, "switch_xxl_128"}
