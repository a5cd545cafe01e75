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

"""The assignment of slots to tokens: whole numbers, without gradients.

TensorFlow functions of one slice of the groups; groups do not see each other,
so no slice needs another's. `routing` calls them slice by slice.
"""

import tensorflow.compat.v1 as tf

# The order in which tokens ask for slots.
PRIORITIES = {
    "position": "first choices before second ones, each in the text's order",
    "gate": "the same, the tokens of the most probable first choices first",
    "causal": "in the text's order, a token's choices one after the other",
}


def first_come(
    expert_index: tf.Tensor,
    asks: tf.Tensor,
    num_experts: int,
    order: tf.Tensor | None = None,
) -> tf.Tensor:
  """The number of requests for the same expert before each request.

  The figure's inclusive cumulative sum starts at 1 and, compared with <, would
  leave slot 0 empty and use only expert_capacity - 1 slots.

  Args:
    expert_index: `[num_cores, requests]` int32.
    asks: `[num_cores, requests]` float32, 1 where there is a request.
    num_experts: the number of experts.
    order: `[num_cores, requests]` int32, the first request, the second, ...;
      None if they are in order.

  Returns:
    `[num_cores, requests]` int32; 0 where there is no request.
  """
  if order is not None:
    position = first_come(
        tf.gather(expert_index, order, batch_dims=1),
        tf.gather(asks, order, batch_dims=1),
        num_experts,
    )
    return tf.gather(position, tf.argsort(order), batch_dims=1)
  mask = tf.one_hot(expert_index, num_experts) * asks[..., tf.newaxis]
  # Exact: float32 counts to 2^24.
  position_in_expert = tf.cumsum(mask, axis=1, exclusive=True) * mask
  return tf.cast(tf.reduce_sum(position_in_expert, axis=-1), tf.int32)


def position_in_expert(
    expert_index: tf.Tensor,
    asks: tf.Tensor,
    gate: tf.Tensor,
    num_experts: int,
    priority: str,
) -> tf.Tensor:
  """The slot of each token's choices, were there slots for all.

  Args:
    expert_index: `[num_cores, tokens_per_core, choices]` int32.
    asks: the same shape, float32, 1 where a slot is asked for.
    gate: the same shape, the probabilities of the choices. Where the priority
      is "gate", that of the first choice decides, for all of a token's choices
      as in V-MoE's batch prioritized routing (arXiv 2106.05974).
    num_experts: the number of experts.
    priority: one of PRIORITIES.

  Returns:
    the same shape, int32; 0 where no slot is asked for.
  """
  choices = expert_index.shape[2]
  # Requests in the order of choices, or of tokens.
  axes = [0, 1, 2] if priority == "causal" else [0, 2, 1]

  def requests(x):
    x = tf.transpose(x, axes)
    return tf.reshape(x, [x.shape[0], x.shape[1] * x.shape[2]])

  order = None
  if priority == "gate":
    tokens = expert_index.shape[1]
    order = _greatest_first(gate[:, :, 0])[:, tf.newaxis]
    order += tokens * tf.range(choices)[:, tf.newaxis]
    order = tf.reshape(order, [-1, choices * tokens])
  position = first_come(
      requests(expert_index), requests(asks), num_experts, order
  )
  shape = [expert_index.shape[axis] for axis in axes]
  return tf.transpose(tf.reshape(position, shape), axes)


def _greatest_first(gate: tf.Tensor) -> tf.Tensor:
  """The order of tokens by their gates; of equals, the first in the text."""
  return tf.argsort(gate, direction="DESCENDING", stable=True)


def no_token_left_behind(
    expert_order: tf.Tensor,
    asks: tf.Tensor,
    gate: tf.Tensor,
    num_experts: int,
    expert_capacity: int,
    priority: str,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Appendix B: a token without a slot tries its next-best expert.

  Args:
    expert_order: `[num_cores, tokens_per_core, stages]` int32, each token's
      experts, the best first.
    asks: `[num_cores, tokens_per_core]` float32, 1 for tokens that ask.
    gate: as expert_order, the probabilities; they decide where the priority is
      "gate".
    num_experts: the number of experts.
    expert_capacity: the slots of an expert.
    priority: one of PRIORITIES. "position" and "gate" are the appendix's
      stages: a token with a slot keeps it at later stages. With "causal" an
      earlier token may still take it at a later stage, with the result that the
      tokens would have if they were placed one after the other.

  Returns:
    for each token, `[num_cores, tokens_per_core]`: its expert and its slot,
    int32, and float32 1 if it got it. Where it did not, the expert is the last
    one tried.
  """
  stages = expert_order.shape[2]

  def ask(stage, asks):
    """Experts and positions of tokens at stages of their own, from slot 0."""
    expert = tf.gather(expert_order, stage, batch_dims=2)
    position = first_come(
        expert,
        asks,
        num_experts,
        _greatest_first(tf.gather(gate, stage, batch_dims=2))
        if priority == "gate"
        else None,
    )
    return expert, position

  def one_stage(step, stage, position, kept, taken):
    """The stages of the appendix: only tokens without a slot ask."""
    left = asks * (1.0 - kept)
    now = tf.where(left > 0, tf.fill(tf.shape(stage), step), stage)
    expert, earlier = ask(now, left)
    earlier += tf.gather(taken, expert, batch_dims=1)
    gets = left * tf.cast(earlier < expert_capacity, tf.float32)
    taken += tf.cast(
        tf.reduce_sum(
            tf.one_hot(expert, num_experts) * gets[..., tf.newaxis], axis=1
        ),
        tf.int32,
    )
    position = tf.where(gets > 0, earlier, position)
    return step + 1, now, position, kept + gets, taken

  def any_is_left(step, stage, position, kept, taken):
    del stage, position, taken
    return (step < stages) & tf.reduce_any(asks > kept)

  def one_round(unused_again, stage, unused_position, unused_kept):
    """All ask, each at its own stage; those without a slot move on by one."""
    _, position = ask(stage, asks)
    kept = asks * tf.cast(position < expert_capacity, tf.float32)
    moves = (asks > kept) & (stage < stages - 1)
    return (
        tf.reduce_any(moves),
        stage + tf.cast(moves, tf.int32),
        position,
        kept,
    )

  zeros = tf.zeros(asks.shape, tf.int32)
  if priority == "causal":
    _, stage, position, kept = tf.while_loop(
        lambda again, *_: again,
        one_round,
        [tf.constant(True), zeros, zeros, tf.zeros_like(asks)],
        back_prop=False,
    )
  else:
    _, stage, position, kept, _ = tf.while_loop(
        any_is_left,
        one_stage,
        [
            tf.constant(0),
            zeros,
            zeros,
            tf.zeros_like(asks),
            tf.zeros([asks.shape[0], num_experts], tf.int32),
        ],
        back_prop=False,
    )
  return tf.gather(expert_order, stage, batch_dims=2), position, kept
