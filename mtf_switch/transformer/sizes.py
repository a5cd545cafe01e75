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


"""The dimensions of a Switch layer from its options and its input."""

from typing import NamedTuple
import warnings

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.layer import dims as dims_lib
from mtf_switch.mesh import splits
from mtf_switch.transformer import microbatches

EVALUATED_BY_BATCHES = (
    tf.estimator.ModeKeys.TRAIN,
    tf.estimator.ModeKeys.EVAL,
)


class Sizes(NamedTuple):
  """The options of SwitchFeedForward that decide its dimensions; see there."""

  num_experts: int
  num_cores: int | None
  group_size: int | None
  strict_groups: bool
  hidden_size: int | None
  capacity_factor_train: float
  capacity_factor_eval: float
  capacity_factor_infer: float | None
  capacity_rounding: str
  min_expert_capacity: int


def layer_dims(context, x: mtf.Tensor, sizes: Sizes) -> dims_lib.SwitchDims:
  """The layer's dimensions for an input, checked against the mesh.

  Args:
    context: a transformer.Context.
    x: `[batch, ..., d_model]`.
    sizes: of the layer.

  Returns:
    SwitchDims.

  Raises:
    UserError: the sizes do not fit each other or the mesh.
  """
  model = context.model
  batch_dim = next(d for d in x.shape.dims if d.name == "batch")
  outer_batch = _outer_batch(x, batch_dim)
  outer_batch_size = mtf.Shape(outer_batch).size
  parts = outer_batch_size * splits.ways(model, batch_dim)
  num_cores, tokens_per_core, expert_capacity = _groups(
      context,
      x.shape.size // x.shape.dims[-1].size,
      parts,
      outer_batch_size > 1,
      sizes,
  )
  if num_cores % outer_batch_size:
    raise errors.UserError(
        f"num_cores = {num_cores} groups cannot be dealt out to "
        f"outer_batch_size = {outer_batch_size} outer batches; make it a "
        f"multiple of {parts}."
    )
  dims = dims_lib.switch_dims(
      batch_dim.name,
      num_cores // outer_batch_size,
      tokens_per_core,
      sizes.num_experts,
      expert_capacity,
      x.shape.dims[-1],
      outer_batch,
  )
  for dim, what in (
      (dims.num_cores, "num_cores"),
      (dims.num_experts, "num_experts"),
      (mtf.Dimension("d_ff", sizes.hidden_size or 0), "hidden_size"),
  ):
    errors.check_divides(splits.ways(model, dim), dim.size, what)
  if (
      model.mesh_shape is not None
      and splits.ways(model, dims.num_experts) == 1
      and not splits.share_axis(model, dims.num_experts, dims.num_cores)
  ):
    # Every core has all experts: the groups stay where they are.
    dims = dims._replace(num_cores_unsplit=dims.num_cores)
  return dims


def _outer_batch(x: mtf.Tensor, batch_dim) -> list[mtf.Dimension]:
  """The dimensions before the batch; upstream puts one of size 1 there."""
  others = x.shape.dims[: x.shape.dims.index(batch_dim)]
  others = [d for d in others if d.size > 1]
  if any(d.name != "outer_batch" for d in others):
    raise errors.UserError(
        f"SwitchFeedForward does not support {others[0].name} = "
        f"{others[0].size}; leave ensembles off."
    )
  return others


def experts_are_whole(model) -> bool:
  """Whether each core is known to hold all experts whole.

  Never on a TPU, whose shapes are static, while the number of blocks or rows of
  an expert is not.

  Args:
    model: a Unitransformer.
  """
  return splits.are_whole(
      model,
      [mtf.Dimension(dim, 1) for dim in ("experts", "d_ff", "d_model")],
  )


