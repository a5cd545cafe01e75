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

"""Models of Hugging Face here: the same logits, the same text."""

import json

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.conversion import account
from mtf_switch.conversion import arrival
from mtf_switch.conversion import from_huggingface
from mtf_switch.conversion import huggingface_weights
from mtf_switch.training import checkpoint_files
from tests.conversion import peers

_TOLERANCE = 1e-4
# Loops of decoding take longer than all else.
_DECODED = ("t5_gated_untied", "switch_untied")
# A group is a sentence, of whose 8 tokens each of three experts takes two.
_DROPPING = {
    "switch_dropping": (
        "num_cores = 3",
        "SwitchFeedForward.capacity_factor_eval = 0.75",
    )
}
# Its function is that of t5_gated_untied.
_CALLED = [name for name in peers.NAMES if name != "mt5"]


@pytest.mark.parametrize("name", _CALLED)
def test_the_function_is_that_of_hugging_face(name, tmp_path):
  expected = peers.expected(name)
  peers.write(name, tmp_path / "there")
  plan = peers.bring(tmp_path / "there", tmp_path / "here")
  length = expected["decoded"].shape[1]
  peers.parse(
      tmp_path / "here",
      f"Bitransformer.decode.max_decode_length = {length}",
      *_DROPPING.get(name, ()),
  )
  found = peers.results(
      tmp_path / "here",
      plan.architecture.vocab_rows,
      expected,
      name in _DECODED,
  )
  # What padding gets does not matter.
  is_real = expected["targets"] != 0
  difference = np.abs(found["logits"] - expected["logits"])[is_real].max()
  assert difference < _TOLERANCE * np.abs(expected["logits"]).max()
  if name in _DECODED:
    np.testing.assert_array_equal(found["decoded"], expected["decoded"])
  assert plan.architecture.is_tied == ("untied" not in name)
  check_gradients(plan.pairs, found["gradients"], expected)


def check_gradients(pairs, gradients, expected):
  """A step of training changes the same tensors, by as much."""
  norms = dict(zip(expected["gradient_names"], expected["gradient_norms"]))
  tiny = 1e-6 * max(norms.values())
  for pair in pairs:
    gradient = gradients.pop(pair.mesh)
    parts = gradient if pair.has_experts else [gradient]
    for name, part in zip(pair.huggingface, parts, strict=True):
      # An expert without a token has none there.
      assert np.linalg.norm(part) == pytest.approx(
          norms.pop(name, 0), rel=1e-3, abs=tiny
      ), name
  assert not gradients and not norms


def test_mt5_is_t5_gated_untied():
  one, other = map(peers.expected, ("mt5", "t5_gated_untied"))
  np.testing.assert_array_equal(one["logits"], other["logits"])


@pytest.mark.parametrize(
    "dtype, name", [(np.float16, "F16"), (tf.bfloat16.as_numpy_dtype, "BF16")]
)
def test_shards_of_any_dtype_are_read_tensor_by_tensor(dtype, name, tmp_path):
  weights = peers.write("switch_step_2", tmp_path / "there")
  narrow = {key: x.astype(dtype) for key, x in weights.items()}
  (tmp_path / "there" / "model.safetensors").unlink()
  names = sorted(narrow)
  shards = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
  for file, names in shards.items():
    safetensors_numpy.save_file(
        {x: narrow[x] for x in names}, tmp_path / "there" / file
    )
  index = json.dumps(huggingface_weights.index(shards, 1))
  (tmp_path / "there" / huggingface_weights.INDEX).write_text(index)
  plan = peers.bring(tmp_path / "there", tmp_path / "here")
  path = str(tmp_path / "here" / "model.ckpt-0")
  assert checkpoint_files.damage(path) is None
  found = peers.variables(path)
  for pair in plan.pairs:
    parts = [narrow[x].astype(np.float32) for x in pair.huggingface]
    parts = [x.T if pair.is_transposed else x for x in parts]
    values = np.stack(parts) if pair.has_experts else parts[0]
    np.testing.assert_array_equal(found[pair.mesh], values)
  assert {x.dtypes for x in plan.entries} == {(name, "F32")}


def changed(directory, changes):
  """Writes the fixture t5 with other tensors; None takes one away."""
  weights = peers.write("t5", directory) | changes
  weights = {name: x for name, x in weights.items() if x is not None}
  safetensors_numpy.save_file(weights, directory / "model.safetensors")
  return weights


def plan_of(directory, left_out=()):
  with huggingface_weights.Weights(str(directory)) as weights:
    return from_huggingface.plan(str(directory), weights, left_out)


def test_copies_of_the_embedding_are_known_as_such(tmp_path):
  weights = peers.write("t5", tmp_path / "one")
  embedding = weights["shared.weight"]
  changed(
      tmp_path / "two",
      {
          "lm_head.weight": embedding,
          "decoder.embed_tokens.weight": embedding,
          "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias"
          ".weight": np.ones([32, 2], np.float32),
      },
  )
  plan = plan_of(tmp_path / "two")
  assert plan.pairs == plan_of(tmp_path / "one").pairs
  done = {x.sources: x.done for x in plan.entries if not x.targets}
  assert len(done) == 3
  assert done["lm_head.weight",] == ("equals shared.weight",)
  assert "3 left out, with 2,112 values" in account.summary(plan.entries)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"encoder.final_layer_norm.weight": None},
            "lack encoder.final_layer_norm.weight, which the model has by"
            " config.json",
        ),
        (
            {"shared.weight": np.ones([120, 8], np.float32)},
            "shared.weight is 120 x 8 in .*, and 128 x 8 by config.json",
        ),
        (
            {"shared.weight": np.ones([128, 8], np.int8)},
            "shared.weight is I8 in",
        ),
        (
            {"decoder.embed_tokens.weight": np.ones([128, 8], np.float32)},
            "decoder.embed_tokens.weight in .* is not shared.weight",
        ),
        (
            {"x": np.ones([1], np.float32), "y": np.ones([1], np.float32)},
            r"nothing becomes of x, y in .*convert.left_out = \['x'\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(changes, message, tmp_path):
  changed(tmp_path / "there", changes)
  with pytest.raises(errors.UserError, match=message):
    plan_of(tmp_path / "there")


def test_what_is_allowed_by_name_is_left_out(tmp_path):
  changed(tmp_path / "there", {"x": np.ones([3], np.float32)})
  plan = plan_of(tmp_path / "there", left_out=["x"])
  (entry,) = (x for x in plan.entries if not x.targets)
  assert entry.sources == ("x",)


def test_an_error_leaves_nothing(tmp_path, monkeypatch):
  peers.write("t5", tmp_path / "there")

  def bring(*_):
    raise OSError("no more")

  monkeypatch.setattr(arrival.vocabulary_record, "bring", bring)
  with pytest.raises(OSError, match="no more"):
    peers.bring(tmp_path / "there", tmp_path / "here")
  assert [x.name for x in tmp_path.iterdir()] == ["there"]


def test_an_embedding_of_other_rows_is_refused(tmp_path):
  peers.write("t5", tmp_path / "there")
  (tmp_path / "there" / "spiece.model").unlink()
  (tmp_path / "there" / "tokenizer_config.json").write_text(
      '{"tokenizer_class": "ByT5Tokenizer"}'
  )
  with pytest.raises(errors.UserError, match="128 rows, .* 359 ids, .* 384"):
    peers.bring(tmp_path / "there", tmp_path / "here")
  assert not (tmp_path / "here").exists()
