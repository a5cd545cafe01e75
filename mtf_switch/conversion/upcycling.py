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
"""Upcycling: the weights of a Switch model from those of a dense one.

Each expert begins as a copy of the dense model's feed-forward layer, as in
Sparse Upcycling (arXiv 2212.05055); the routers begin afresh.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
import zlib

import numpy as np

from mtf_switch import errors
from mtf_switch.conversion import account
from mtf_switch.conversion import checkpoint_writer
from mtf_switch.training import student_weights
from mtf_switch.training import warm_start

# T5's first checkpoints have it, and its model does not use it.
_UNUSED = "/EncDecAttention/relative_attention_bias"


class Sources(NamedTuple):
  """Where the weights of a Switch model come from.

  Attributes:
    copied: the dense model's names by those of weights that are copied.
    of_experts: the same for experts, each of which is a copy.
    fresh: the names of the routers' weights.
    left_out: the dense model's names of weights that nothing uses.
  """

  copied: dict[str, str]
  of_experts: dict[str, str]
  fresh: list[str]
  left_out: list[str]


def match(
    model: Mapping[str, warm_start.Shape],
    dense: Mapping[str, warm_start.Shape],
    path: str,
) -> Sources:
  """Finds the weights of a Switch model in a dense checkpoint.

  Layers match by their place in the stack, see warm_start.match. All weights
  but the routers' must be there, and all of the dense model's must be used: the
  models have the same layers.

  Args:
    model: the shapes of the Switch model's weights by name.
    dense: the shapes of all variables of the checkpoint; the optimizer's slots
      and the step are ignored.
    path: the checkpoint.

  Raises:
    UserError: one is sparse or dense where it must be the other, or they differ
      in sizes or layers.
  """
  if not warm_start.is_sparse(model):
    raise errors.UserError(
        "the gin files describe a model without Switch layers; --mode=upcycle "
        "makes one that has some, of a dense model's weights."
    )
  if warm_start.is_sparse(dense):
    raise errors.UserError(
        f"{path} has experts already; upcycle.dense_dir is the directory of a "
        "dense model."
    )
  of_one_expert = student_weights.with_one_expert(model)
  found = warm_start.match(of_one_expert.shapes, dense)
  for name, shapes in found.shape_differs.items():
    here, there = map(errors.sizes, shapes)
    raise errors.UserError(
        f"{of_one_expert.names[name]} needs {here} and {path} has {there}; "
        "upcycling changes no sizes."
    )
  left_out = found.not_in_model
  _check_none(
      [of_one_expert.names[name] for name in found.not_in_checkpoint],
      f"only in the model of the gin files, not in {path}",
  )
  _check_none(
      [name for name in left_out if not name.endswith(_UNUSED)],
      f"only in {path}, not in the model of the gin files",
  )
  copied, of_experts = {}, {}
  for dense_name, source in found.matched.items():
    name = of_one_expert.names[dense_name]
    (copied if name == dense_name else of_experts)[name] = source
  return Sources(copied, of_experts, of_one_expert.routers, left_out)


def entries(
    sources: Sources,
    model: Iterable[checkpoint_writer.Variable],
    dense: Mapping[str, checkpoint_writer.Variable],
    noise: float,
) -> list[account.Entry]:
  """Returns the account of the weights of a Switch model.

  Args:
    sources: where they come from.
    model: the weights.
    dense: the checkpoint's variables by name.
    noise: see experts_of.
  """
  found = []
  for weight in model:
    name = weight.name
    if name in sources.copied:
      found.append(account.entry(dense[sources.copied[name]], weight))
    elif name in sources.of_experts:
      done = [f"copied to {weight.shape[0]} experts"]
      if noise:
        done.append(f"noise of {noise:g}")
      found.append(
          account.entry(dense[sources.of_experts[name]], weight, *done)
      )
    else:
      found.append(account.entry(None, weight, "drawn by --seed"))
  return found + [account.entry(dense[x], None) for x in sources.left_out]


def _check_none(names: list[str], where: str):
  """Refuses weights that one of the models lacks."""
  if names:
    raise errors.UserError(
        f"{errors.some(names)}: {where}; upcycling needs the same layers, of "
        "which some become sparse."
    )


def experts_of(
    weight: np.ndarray,
    variable_name: str,
    num_experts: int,
    noise: float,
    seed: int,
    dtype: np.dtype,
) -> np.ndarray:
  """Returns copies of a feed-forward weight, one for each expert.

  Args:
    weight: `[d_in, d_out]`, the dense model's.
    variable_name: the experts' variable, a key of the noise.
    num_experts: the experts.
    noise: the standard deviation of what is added to each copy, relative to
      that of the weight's values; 0 for equal copies.
    seed: the other key of the noise.
    dtype: of the result.

  Returns:
    `[num_experts, d_in, d_out]`.
  """
  weight = weight.astype(np.float32)
  experts = np.empty([num_experts, *weight.shape], dtype)
  deviation = np.float32(noise * weight.std(dtype=np.float64))
  for number in range(num_experts):
    copy = weight
    if noise:
      draws = np.random.default_rng(
          [seed, zlib.crc32(variable_name.encode()), number]
      )
      copy = weight + deviation * draws.standard_normal(
          weight.shape, dtype=np.float32
      )
    experts[number] = copy
  return experts
