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

"""Appendix F as NumPy loops, for tests to compare with.

Written from the paper alone: it imports nothing of the project, and where the
printed pseudocode cannot be right it does what is meant (docs/appendix_f.md).
Arrays are float64 unless given otherwise; `nonpadding` is 0 or 1.
"""

import numpy as np


def softmax(logits):
  """Equation (1) over the last axis."""
  shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return shifted / shifted.sum(axis=-1, keepdims=True)


def load_balance_loss(router_probs, expert_index, nonpadding):
  """Equations (4) to (6) without alpha, group by group.

  Args:
    router_probs: [num_cores, tokens_per_core, num_experts].
    expert_index: [num_cores, tokens_per_core], each token's choice.
    nonpadding: [num_cores, tokens_per_core].

  Returns:
    the mean over the groups with a real token of N * sum_i f_i P_i; 0 if none.
  """
  num_cores, _, num_experts = router_probs.shape
  per_group = []
  for core in range(num_cores):
    real = [t for t, n in enumerate(nonpadding[core]) if n]
    if not real:
      continue
    loss = 0.0
    for i in range(num_experts):
      f = sum(expert_index[core, t] == i for t in real) / len(real)
      p = sum(router_probs[core, t, i] for t in real) / len(real)
      loss += f * p
    per_group.append(num_experts * loss)
  return np.mean(per_group) if per_group else 0.0


def router(router_probs, expert_capacity, nonpadding):
  """Figure 15 from the probabilities on.

  Returns:
    expert_index, slot (-1 for none) and gate, each
    [num_cores, tokens_per_core].
  """
  num_cores, tokens_per_core, num_experts = router_probs.shape
  expert_index = np.zeros((num_cores, tokens_per_core), np.int64)
  slot = -np.ones((num_cores, tokens_per_core), np.int64)
  gate = np.zeros((num_cores, tokens_per_core))
  for core in range(num_cores):
    taken = [0] * num_experts
    for token in range(tokens_per_core):
      probs = router_probs[core, token]
      expert = int(np.argmax(probs))
      expert_index[core, token] = expert
      if nonpadding[core, token] and taken[expert] < expert_capacity:
        slot[core, token] = taken[expert]
        gate[core, token] = probs[expert]
        taken[expert] += 1
  return expert_index, slot, gate


def combine_tensor(expert_index, slot, gate, num_experts, expert_capacity):
  """The figure's [num_cores, tokens_per_core, num_experts, expert_capacity]."""
  combine = np.zeros(slot.shape + (num_experts, expert_capacity))
  for core, token in np.ndindex(slot.shape):
    if slot[core, token] >= 0:
      combine[core, token, expert_index[core, token], slot[core, token]] = gate[
          core, token
      ]
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
