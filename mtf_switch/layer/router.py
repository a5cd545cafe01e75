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

`routing.Router` has what they share: its options, the scores before their
decisions and the losses after them.
"""

import dataclasses
import functools
from typing import ClassVar, Literal

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import values
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import routing
from mtf_switch.layer import scores as scores_lib
from mtf_switch.layer import slots

# The use of a token's second expert (Mesh TensorFlow's names).
SECOND_POLICIES = {
    "all": "always",
    "none": "never",
    "threshold": "if its gate is above the threshold",
    "random": "with probability gate / threshold, in training only",
}


def router(
    scores: scores_lib.Scores,
    nonpadding: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    priority: str,
) -> routing.Decisions:
  """Figure 15: sends each token to its most probable expert while slots last.

  The steps in which routers differ; `routing.Router.__call__` takes those up to
  the softmax before, and computes the load-balance loss after. Letters are
  those of docs/appendix_f.md.

  Args:
    scores: of the experts.
    nonpadding: `[num_cores, tokens_per_core]` float32, 1 for real tokens.
    dims: the layer's dimensions.
    priority: one of slots.PRIORITIES.

  Returns:
    Decisions with one choice.
  """
  # f. The top 1 and its gate, [num_cores`, tokens_per_core, choices].
  expert_index, expert_gate = scores_lib.choose(scores, dims, num_choices=1)
  # g. Padding asks for no slot: its row of the mask is zero.
  routed = mtf.broadcast(nonpadding, expert_index.shape)
  # i. Positions by a cumulative sum. j, k. The mask of those below capacity.
  return routing.take_slots(expert_index, expert_gate, routed, dims, priority)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwitchRouter(routing.Router):
  """Sends each token to its most probable expert: Figure 15, by `router`."""

  def decide(self, scores, nonpadding, dims, is_training):
    """Chooses one expert; see Router.decide."""
    del is_training
    return router(scores, nonpadding, dims, self.priority)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopNRouter(routing.Router):
  """Sends each token to its n best experts, as Mesh TensorFlow does.

  These are equation (2)'s experts with |T| = n; but the gates are divided by
  their sum, which the equation does not do. With n = 1, where that would leave
  the router no gradient, this is Figure 15.

  Attributes:
    num_choices: n.
  """

  num_choices: values.Count = 2

  def decide(self, scores, nonpadding, dims, is_training):
    """Chooses n experts; see Router.decide.

    Raises:
      UserError: there are fewer experts.
    """
    del is_training
    if self.num_choices > dims.num_experts.size:
      raise errors.UserError(
          f"top_n_router.num_choices = {self.num_choices} must be between 1 and"
          f" num_experts = {dims.num_experts.size}."
      )
    if self.num_choices == 1:
      return router(scores, nonpadding, dims, self.priority)
    expert_index, expert_gate = scores_lib.choose(
        scores, dims, self.num_choices
    )
    routed = mtf.broadcast(nonpadding, expert_index.shape)
    decisions = routing.take_slots(
        expert_index, expert_gate, routed, dims, self.priority
    )
    return decisions._replace(expert_gate=_normalized(expert_gate))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Top2Router(routing.Router):
  """The top-2 mixture of experts that Table 1 compares with.

  The two gates are divided by their sum, also where the second expert is left
  out.

  Attributes:
    second_policy_train: one of SECOND_POLICIES, in training.
    second_policy_eval: the same otherwise; "random" is refused, because
      results would not repeat.
    second_threshold_train: the threshold in training.
    second_threshold_eval: the threshold otherwise.
  """

  second_policy_train: Literal[*SECOND_POLICIES] = "random"
  second_policy_eval: Literal["all", "none", "threshold"] = "all"
  second_threshold_train: values.Share = 0.2
  second_threshold_eval: values.Share = 0.2
  num_choices: ClassVar[int] = 2

  def decide(self, scores, nonpadding, dims, is_training):
    """Chooses two experts, of which the second may be left out.

    Args:
      scores: as for Router.decide.
      nonpadding: as for Router.decide.
      dims: as for Router.decide.
      is_training: which policy and threshold to follow.

    Returns:
      Decisions with two choices.

    Raises:
      UserError: there is one expert.
    """
    if dims.num_experts.size < 2:
      raise errors.UserError("top_2_router needs num_experts of at least 2.")
    expert_index, probability = scores_lib.choose(scores, dims, num_choices=2)
    expert_gate = _normalized(probability)
    routed = mtf.stack(
        [nonpadding, self._second(expert_gate, nonpadding, is_training)],
        "choices",
        axis=nonpadding.shape.ndims,
    )
    decisions = routing.take_slots(
        expert_index, probability, routed, dims, self.priority
    )
    return decisions._replace(expert_gate=expert_gate)

  def _second(self, expert_gate, nonpadding, is_training):
    """1 for the tokens whose second expert is asked."""
    policy, threshold = (
        (self.second_policy_train, self.second_threshold_train)
        if is_training
        else (self.second_policy_eval, self.second_threshold_eval)
    )
    second_gate = mtf.reduce_sum(
        mtf.slice(mtf.stop_gradient(expert_gate), 1, 1, "choices"),
        output_shape=nonpadding.shape,
    )
    if policy == "all":
      return nonpadding
    if policy == "none":
      return mtf.zeros_like(nonpadding)
    if policy == "random":
      threshold *= mtf.random_uniform(nonpadding.mesh, nonpadding.shape)
    above = mtf.greater(second_gate, threshold)
    return nonpadding * mtf.cast(above, nonpadding.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoTokenLeftBehindRouter(routing.Router):
  """Appendix B, Figure 11: a token without a slot tries its next-best expert.

  The load-balance loss is of the first choices, and the gate that of the expert
  that takes the token.

  Attributes:
    max_stages: how many experts a token may try; None for all of them. The
      released code tries 4.
  """

  max_stages: values.Count | None = None

  def decide(self, scores, nonpadding, dims, is_training):
    """Chooses the first expert with room; see Router.decide."""
    del is_training
    experts = dims.num_experts_unsplit
    expert_order, gate = scores_lib.choose(
        scores, dims, min(self.max_stages or experts.size, experts.size)
    )
    expert_index, position_in_expert, kept = routing.count_slots(
        functools.partial(
            slots.no_token_left_behind,
            num_experts=experts.size,
            expert_capacity=dims.expert_capacity.size,
            priority=self.priority,
        ),
        [expert_order, nonpadding, mtf.stop_gradient(gate)],
        dims,
        output_shape=[nonpadding.shape] * 3,
        output_dtype=[tf.int32, tf.int32, tf.float32],
        name="no_token_left_behind",
    )
    expert_gate = mtf.reduce_sum(
        scores.router_probs
        * mtf.one_hot(expert_index, experts, dtype=scores.router_probs.dtype),
        reduced_dim=experts,
    )

    def one_choice(x):
      choices = mtf.Dimension("choices", 1)
      return mtf.reshape(x, nonpadding.shape + [choices])

    return routing.Decisions(
        one_choice(expert_index),
        one_choice(expert_gate),
        one_choice(position_in_expert),
        one_choice(nonpadding),
        one_choice(kept),
        first_choice=routing.first_of(expert_order),
    )


def _normalized(expert_gate: mtf.Tensor) -> mtf.Tensor:
  """The gates divided by their sum over the choices."""
  total = mtf.reduce_sum(expert_gate, output_shape=expert_gate.shape.dims[:-1])
  return expert_gate / (total + 1e-9)
