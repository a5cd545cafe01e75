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

"""Appendix F as NumPy loops, a reference for tests.

Written from the paper alone, without imports from the project. It computes the
intended result where the printed pseudocode is wrong (docs/appendix_f.md).
Arrays are float64 unless given otherwise; `nonpadding` is 0 or 1.
"""

import numpy as np


def softmax(logits):
  """Equation (1) over the last axis."""
  shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return shifted / shifted.sum(axis=-1, keepdims=True)


def load_balance_loss(router_probs, expert_index, nonpadding, scope="group"):
  """Equations (4) to (6) without alpha, group by group or over the batch.

  Args:
    router_probs: [num_cores, tokens_per_core, num_experts].
    expert_index: [num_cores, tokens_per_core], each token's choice.
    nonpadding: [num_cores, tokens_per_core].
    scope: "group", the mean over the groups with a real token of N * sum_i f_i
      P_i; or "batch", one f and one P of all tokens.

  Returns:
    the loss; 0 without a real token.
  """
  num_cores, tokens_per_core, num_experts = router_probs.shape
  if scope == "batch":
    tokens = num_cores * tokens_per_core
    return load_balance_loss(
        router_probs.reshape(1, tokens, num_experts),
        expert_index.reshape(1, tokens),
        nonpadding.reshape(1, tokens),
    )
  per_group = []
  for core in range(num_cores):
    real = [t for t, n in enumerate(nonpadding[core]) if n]
    if not real:
      continue
    loss = 0.0
    for i in range(num_experts):
      f = sum(expert_index[core, t] == i for t in real) / len(real)
      p = sum(float(router_probs[core, t, i]) for t in real) / len(real)
      loss += f * p
    per_group.append(num_experts * loss)
  return np.mean(per_group) if per_group else 0.0


def router_z_loss(router_logits, nonpadding):
  """The mean over the real tokens of log(sum_i exp(logit_i)) squared."""
  squares = [
      np.log(sum(np.exp(float(x)) for x in router_logits[place])) ** 2
      for place in np.ndindex(nonpadding.shape)
      if nonpadding[place]
  ]
  return np.mean(squares) if squares else 0.0


def router(router_probs, expert_capacity, nonpadding):
  """Figure 15 from the probabilities on.

  Returns:
    expert_index, slot (-1 for none) and gate, each
    [num_cores, tokens_per_core].
  """
  one_choice = top_n(router_probs, expert_capacity, nonpadding, num_choices=1)
  return tuple(x[..., 0] for x in one_choice)


def best_experts(probs, num_choices):
  """Returns a token's best experts, the best first; ties go to the first."""
  return sorted(range(len(probs)), key=lambda expert: -probs[expert])[
      :num_choices
  ]


def top_n(
    router_probs,
    expert_capacity,
    nonpadding,
    num_choices,
    priority="position",
    asks=None,
):
  """Equation (2), but with gates that sum to 1; assigns slots one by one.

  Args:
    router_probs: [num_cores, tokens_per_core, num_experts].
    expert_capacity: slots of each expert in each group.
    nonpadding: [num_cores, tokens_per_core].
    num_choices: the number of experts of a token.
    priority: the order of the requests for slots: "position", all first
      choices, then all second ones, each from left to right; "gate", the same,
      each in the one order of V-MoE, from the largest to the smallest
      probability of the first choice; "causal", token by token with all its
      choices.
    asks: [num_cores, tokens_per_core, num_choices], the choices that request a
      slot; None for all. Padding never requests one.

  Returns:
    expert_index, slot (-1 for none) and gate (0 without a slot), each
    [num_cores, tokens_per_core, num_choices].
  """
  num_cores, tokens_per_core, num_experts = router_probs.shape
  shape = (num_cores, tokens_per_core, num_choices)
  expert_index = np.zeros(shape, np.int64)
  slot = -np.ones(shape, np.int64)
  gate = np.zeros(shape)
  for core in range(num_cores):
    wanted = np.zeros(shape[1:])
    highest = router_probs[core].astype(np.float64).max(-1, keepdims=True)
    for token in range(tokens_per_core):
      probs = router_probs[core, token].astype(np.float64)
      best = best_experts(probs, num_choices)
      expert_index[core, token] = best
      wanted[token] = probs[best]
      if num_choices > 1:
        wanted[token] /= sum(probs[best])
    taken = [0] * num_experts
    for token, choice in requests(
        np.repeat(highest, num_choices, axis=1), priority
    ):
      expert = expert_index[core, token, choice]
      if not nonpadding[core, token]:
        continue
      if asks is not None and not asks[core, token, choice]:
        continue
      if taken[expert] < expert_capacity:
        slot[core, token, choice] = taken[expert]
        gate[core, token, choice] = wanted[token, choice]
        taken[expert] += 1
  return expert_index, slot, gate


