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

"""What a router decides, and the steps that all routers share."""

from collections.abc import Callable, Sequence
import functools
from typing import NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import losses
from mtf_switch.layer import slots

# How training tries experts that are not the best (Appendix C, Table 11).
EXPLORATIONS = {
    "argmax": "no noise",
    "sample": "experts are drawn from the softmax",
    "input_dropout": "dropout on the router's input",
    "input_jitter": "the router's input is multiplied by 1 - eps to 1 + eps",
    "logits_jitter": "1 - eps to 1 + eps is added to the logits (Figure 15)",
}


class Options(NamedTuple):
  """What all routers have in common.

  Attributes:
    exploration: one of EXPLORATIONS; acts in training only.
    jitter: eps of the two jitters.
    dropout_rate: of "input_dropout".
    priority: one of slots.PRIORITIES, the order in which slots are given.
    loss_scope: one of losses.SCOPES.
    dtype: of the router's inside: its input, weights, logits and softmax.
  """

  exploration: str = "argmax"
  jitter: float = 1e-2
  dropout_rate: float = 0.1
  priority: str = "position"
  loss_scope: str = "group"
  dtype: tf.DType = tf.float32


def check(options: Options):
  """Refuses names that are not known.

  Args:
    options: the options.

  Raises:
    UserError: lists the legal ones.
  """
  dims_lib.check_one_of(options.exploration, EXPLORATIONS, "exploration")
  dims_lib.check_one_of(options.priority, slots.PRIORITIES, "priority")
  dims_lib.check_one_of(options.loss_scope, losses.SCOPES, "loss_scope")


class Scores(NamedTuple):
  """How a router values the experts.

  Attributes:
    router_logits: `[num_cores, tokens_per_core, num_experts]`, float32 or, in
      a float64 router, float64, as all that follows.
    router_probs: the same shape, their softmax (equation 1).
    preference: the same shape; the greater, the sooner an expert is chosen.
  """

  router_logits: mtf.Tensor
  router_probs: mtf.Tensor
  preference: mtf.Tensor


