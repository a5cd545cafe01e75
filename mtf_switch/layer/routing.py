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


"""A router's decisions, its options, and the steps that all routers share.

Letters of Figure 15's steps are those of docs/appendix_f.md.
"""

import abc
from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import ClassVar, Literal, NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import operations
from mtf_switch import values
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import losses
from mtf_switch.layer import scores as scores_lib
from mtf_switch.layer import slots

# What an expert's output is multiplied by.
GATES = {
    "probability": "the router's probability of the expert (equation 2)",
    "one": "1, with the gradient of the probability",
}


class Routing(NamedTuple):
  """The place of each token, and the by-products of routing.

  Attributes:
    expert_index: `[num_cores, tokens_per_core, choices]` int32, the experts.
    expert_gate: the same shape, float32, by which the experts' outputs are
      multiplied; 0 for choices without a slot.
    position_in_expert: the same shape, int32, the slots; meaningful where kept
      is 1.
    routed: the same shape, float32, 1 for the choices that asked for a slot.
    kept: the same shape, float32, 1 for those that got one.
    nonpadding: `[num_cores, tokens_per_core]` float32, 1 for real tokens.
    router_probs: `[num_cores, tokens_per_core, num_experts]` float32.
    aux_loss: float32 scalar, the load-balance loss without its coefficient.
    z_loss: float32 scalar, the router z-loss without its coefficient.
    first_choice: `[num_cores, tokens_per_core]` int32, the experts that the
      load-balance loss counts.
  """

  expert_index: mtf.Tensor
  expert_gate: mtf.Tensor
  position_in_expert: mtf.Tensor
  routed: mtf.Tensor
  kept: mtf.Tensor
  nonpadding: mtf.Tensor
  router_probs: mtf.Tensor
  aux_loss: mtf.Tensor
  z_loss: mtf.Tensor
  first_choice: mtf.Tensor | None = None


class Decisions(NamedTuple):
  """The part of a `Routing` in which routers differ.

  Attributes:
    expert_index: `[num_cores, tokens_per_core, choices]` int32, the experts.
    expert_gate: the same shape, with or without a slot.
    position_in_expert: the same shape, int32, the slots.
    routed: the same shape, float32, 1 for the choices that ask for a slot.
    kept: the same shape, float32, 1 for those that get one.
    first_choice: `[num_cores, tokens_per_core]` int32, the expert that the
      load-balance loss counts.
  """

  expert_index: mtf.Tensor
  expert_gate: mtf.Tensor
  position_in_expert: mtf.Tensor
  routed: mtf.Tensor
  kept: mtf.Tensor
  first_choice: mtf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Router(abc.ABC):
  """A router with its options: from the tokens of a layer to a `Routing`.

  A subclass overrides `decide` and, if it is not 1, `num_choices`. Exploration
  never acts outside training, so that there every router is a function of its
  input.

  Attributes:
    exploration: one of scores.EXPLORATIONS; acts in training only.
    jitter: eps of "input_jitter" and "logits_jitter".
    dropout_rate: of "input_dropout".
    priority: one of slots.PRIORITIES, the order in which slots are given.
    loss_scope: one of losses.SCOPES, over which f and P are taken.
    dtype: one of scores.DTYPES, of the input, weights, logits and softmax.
    gate: one of GATES, what an expert's output is multiplied by.
    num_choices: the number of experts that a token passes.
  """

  exploration: Literal[*scores_lib.EXPLORATIONS] = "input_jitter"
  jitter: values.Share = 1e-2
  dropout_rate: values.DropoutRate = 0.1
  priority: Literal[*slots.PRIORITIES] = "position"
  loss_scope: Literal[*losses.SCOPES] = "group"
  dtype: Literal[*scores_lib.DTYPES] = "float32"
  gate: Literal[*GATES] = "probability"
  num_choices: ClassVar[int] = 1

  def __post_init__(self):
    """Refuses what an option does not take.

    Raises:
      UserError: says what it takes.
    """
    values.check_fields(self, "router")
    if self.gate == "one" and self.num_choices > 1:
      raise errors.UserError(
          f"router.gate = 'one' is for one expert a token, and this router "
          f"takes {self.num_choices}, whose gates sum to one already; leave it "
          "out."
      )

  def __call__(
      self,
      inputs: mtf.Tensor,
      router_weights: mtf.Tensor,
      dims: dims_lib.SwitchDims,
      is_training: bool = False,
      nonpadding: mtf.Tensor | None = None,
      of_batch: losses.Counts | None = None,
  ) -> Routing:
    """Routes the tokens of a layer.

    Args:
      inputs: [num_cores`, tokens_per_core, d_model].
      router_weights: `[d_model, num_experts_unsplit]` float32, no bias; after
        pruning with more columns, see scores.score.
      dims: the layer's dimensions.
      is_training: whether to explore.
      nonpadding: `[num_cores, tokens_per_core]` float32, 1 for real tokens and
        0 for padding, which takes no slot and does not count; None if all are
        real.
      of_batch: of a microbatch, the counts of its batch; see losses.Counts.

    Returns:
      a Routing with num_choices choices.
    """
    if nonpadding is None:
      nonpadding = mtf.ones(inputs.mesh, [*dims.groups, dims.tokens_per_core])
    # Figure 15, b to e: [num_cores`, tokens_per_core, num_experts].
    scores = scores_lib.score(
        inputs,
        router_weights,
        dims,
        self.exploration if is_training else "argmax",
        self.jitter,
        self.dropout_rate,
        tf.as_dtype(self.dtype),
    )
    # f to k: [num_cores`, tokens_per_core, choices].
    decisions = self.decide(scores, nonpadding, dims, is_training)
    if self.gate == "one":
      decisions = decisions._replace(
          expert_gate=one_with_gradient(decisions.expert_gate)
      )
    # h and l.
    return conclude(
        scores, decisions, nonpadding, dims, self.loss_scope, of_batch
    )

  @abc.abstractmethod
  def decide(
      self,
      scores: scores_lib.Scores,
      nonpadding: mtf.Tensor,
      dims: dims_lib.SwitchDims,
      is_training: bool,
  ) -> Decisions:
    """Chooses experts and gives out their slots.

    Args:
      scores: of the experts, noise included.
      nonpadding: `[num_cores, tokens_per_core]` float32, 1 for real tokens.
      dims: the layer's dimensions.
      is_training: whether the layer trains.

    Returns:
      Decisions.
    """


