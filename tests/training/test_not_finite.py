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

"""What happens when numbers stop being finite, without training a model."""

import mtf_switch  # isort: skip  # noqa: F401
import math

import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.training import checkpoints
from mtf_switch.training import not_finite


def train(model_dir, infinite_at, value=math.inf):
  """Counts to 6, saves every 2 steps, and sets a variable at one of them."""
  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    weight = tf.get_variable(
        "a/weight", shape=[2], initializer=tf.ones_initializer()
    )
    tf.get_variable("b/integers", initializer=[1, 2], trainable=False)
    train_op = tf.assign_add(step, 1)
    with tf.control_dependencies([train_op]):
      new = tf.where(tf.equal(step, infinite_at), value, 1.0)
      train_op = weight[1].assign(new)
    hooks = [
        tf.train.CheckpointSaverHook(
            str(model_dir),
            save_steps=2,
            listeners=[not_finite.WeightsListener()],
        ),
        tf.train.StopAtStepHook(last_step=6),
    ]
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=str(model_dir),
        hooks=hooks,
        save_checkpoint_secs=None,
        save_summaries_secs=None,
        log_step_count_steps=None,
    ) as session:
      while not session.should_stop():
        session.run(train_op)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("step", [4, 6])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, step, value):
  with pytest.raises(not_finite.NotFiniteError) as error:
    train(tmp_path, step, value)
  assert error.value.step == step
  assert str(error.value) == f"step {step}: a/weight is not finite"
  assert max(checkpoints.steps(str(tmp_path))) < step
