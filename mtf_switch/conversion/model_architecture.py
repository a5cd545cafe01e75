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

"""The architecture of a model that gin has described."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mesh_tensorflow.transformer import transformer
from mesh_tensorflow.transformer import transformer_layers

from mtf_switch import errors
from mtf_switch.conversion import architecture as architecture_lib
from mtf_switch.layer import router as router_lib
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import layer_stack

# The sublayers of T5, those of dropout apart, which act in training only.
_SUBLAYERS = {
    "_sublayers_initial": [],
    "_sublayers_per_layer": [
        "sublayer_rms_norm",
        "sublayer_call_layer",
        "sublayer_residual",
    ],
    "_sublayers_final": ["sublayer_rms_norm"],
}
_DROPOUT = "sublayer_dropout"
# Options of layers that decide a model's function, with T5's values.
_ATTENTION = {
    "num_memory_heads": 0,
    "shared_kv": False,
    "attention_kwargs": {},
    "attention_func": None,
    "fold_scaling_into_initializer": True,
    "use_hyperprompt": False,
    "hyperprompt_length_encoder": None,
    "hyperprompt_length_decoder": None,
}
_POSITIONS = {"SelfAttention": "bias_shared", "EncDecAttention": None}


class Program(NamedTuple):
  """Another program whose models are converted.

  Attributes:
    models: what its models are called.
    has_gated_experts: whether experts can have GEGLU there.
  """

  models: str
  has_gated_experts: bool


HUGGING_FACE = Program("Hugging Face's T5 and SwitchTransformers", False)
T5X = Program("T5X's T5 and flaxformer's Switch Transformers", True)


class _OnlyHere(Exception):
  """Something that no other program's models have, in words."""


def architecture(
    model, norm_epsilon: float, other: Program
) -> architecture_lib.Architecture:
  """Returns the architecture of a model, which another program can have too.

  Args:
    model: a Bitransformer.
    norm_epsilon: transformer.sublayer_rms_norm.epsilon.
    other: the other program.

  Raises:
    UserError: names what the other program's models do not have.
  """
  try:
    found = _architecture(model, norm_epsilon)
    activation = " x ".join(found.activation)
    is_gated = len(found.activation) > 1
    if found.has_experts and is_gated and not other.has_gated_experts:
      _refuse(f"{activation} in experts (GEGLU)")
  except _OnlyHere as error:
    raise errors.UserError(
        f"the model has {error}, which {other.models} do not have."
    ) from error
  return found


def _architecture(model, norm_epsilon: float) -> architecture_lib.Architecture:
  """The architecture of a model; _OnlyHere where it is not T5's."""
  if not isinstance(model, transformer.Bitransformer):
    _refuse('a decoder alone (an "lm")')
  stacks, sizes = {}, {}
  for name in architecture_lib.STACKS:
    part = getattr(model, name)
    _check_part(part, name)
    stacks[name] = _stack(part.layer_stack, name, sizes)
  decoder = model.decoder
  rows = {x.input_vocab_dim.size for x in (model.encoder, decoder)}
  if rows != {decoder.output_vocab_dim.size} or not model.shared_embedding:
    _refuse("other vocabularies or embeddings in encoder and decoder")
  return architecture_lib.Architecture(
      **stacks,
      **{"num_experts": 0, **sizes},
      d_model=decoder.model_dim.size,
      vocab_rows=decoder.output_vocab_dim.size,
      is_tied=decoder.shared_embedding_and_softmax_weights,
      norm_epsilon=norm_epsilon,
  )


def _check_part(part, name: str):
  """Refuses what is not T5's around the layers of an encoder or a decoder."""
  if part.positional_embedding or part.sinusoid_positional_embedding:
    _refuse(f"positional embeddings in the {name}")
  if part.ensemble_dim:
    _refuse("an ensemble")
  for attribute, expected in _SUBLAYERS.items():
    sublayers = getattr(part.layer_stack, attribute) or []
    found = [x.__name__ for x in sublayers if x.__name__ != _DROPOUT]
    if found != expected:
      _refuse(
          f"the sublayers {', '.join(found)} in the {name} (LayerStack."
          f"{attribute.removeprefix('_')})"
      )


