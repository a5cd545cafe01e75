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

"""What the layers of a microbatch know of the batch that it is a part of.

A load-balance loss over the batch, and means over its tokens, are no sums of
what microbatches can compute alone. The batch of a call is an attribute of the
Unitransformers that layers know as `context.model`, as in `reports`.
"""

from collections.abc import Iterator, Mapping
import contextlib
from typing import NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import losses
from mtf_switch.layer import routing as routing_lib
from mtf_switch.transformer import reports

FIRST_CHOICES = "first_choices"


class _Batch(NamedTuple):
  """A batch as one of a model's stacks sees it.

  Attributes:
    tokens: int32 `[batch, length]`, 0 where there is padding.
    memory_tokens: the same of the encoder's output.
    first_choices: as for `part_of`.
  """

  tokens: mtf.Tensor
  memory_tokens: mtf.Tensor | None
  first_choices: Mapping[str, mtf.Tensor] | None


@contextlib.contextmanager
def part_of(
    model,
    features: Mapping[str, mtf.Tensor],
    first_choices: Mapping[str, mtf.Tensor] | None,
) -> Iterator[None]:
  """Has the calls of a model be those of a batch's microbatches.

  Args:
    model: a Bitransformer or Unitransformer.
    features: int32 `[batch, length]` by name, of the whole batch.
    first_choices: by the layer's name, `[num_experts]` int32, the batch's
      tokens that choose each expert first; None to have the layers report those
      of a microbatch, as "<layer>/first_choices".
  """
  tokens = {
      name: features.get(f"{name}_segmentation", features.get(name))
      for name in ("inputs", "targets")
  }
  *encoder, decoder = reports.unitransformers(model)
  decoder.microbatch_of = _Batch(
      tokens["targets"], tokens["inputs"], first_choices
  )
  for part in encoder:
    part.microbatch_of = _Batch(tokens["inputs"], None, first_choices)
  try:
    yield
  finally:
    for part in (*encoder, decoder):
      part.microbatch_of = None


def counts(
    context,
    layer: str,
    x: mtf.Tensor,
    has_padding: bool,
    dims: dims_lib.SwitchDims,
) -> losses.Counts | None:
  """Returns the counts of a layer's batch; None if there is none known.

  Args:
    context: the layer's transformer.Context.
    layer: the layer's name.
    x: its input, of a microbatch.
    has_padding: whether some of its positions may be padding.
    dims: its dimensions, of a microbatch.
  """
  batch = _batch(context)
  if batch is None:
    return None
  first_choices = (batch.first_choices or {}).get(layer)
  *outer_batch, num_cores = dims.groups
  groups = mtf.Shape(
      [
          *outer_batch,
          num_cores._replace(size=num_cores.size * context.num_microbatches),
      ]
  )
  if not has_padding:
    num_tokens = groups.size * dims.tokens_per_core.size
    return losses.Counts(
        mtf.constant(x.mesh, float(num_tokens)),
        mtf.constant(x.mesh, float(groups.size)),
        first_choices,
    )
  tokens = batch.tokens
  if x is context.encoder_output:
    tokens = batch.memory_tokens
  real = mtf.cast(
      mtf.not_equal(mtf.reshape(tokens, groups + [dims.tokens_per_core]), 0),
      tf.float32,
  )
  tokens_of_group = mtf.reduce_sum(real, output_shape=groups)
  return losses.Counts(
      mtf.reduce_sum(tokens_of_group),
      mtf.reduce_sum(mtf.cast(mtf.greater(tokens_of_group, 0.0), tf.float32)),
      first_choices,
  )


def batch_is_known(context) -> bool:
  """Whether a microbatch has groups of its batch, and shares of its losses.

  Otherwise, as in upstream's own programs, it is cut into groups of its own,
  and the losses are means of those of the microbatches.

  Args:
    context: a layer's transformer.Context.
  """
  return _batch(context) is not None


def report_first_choices(context, layer: str, routing: routing_lib.Routing):
  """Reports a layer's first choices, where they are being counted.

  Args:
    context: the layer's transformer.Context.
    layer: the layer's name.
    routing: the router's decisions.
  """
  batch = _batch(context)
  if batch is None or batch.first_choices is not None:
    return
  experts = routing.router_probs.shape.dims[-1]
  chosen = mtf.one_hot(routing.first_choice, experts) * routing.nonpadding
  reports.add(
      context.model,
      f"{layer}/{FIRST_CHOICES}",
      mtf.reduce_sum(chosen, output_shape=[experts]),
  )


def _batch(context) -> _Batch | None:
  return getattr(context.model, "microbatch_of", None)
