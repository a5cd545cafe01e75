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

"""Checkpoints of other models are refused, those of changed runs are not."""

import mtf_switch  # isort: skip  # noqa: F401
import functools

import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.training import checkpoint_fit
from tests import gin_files

SWITCH = "models/switch_tiny.gin"


@functools.cache
def variables(*params, slots="_slot_vr"):
  """The variables of a model that trains with an optimizer."""
  gin_files.parse([SWITCH], ["num_cores = 1", "num_blocks = 2", *params])
  weights = gin_files.variable_shapes(384, 4, 16, 8)
  found = {"global_step": checkpoint_fit.Variable(tf.int64, ())}
  for name, shape in weights.items():
    for x in (name, f"{name}{slots}"):
      found[x] = checkpoint_fit.Variable(tf.float32, tuple(shape))
  return found


@pytest.mark.parametrize(
    "params",
    [
        ["dropout_rate = 0.3", "expert_dropout_rate = 0.4"],
        ["capacity_factor_train = 2.0", "num_cores = 2"],
        ["batch_size = 64", "mesh_shape = 'all:2'"],
    ],
)
def test_harmless_changes(params):
  assert not checkpoint_fit.differences(variables(*params), variables())


@pytest.mark.parametrize(
    "slots", ["_slot_vr", "/adam_m", "_momentum_v", "/own"]
)
def test_the_optimizers_slots_are_needed_to_train_only(slots):
  saved = variables(slots=slots)
  weights = {x: y for x, y in saved.items() if not x.endswith(slots)}
  assert not checkpoint_fit.differences(weights, saved)
  found = checkpoint_fit.differences(variables(slots="/other"), saved)
  assert len(found) == len(weights) - 1
  assert found[0].endswith("/other is only in this model")


@pytest.mark.parametrize(
    "change, example",
    [
        ("d_model = 24", "shared/embedding is 384 x 128 there and 384 x 24"),
        ("d_ff = 48", "DenseReluDense/wi/kernel is 128 x 512 there and 128 x"),
        ("num_experts = 6", "experts/wi/kernel is 8 x 128 x 512 there and 6 x"),
        ("num_heads = 2", "SelfAttention/q is 128 x "),
        # TensorFlow would leave out the weights that the model lacks.
        ("num_blocks = 1", "block_001/layer_000/rms_norm/scale is only there"),
        (
            "num_blocks = 3",
            "block_002/layer_000/rms_norm/scale is only in this",
        ),
    ],
)
def test_changes_of_the_model(change, example):
  found = checkpoint_fit.differences(variables(change), variables())
  assert any(example in phrase for phrase in found), found


def test_one_line_with_the_first_differences(tmp_path):
  path = str(tmp_path / "model.ckpt-6")
  with tf.Graph().as_default(), tf.Session() as session:
    for name in "abcde":
      tf.get_variable(name, [2, 3])
    tf.get_variable("f", initializer=tf.zeros([2], tf.bfloat16))
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, path)
    checkpoint_fit.check(path)
  with tf.Graph().as_default():
    for name in "abcd":
      tf.get_variable(name, [2, 4 if name in "bc" else 3])
    tf.get_variable("f", [2])
    with pytest.raises(errors.UserError) as error:
      checkpoint_fit.CheckHook(path).begin()
  assert str(error.value) == (
      f"the checkpoint {path} is of another model: b is 2 x 3 there and 2 x 4 "
      "here; c is 2 x 3 there and 2 x 4 here; f is bfloat16 there and float32 "
      "here; 4 variables differ. Sizes, layers, experts, dtypes and, to train, "
      "the optimizer must be those it was saved with, see "
      f"{tmp_path}/operative_config.gin."
  )
