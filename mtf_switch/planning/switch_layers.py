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

"""The Switch layers of a planned step."""

from collections.abc import Iterable
import math
from typing import NamedTuple

from mtf_switch.planning import communication
from mtf_switch.transformer import feed_forward


class SwitchLayer(NamedTuple):
  """A Switch layer in training.

  Attributes:
    name: the scope of the layer's variables.
    num_groups: the number of groups in which tokens compete, num_cores in gin.
    tokens_per_group: the tokens of a group.
    num_experts: the number of experts.
    expert_capacity: the slots of an expert in a group.
    capacity_factor: the capacity factor asked for.
    capacity_factor_in_force: slots for each token of a group.
    all_to_all_bytes: bytes that a core sends in a step to experts and back,
      gradients included.
    all_reduce_bytes: bytes of model parallelism's all-reduces, the same.
  """

  name: str
  num_groups: int
  tokens_per_group: int
  num_experts: int
  expert_capacity: int
  capacity_factor: float
  capacity_factor_in_force: float
  all_to_all_bytes: int
  all_reduce_bytes: int


def describe(
    model, collectives: Iterable[communication.Collective]
) -> list[SwitchLayer]:
  """Describes the Switch layers of a model.

  Args:
    model: a Bitransformer or Unitransformer that has been called in training.
    collectives: all messages of a step.

  Returns:
    the layers, in the model's order.
  """
  collectives = list(collectives)

  def sent(name, purpose):
    return sum(
        collective.bytes
        for collective in collectives
        if collective.purpose == purpose
        and collective.operation.startswith(f"{name}/")
    )

  layers = []
  for switch in feed_forward.switches(model):
    for name, dims in switch.dims_of_scope.items():
      tokens = dims.tokens_per_core.size
      capacity = dims.expert_capacity.size
      layers.append(
          SwitchLayer(
              name=name,
              num_groups=math.prod(dim.size for dim in dims.groups),
              tokens_per_group=tokens,
              num_experts=switch.num_experts,
              expert_capacity=capacity,
              capacity_factor=switch.capacity_factor_train,
              capacity_factor_in_force=capacity * switch.num_experts / tokens,
              all_to_all_bytes=sent(name, "experts"),
              all_reduce_bytes=sent(name, "model_parallelism"),
          )
      )
  return layers
