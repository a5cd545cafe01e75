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

"""The legend of axes, and the integers that follow from a configuration.

paper's pseudocode (Appendix F)   here                dimension's name
n, num_cores                      num_cores           that of the batch
t, tokens_per_core                tokens_per_core     tokens_per_core
num_experts, experts_dim          num_experts         experts
expert_capacity                   expert_capacity     expert_capacity
d_model                           d_model             d_model
d_ff                              d_ff                d_ff

In Mesh TensorFlow a layout rule names a dimension, so a tensor changes its
split by changing its dimensions' names. `num_cores` and `num_experts`
therefore have unsplit twins. The groups carry the name of the batch dimension,
so that whatever rule splits the batch splits them the same way.
"""

import fractions
import math
from typing import NamedTuple

import mesh_tensorflow as mtf

from mtf_switch import compat


class SwitchDims(NamedTuple):
  """The dimensions of one Switch layer.

  Attributes:
    num_cores: the groups in which tokens compete for slots; split like the
      batch.
    num_cores_unsplit: the same beside split experts, never split; where the
      experts are not split, num_cores itself, and nothing has to move.
    tokens_per_core: the tokens of one group.
    num_experts: the experts; split over the cores that hold them.
    num_experts_unsplit: the same, never split.
    expert_capacity: the slots of one expert in one group.
    d_model: the width of the residual stream.
  """

  num_cores: mtf.Dimension
  num_cores_unsplit: mtf.Dimension
  tokens_per_core: mtf.Dimension
  num_experts: mtf.Dimension
  num_experts_unsplit: mtf.Dimension
  expert_capacity: mtf.Dimension
  d_model: mtf.Dimension


def switch_dims(
    batch_name: str,
    num_cores: int,
    tokens_per_core: int,
    num_experts: int,
    expert_capacity: int,
    d_model: mtf.Dimension,
) -> SwitchDims:
  """Names the sizes of one Switch layer; see the legend above."""
  return SwitchDims(
      mtf.Dimension(batch_name, num_cores),
      mtf.Dimension(f"{batch_name}_unsplit", num_cores),
      mtf.Dimension("tokens_per_core", tokens_per_core),
      mtf.Dimension("experts", num_experts),
      mtf.Dimension("experts_unsplit", num_experts),
      mtf.Dimension("expert_capacity", expert_capacity),
      d_model,
  )


def tokens_per_core(num_tokens: int, num_cores: int) -> int:
  """The number of tokens in a group (Figure 16, first step).

  Args:
    num_tokens: positions in the batch, padding included.
    num_cores: the number of groups.

  Returns:
    num_tokens / num_cores.

  Raises:
    UserError: the groups would not be equal; names the nearest sizes.
  """
  if num_cores < 1:
    raise compat.UserError(f"num_cores must be at least 1, got {num_cores}.")
  if num_tokens % num_cores:
    divisors = [n for n in range(1, num_tokens + 1) if num_tokens % n == 0]
    nearest = [n for n in divisors if n < num_cores][-1:]
    nearest += [n for n in divisors if n > num_cores][:1]
    raise compat.UserError(
        f"{num_tokens} tokens (batch size x length) cannot be dealt out evenly "
        f"to num_cores = {num_cores} groups; set num_cores to "
        f"{' or '.join(map(str, nearest))}, or change the batch size."
    )
  return num_tokens // num_cores


def num_groups_that_fit(num_tokens: int, num_cores: int) -> int:
  """The number of groups for a batch whose size is not the user's to choose.

  Decoding hands the layer one token of each sequence, so num_cores need not
  divide their number. The greatest common divisor does, and it is a multiple
  of every mesh axis that divides both.

  Args:
    num_tokens: positions in the batch.
    num_cores: the number of groups asked for.

  Returns:
    the greatest number of groups that divides both.
  """
  return math.gcd(num_tokens, num_cores)


def expert_capacity(
    tokens_in_group: int, num_experts: int, capacity_factor: float
) -> int:
  """Equation (3), per group as in Figure 16, rounded down.

  Args:
    tokens_in_group: tokens_per_core, padding included.
    num_experts: the number of experts.
    capacity_factor: slots for each token of a group; 1.0 leaves none to spare.

  Returns:
    the number of tokens of one group that one expert accepts.

  Raises:
    UserError: that would be less than one.
  """
  # An exact product: in floats 100 * 1.15 falls below 115.
  factor = fractions.Fraction(str(capacity_factor))
  capacity = math.floor(tokens_in_group * factor / num_experts)
  if capacity < 1:
    raise compat.UserError(
        f"the expert capacity is {tokens_in_group} tokens_per_core x "
        f"{capacity_factor} capacity_factor / {num_experts} num_experts = "
        f"{float(tokens_in_group * factor / num_experts):.3g}, less than one "
        f"slot; use at least {math.ceil(num_experts / factor)} tokens in a "
        "group (fewer num_cores or a larger batch), or fewer experts."
    )
  return capacity


def check_divides(mesh_axis_size: int, size: int, what: str):
  """Refuses a mesh that cannot deal out a dimension evenly.

  Args:
    mesh_axis_size: the number of parts that the layout asks for.
    size: the dimension's size.
    what: the dimension, in the user's words.

  Raises:
    UserError: the mesh axis does not divide the size.
  """
  if size % mesh_axis_size:
    divisors = [n for n in range(1, mesh_axis_size) if size % n == 0]
    raise compat.UserError(
        f"{what} = {size} cannot be split over a mesh axis of "
        f"{mesh_axis_size}; use a mesh axis of {divisors[-1]} or make {what} a "
        f"multiple of {mesh_axis_size}."
    )
