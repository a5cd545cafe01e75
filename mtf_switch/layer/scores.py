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


"""Figure 15 up to the best experts: logits, noise, softmax, top-n."""

from typing import NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.layer import dims as dims_lib

# How training tries experts that are not the best (Appendix C, Table 11).
EXPLORATIONS = {
    "argmax": "no noise",
    "sample": "experts are drawn from the softmax",
    "input_dropout": "dropout on the router's input",
    "input_jitter": "the router's input is multiplied by 1 - eps to 1 + eps",
    "logits_jitter": "1 - eps to 1 + eps is added to the logits (Figure 15)",
}

# Of a router's input, weights, logits and softmax. float32 is section 2.4's;
# bfloat16 serves Table 2's comparison, float64 checks of gradients.
DTYPES = ("float32", "bfloat16", "float64")


class Scores(NamedTuple):
  """A router's valuation of the experts.

  Attributes:
    router_logits: `[num_cores, tokens_per_core, num_experts]`, float32 or, in
      a float64 router, float64, as all that follows.
    router_probs: the same shape, their softmax (equation 1).
    preference: the same shape; the greater, the sooner an expert is chosen.
  """

  router_logits: mtf.Tensor
  router_probs: mtf.Tensor
  preference: mtf.Tensor


def score(
    inputs: mtf.Tensor,
    router_weights: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    exploration: str = "argmax",
    jitter: float = 0.0,
    dropout_rate: float = 0.0,
    dtype: tf.DType = tf.float32,
) -> Scores:
  """Figure 15 up to the softmax.

  The figure casts the logits to float32; the prose casts the router's input,
  and means its weights too (section 2.4). The noise stays in here: the experts
  get the input without it.

  Args:
    inputs: [num_cores`, tokens_per_core, d_model].
    router_weights: `[d_model, num_experts_unsplit]`, no bias. Further columns
      are those of experts that were pruned: they have their share of the
      softmax, and no token goes there.
    dims: the layer's dimensions.
    exploration: one of EXPLORATIONS; "argmax" outside training.
    jitter: eps of the two jitters.
    dropout_rate: of "input_dropout".
    dtype: of the arithmetic.

  Returns:
    Scores.
  """
  columns = router_weights.shape.dims[-1]
  inputs = mtf.cast(inputs, dtype)
  if exploration == "input_dropout":
    inputs = mtf.dropout(inputs, is_training=True, rate=dropout_rate)
  elif exploration == "input_jitter" and jitter:
    inputs *= _around_one(inputs, jitter)
  router_logits = mtf.einsum(
      [inputs, mtf.cast(router_weights, dtype)],
      output_shape=[*dims.groups, dims.tokens_per_core, columns],
  )
  if exploration == "logits_jitter" and jitter:
    router_logits += _around_one(router_logits, jitter)
  router_probs = mtf.softmax(router_logits, reduced_dim=columns)
  experts = dims.num_experts_unsplit
  if columns.size > experts.size:
    router_logits = _first_columns(router_logits, experts)
    router_probs = _first_columns(router_probs, experts)
  if dtype == tf.bfloat16:
    # Gates and losses are float32 in any case.
    router_logits = mtf.cast(router_logits, tf.float32)
    router_probs = mtf.cast(router_probs, tf.float32)
  preference = router_probs
  if exploration == "sample":
    # The best after adding Gumbel noise is a draw from the softmax; the n
    # best are n draws without replacement.
    uniform = mtf.random_uniform(inputs.mesh, router_logits.shape)
    exponential = -mtf.log(mtf.maximum(uniform, 2.0**-25))
    preference = router_logits - mtf.log(exponential)
  return Scores(router_logits, router_probs, preference)


def _first_columns(x: mtf.Tensor, experts: mtf.Dimension) -> mtf.Tensor:
  """`[..., columns]` -> `[..., num_experts]`, without the pruned experts."""
  columns = x.shape.dims[-1].name
  x = mtf.slice(x, 0, experts.size, columns)
  return mtf.rename_dimension(x, columns, experts.name)


def _around_one(x: mtf.Tensor, eps: float) -> mtf.Tensor:
  """Draws from [1 - eps, 1 + eps] of the shape of x."""
  draws = mtf.random_uniform(
      x.mesh, x.shape, minval=1.0 - eps, maxval=1.0 + eps, dtype=x.dtype
  )
  # Recomputation clones what is made of draws, and lets no gradient use the
  # draws themselves.
  return mtf.stop_gradient(draws)


def choose(
    scores: Scores, dims: dims_lib.SwitchDims, num_choices: int
) -> tuple[mtf.Tensor, mtf.Tensor]:
  """Each token's best experts and their probabilities.

  Args:
    scores: of the experts.
    dims: the layer's dimensions.
    num_choices: the number of experts for each token.

  Returns:
    the experts, `[num_cores, tokens_per_core, choices]` int32, the best first
    and of equals the one with the smaller number; and the probabilities.
  """
  experts = dims.num_experts_unsplit
  choices = mtf.Dimension("choices", num_choices)
  _, expert_index = mtf.top_k(
      mtf.stop_gradient(scores.preference), reduced_dim=experts, k_dim=choices
  )
  expert_gate = mtf.einsum(
      [
          scores.router_probs,
          mtf.one_hot(expert_index, experts, dtype=scores.router_probs.dtype),
      ],
      output_shape=expert_index.shape,
  )
  return expert_index, expert_gate
