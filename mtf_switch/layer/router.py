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

"""The routers: Figure 15, and its siblings with the same interface.

Each takes `[num_cores, tokens_per_core, d_model]` and returns a Routing; what
they share is in `routing`. Exploration never acts outside training, so that
there every router is a function of its input.
"""

import functools

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import routing
from mtf_switch.layer import slots

_DEFAULTS = routing.Options()

# Whether a token's second expert is used (Mesh TensorFlow's names).
SECOND_POLICIES = {
    "all": "always",
    "none": "never",
    "threshold": "if its gate is above the threshold",
    "random": "with probability gate / threshold, in training only",
}


def router(
    inputs: mtf.Tensor,
    router_weights: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    options: routing.Options = _DEFAULTS,
    is_training: bool = False,
    nonpadding: mtf.Tensor | None = None,
) -> routing.Routing:
  """Figure 15: sends each token to its most probable expert while slots last.

  Args:
    inputs: [num_cores`, tokens_per_core, d_model].
    router_weights: `[d_model, num_experts_unsplit]` float32, no bias.
    dims: the layer's dimensions.
    options: what all routers have in common.
    is_training: whether to explore.
    nonpadding: `[num_cores, tokens_per_core]` float32, 1 for real tokens and 0
      for padding, which takes no slot and does not count; None if all are real.

  Returns:
    a Routing with one choice.
  """
  # [num_cores`, tokens_per_core, num_experts]
  scores = routing.score(inputs, router_weights, dims, options, is_training)
  # [num_cores`, tokens_per_core, choices]
  expert_index, expert_gate = routing.choose(scores, dims, num_choices=1)
  real = routing.real_tokens(inputs, dims, nonpadding)
  routed = mtf.broadcast(real, expert_index.shape)
  return routing.take_slots(
      scores, expert_index, expert_gate, routed, real, dims, options
  )


def top_n_router(
    inputs: mtf.Tensor,
    router_weights: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    options: routing.Options = _DEFAULTS,
    is_training: bool = False,
    nonpadding: mtf.Tensor | None = None,
    num_choices: int = 2,
) -> routing.Routing:
  """Sends each token to its n best experts (equation 2 with |T| = n).

  The gates are divided by their sum; with n = 1, where that would leave the
  router no gradient, this is Figure 15.

  Args:
    inputs: [num_cores`, tokens_per_core, d_model].
    router_weights: `[d_model, num_experts_unsplit]` float32, no bias.
    dims: the layer's dimensions.
    options: what all routers have in common.
    is_training: whether to explore.
    nonpadding: `[num_cores, tokens_per_core]` float32; None if all are real.
    num_choices: n.

  Returns:
    a Routing with n choices.

  Raises:
    UserError: there are not so many experts.
  """
  if not 1 <= num_choices <= dims.num_experts.size:
    raise errors.UserError(
        f"top_n_router.num_choices = {num_choices} must be between 1 and "
        f"num_experts = {dims.num_experts.size}."
    )
  if num_choices == 1:
    return router(
        inputs, router_weights, dims, options, is_training, nonpadding
    )
  scores = routing.score(inputs, router_weights, dims, options, is_training)
  expert_index, expert_gate = routing.choose(scores, dims, num_choices)
  real = routing.real_tokens(inputs, dims, nonpadding)
  routed = mtf.broadcast(real, expert_index.shape)
  return routing.take_slots(
      scores,
      expert_index,
      _normalized(expert_gate),
      routed,
      real,
      dims,
      options,
  )