def _groups(
    context,
    num_tokens: int,
    parts: int,
    is_cut: bool,
    sizes: Sizes,
) -> tuple[int, int, int]:
  """The number of groups, the tokens of each, and the slots of an expert.

  Args:
    context: a transformer.Context.
    num_tokens: positions in the batch, padding included.
    parts: how many parts of the batch have cores of their own.
    is_cut: whether the batch is cut into outer batches.
    sizes: of the layer.

  Returns:
    three numbers; of a microbatch, if x is one.

  Raises:
    UserError: the sizes do not fit each other or the mesh.
  """
  infers = context.mode not in EVALUATED_BY_BATCHES
  if infers and sizes.capacity_factor_infer is None:
    # A slot for every token, so that no sequence loses one to its neighbours
    # in the batch.
    errors.check_divides(parts, num_tokens, "the batch size")
    if experts_are_whole(context.model) and not is_cut:
      tokens_per_core = num_tokens // parts  # For blocks, which need no slots.
    else:
      # The tensors of a dispatch have tokens x experts x slots; and a token's
      # place depends on no other token.
      tokens_per_core = 1
    return num_tokens // tokens_per_core, tokens_per_core, tokens_per_core
  num_microbatches = (
      context.num_microbatches if microbatches.batch_is_known(context) else 1
  )
  if infers:  # A step of decoding has few tokens.
    sizes = sizes._replace(strict_groups=False)
  groups = groups_of_batch(
      num_tokens * num_microbatches, num_microbatches, parts, sizes
  )
  if groups is not None:
    num_cores = groups // num_microbatches
  else:
    warnings.warn(
        _own_groups_notice(num_microbatches, parts, sizes),
        errors.UserNotice,
        stacklevel=2,
    )
    num_cores = dims_lib.num_groups(
        num_tokens,
        sizes.num_cores,
        sizes.group_size,
        sizes.strict_groups,
        parts,
    )
  tokens_per_core = num_tokens // num_cores
  capacity = _expert_capacity(tokens_per_core, context, sizes)
  return num_cores, tokens_per_core, capacity


def groups_of_batch(
    num_tokens: int, num_microbatches: int, parts: int, sizes: Sizes
) -> int | None:
  """The number of groups of a batch whose microbatches have whole ones.

  Args:
    num_tokens: positions in the batch, padding included.
    num_microbatches: the microbatches of the batch.
    parts: how many parts of the batch have cores of their own.
    sizes: of the layer.

  Returns:
    the number; None if the microbatches cannot have whole groups.

  Raises:
    UserError: the sizes do not fit each other.
  """
  at_once = num_microbatches * parts
  groups = dims_lib.num_groups(
      num_tokens,
      sizes.num_cores,
      sizes.group_size,
      sizes.strict_groups,
      at_once,
  )
  if num_microbatches > 1 and groups % at_once:
    return None
  return groups


def _own_groups_notice(num_microbatches: int, parts: int, sizes: Sizes) -> str:
  """A note that microbatches make another model."""
  at_once = num_microbatches * parts
  on_parts = f" on each of {parts} parts of the mesh" if parts > 1 else ""
  option = (
      f"num_cores = {sizes.num_cores}"
      if sizes.group_size is None
      else f"group_size = {sizes.group_size}"
  )
  return (
      f"the groups of {option} cannot be dealt out whole to "
      f"{num_microbatches} microbatches{on_parts}, so that each microbatch is "
      "cut into groups of its own; routing differs from that without "
      f"microbatches. A num_cores that is a multiple of {at_once} keeps the "
      "groups, as do fewer microbatches (a greater "
      "serialize_num_microbatches.tokens_per_microbatch_per_replica)."
  )


def _expert_capacity(tokens_per_core: int, context, sizes: Sizes) -> int:
  """The slots of an expert; warns if they are not what was asked for."""
  min_expert_capacity = sizes.min_expert_capacity
  if context.train:
    capacity_factor = sizes.capacity_factor_train
  elif context.mode in EVALUATED_BY_BATCHES:
    capacity_factor = sizes.capacity_factor_eval
  else:
    capacity_factor = sizes.capacity_factor_infer
    min_expert_capacity = max(1, min_expert_capacity)
  expert_capacity = dims_lib.expert_capacity(
      tokens_per_core,
      sizes.num_experts,
      capacity_factor,
      sizes.capacity_rounding,
      min_expert_capacity,
  )
  warning = dims_lib.capacity_warning(
      tokens_per_core, sizes.num_experts, capacity_factor, expert_capacity
  )
  if warning:
    warnings.warn(warning, errors.UserNotice, stacklevel=2)
  return expert_capacity
