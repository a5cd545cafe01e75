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

"""What experts specialise in: counts, information, and changes of routing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize
from scipy import stats

# Of a shuffled baseline: its mean is known to a quarter of the deviation.
NUM_SHUFFLES = 16


class Table(NamedTuple):
  """How often tokens of a kind go to an expert.

  Attributes:
    values: `[kinds]`, what the rows are, in order.
    counts: `[kinds, num_experts]` integers, the choices of an expert.
  """

  values: np.ndarray
  counts: np.ndarray


class Information(NamedTuple):
  """The mutual information of the kinds of tokens and their experts.

  Attributes:
    bits: of the counts: sum over kinds and experts of
      p(kind, expert) * log2(p(kind, expert) / (p(kind) * p(expert))).
    shuffled: the mean of the same if tokens are dealt out to experts at random,
      as many to each: what few counts alone give, the bias.
    deviation: its standard deviation.
    entropy: of the experts, in bits: the most that `bits` can be.
  """

  bits: float
  shuffled: float
  deviation: float
  entropy: float

  @property
  def above_shuffled(self) -> float:
    """The estimate without the bias."""
    return self.bits - self.shuffled


def count(
    values: np.ndarray,
    experts: np.ndarray,
    asked: np.ndarray,
    num_experts: int,
) -> Table:
  """Counts the choices that tokens of each kind make.

  Args:
    values: `[tokens]`, the kind of each.
    experts: `[tokens, choices]` integers.
    asked: the same shape, bool; a token counts for each expert that it asks.
    num_experts: the experts.
  """
  kinds, rows = np.unique(values, return_inverse=True)
  cells = rows[:, np.newaxis] * num_experts + experts
  counts = np.bincount(cells[asked], minlength=len(kinds) * num_experts)
  return Table(kinds, counts.reshape(len(kinds), num_experts))


def mutual_information(counts: np.ndarray) -> float:
  """Returns the mutual information of rows and columns in bits.

  Args:
    counts: `[rows, columns]`.
  """
  return float(contributions(counts).sum())


def contributions(counts: np.ndarray) -> np.ndarray:
  """Returns what each cell adds to the mutual information, in bits.

  Args:
    counts: `[rows, columns]`.
  """
  total = counts.sum()
  if not total:
    return np.zeros(counts.shape)
  joint = counts / total
  apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
  ratio = np.divide(joint, apart, out=np.ones_like(joint), where=joint > 0)
  return joint * np.log2(ratio)


def entropy(counts: np.ndarray) -> float:
  """Returns the entropy of a distribution in bits.

  Args:
    counts: `[kinds]`, at least one of which is not 0.
  """
  return float(stats.entropy(counts, base=2)) if counts.sum() else 0.0


def information(counts: np.ndarray, seed: int = 0) -> Information:
  """Returns the information in a table, and that in shuffled ones.

  Args:
    counts: `[kinds, num_experts]`.
    seed: of the shuffles.
  """
  by_expert = counts.sum(axis=0)
  counts = counts[counts.sum(axis=1) > 0][:, by_expert > 0]
  if min(counts.shape) < 2:
    return Information(0.0, 0.0, 0.0, entropy(by_expert))
  shuffled = [
      mutual_information(table)
      for table in stats.random_table(
          counts.sum(axis=1), counts.sum(axis=0)
      ).rvs(NUM_SHUFFLES, random_state=seed)
  ]
  return Information(
      mutual_information(counts),
      float(np.mean(shuffled)),
      float(np.std(shuffled)),
      entropy(by_expert),
  )


def typical(table: Table, most: int) -> list[list[tuple[Any, int]]]:
  """Returns the kinds that make each expert what it is.

  Args:
    table: the counts.
    most: how many for each expert.

  Returns:
    for each expert kinds and their counts there, those first that add most to
    the mutual information: frequent, and more frequent there than elsewhere.
  """
  added = contributions(table.counts)
  found = []
  for expert in range(table.counts.shape[1]):
    order = np.argsort(-added[:, expert], kind="stable")[:most]
    found.append(
        [
            (table.values[row].item(), int(table.counts[row, expert]))
            for row in order
            if added[row, expert] > 0
        ]
    )
  return found


def preferences(counts: np.ndarray) -> np.ndarray:
  """Returns the share of an expert in a kind, relative to that in all tokens.

  Args:
    counts: `[kinds, num_experts]`.

  Returns:
    the same shape: 1 where the kind goes to the expert as all tokens do; NaN
    for a kind or an expert without tokens.
  """
  total = counts.sum()
  expected = (
      counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / max(total, 1)
  )
  return np.divide(
      counts, expected, out=np.full(counts.shape, np.nan), where=expected > 0
  )


class Change(NamedTuple):
  """How two checkpoints route the same tokens.

  Attributes:
    changed: the share of the tokens that one of them sends to another set of
      experts.
    by_chance: the same share for first choices if the two were independent,
      each with its own load of the experts.
    renamed: the share of the tokens whose first choice differs after the
      experts of one have been given the names that fit best: of two trainings
      the numbers of the experts have no relation.
  """

  changed: float
  by_chance: float
  renamed: float


def change(
    experts: Sequence[np.ndarray],
    asked: Sequence[np.ndarray],
    num_experts: int,
) -> Change:
  """Compares two checkpoints.

  Args:
    experts: of both, `[tokens, choices]` integers.
    asked: of both, the same shape, bool.
    num_experts: the experts.
  """
  sets = []
  for chosen, is_asked in zip(experts, asked):
    # Choices that are not asked are equal, and last.
    sets.append(np.sort(np.where(is_asked, chosen, num_experts), axis=1))
  first, second = (chosen[:, 0].astype(int) for chosen in experts)
  joint = np.bincount(
      first * num_experts + second, minlength=num_experts**2
  ).reshape(num_experts, num_experts)
  tokens = max(len(first), 1)
  by_chance = 1 - joint.sum(axis=1) @ joint.sum(axis=0) / tokens**2
  rows, columns = optimize.linear_sum_assignment(joint, maximize=True)
  return Change(
      changed=float(np.any(sets[0] != sets[1], axis=1).sum() / tokens),
      by_chance=float(by_chance),
      renamed=float(1 - joint[rows, columns].sum() / tokens),
  )
