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


"""The choice of the strategy that moves tokens to their experts."""

import math

import mesh_tensorflow as mtf

from mtf_switch import errors
from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import dispatch
from mtf_switch.mesh import splits
from mtf_switch.transformer import sizes

BY_NAME = {
    "ragged": dispatch.RaggedDispatcher,
    "index": dispatch.IndexDispatcher,
    "einsum": dispatch.EinsumDispatcher,
}
# Of an expert on a core, on average: with fewer rows, or fewer multiplications
# of them with one of its matrices, one product of all experts' slots is faster
# than one product each without empty slots (docs/what_was_tried.md).
_RAGGED_ROWS = 32
_RAGGED_MULTIPLICATIONS = 10_000_000
# For no more choices of a group's tokens than there are experts, but always for
# the first number and never for more than the second, a product for each is
# faster than finding those of an expert.
_FEW_CHOICES = (32, 64)


def dispatcher_class(
    name: str | None,
    context,
    dims: dims_lib.SwitchDims,
    num_choices: int,
    hidden_size: int | None,
) -> type[dispatch.Dispatcher]:
  """Returns the strategy for a layer on a mesh.

  Args:
    name: one of BY_NAME, or None for the fastest that works there.
    context: a transformer.Context.
    dims: the layer's dimensions.
    num_choices: the experts of a token.
    hidden_size: d_ff of each expert; None for linear experts.

  Raises:
    UserError: the named one does not fit the mesh.
  """
  model = context.model
  # Elsewhere experts or their sums are spread over cores, which exchange slots:
  # as many for each expert and group, whoever fills them.
  can_be_ragged = sizes.experts_are_whole(model)
  if (
      context.mode not in sizes.EVALUATED_BY_BATCHES
      and can_be_ragged
      and not dims.outer_batch
      # Nothing can be dropped.
      and dims.expert_capacity.size == dims.tokens_per_core.size
  ):
    at_least, at_most = _FEW_CHOICES
    few = min(max(at_least, dims.num_experts.size), at_most)
    if dims.tokens_per_core.size * num_choices <= few:
      return dispatch.TokenDispatcher
    return dispatch.BlockDispatcher
  if name == "ragged" and not can_be_ragged:
    raise errors.UserError(
        "SwitchFeedForward.dispatch = 'ragged' needs a mesh that splits "
        "neither experts nor d_ff nor d_model, and no TPU; use 'index'."
    )
  if name:
    return BY_NAME[name]
  if splits.is_on_tpu():
    return dispatch.EinsumDispatcher
  num_tokens = mtf.Shape(dims.groups + [dims.tokens_per_core]).size
  num_cores = math.prod(splits.ways(model, dim) for dim in dims.groups)
  rows = num_tokens / num_cores / dims.num_experts.size
  d_model = dims.d_model.size
  multiplications = rows * d_model * (hidden_size or d_model)
  is_ragged_faster = (
      rows >= _RAGGED_ROWS and multiplications >= _RAGGED_MULTIPLICATIONS
  )
  if can_be_ragged and is_ragged_faster:
    return dispatch.RaggedDispatcher
  return dispatch.IndexDispatcher