def top_2_router(
    inputs: mtf.Tensor,
    router_weights: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    options: routing.Options = _DEFAULTS,
    is_training: bool = False,
    nonpadding: mtf.Tensor | None = None,
    second_policy_train: str = "random",
    second_policy_eval: str = "all",
    second_threshold_train: float = 0.2,
    second_threshold_eval: float = 0.2,
) -> routing.Routing:
  """The top-2 mixture of experts that Table 1 compares with.

  The two gates are divided by their sum, also where the second expert is left
  out.

  Args:
    inputs: [num_cores`, tokens_per_core, d_model].
    router_weights: `[d_model, num_experts_unsplit]` float32, no bias.
    dims: the layer's dimensions.
    options: what all routers have in common.
    is_training: whether to explore, and which policy holds.
    nonpadding: `[num_cores, tokens_per_core]` float32; None if all are real.
    second_policy_train: one of SECOND_POLICIES, in training.
    second_policy_eval: the same otherwise; "random" is refused, because
      results would not repeat.
    second_threshold_train: the threshold in training.
    second_threshold_eval: the threshold otherwise.

  Returns:
    a Routing with two choices.

  Raises:
    UserError: a policy is not known, or there is one expert.
  """
  evaluation_policies = [p for p in SECOND_POLICIES if p != "random"]
  for policy, legal, name in (
      (second_policy_train, SECOND_POLICIES, "second_policy_train"),
      (second_policy_eval, evaluation_policies, "second_policy_eval"),
  ):
    dims_lib.check_one_of(policy, legal, f"top_2_router.{name}")
  if dims.num_experts.size < 2:
    raise errors.UserError("top_2_router needs num_experts of at least 2.")
  policy, threshold = (
      (second_policy_train, second_threshold_train)
      if is_training
      else (second_policy_eval, second_threshold_eval)
  )
  scores = routing.score(inputs, router_weights, dims, options, is_training)
  expert_index, expert_gate = routing.choose(scores, dims, num_choices=2)
  expert_gate = _normalized(expert_gate)
  real = routing.real_tokens(inputs, dims, nonpadding)
  second_gate = mtf.reduce_sum(
      mtf.slice(mtf.stop_gradient(expert_gate), 1, 1, "choices"),
      output_shape=real.shape,
  )
  if policy == "all":
    second = real
  elif policy == "none":
    second = mtf.zeros_like(real)
  else:
    limit = threshold
    if policy == "random":
      limit = threshold * mtf.random_uniform(real.mesh, real.shape)
    second = real * mtf.cast(mtf.greater(second_gate, limit), real.dtype)
  routed = mtf.stack([real, second], "choices", axis=real.shape.ndims)
  return routing.take_slots(
      scores, expert_index, expert_gate, routed, real, dims, options
  )


def no_token_left_behind_router(
    inputs: mtf.Tensor,
    router_weights: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    options: routing.Options = _DEFAULTS,
    is_training: bool = False,
    nonpadding: mtf.Tensor | None = None,
    max_stages: int | None = None,
) -> routing.Routing:
  """Appendix B, Figure 11: who finds no slot asks at the next best expert.

  Args:
    inputs: [num_cores`, tokens_per_core, d_model].
    router_weights: `[d_model, num_experts_unsplit]` float32, no bias.
    dims: the layer's dimensions.
    options: what all routers have in common.
    is_training: whether to explore.
    nonpadding: `[num_cores, tokens_per_core]` float32; None if all are real.
    max_stages: how many experts a token may try; None for all of them. The
      released code tries 4.

  Returns:
    a Routing with one choice, the expert that took the token. The load-balance
    loss is of the first choices.
  """
  experts = dims.num_experts_unsplit
  scores = routing.score(inputs, router_weights, dims, options, is_training)
  expert_order, gate = routing.choose(
      scores, dims, min(max_stages or experts.size, experts.size)
  )
  real = routing.real_tokens(inputs, dims, nonpadding)
  expert_index, position_in_expert, kept = routing.count_slots(
      functools.partial(
          slots.no_token_left_behind,
          num_experts=experts.size,
          expert_capacity=dims.expert_capacity.size,
          priority=options.priority,
      ),
      [expert_order, real, mtf.stop_gradient(gate)],
      dims,
      output_shape=[real.shape] * 3,
      output_dtype=[tf.int32, tf.int32, tf.float32],
      name="no_token_left_behind",
  )
  expert_gate = mtf.reduce_sum(
      scores.router_probs
      * mtf.one_hot(expert_index, experts, dtype=scores.router_probs.dtype),
      reduced_dim=experts,
  )

  def one_choice(x):
    return mtf.reshape(x, real.shape + [mtf.Dimension("choices", 1)])

  return routing.conclude(
      scores,
      one_choice(expert_index),
      one_choice(expert_gate),
      one_choice(position_in_expert),
      one_choice(real),
      one_choice(kept),
      real,
      routing.first_of(expert_order),
      dims,
      options,
  )


def _normalized(expert_gate: mtf.Tensor) -> mtf.Tensor:
  """The gates divided by their sum over the choices."""
  total = mtf.reduce_sum(expert_gate, output_shape=expert_gate.shape.dims[:-1])
  return expert_gate / (total + 1e-9)
