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

"""The way back to Hugging Face, bit for bit."""

import json

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from mtf_switch import errors
from mtf_switch.conversion import checkpoint_writer
from mtf_switch.conversion import huggingface_config
from mtf_switch.conversion import huggingface_weights
from mtf_switch.conversion import model_architecture
from mtf_switch.conversion import to_huggingface
from mtf_switch.conversion import vocabulary_files
from mtf_switch.training import vocabulary_record
from tests import gin_files
from tests.conversion import peers


def take(model_dir, vocabulary, output_dir):
  """Converts a model that was brought here."""
  peers.parse(model_dir)
  model = gin_files.build_model(vocabulary.vocab_size)
  path = str(model_dir / "model.ckpt-0")
  plan = to_huggingface.plan(
      model_architecture.architecture(
          model, 1e-6, model_architecture.HUGGING_FACE
      ),
      path,
  )
  to_huggingface.write(
      plan,
      path,
      model_architecture.options(model),
      vocabulary,
      str(output_dir),
      lambda done: None,
  )
  return plan


@pytest.mark.parametrize("name", peers.NAMES)
@pytest.mark.parametrize("num_files", ["one", "several"])
def test_a_round_trip_changes_no_bit(name, num_files, tmp_path, monkeypatch):
  if num_files == "several":
    monkeypatch.setattr(checkpoint_writer, "_LEAST_BYTES_OF_GROUP", 1)
  weights = peers.write(name, tmp_path / "there")
  brought = peers.bring(tmp_path / "there", tmp_path / "here")
  vocabulary = vocabulary_files.read(str(tmp_path / "there"))
  plan = take(tmp_path / "here", vocabulary, tmp_path / "back")
  assert plan.architecture == brought.architecture
  with huggingface_weights.Weights(str(tmp_path / "back")) as found:
    assert set(found.tensors) == set(weights)
    for key, value in weights.items():
      np.testing.assert_array_equal(found.read(key), value)
    files = {x.file for x in found.tensors.values()}
  assert (len(files) > 1) == (num_files == "several")
  again = vocabulary_files.read(str(tmp_path / "back"))
  one, other = map(vocabulary_record.describe, (vocabulary, again))
  assert one | {"path": None} == other | {"path": None}
  config = huggingface_config.read(str(tmp_path / "back"))
  assert config["dtype"] == "float32"
  generation = (tmp_path / "back" / "generation_config.json").read_text()
  assert json.loads(generation) == {
      "decoder_start_token_id": 0,
      "eos_token_id": 1,
      "pad_token_id": 0,
  }


def test_files_are_marked_as_hugging_face_needs_it(tmp_path):
  peers.write("t5", tmp_path / "there")
  peers.bring(tmp_path / "there", tmp_path / "here")
  vocabulary = vocabulary_files.read(str(tmp_path / "there"))
  take(tmp_path / "here", vocabulary, tmp_path / "back")
  path = tmp_path / "back" / "model.safetensors"
  with huggingface_weights.safetensors.safe_open(path, "np") as file:
    assert file.metadata() == {"format": "pt"}
  assert safetensors_numpy.load_file(path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
  for name in ("t5", "mt5"):
    peers.write(name, tmp_path / name)
    peers.bring(tmp_path / name, tmp_path / f"here_{name}")
  peers.parse(tmp_path / "here_t5")
  model = gin_files.build_model(128)
  of = model_architecture.architecture(
      model, 1e-6, model_architecture.HUGGING_FACE
  )
  with pytest.raises(errors.UserError, match="is of another model: .*wi"):
    to_huggingface.plan(of, str(tmp_path / "here_mt5" / "model.ckpt-0"))


@pytest.mark.parametrize(
    "file, bindings, message",
    [
        ("switch_lm_tiny", [], "a decoder alone"),
        ("switch_base_attention", [], "as a layer of the encoder"),
        (
            "switch_tiny",
            ["SwitchFeedForward.router = @top_2_router"],
            "the router Top2Router",
        ),
        (
            "switch_tiny",
            ["SwitchFeedForward.router = @no_token_left_behind_router"],
            "the router NoTokenLeftBehindRouter",
        ),
        ("switch_base", [], r"gelu x linear in experts \(GEGLU\)"),
        (
            "switch_tiny",
            ["SwitchFeedForward.hidden_size = None"],
            "linear experts",
        ),
        (
            "switch_tiny",
            ["SwitchFeedForward.hidden_size = 64"],
            "layers with d_ff = 32 and others with 64",
        ),
        (
            "t5_tiny",
            ["Unitransformer.positional_embedding = True"],
            "positional embeddings in the encoder",
        ),
        (
            "t5_tiny",
            ['SelfAttention.relative_attention_type = "bias"'],
            "SelfAttention.relative_attention_type = 'bias'",
        ),
        ("t5_tiny", ["SelfAttention.shared_kv = True"], "shared_kv = True"),
        ("t5_tiny", ["DenseReluDense.use_bias = True"], "use_bias = True"),
        (
            "t5_tiny",
            [
                "transformer.LayerStack.sublayers_final ="
                " [@transformer.sublayer_dropout]"
            ],
            r"the sublayers  in the encoder \(LayerStack.sublayers_final\)",
        ),
    ],
)
def test_what_hugging_face_lacks_is_named(file, bindings, message):
  gin_files.parse([f"models/{file}.gin"], [*gin_files.SHRUNK, *bindings])
  model = gin_files.build_model(128)
  with pytest.raises(errors.UserError, match=message):
    model_architecture.architecture(
        model, 1e-6, model_architecture.HUGGING_FACE
    )


def test_options_are_those_of_the_layers():
  gin_files.parse(
      ["models/switch_tiny.gin"],
      [
          *gin_files.SHRUNK,
          "SwitchFeedForward.aux_loss_coefficient = 0.25",
          "switch_router.jitter = 0.125",
          "DenseReluDense.dropout_rate = 0.5",
      ],
  )
  assert model_architecture.options(gin_files.build_model(128)) == {
      "dropout_rate": 0.5,
      "router_aux_loss_coef": 0.25,
      "router_z_loss_coef": 0.0,
      "router_jitter_noise": 0.125,
      "router_dtype": "float32",
  }
