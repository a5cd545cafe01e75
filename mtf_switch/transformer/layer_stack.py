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

"""Layer stacks in few passes, whose recomputation keeps the router's losses."""

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import moe
from mesh_tensorflow.transformer import transformer
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.transformer import reports
from mtf_switch.transformer import sublayers


def recompute_gradients(model):
  """Has a model's stacks recompute activations in the backward pass.

  Args:
    model: a Bitransformer or Unitransformer, before it is called.
  """
  for stack in stacks(model):
    if isinstance(stack, SwitchLayerStack):
      stack.recompute = True
    else:
      stack._recompute_grads = True  # pylint: disable=protected-access


def recomputes_gradients(model) -> bool:
  """Whether all stacks of a model recompute activations.

  Args:
    model: a Bitransformer or Unitransformer.
  """
  return all(
      # pylint: disable-next=protected-access
      getattr(stack, "recompute", False) or stack._recompute_grads
      for stack in stacks(model)
  )


def check_recomputation(model):
  """Refuses to recompute upstream's experts, whose losses would be lost.

  Args:
    model: a Bitransformer or Unitransformer.

  Raises:
    UserError: a stack with such a layer recomputes activations.
  """
  if has_upstream_experts(model) and any(
      # pylint: disable-next=protected-access
      getattr(stack, "recompute", False) or stack._recompute_grads
      for stack in stacks(model)
  ):
    raise errors.UserError(
        "LayerStack.recompute_grads loses the auxiliary loss of MoE1D; leave "
        "it out, or use SwitchFeedForward with SwitchLayerStack."
    )


def has_upstream_experts(model) -> bool:
  """Whether a model has expert layers of Mesh TensorFlow's own.

  Args:
    model: a Bitransformer or Unitransformer.
  """
  return any(
      isinstance(layer, (moe.MoE1D, moe.MoE2D))
      for part in reports.unitransformers(model)
      # A user's own model may have no stack.
      for layer in getattr(getattr(part, "layer_stack", None), "layers", ())
  )


def stacks(model) -> list[transformer.LayerStack]:
  """Returns the layer stacks of a model, the encoder's first.

  Args:
    model: a Bitransformer or Unitransformer.
  """
  return [x.layer_stack for x in reports.unitransformers(model)]


@gin.configurable(module="mtf_switch.layers")
class SwitchLayerStack(transformer.LayerStack):
  """Upstream's LayerStack, whose recomputation keeps the router's losses.

  Masks of padding, norms and the activations of dense layers pass fewer times
  over tensors than upstream's (sublayers.py).

  Upstream's recomputed layer returns its output alone; losses that the layer
  appends to the context are then out of the gradient's reach, which is an
  error. Here the layer's losses and reports are outputs of the recomputed
  function too. Upstream also recomputes where nothing is trained, and decoding
  then fails, because it keeps tensors of the encoder's attention.
  """

  def __init__(self, layers, **kwargs):
    """Creates the stack; its options are LayerStack's, by gin too.

    Args:
      layers: a list of TransformerLayer.
      **kwargs: LayerStack's other arguments.
    """
    super().__init__(layers, **kwargs)
    # _layer_fn recomputes, so that upstream's call must not.
    self.recompute, self._recompute_grads = self._recompute_grads, False

  def call(self, context, x):
    """As upstream's, which masks the results by a product.

    Args:
      context: a transformer.Context.
      x: `[batch, ..., d_model]`.

    Returns:
      as x.
    """
    x = self._call_sublayers(self._sublayers_initial, x, context)
    for layer in self._layers:
      context.layer_outputs.append(x)
      with tf.variable_scope(layer.name or ""):
        x = self._layer_fn(x, layer, context)
      context.layer_index += 1
    x = self._call_sublayers(self._sublayers_final, x, context)
    x = sublayers.mask_padding(x, self, context)
    context.layer_outputs.append(x)
    return x

  def _call_sublayers(self, sublayers_, x, context):
    """Calls sublayers one after the other, in the form with fewer passes."""
    return super()._call_sublayers(
        [sublayers.replacement_of(s) for s in sublayers_], x, context
    )

  def _layer_fn(self, x, layer, context):
    """Calls a layer and the sublayers around it.

    Args:
      x: a Tensor.
      layer: a TransformerLayer.
      context: a transformer.Context.

    Returns:
      a Tensor.
    """
    if not self.recompute or not context.train:
      return super()._layer_fn(x, layer, context)
    outer_losses = context.losses
    names = []

    def recomputed(x):
      context.losses = None if outer_losses is None else []
      with reports.collecting_apart(context.model) as collected:
        y = super(SwitchLayerStack, self)._layer_fn(x, layer, context)
      names.extend(collected)
      return (y, *collected.values(), *(context.losses or ()))

    y, *others = mtf.recompute_grad(recomputed, [x])
    context.losses = outer_losses
    for name, value in zip(names, others):
      reports.add(context.model, name, value)
    if outer_losses is not None:
      outer_losses.extend(others[len(names) :])
    return y
