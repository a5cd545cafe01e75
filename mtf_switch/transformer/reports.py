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

"""Reports: sums that a model's layers give beside their outputs.

The collector of a call is an attribute of the Unitransformers that layers know
as `context.model`, so that the reports of two models never mix. Without one, as
in upstream's own programs, layers compute nothing extra.
"""

from collections.abc import Iterator
import contextlib
from typing import Any, NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.layer import routing as routing_lib


class LayerRouting(NamedTuple):
  """The decisions of a layer's router, for each token.

  Attributes:
    layer: the layer's name.
    part: the Unitransformer that the layer belongs to.
    is_of_memory: whether the tokens are those of the encoder's output, in a
      layer of the decoder.
    places: `[batch, length]`, the dimensions that the groups are cut from.
    routing: the router's decisions.
  """

  layer: str
  part: Any
  is_of_memory: bool
  places: mtf.Shape
  routing: routing_lib.Routing


def unitransformers(model) -> list:
  """Returns the Unitransformers of a model, the encoder first.

  Args:
    model: a Bitransformer or Unitransformer.
  """
  if hasattr(model, "encoder"):
    return [model.encoder, model.decoder]
  return [model]


@contextlib.contextmanager
def collecting(model) -> Iterator[dict[str, mtf.Tensor]]:
  """Collects the reports of a model's layers while the context is open.

  Args:
    model: a Bitransformer or Unitransformer.

  Yields:
    a dict from name to a float32 mtf.Tensor. All of them are sums, so that
    those of several layers, microbatches or batches add up.
  """
  collected = {}
  parts = unitransformers(model)
  outer = [_collector(part) for part in parts]
  for part in parts:
    part.reports = collected
  try:
    yield collected
  finally:
    for part, collector in zip(parts, outer):
      part.reports = collector


@contextlib.contextmanager
def collecting_apart(model) -> Iterator[dict[str, mtf.Tensor]]:
  """Collects apart from the model's collector, or nothing if there is none.

  Args:
    model: a Unitransformer, as in Context.model.

  Yields:
    a dict as from `collecting`.
  """
  if not are_collected(model):
    yield {}
    return
  with collecting(model) as collected:
    yield collected


def are_collected(model) -> bool:
  """Whether a call of the model collects its layers' reports.

  Args:
    model: a Unitransformer, as in Context.model.
  """
  return _collector(model) is not None


def add(model, name: str, value: mtf.Tensor):
  """Adds to a sum of the model's collector; does nothing if there is none.

  Args:
    model: a Unitransformer, as in Context.model.
    name: the name of the sum, for example "target_tokens".
    value: a float32 tensor; values of one name are added.
  """
  collected = _collector(model)
  if collected is not None:
    collected[name] = collected[name] + value if name in collected else value


def add_routing(
    model,
    layer: str,
    routing: routing_lib.Routing,
    slots: int,
    aux_loss: mtf.Tensor,
    z_loss: mtf.Tensor,
):
  """Reports a router's decisions on real tokens; see training/figures.py.

  Computes nothing if nothing is collected. The number of tensors does not
  depend on the number of experts.

  Args:
    model: a Unitransformer, as in Context.model.
    layer: the layer's name.
    routing: the router's decisions.
    slots: of an expert, in all groups together.
    aux_loss: the load-balance loss, coefficient included, a scalar.
    z_loss: the router z-loss, coefficient included, a scalar.
  """
  if not are_collected(model):
    return
  probs = mtf.stop_gradient(routing.router_probs)
  experts = probs.shape.dims[-1]
  entropy = -mtf.reduce_sum(probs * mtf.log(probs + 1e-9), reduced_dim=experts)
  # [num_cores, tokens_per_core, choices, num_experts]
  requests = mtf.one_hot(routing.expert_index, experts, dtype=probs.dtype)
  sums = {
      "tokens": mtf.reduce_sum(routing.nonpadding),
      "routed": mtf.reduce_sum(routing.routed),
      "dropped": mtf.reduce_sum(routing.routed - routing.kept),
      "entropy": mtf.reduce_sum(entropy * routing.nonpadding),
      "gate": mtf.einsum([probs, requests, routing.routed], output_shape=[]),
      "expert_load": mtf.einsum(
          [requests, routing.routed], output_shape=[experts]
      ),
      "slots": mtf.constant(probs.mesh, slots, dtype=tf.float32),
      "aux_loss": aux_loss,
      "z_loss": z_loss,
  }
  for name, value in sums.items():
    add(model, f"{layer}/{name}", mtf.cast(value, tf.float32))


def add_drops(context, routing: routing_lib.Routing):
  """Reports how many choices of real tokens found no slot, in inference.

  The sums, over all layers, are "<mode>/routed" and "<mode>/dropped". Decoding
  has three modes: "infer" (the encoder), "first_part" (the text that is to be
  continued) and "incremental" (a step of the loop, where nothing outside can
  read them; see training/inference.py).

  Args:
    context: the layer's transformer.Context.
    routing: the router's decisions.
  """
  if not are_collected(context.model):
    return
  for name, value in (
      ("routed", routing.routed),
      ("dropped", routing.routed - routing.kept),
  ):
    total = mtf.cast(mtf.reduce_sum(value), tf.float32)
    add(context.model, f"{context.mode}/{name}", total)


@contextlib.contextmanager
def collecting_routings(model) -> Iterator[list[LayerRouting]]:
  """Collects the decisions of a model's routers while the context is open.

  They are tensors that the layers have anyway. None may be inside of a loop, or
  of a function that is recomputed.

  Args:
    model: a Bitransformer or Unitransformer.

  Yields:
    a list, which has one for each Switch layer of a call, in its order.
  """
  collected = []
  parts = unitransformers(model)
  for part in parts:
    part.routings = collected
  try:
    yield collected
  finally:
    for part in parts:
      del part.routings


def add_layer_routing(
    context, layer: str, x: mtf.Tensor, routing: routing_lib.Routing
):
  """Hands out a router's decisions; does nothing if nobody collects them.

  Args:
    context: the layer's transformer.Context.
    layer: the layer's name.
    x: `[batch, ..., d_model]`, the layer's input.
    routing: the router's decisions.
  """
  collected = getattr(context.model, "routings", None)
  if collected is None:
    return
  collected.append(
      LayerRouting(
          layer,
          context.model,
          x is context.encoder_output,
          mtf.Shape(x.shape.dims[:-1]),
          routing,
      )
  )


def _collector(unitransformer) -> dict[str, mtf.Tensor] | None:
  return getattr(unitransformer, "reports", None)
