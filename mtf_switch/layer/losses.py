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

from collections.abc import Sequence

import mesh_tensorflow as mtf

SCOPES = ("group", "batch")


def load_balance_loss(
    router_probs: mtf.Tensor,
    expert_mask: mtf.Tensor,
    nonpadding: mtf.Tensor,
    num_cores: Sequence[mtf.Dimension],
    tokens_per_core: mtf.Dimension,
    num_experts: mtf.Dimension,
    scope: str = "group",
) -> mtf.Tensor:
  """Figure 14: N * sum_i f_i P_i (equations 4 to 6).

  The lowest value with f = P is 1, at uniform routing.

  Args:
    router_probs: `[num_cores, tokens_per_core, num_experts]`, the
      probabilities of equation (1).
    expert_mask: the same shape, one-hot rows of the chosen experts, before
      capacity; rows of padding are zero.
    nonpadding: `[num_cores, tokens_per_core]`, 1 for real tokens and 0 for
      padding; f and P are means over the real tokens.
    num_cores: the dimensions of the groups.
    tokens_per_core: the dimension of a group's tokens.
    num_experts: the dimension of the experts.
    scope: "group", as the figure: f and P of each group, and the mean over the
      groups with a real token; or "batch", as equations (5) and (6): f and P
      of all groups together. The mean of products is not the product of means.

  Returns:
    a scalar in the dtype of router_probs; 0 if there is no real token.
  """
  # f and P are means over all axes but these.
  groups = list(num_cores) if scope == "group" else []
  tokens = mtf.reduce_sum(nonpadding, output_shape=groups)
  share = nonpadding / mtf.maximum(tokens, 1.0)
  density_1 = mtf.einsum(
      [expert_mask, share], output_shape=groups + [num_experts]
  )
  density_1_proxy = mtf.einsum(
      [router_probs, share], output_shape=groups + [num_experts]
  )
  num_groups = mtf.reduce_sum(mtf.cast(mtf.greater(tokens, 0.0), tokens.dtype))
  # The figure's mean over num_cores * num_experts entries times num_experts^2.
  return (
      mtf.reduce_sum(density_1_proxy * density_1)
      * float(num_experts.size)
      / mtf.maximum(num_groups, 1.0)
  )


def router_z_loss(
    router_logits: mtf.Tensor,
    nonpadding: mtf.Tensor,
    num_experts: mtf.Dimension,
) -> mtf.Tensor:
  """The router z-loss of ST-MoE (arXiv 2202.08906, equation 5).

  Args:
    router_logits: `[num_cores, tokens_per_core, num_experts]`.
    nonpadding: `[num_cores, tokens_per_core]`, 1 for real tokens, 0 for
      padding.
    num_experts: the dimension of the experts.

  Returns:
    the mean over the real tokens of the squared logarithm of the softmax's
    denominator, a scalar in the dtype of router_logits; 0 if there is none.
  """
  log_z = mtf.reduce_logsumexp(router_logits, num_experts)
  tokens = mtf.maximum(mtf.reduce_sum(nonpadding), 1.0)
  return mtf.reduce_sum(mtf.square(log_z) * nonpadding) / tokens
