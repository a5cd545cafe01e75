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
-                                 outer_batch         outer_batch

In Mesh TensorFlow a layout rule names a dimension, so a tensor changes its
split by changing its dimensions' names. `num_cores` and `num_experts`
therefore have unsplit twins. The groups carry the name of the batch dimension,
so that whatever rule splits the batch splits them the same way.

With fewer experts than cores the batch is cut into outer batches, a rule splits
outer_batch, and each of its parts has cores that hold all experts. The groups
then have two dimensions, [outer_batch, num_cores], and `[num_cores, ...]` in a
docstring stands for both.
"""

from collections.abc import Sequence
import fractions
import math
from typing import NamedTuple

import mesh_tensorflow as mtf

from mtf_switch import errors
from mtf_switch import values


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
    outer_batch: of a batch that is cut into outer batches, [their dimension],
      num_cores then being the groups of one of them; elsewhere empty.
  """

  num_cores: mtf.Dimension
  num_cores_unsplit: mtf.Dimension
  tokens_per_core: mtf.Dimension
  num_experts: mtf.Dimension
  num_experts_unsplit: mtf.Dimension
  expert_capacity: mtf.Dimension
  d_model: mtf.Dimension
  outer_batch: Sequence[mtf.Dimension] = ()

  @property
  def groups(self) -> list[mtf.Dimension]:
    """The dimensions of all groups, the last of them num_cores."""
    return [*self.outer_batch, self.num_cores]

  @property
  def groups_unsplit(self) -> list[mtf.Dimension]:
    """The same beside split experts: no rule of the batch splits num_cores."""
    return [*self.outer_batch, self.num_cores_unsplit]


def switch_dims(
    batch_name: str,
    num_cores: int,
    tokens_per_core: int,
    num_experts: int,
    expert_capacity: int,
    d_model: mtf.Dimension,
    outer_batch: Sequence[mtf.Dimension] = (),
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
      outer_batch,
  )


def num_groups(
    num_tokens: int,
    num_cores: int | None = None,
    group_size: int | None = None,
    strict: bool = True,
    multiple_of: int = 1,
) -> int:
  """The number of groups in which tokens compete (Figure 16, first step).

  Args:
    num_tokens: positions in the batch, padding included.
    num_cores: the number of groups asked for; or
    group_size: the tokens of a group asked for. One of the two is None.
    strict: whether a number that does not fit is refused. Otherwise the one
      that fits and is nearest in ratio is taken.
    multiple_of: the mesh axis that splits the groups.

  Returns:
    a divisor of num_tokens and, unless strict, a multiple of multiple_of.

  Raises:
    UserError: nothing or nonsense is asked for, or the groups would not be
      equal; names the nearest sizes.
  """
  if (num_cores is None) == (group_size is None):
    raise errors.UserError(
        f"num_cores = {num_cores} and group_size = {group_size}: set one of "
        "the two, the number of groups or the tokens of a group."
    )
  if num_cores is not None:
    name, wanted = "num_cores", num_cores
    groups = "to num_cores = {} groups"
  else:
    name, wanted = "group_size", group_size
    groups = "in groups of group_size = {}"
  values.check(name, wanted, values.Count)
  low = [n for n in range(1, math.isqrt(num_tokens) + 1) if num_tokens % n == 0]
  divisors = sorted({*low, *(num_tokens // n for n in low)})
  if strict and wanted not in divisors:
    nearest = [n for n in divisors if n < wanted][-1:]
    nearest += [n for n in divisors if n > wanted][:1]
    raise errors.UserError(
        f"{num_tokens} tokens (batch size x length) cannot be dealt out evenly "
        f"{groups.format(wanted)}; set {name} to "
        f"{' or '.join(map(str, nearest))}, change the batch size, or set "
        "strict_groups = False."
    )
  if not strict:
    errors.check_divides(multiple_of, num_tokens, "the number of tokens")
    divisors = [n for n in divisors if n % multiple_of == 0]
  ratio = wanted if num_cores is not None else num_tokens / wanted
  return min(divisors, key=lambda n: abs(math.log(n / ratio)))


_ROUNDINGS = {
    "floor": math.floor,
    "round": round,
    "ceil": math.ceil,
}


def expert_capacity(
    tokens_per_core: int,
    num_experts: int,
    capacity_factor: float,
    rounding: str = "floor",
    min_expert_capacity: int = 0,
) -> int:
  """Equation (3), per group as in Figure 16.

  Args:
    tokens_per_core: the tokens of a group, padding included.
    num_experts: the number of experts.
    capacity_factor: slots for each token of a group; 1.0 leaves none to spare.
      It is not multiplied by the number of choices of a top-n router.
    rounding: "floor" (Mesh TensorFlow), "round" (T5X; half to even) or "ceil".
    min_expert_capacity: the least result; 0 refuses less than one slot.

  Returns:
    the number of tokens of one group that one expert accepts; never more than
    there are.

  Raises:
    UserError: that would be less than one, the factor is not above 0, or the
      rounding is not known.
  """
  errors.check_one_of(rounding, _ROUNDINGS, "capacity_rounding")
  values.check("capacity_factor", capacity_factor, values.Positive)
  # An exact product: in floats 100 * 1.15 falls below 115.
  factor = fractions.Fraction(str(capacity_factor))
  exact = tokens_per_core * factor / num_experts
  capacity = max(_ROUNDINGS[rounding](exact), min_expert_capacity)
  if capacity < 1:
    raise errors.UserError(
        f"the expert capacity is {tokens_per_core} tokens_per_core x "
        f"{capacity_factor} capacity_factor / {num_experts} num_experts = "
        f"{float(exact):.3g}, less than one slot; use at least "
        f"{math.ceil(num_experts / factor)} tokens in a group (fewer num_cores "
        "or a larger batch), fewer experts, or min_expert_capacity = 1."
    )
  return min(capacity, tokens_per_core)


def capacity_warning(
    tokens_per_core: int,
    num_experts: int,
    capacity_factor: float,
    capacity: int,
) -> str | None:
  """A note for the user if the capacity is not the one asked for.

  Args:
    tokens_per_core: the tokens of a group, padding included.
    num_experts: the number of experts.
    capacity_factor: the one asked for.
    capacity: the slots that an expert has.

  Returns:
    a line if the factor in force differs by more than 10%, else None.
  """
  asked = fractions.Fraction(str(capacity_factor))
  in_force = fractions.Fraction(capacity * num_experts, tokens_per_core)
  if abs(in_force - asked) <= asked / 10:
    return None
  return (
      f"the capacity factor in force is {float(in_force):.3g}, not "
      f"{capacity_factor}: of the {tokens_per_core} tokens of a group an "
      f"expert takes {capacity}, with num_experts = {num_experts}."
  )
