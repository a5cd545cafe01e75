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

"""What the layers tell the model function, without knowing who listens."""

import contextlib

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.layer import routing as routing_lib

_collectors = []


@contextlib.contextmanager
def collecting():
  """Collects what `add` is given while the context is open.

  Yields:
    a dict from name to a float32 `mtf.Tensor`. All of them are sums, so that
    those of several layers, microbatches or batches add up.
  """
  collected = {}
  _collectors.append(collected)
  try:
    yield collected
  finally:
    _collectors.pop()


@contextlib.contextmanager
def collecting_apart():
  """Collects apart from the open collection, or nothing where none is open.

  Yields:
    a dict as from `collecting`.
  """
  if not _collectors:
    yield {}
    return
  with collecting() as collected:
    yield collected


def add(name: str, value: mtf.Tensor):
  """Adds a value to the open collection; does nothing where none is open.

  Args:
    name: what is counted, for example "dropped_tokens".
    value: a float32 tensor; values of one name are added.
  """
  if _collectors:
    collected = _collectors[-1]
    collected[name] = collected[name] + value if name in collected else value


def loss_dtype(context) -> tf.DType:
  """Of the losses that are trained: float32, or what upstream's programs add.

  Args:
    context: a transformer.Context.

  Returns:
    float32 where someone collects; the activations' dtype elsewhere.
  """
  return tf.float32 if _collectors else context.activation_dtype


def add_loss(context, loss: mtf.Tensor):
  """Adds a loss to those that are trained, in float32 where someone collects.

  Elsewhere it goes to context.losses.

  Args:
    context: a transformer.Context.
    loss: a float32 scalar.
  """
  if _collectors:
    add("router_loss", loss)
  else:
    context.losses.append(mtf.cast(loss, loss_dtype(context)))


def add_routing(
    layer: str,
    routing: routing_lib.Routing,
    aux_loss: mtf.Tensor,
    z_loss: mtf.Tensor,
):
  """Adds what a layer's router did, over real tokens; see figures.

  Nothing is computed where no collection is open. The number of tensors does
  not depend on the number of experts.

  Args:
    layer: the layer's name.
    routing: the router's decisions.
    aux_loss: the load-balance loss as it is trained, a scalar.
    z_loss: the router z-loss as it is trained, a scalar.
  """
  if not _collectors:
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
      "aux_loss": aux_loss,
      "z_loss": z_loss,
  }
  for name, value in sums.items():
    add(f"{layer}/{name}", mtf.cast(value, tf.float32))
