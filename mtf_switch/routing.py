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

"""What a router decides."""

from typing import NamedTuple

import mesh_tensorflow as mtf


class Routing(NamedTuple):
  """Where each token goes, and what a router computed on the way.

  Attributes:
    expert_index: `[num_cores, tokens_per_core]` int32, the chosen expert.
    expert_gate: `[num_cores, tokens_per_core]` float32, the probability by
      which the expert's output is multiplied; 0 for tokens without a slot.
    position_in_expert: `[num_cores, tokens_per_core]` float32 whole numbers,
      the token's slot; meaningful where kept is 1.
    routed: `[num_cores, tokens_per_core]` float32, 1 for the tokens that asked
      for a slot: all but padding.
    kept: `[num_cores, tokens_per_core]` float32, 1 for those that got one.
    router_probs: `[num_cores, tokens_per_core, num_experts]` float32.
    aux_loss: float32 scalar, the load-balance loss without its coefficient.
  """

  expert_index: mtf.Tensor
  expert_gate: mtf.Tensor
  position_in_expert: mtf.Tensor
  routed: mtf.Tensor
  kept: mtf.Tensor
  router_probs: mtf.Tensor
  aux_loss: mtf.Tensor
