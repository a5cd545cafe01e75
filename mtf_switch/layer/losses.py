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
from typing import NamedTuple

import mesh_tensorflow as mtf

SCOPES = ("group", "batch")


class Counts(NamedTuple):
  """Counts over a whole batch, for the losses of one of its microbatches.

  With them, the losses of microbatches are shares, which add up to the loss of
  the batch.

  Attributes:
    tokens: float32 scalar, the real tokens.
    groups: float32 scalar, the groups with a real token.
    first_choices: `[num_experts]` float32, the real tokens that choose each
      expert first; None if they have not been counted.
  """

  tokens: mtf.Tensor
  groups: mtf.Tensor
  first_choices: mtf.Tensor | None = None


def load_balance_loss(
    router_probs: mtf.Tensor,
    expert_mask: mtf.Tensor,
    nonpadding: mtf.Tensor,
    num_cores: Sequence[mtf.Dimension],
    tokens_per_core: mtf.Dimension,
    num_experts: mtf.Dimension,
    scope: str = "group",
    of_batch: Counts | None = None,
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
    of_batch: if the tokens are those of a microbatch, the counts of its batch.
      f, which has no gradient, and the numbers of tokens and groups are then
      the batch's.

  Returns:
    a scalar in the dtype of router_probs; 0 if there is no real token.
  """
  # f and P are means over all axes but these.
  groups = list(num_cores) if scope == "group" else []
  dtype = nonpadding.dtype
  if scope == "batch" and of_batch and of_batch.first_choices is not None:
    tokens = mtf.cast(of_batch.tokens, dtype)
    first_choices = mtf.cast(of_batch.first_choices, dtype)
  else:
    tokens = mtf.reduce_sum(nonpadding, output_shape=groups)
    first_choices = mtf.reduce_sum(
        expert_mask, output_shape=groups + [num_experts]
    )
  density_1 = first_choices / mtf.maximum(tokens, 1.0)
  density_1_proxy = mtf.einsum(
      [router_probs, nonpadding / mtf.maximum(tokens, 1.0)],
      output_shape=groups + [num_experts],
  )
  if scope == "group" and of_batch:
    num_groups = mtf.cast(of_batch.groups, dtype)
  else:
    num_groups = mtf.reduce_sum(mtf.cast(mtf.greater(tokens, 0.0), dtype))
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
    of_batch: Counts | None = None,
) -> mtf.Tensor:
  """The router z-loss of ST-MoE (arXiv 2202.08906, equation 5).

  Args:
    router_logits: `[num_cores, tokens_per_core, num_experts]`.
    nonpadding: `[num_cores, tokens_per_core]`, 1 for real tokens, 0 for
      padding.
    num_experts: the dimension of the experts.
    of_batch: as for load_balance_loss.

  Returns:
    the mean over the real tokens of the squared logarithm of the softmax's
    denominator, a scalar in the dtype of router_logits; 0 if there is none.
  """
  log_z = mtf.reduce_logsumexp(router_logits, num_experts)
  tokens = mtf.reduce_sum(nonpadding)
  if of_batch:
    tokens = mtf.cast(of_batch.tokens, nonpadding.dtype)
  sum_of_squares = mtf.reduce_sum(mtf.square(log_z) * nonpadding)
  return sum_of_squares / mtf.maximum(tokens, 1.0)