def _stack(stack, name: str, sizes: dict[str, Any]) -> architecture_lib.Stack:
  """The layers of a stack; adds the sizes of its layers to those so far."""
  attention = [
      kind
      for kind in ("SelfAttention", "EncDecAttention")
      if kind == "SelfAttention" or name == "decoder"
  ]
  layers = list(stack.layers)
  width = len(attention) + 1
  is_sparse = []
  for start in range(0, len(layers), width):
    group = layers[start : start + width]
    found = [type(x).__name__ for x in group]
    if found[:-1] != attention or not isinstance(
        group[-1],
        (transformer_layers.DenseReluDense, feed_forward.SwitchFeedForward),
    ):
      _refuse(
          f"{', '.join(found)} as a layer of the {name}, for "
          f"{', '.join(attention)} and a feed-forward network"
      )
    for layer in group[:-1]:
      _check_attention(layer, sizes)
    is_sparse.append(_check_feed_forward(group[-1], sizes))
  in_block = sum(x.name.startswith("block_000/") for x in layers)
  return architecture_lib.Stack(tuple(is_sparse), in_block // width)


def _check_attention(layer, sizes: dict[str, Any]):
  """Refuses attention that is not T5's."""
  kind = type(layer).__name__
  for option, expected in _ATTENTION.items():
    if getattr(layer, option) != expected:
      _refuse(f"{kind}.{option} = {getattr(layer, option)!r}")
  if layer.relative_attention_type != _POSITIONS[kind]:
    _refuse(
        f"{kind}.relative_attention_type = {layer.relative_attention_type!r}"
    )
  _add(sizes, "num_heads", layer.num_heads)
  _add(sizes, "d_kv", layer.key_value_size)
  if layer.relative_attention_type:
    _add(sizes, "num_buckets", layer.relative_attention_num_buckets)


def _check_feed_forward(layer, sizes: dict[str, Any]) -> bool:
  """Refuses networks of other models; returns whether it has experts."""
  activation = layer.activation
  if not isinstance(activation, (list, tuple)):
    activation = [activation]
  if not all(isinstance(x, str) for x in activation):
    _refuse("an activation that is a function of your own")
  is_sparse = isinstance(layer, feed_forward.SwitchFeedForward)
  if is_sparse:
    router = type(layer.router)
    if not issubclass(router, router_lib.SwitchRouter):
      _refuse(f"the router {router.__name__}, for the top 1 of SwitchRouter")
    if layer.hidden_size is None:
      _refuse("linear experts (SwitchFeedForward.hidden_size = None)")
    _add(sizes, "num_experts", layer.num_experts)
  elif layer.use_bias:
    _refuse("DenseReluDense.use_bias = True")
  _add(sizes, "activation", tuple(activation))
  _add(sizes, "d_ff", layer.hidden_size)
  return is_sparse


def _add(sizes: dict[str, Any], name: str, value: Any):
  """Notes a size, which must be the same in all layers."""
  if sizes.setdefault(name, value) != value:
    _refuse(f"layers with {name} = {sizes[name]!r} and others with {value!r}")


def _refuse(what: str):
  """Ends a conversion."""
  raise _OnlyHere(what)


def options(model) -> dict[str, Any]:
  """Returns what config.json says beside the architecture.

  Args:
    model: of `architecture`.
  """
  found = {}
  for layer in _feed_forwards(model):
    found["dropout_rate"] = getattr(
        layer, "dropout_rate", found.get("dropout_rate", 0.0)
    )
  for switch in feed_forward.switches(model):
    router = switch.router
    is_jitter = router.exploration == "input_jitter"
    found |= {
        "router_aux_loss_coef": switch.aux_loss_coefficient,
        "router_z_loss_coef": switch.z_loss_coefficient,
        "router_jitter_noise": router.jitter if is_jitter else 0.0,
        "router_dtype": router.dtype,
    }
  return found


def _feed_forwards(model) -> Sequence[Any]:
  """The dense feed-forward networks of a model."""
  return [
      layer
      for stack in layer_stack.stacks(model)
      for layer in stack.layers
      if isinstance(layer, transformer_layers.DenseReluDense)
  ]
