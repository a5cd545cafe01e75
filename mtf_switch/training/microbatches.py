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

"""Microbatches: the parts of a batch that follow one another in a step."""

from collections.abc import Callable, Iterator, Mapping
import math

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer_layers
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import draws
from mtf_switch.mesh import splits
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import microbatches
from mtf_switch.transformer import reports
from mtf_switch.transformer import sizes as sizes_lib


def sums(
    fn: Callable[[Mapping[str, mtf.Tensor]], Mapping[str, mtf.Tensor]],
    features: Mapping[str, mtf.Tensor],
    num_microbatches: int,
    rows_together: int,
) -> dict[str, mtf.Tensor]:
  """The sums over the microbatches of what a function computes of each.

  Upstream's `serialize_training_step` deals out single rows, so that a group of
  tokens that compete for slots gets others in a microbatch; and it can do no
  pass without gradients.

  Args:
    fn: from the features of a microbatch to tensors by name.
    features: int32 `[batch, length]` or `[outer_batch, batch, length]` by name.
    num_microbatches: the microbatches, computed one after the other.
    rows_together: how many neighbouring rows a microbatch gets or does not get
      as a whole. Each core has rows of every microbatch.

  Returns:
    tensors by name.
  """
  batch = features["targets"].shape.dims[-2]
  rows = batch.size // num_microbatches
  microbatch = mtf.Dimension("microbatch", num_microbatches)
  together = mtf.Dimension("rows_together", rows_together)
  blocks = mtf.Dimension(batch.name, rows // rows_together)
  names = []

  def select(x, index):
    x = mtf.replace_dimensions(x, batch, [blocks, microbatch, together])
    x = mtf.gather(x, index, microbatch)
    return mtf.replace_dimensions(
        x, [blocks, together], mtf.Dimension(batch.name, rows)
    )

  def body(index):
    outputs = fn({name: select(x, index) for name, x in features.items()})
    names.extend(outputs)
    return [index + 1, *outputs.values()]

  _, *totals = mtf.while_loop(
      lambda index: mtf.less(index, num_microbatches),
      body,
      [mtf.constant(features["targets"].mesh, 0, dtype=tf.int32)],
      has_accumulators=True,
  )
  return dict(zip(names, totals))


def first_choices(
    model,
    features: Mapping[str, mtf.Tensor],
    variable_dtype: mtf.VariableDType,
    num_microbatches: int,
    rows_together: int,
) -> dict[str, mtf.Tensor]:
  """Counts the first choices of a batch, which microbatches need to know.

  A forward pass with the noise of the pass that trains. It is left out if no
  load-balance loss is over the batch.

  Args:
    model: a Bitransformer or Unitransformer.
    features: as for `sums`.
    variable_dtype: dtypes of the variables.
    num_microbatches: as for `sums`.
    rows_together: as for `sums`.

  Returns:
    `[num_experts]` int32 by the layer's name.
  """
  if not any(
      switch.aux_loss_coefficient and switch.router.loss_scope == "batch"
      for switch in feed_forward.switches(model)
  ):
    return {}
  suffix = f"/{microbatches.FIRST_CHOICES}"

  def of_microbatch(part):
    _, collected = loss_lib.loss_and_sums(
        model,
        part,
        tf.estimator.ModeKeys.TRAIN,
        variable_dtype,
        num_microbatches,
    )
    return {
        name.removesuffix(suffix): x
        for name, x in collected.items()
        if name.endswith(suffix)
    }

  mesh = features["targets"].mesh
  with (
      draws.rehearsal(mesh),
      microbatches.part_of(model, features, first_choices=None),
  ):
    counts = sums(of_microbatch, features, num_microbatches, rows_together)
  # Integers are no inputs that a layer which is recomputed has gradients of.
  return {name: mtf.cast(x, tf.int32) for name, x in counts.items()}


def rows_together(
    model, shapes: Mapping[str, mtf.Shape], num_microbatches: int
) -> int:
  """The least number of neighbouring rows that hold whole groups only.

  Groups that microbatches cannot have whole do not count.

  Args:
    model: a Bitransformer or Unitransformer.
    shapes: [batch, length] or [outer_batch, batch, length] by feature.
    num_microbatches: the microbatches of the batch.

  Returns:
    a divisor of the rows that a microbatch has on each core; 1 without Switch
    layers.

  Raises:
    UserError: the sizes of a layer do not fit each other.
  """
  *outer_batch, batch, _ = shapes["targets"].dims
  outer_batch_size = mtf.Shape(outer_batch).size
  shared = batch.size
  for part, switch, feature in _routed_features(model):
    groups = sizes_lib.groups_of_batch(
        shapes[feature].size,
        num_microbatches,
        outer_batch_size * splits.ways(part, batch),
        switch.sizes,
    )
    if groups is not None:
      # Both cut the rows of an outer batch into as many equal parts.
      shared = math.gcd(shared, groups // outer_batch_size)
  return batch.size // shared


def _routed_features(model) -> Iterator[tuple]:
  """Yields each Switch layer's Unitransformer, the layer and its feature."""
  *encoder, decoder = reports.unitransformers(model)
  for part in (*encoder, decoder):
    for layer in part.layer_stack.layers:
      for index, switch in enumerate(getattr(layer, "switches", [layer])):
        if not isinstance(switch, feed_forward.SwitchFeedForward):
          continue
        of_memory = index and isinstance(
            layer, transformer_layers.EncDecAttention
        )
        yield (
            part,
            switch,
            "targets" if part is decoder and not of_memory else "inputs",
        )