def requests(gate, priority):
  """Returns the (token, choice) requests of a group in their order.

  Args:
    gate: [tokens_per_core, choices], by which "gate" orders each choice.
    priority: as for top_n.

  Returns:
    a list of pairs.
  """
  tokens, choices = map(range, gate.shape)
  if priority == "causal":
    return [(token, choice) for token in tokens for choice in choices]
  in_order = []
  for choice in choices:
    served = list(tokens)
    if priority == "gate":
      served.sort(key=lambda token, choice=choice: -gate[token, choice])
    in_order += [(token, choice) for token in served]
  return in_order


def no_token_left_behind(
    router_probs,
    expert_capacity,
    nonpadding,
    priority="position",
    max_stages=None,
):
  """Appendix B: a token without a slot tries its next-best expert.

  Args:
    router_probs: [num_cores, tokens_per_core, num_experts].
    expert_capacity: slots of each expert in each group.
    nonpadding: [num_cores, tokens_per_core].
    priority: "position" or "gate", the order of the tokens at each stage; or
      "causal", each token takes the best expert with a free slot before the
      next token tries.
    max_stages: the number of experts that a token tries; None for all.

  Returns:
    expert_index (the last expert tried if no slot was free, the best one for
    padding), slot (-1 for none) and gate, each [num_cores, tokens_per_core].
  """
  num_cores, tokens_per_core, num_experts = router_probs.shape
  stages = min(max_stages or num_experts, num_experts)
  expert_index = np.zeros((num_cores, tokens_per_core), np.int64)
  slot = -np.ones((num_cores, tokens_per_core), np.int64)
  gate = np.zeros((num_cores, tokens_per_core))
  for core in range(num_cores):
    probs = router_probs[core].astype(np.float64)
    best = np.array([best_experts(p, stages) for p in probs])
    expert_index[core] = best[:, 0]
    order = requests(
        np.take_along_axis(probs, best, axis=1),
        priority,
    )
    taken = [0] * num_experts
    for token, stage in order:
      if not nonpadding[core, token] or slot[core, token] >= 0:
        continue
      expert = best[token, stage]
      expert_index[core, token] = expert
      if taken[expert] < expert_capacity:
        slot[core, token] = taken[expert]
        gate[core, token] = probs[token, expert]
        taken[expert] += 1
  return expert_index, slot, gate


def combine_tensor(expert_index, slot, gate, num_experts, expert_capacity):
  """The figure's [num_cores, tokens_per_core, num_experts, expert_capacity].

  Args:
    expert_index: [num_cores, tokens_per_core] or, for several choices,
      [num_cores, tokens_per_core, choices].
    slot: the same shape, -1 for none.
    gate: the same shape.
    num_experts: the number of experts.
    expert_capacity: slots of each expert in each group.

  Returns:
    each gate at its expert and slot.
  """
  combine = np.zeros(slot.shape[:2] + (num_experts, expert_capacity))
  for place in np.ndindex(slot.shape):
    if slot[place] >= 0:
      at = place[:2] + (expert_index[place], slot[place])
      combine[at] = gate[place]
  return combine


def feed_forward(x, w_in, w_out):
  """y = ReLU(x W_in) W_out (section 2.1)."""
  return np.maximum(x @ w_in, 0.0) @ w_out


def switch_layer(
    inputs, router_probs, w_in, w_out, expert_capacity, nonpadding
):
  """Figure 16, token by token.

  Args:
    inputs: [num_cores, tokens_per_core, d_model].
    router_probs: [num_cores, tokens_per_core, num_experts].
    w_in: [num_experts, d_model, d_ff].
    w_out: [num_experts, d_ff, d_model].
    expert_capacity: slots of each expert in each group.
    nonpadding: [num_cores, tokens_per_core].

  Returns:
    outputs as inputs, and the load-balance loss.
  """
  expert_index, slot, gate = router(router_probs, expert_capacity, nonpadding)
  outputs = np.zeros_like(inputs)
  for core, token in np.ndindex(slot.shape):
    if slot[core, token] >= 0:
      expert = expert_index[core, token]
      outputs[core, token] = gate[core, token] * feed_forward(
          inputs[core, token], w_in[expert], w_out[expert]
      )
  return outputs, load_balance_loss(router_probs, expert_index, nonpadding)
