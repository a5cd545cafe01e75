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

"""The experts: one feed-forward network each, with weights of their own."""

from collections.abc import Sequence

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf


def feed_forward(
    expert_inputs: mtf.Tensor,
    num_experts: mtf.Dimension,
    d_ff: mtf.Dimension,
    activation: str | Sequence[str],
    dropout_rate: float,
    is_training: bool,
    kernel_initializer: mtf.layers.DenseInitializer,
    variable_dtype: mtf.VariableDType,
) -> mtf.Tensor:
  """Applies each expert to its own slots (section 2, Figure 16).

  Unique parameters: num_experts * d_model * d_ff * 2, or * 3 when gated.

  Args:
    expert_inputs: [num_experts`, num_cores_unsplit, expert_capacity, d_model].
    num_experts: the dimension of the experts.
    d_ff: the inner dimension.
    activation: "relu" for y = ReLU(x W_in) W_out (section 2.1); a list of
      names multiplies as many projections, ["gelu", "linear"] being GEGLU.
    dropout_rate: of the inner activations (expert dropout, section 2.4).
    is_training: whether to drop.
    kernel_initializer: of all weights.
    variable_dtype: of all weights.

  Returns:
    as expert_inputs.
  """
  d_model = expert_inputs.shape.dims[-1]
  weights = dict(
      expert_dims=[num_experts],
      use_bias=False,
      kernel_initializer=kernel_initializer,
      variable_dtype=variable_dtype,
  )
  with tf.variable_scope("experts"):
    hidden = mtf.layers.dense_product(
        expert_inputs,
        reduced_dims=[d_model],
        new_dims=[d_ff],
        activation_functions=(
            activation if isinstance(activation, str) else list(activation)
        ),
        name="wi",
        **weights,
    )
    hidden = mtf.dropout(hidden, is_training, rate=dropout_rate)
    return mtf.layers.dense(
        hidden, reduced_dims=[d_ff], new_dims=[d_model], name="wo", **weights
    )
