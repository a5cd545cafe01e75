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

"""config.json: what it describes, and what is refused by name."""

import dataclasses

import pytest

from mtf_switch import errors
from mtf_switch.conversion import architecture
from mtf_switch.conversion import huggingface_config
from tests.conversion import peers
from tests.conversion import test_names


@pytest.mark.parametrize("name", peers.NAMES)
def test_a_model_is_described_as_it_was(name):
  of = test_names.architecture_of(name)
  config = huggingface_config.content(of, {"dropout_rate": 0.1})
  has_softmax = not of.is_tied
  assert huggingface_config.architecture(config, has_softmax, name) == of
  saved = peers.fixture(name)["config"]
  if name != "mt5":  # It becomes a T5, which is the same function.
    for key in ("model_type", "architectures", "d_ff", "num_decoder_layers"):
      assert config[key] == saved[key]
  if of.has_experts:
    for key in ("encoder_sparse_step", "num_sparse_decoder_layers"):
      assert config[key] == saved[key]


@pytest.mark.parametrize(
    "step, sparse",
    [
        (0, []),
        (1, [0, 1, 2, 3, 4, 5]),
        (2, [1, 3, 5]),
        (3, [1, 4]),
        # Without sparse layers, Hugging Face's step is the number of layers.
        (6, [1]),
    ],
)
def test_layers_are_sparse_as_hugging_face_counts(step, sparse):
  found = huggingface_config.sparse_layers(6, step)
  assert [n for n, is_sparse in enumerate(found) if is_sparse] == sparse


def test_the_steps_of_the_file_count_before_the_numbers_of_layers():
  config = peers.fixture("switch_step_2")["config"]
  config |= {"encoder_sparse_step": 1}
  of = huggingface_config.architecture(config, False, "it")
  assert of.encoder.is_sparse == (True, True)
  del config["encoder_sparse_step"]
  of = huggingface_config.architecture(config, False, "it")
  assert of.encoder.is_sparse == (False, True)


@pytest.mark.parametrize(
    "name, has_softmax, changes, message",
    [
        ("t5", False, {"d_model": None}, "lacks d_model"),
        ("t5", False, {"d_model": 8.0}, "d_model = 8.0, which is no whole"),
        ("t5", False, {"num_heads": 0}, "num_heads = 0"),
        ("t5", False, {"num_layers": True}, "num_layers = True"),
        ("t5", False, {"feed_forward_proj": "gelu"}, "feed_forward_proj = 'ge"),
        ("t5", False, {"is_encoder_decoder": False}, "is_encoder_decoder"),
        ("t5", False, {"eos_token_id": 2}, "eos_token_id = 2"),
        (
            "t5",
            False,
            {"relative_attention_max_distance": 64},
            "relative_attention_max_distance = 64",
        ),
        ("t5", False, {"layer_norm_epsilon": 0}, "layer_norm_epsilon = 0"),
        ("t5", False, {"scale_decoder_outputs": False}, "are not scaled, but"),
        ("t5", True, {}, "scaled by d_model.-0.5, but lm_head.weight"),
        ("mt5", False, {}, "are not scaled, but there is no lm_head"),
        ("switch_step_2", True, {}, "scaled by d_model.-0.5, but lm_head"),
        ("switch_step_2", False, {"router_bias": True}, "router_bias = true"),
        ("switch_step_2", False, {"num_experts": None}, "lacks num_experts"),
        ("switch_step_2", False, {"dense_act_fn": "gelu"}, "dense_act_fn = 'g"),
        (
            "switch_step_2",
            False,
            {"encoder_sparse_step": 0, "decoder_sparse_step": 0},
            "no sparse layer",
        ),
    ],
)
def test_what_mesh_tensorflow_cannot_do_is_named(
    name, has_softmax, changes, message
):
  config = peers.fixture(name)["config"] | changes
  with pytest.raises(
      errors.UserError, match=f"there has .*{message}|{message}"
  ):
    huggingface_config.architecture(config, has_softmax, "there")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"activation": ("gelu", "linear")}, "gelu x linear in experts"),
        ({"activation": ("tanh",)}, "no activation tanh"),
        (
            {"encoder": architecture.stack_of((True, False) * 2)},
            "the encoder has experts in its layers 0, 2 of 0 to 3",
        ),
    ],
)
def test_what_hugging_face_cannot_do_is_named(changes, message):
  of = test_names.architecture_of("switch_step_2")
  with pytest.raises(errors.UserError, match=message):
    huggingface_config.content(dataclasses.replace(of, **changes), {})
