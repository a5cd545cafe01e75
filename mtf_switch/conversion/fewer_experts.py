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
"""Fewer experts: models that keep some of a Switch model's, or make one of all.

A sparse model is large, and a task may use few of its experts (the discussion
of section 8).
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Literal, NamedTuple

import numpy as np

from mtf_switch import errors
from mtf_switch.conversion import account
from mtf_switch.conversion import checkpoint_writer
from mtf_switch.training import student_weights
from mtf_switch.training import warm_start

# How a dense layer is made of experts: of all alike, of the one with most
# tokens, or of each by its share of the tokens.
Merging = Literal["mean", "most_used", "by_load"]

_EXPERTS, _ROUTER = "/experts/", "/router/"
# The last matrix of a dense layer.
_OUTPUT = "/DenseReluDense/wo/kernel"


@dataclasses.dataclass
class Use:
  """The use that tokens make of a layer's experts.

  Attributes:
    choices: `[num_experts]` integers, how often each expert was asked.
    gates: the sum of all gates.
    tokens: the number of tokens that were not padding.
  """

  choices: np.ndarray
  gates: float = 0.0
  tokens: int = 0

  def add(self, experts: np.ndarray, gates: np.ndarray, asked: np.ndarray):
    """Counts the choices of tokens.

    Args:
      experts: `[..., choices]` integers.
      gates: the same shape.
      asked: the same shape, bool, whether the choice counts; a token without
        any is padding.
    """
    self.choices += np.bincount(experts[asked], minlength=len(self.choices))
    self.gates += float(gates[asked].sum(dtype=np.float64))
    self.tokens += int(asked.any(axis=-1).sum())

  @property
  def mean_gate(self) -> float:
    """What a token's experts are multiplied by, in the mean over tokens."""
    return self.gates / self.tokens

  def most_used(self, number: int) -> list[int]:
    """Returns the experts that were asked most, in order of their numbers.

    Args:
      number: how many; of equals those with smaller numbers.
    """
    order = np.argsort(-self.choices, kind="stable")
    return sorted(order[:number].tolist())

  def share(self, experts: Sequence[int]) -> float:
    """Returns the share of the choices that were of these experts."""
    return float(self.choices[list(experts)].sum() / self.choices.sum())

  def weights(self, merging: Merging) -> np.ndarray:
    """Returns what each expert counts in a dense layer, in all 1.

    Args:
      merging: how the layer is made of them.
    """
    if merging == "mean":
      return np.full(len(self.choices), 1 / len(self.choices))
    if merging == "most_used":
      return np.eye(len(self.choices))[self.most_used(1)[0]]
    return self.choices / self.choices.sum()


class Sources(NamedTuple):
  """Where the weights of a smaller model come from.

  Attributes:
    copied: the Switch model's names by those of weights that are copied.
    of_experts: the same for what has fewer experts, or is made of all.
    routers: the names of the routers' weights, which keep some columns.
  """

  copied: dict[str, str]
  of_experts: dict[str, str]
  routers: list[str]


def match_pruned(
    model: Mapping[str, warm_start.Shape],
    sparse: Mapping[str, warm_start.Shape],
) -> Sources:
  """Finds the weights of a model that keeps some experts of each layer.

  Args:
    model: the shapes of its weights by name.
    sparse: the shapes of all variables of the Switch model's checkpoint.

  Raises:
    UserError: the models differ in more than the number of experts.
  """
  sources = Sources({}, {}, [])
  for name in dict.fromkeys([*model, *warm_start.weights_among(sparse)]):
    here, there = (
        list(x[name]) if name in x else None for x in (model, sparse)
    )
    fits = here == there
    if here and there and _ROUTER in name:
      sources.routers.append(name)
      fits = here[0] == there[0] and here[1] <= there[1]
    elif here and there and _EXPERTS in name:
      sources.of_experts[name] = name
      fits = here[1:] == there[1:] and here[0] < there[0]
    else:
      sources.copied[name] = name
    _check(fits, name, here, there)
  return sources