class Routing(NamedTuple):
  """Where each token goes, and what a router computed on the way.

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


def score(
    inputs: mtf.Tensor,
    router_weights: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    options: Options,
    is_training: bool,
) -> Scores:
  """Figure 15 up to the softmax.

  The figure casts the logits to float32; the prose casts the router's input,
  and means its weights too (section 2.4). Noise stays in here: the experts get
  the input without it.

  Args:
    inputs: [num_cores`, tokens_per_core, d_model].
    router_weights: `[d_model, num_experts_unsplit]`, no bias.
    dims: the layer's dimensions.
    options: of the router.
    is_training: whether to explore.

  Returns:
    Scores.
  """
  experts = dims.num_experts_unsplit
  exploration = options.exploration if is_training else "argmax"
  inputs = mtf.cast(inputs, options.dtype)
  if exploration == "input_dropout":
    inputs = mtf.dropout(inputs, is_training, rate=options.dropout_rate)
  elif exploration == "input_jitter" and options.jitter:
    inputs *= _jitter(inputs, options)
  router_logits = mtf.einsum(
      [inputs, mtf.cast(router_weights, options.dtype)],
      output_shape=[*dims.groups, dims.tokens_per_core, experts],
  )
  if exploration == "logits_jitter" and options.jitter:
    router_logits += _jitter(router_logits, options)
  router_probs = mtf.softmax(router_logits, reduced_dim=experts)
  if options.dtype == tf.bfloat16:
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


def _jitter(x: mtf.Tensor, options: Options) -> mtf.Tensor:
  """Draws from [1 - eps, 1 + eps] of the shape of x."""
  draws = mtf.random_uniform(
      x.mesh,
      x.shape,
      minval=1.0 - options.jitter,
      maxval=1.0 + options.jitter,
      dtype=x.dtype,
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
    num_choices: how many.

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


def take_slots(
    scores: Scores,
    expert_index: mtf.Tensor,
    expert_gate: mtf.Tensor,
    routed: mtf.Tensor,
    nonpadding: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    options: Options,
) -> Routing:
  """Figure 15 from the cumulative sum on: whoever asks first gets a slot.

  Args:
    scores: of the experts.
    expert_index: `[num_cores, tokens_per_core, choices]` int32.
    expert_gate: the same shape.
    routed: the same shape, float32, 1 where a slot is asked for.
    nonpadding: `[num_cores, tokens_per_core]` float32.
    dims: the layer's dimensions.
    options: of the router.

  Returns:
    a Routing.
  """
  position_in_expert = count_slots(
      functools.partial(
          slots.position_in_expert,
          num_experts=dims.num_experts_unsplit.size,
          priority=options.priority,
      ),
      [expert_index, routed, mtf.stop_gradient(expert_gate)],
      dims,
      output_shape=expert_index.shape,
      output_dtype=tf.int32,
      name="position_in_expert",
  )
  has_slot = mtf.less(position_in_expert, dims.expert_capacity.size)
  return conclude(
      scores,
      expert_index,
      expert_gate,
      position_in_expert,
      routed,
      routed * mtf.cast(has_slot, routed.dtype),
      nonpadding,
      first_of(expert_index),
      dims,
      options,
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
    **kwargs: mtf.slicewise's, about the outputs.

  Returns:
    as mtf.slicewise; without a gradient.
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
    scores: Scores,
    expert_index: mtf.Tensor,
    expert_gate: mtf.Tensor,
    position_in_expert: mtf.Tensor,
    routed: mtf.Tensor,
    kept: mtf.Tensor,
    nonpadding: mtf.Tensor,
    first_choice: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    options: Options,
) -> Routing:
  """Adds the losses: of the first choices, whether they got a slot or not.

  Args:
    scores: of the experts.
    expert_index: `[num_cores, tokens_per_core, choices]` int32.
    expert_gate: the same shape.
    position_in_expert: the same shape, int32.
    routed: the same shape, float32, 1 where a slot was asked for.
    kept: the same shape, float32, 1 where there was one.
    nonpadding: `[num_cores, tokens_per_core]` float32.
    first_choice: `[num_cores, tokens_per_core]` int32.
    dims: the layer's dimensions.
    options: of the router.

  Returns:
    a Routing.
  """
  dtype = scores.router_probs.dtype
  experts = dims.num_experts_unsplit
  real = mtf.cast(nonpadding, dtype)
  return Routing(
      expert_index=expert_index,
      expert_gate=expert_gate * mtf.cast(kept, dtype),
      position_in_expert=position_in_expert,
      routed=routed,
      kept=kept,
      nonpadding=nonpadding,
      router_probs=scores.router_probs,
      aux_loss=losses.load_balance_loss(
          scores.router_probs,
          mtf.one_hot(first_choice, experts, dtype=dtype) * real,
          real,
          dims.groups,
          dims.tokens_per_core,
          experts,
          options.loss_scope,
      ),
      z_loss=losses.router_z_loss(scores.router_logits, real, experts),
  )


def real_tokens(
    inputs: mtf.Tensor,
    dims: dims_lib.SwitchDims,
    nonpadding: mtf.Tensor | None,
) -> mtf.Tensor:
  """Which tokens are real; all of them if nothing is known.

  Args:
    inputs: [num_cores`, tokens_per_core, d_model].
    dims: the layer's dimensions.
    nonpadding: `[num_cores, tokens_per_core]` float32, or None.

  Returns:
    `[num_cores, tokens_per_core]` float32.
  """
  if nonpadding is not None:
    return nonpadding
  return mtf.ones(inputs.mesh, [*dims.groups, dims.tokens_per_core])


def first_of(x: mtf.Tensor) -> mtf.Tensor:
  """`[..., choices]` -> `[...]`, the first choice."""
  first = mtf.slice(x, 0, 1, "choices")
  return mtf.reshape(first, first.shape.dims[:-1])
