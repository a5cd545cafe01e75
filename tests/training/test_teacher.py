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

"""What a teacher takes from its checkpoint."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.training import teacher


@pytest.fixture
def path(tmp_path):
  """A checkpoint in bfloat16, with the state of an optimizer."""
  with tf.Graph().as_default(), tf.Session() as session:
    tf.get_variable("stack/w", initializer=tf.constant([1.5, 2], tf.bfloat16))
    tf.get_variable("stack/w_slot_v", initializer=tf.constant([7.0, 7]))
    tf.train.create_global_step()
    session.run(tf.global_variables_initializer())
    return tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 4)


def restored(path, **shapes):
  """The values of variables of these names and shapes."""
  found = teacher._Restored(path)
  with tf.Graph().as_default(), tf.Session() as session:
    with tf.variable_scope("teacher", custom_getter=found.get):
      for name, shape in shapes.items():
        variable = tf.get_variable(f"stack/{name}", shape, tf.float32)
        assert variable.dtype.base_dtype == tf.float32
    found.check()
    assert not tf.global_variables() and not tf.trainable_variables()
    session.run(tf.local_variables_initializer())
    return session.run(tf.local_variables())


def test_a_checkpoint_in_bfloat16_is_read_as_the_models_type(path):
  (value,) = restored(path, w=[2])
  np.testing.assert_array_equal(value, [1.5, 2])


@pytest.mark.parametrize(
    "shapes, expected",
    [
        ({"w": [3]}, "stack/w is 2 there and 3 here"),
        ({"w": [2], "v": [2]}, "stack/v is only in this model"),
        ({}, "stack/w is only there"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(path, shapes, expected):
  with pytest.raises(errors.UserError, match=expected):
    restored(path, **shapes)
