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
"""The two all-to-alls and their gradients."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import exchange

DIMS = dims_lib.switch_dims("batch", 4, 8, 6, 2, mtf.Dimension("d_model", 5))
BY_TOKENS = mtf.Shape(
    [
        DIMS.num_experts_unsplit,
        DIMS.num_cores,
        DIMS.expert_capacity,
        DIMS.d_model,
    ]
)
BY_EXPERTS = mtf.Shape(
    [
        DIMS.num_experts,
        DIMS.num_cores_unsplit,
        DIMS.expert_capacity,
        DIMS.d_model,
    ]
)


@pytest.mark.parametrize(
    "send, there, back",
    [
        (exchange.to_experts, BY_TOKENS, BY_EXPERTS),
        (exchange.from_experts, BY_EXPERTS, BY_TOKENS),
    ],
)
def test_gradients_are_sent_the_other_way(send, there, back):
  with tf.Graph().as_default():
    x = mtf.zeros(mtf.Mesh(mtf.Graph(), "mesh"), there)
    y = send(x, DIMS)
    assert y.shape == back
    (x_gradient,) = mtf.gradients([mtf.reduce_sum(y * y)], [x])
  assert x_gradient.shape == there
  for tensor in (y, x_gradient):
    assert isinstance(tensor.operation, exchange.ExchangeOperation)
    assert tensor.operation.name.startswith("reshape")