def match_dense(
    model: Mapping[str, warm_start.Shape],
    sparse: Mapping[str, warm_start.Shape],
) -> Sources:
  """Finds the weights of a dense model of which each expert was one layer.

  Args:
    model: the shapes of its weights by name.
    sparse: the shapes of all variables of the Switch model's checkpoint.

  Raises:
    UserError: the models differ in more than the experts.
  """
  if warm_start.is_sparse(model):
    raise errors.UserError(
        "prune.new_gin describes a model with Switch layers, and prune.merging "
        "makes a dense one; set prune.keep instead, or name the gin files of a "
        "dense model."
    )
  found = student_weights.match(model, sparse, take_experts=True)
  for name, (here, there) in found.shape_differs.items():
    _check(False, name, here, there)
  for name in found.not_in_teacher:
    _check(False, name, model[name], None)
  for name in found.not_in_student:
    _check(_ROUTER in name, name, None, sparse[name])
  return Sources(found.copied, found.of_experts, [])


def entries(
    sources: Sources,
    model: Iterable[checkpoint_writer.Variable],
    sparse: Mapping[str, checkpoint_writer.Variable],
    merging: Merging | None,
) -> list[account.Entry]:
  """Returns the account of the weights of a smaller model.

  Args:
    sources: where they come from.
    model: the weights.
    sparse: the Switch model's variables by name.
    merging: how a dense layer is made of experts; None for a smaller number.
  """
  found = []
  for weight in model:
    name, done = weight.name, []
    if name in sources.of_experts:
      source = sparse[sources.of_experts[name]]
      if not merging:
        done.append(f"{weight.shape[0]} of {source.shape[0]} experts")
      else:
        done.append(f"{source.shape[0]} experts, {merging.replace('_', ' ')}")
        if name.endswith(_OUTPUT):
          done.append("times the mean gate")
    elif name in sources.routers:
      source = sparse[name]
      done.append(
          f"{weight.shape[1]} of {source.shape[1]} columns, kept experts first"
      )
    else:
      source = sparse[sources.copied[name]]
    found.append(account.entry(source, weight, *done))
  return found


def _check(
    fits: bool,
    name: str,
    here: warm_start.Shape | None,
    there: warm_start.Shape | None,
):
  """Refuses a weight that only one of the models has, or of another size."""
  if fits:
    return
  sizes = [errors.sizes(x) if x else "missing" for x in (here, there)]
  raise errors.UserError(
      f"{name} is {sizes[0]} in the smaller model and {sizes[1]} in the "
      "checkpoint; the models may differ in their experts alone."
  )


def kept_columns(
    kept: Sequence[int], num_before: int, num_columns: int
) -> list[int]:
  """Returns the columns of a router's weights that a smaller model has.

  Args:
    kept: the experts that stay.
    num_before: the columns there were, of experts and, after pruning, of those
      that had been removed.
    num_columns: the columns of the smaller model: those of its experts alone,
      or, where it knows of the removed ones, all of them.
  """
  removed = [x for x in range(num_before) if x not in set(kept)]
  return [*kept, *removed][:num_columns]


def merged(
    experts: np.ndarray, weights: np.ndarray, factor: float = 1.0
) -> np.ndarray:
  """Returns a weight made of experts.

  Args:
    experts: `[num_experts, d_in, d_out]`.
    weights: `[num_experts]`, what each counts.
    factor: multiplies the result.

  Returns:
    `[d_in, d_out]` float32.
  """
  total = np.zeros(experts.shape[1:], np.float32)
  for expert, weight in zip(experts, weights):
    if weight:
      total += np.float32(weight * factor) * expert.astype(np.float32)
  return total


def dense_factor(name: str, use: Use) -> float:
  """Returns by what a dense layer's weight is multiplied.

  An expert's output is multiplied by its gate; a dense layer has none, and its
  last matrix takes the mean gate's place.

  Args:
    name: the weight's.
    use: of the layer.
  """
  return use.mean_gate if name.endswith(_OUTPUT) else 1.0


def use_of(name: str, uses: Mapping[str, Use]) -> Use:
  """Returns the use of the layer that a weight belongs to.

  Args:
    name: the name of an expert's or a router's weight.
    uses: by the layers' names.
  """
  (layer,) = [x for x in uses if name.startswith(f"{x}/")]
  return uses[layer]