def one_with_gradient(expert_gate: mtf.Tensor) -> mtf.Tensor:
  """Ones that have the gradient of gates.

  A layer whose experts are equal is then one feed-forward layer, exactly, and
  its router learns as with the gates of equation (2).

  Args:
    expert_gate: `[num_cores, tokens_per_core, 1]`, finite.

  Returns:
    the same shape and dtype.
  """
  # The difference is exactly 0.
  return expert_gate - mtf.stop_gradient(expert_gate) + 1.0


def take_slots(
    expert_index: mtf.Tensor,
    expert_gate: mtf.Tensor,
    routed: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    priority: str,
) -> Decisions:
  """Figure 15 from the cumulative sum on: the first to ask get the slots.

  Args:
    expert_index: `[num_cores, tokens_per_core, choices]` int32.
    expert_gate: the same shape, the experts' probabilities.
    routed: the same shape, float32, 1 where a slot is asked for.
    dims: the layer's dimensions.
    priority: one of slots.PRIORITIES.

  Returns:
    Decisions.
  """
  position_in_expert = count_slots(
      functools.partial(
          slots.position_in_expert,
          num_experts=dims.num_experts_unsplit.size,
          priority=priority,
      ),
      [expert_index, routed, mtf.stop_gradient(expert_gate)],
      dims,
      output_shape=expert_index.shape,
      output_dtype=tf.int32,
      name="position_in_expert",
  )
  kept = routed
  if dims.expert_capacity.size < dims.tokens_per_core.size:
    has_slot = mtf.less(position_in_expert, dims.expert_capacity.size)
    kept *= mtf.cast(has_slot, routed.dtype)
  return Decisions(
      expert_index,
      expert_gate,
      position_in_expert,
      routed,
      kept,
      first_of(expert_index),
  )


def count_slots(
    fn: Callable,
    inputs: Sequence[mtf.Tensor],
    dims: dims_lib.SwitchDims,
    **kwargs,
):
  """Applies a function of `slots` to the groups of each core.

  Args:
    fn: from tensors to one or more, all of them `[num_cores, ...]`.
    inputs: `[num_cores, ...]`.
    dims: the layer's dimensions.
    **kwargs: those of operations.slicewise about the outputs.

  Returns:
    as operations.slicewise; without a gradient.
  """

  def of_core(*slices):
    # With an outer batch two dimensions are the groups.
    groups = slices[0].shape[: len(dims.groups)]
    results = fn(
        *(tf.reshape(x, [-1, *x.shape[len(groups) :]]) for x in slices)
    )
    return tf.nest.map_structure(
        lambda x: tf.reshape(x, [*groups, *x.shape[1:]]), results
    )

  return operations.slicewise(
      of_core,
      inputs,
      multiplications=None,
      splittable_dims=dims.groups,
      grad_function=0,
      **kwargs,
  )


def conclude(
    scores: scores_lib.Scores,
    decisions: Decisions,
    nonpadding: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    loss_scope: str,
    of_batch: losses.Counts | None = None,
) -> Routing:
  """Adds the losses, which count first choices with or without a slot.

  Args:
    scores: of the experts.
    decisions: of the router.
    nonpadding: `[num_cores, tokens_per_core]` float32.
    dims: the layer's dimensions.
    loss_scope: one of losses.SCOPES.
    of_batch: see losses.Counts.

  Returns:
    a Routing.
  """
  dtype = scores.router_probs.dtype
  experts = dims.num_experts_unsplit
  real = mtf.cast(nonpadding, dtype)
  return Routing(
      expert_index=decisions.expert_index,
      expert_gate=decisions.expert_gate * mtf.cast(decisions.kept, dtype),
      position_in_expert=decisions.position_in_expert,
      routed=decisions.routed,
      kept=decisions.kept,
      nonpadding=nonpadding,
      router_probs=scores.router_probs,
      aux_loss=losses.load_balance_loss(
          scores.router_probs,
          mtf.one_hot(decisions.first_choice, experts, dtype=dtype) * real,
          real,
          dims.groups,
          dims.tokens_per_core,
          experts,
          loss_scope,
          of_batch,
      ),
      z_loss=losses.router_z_loss(
          scores.router_logits, real, experts, of_batch
      ),
      first_choice=decisions.first_choice,
  )


def first_of(x: mtf.Tensor) -> mtf.Tensor:
  """`[..., choices]` -> `[...]`, the first choice."""
  first = mtf.slice(x, 0, 1, "choices")
  return mtf.reshape(first, first.shape.dims[:-1])
