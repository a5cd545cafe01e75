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

"""Losses of the router, without their coefficients."""

import mesh_tensorflow as mtf


def load_balance_loss(
    router_probs: mtf.Tensor,
    expert_mask: mtf.Tensor,
    num_cores: mtf.Dimension,
    tokens_per_core: mtf.Dimension,
    num_experts: mtf.Dimension,
    nonpadding: mtf.Tensor | None = None,
) -> mtf.Tensor:
  """Figure 14: N * sum_i f_i P_i (equations 4 to 6), averaged over the groups.

  The lowest value of a single group with f = P is 1, at uniform routing.

  Args:
    router_probs: `[num_cores, tokens_per_core, num_experts]` float32, the
      probabilities of equation (1).
    expert_mask: the same shape, one-hot rows of the chosen experts, before
      capacity; rows of padding are zero.
    num_cores: the dimension of the groups.
    tokens_per_core: the dimension of a group's tokens.
    num_experts: the dimension of the experts.
    nonpadding: `[num_cores, tokens_per_core]` float32, 1 for real tokens and 0
      for padding; None if all are real. A group's f and P are means over its
      real tokens, and groups without any do not count.

  Returns:
    a float32 scalar; 0 if there is no real token.
  """
  if nonpadding is None:
    density_1 = mtf.reduce_mean(expert_mask, reduced_dim=tokens_per_core)
    density_1_proxy = mtf.reduce_mean(router_probs, reduced_dim=tokens_per_core)
    num_groups = float(num_cores.size)
  else:
    tokens = mtf.reduce_sum(nonpadding, reduced_dim=tokens_per_core)
    share = nonpadding / mtf.maximum(tokens, 1.0)
    density_1 = mtf.reduce_sum(expert_mask * share, reduced_dim=tokens_per_core)
    density_1_proxy = mtf.reduce_sum(
        router_probs * share, reduced_dim=tokens_per_core
    )
    num_groups = mtf.maximum(
        mtf.reduce_sum(mtf.cast(mtf.greater(tokens, 0.0), tokens.dtype)), 1.0
    )
  # The figure's mean over num_cores * num_experts entries times num_experts^2.
  return (
      mtf.reduce_sum(density_1_proxy * density_1)
      * float(num_experts.size)
      / num_groups
  )
