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

"""config.json of a Hugging Face directory, and the model that it describes."""

from collections.abc import Mapping
import json
import os
from typing import Any

import numpy as np

from mtf_switch import errors
from mtf_switch.conversion import architecture as architecture_lib

NAME = "config.json"

# By model_type: the class that has weights of its kind. ByT5 is a T5.
_CLASSES = {
    "t5": "T5ForConditionalGeneration",
    "mt5": "MT5ForConditionalGeneration",
    "switch_transformers": "SwitchTransformersForConditionalGeneration",
}
# Hugging Face's names of activations, and what Mesh TensorFlow multiplies. Its
# "gelu" alone is the exact one, which Mesh TensorFlow lacks.
_ACTIVATIONS = {
    "relu": ("relu",),
    "gelu_new": ("gelu",),
    "silu": ("swish",),
    "gated-relu": ("relu", "linear"),
    "gated-gelu": ("gelu", "linear"),
    "gated-silu": ("swish", "linear"),
}
# What both sides hold fixed.
_FIXED = {
    "relative_attention_max_distance": 128,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "is_encoder_decoder": True,
}


def read(directory: str) -> dict[str, Any]:
  """Returns the content of config.json.

  Args:
    directory: Hugging Face's.

  Raises:
    UserError: there is none, or it is of a model that is not converted.
  """
  path = os.path.join(directory, NAME)
  try:
    with open(path, encoding="utf-8") as file:
      config = json.load(file)
  except FileNotFoundError as error:
    raise errors.UserError(
        f"{path} is missing, which says what the model is; name a directory "
        "that save_pretrained has written, or that was downloaded whole."
    ) from error
  except (ValueError, RecursionError) as error:
    raise errors.UserError(f"{path} is not JSON ({error}).") from error
  kind = config.get("model_type") if isinstance(config, dict) else None
  if kind not in _CLASSES:
    raise errors.UserError(
        f"{path} has model_type = {errors.shown(repr(kind))}; what is converted"
        f" is {', '.join(_CLASSES)} (ByT5 is a t5)."
    )
  return config


def architecture(
    config: Mapping[str, Any], has_softmax: bool, where: str
) -> architecture_lib.Architecture:
  """Returns the model that a config.json describes.

  Args:
    config: of `read`.
    has_softmax: whether the weights have lm_head.weight, other than the
      embedding: in T5's models config.json does not say it.
    where: the file, for messages.

  Raises:
    UserError: names what Mesh TensorFlow cannot do, or what is missing.
  """
  is_switch = config["model_type"] == "switch_transformers"
  for name, value in _FIXED.items():
    if config.get(name, value) != value:
      raise errors.UserError(
          f"{where} has {name} = {errors.shown(repr(config[name]))}, and "
          f"Mesh TensorFlow's models have {value!r}."
      )
  if config.get("router_bias"):
    raise errors.UserError(
        f"{where} has router_bias = true, and routers have no bias here."
    )
  _check_softmax(config, has_softmax, where)
  num_layers = _count(config, "num_layers", where)
  layers = {"encoder": num_layers, "decoder": num_layers}
  if config.get("num_decoder_layers") is not None:
    layers["decoder"] = _count(config, "num_decoder_layers", where)
  stacks = {}
  for name, size in layers.items():
    step = _sparse_step(config, name, size, where) if is_switch else 0
    stacks[name] = architecture_lib.stack_of(sparse_layers(size, step))
  has_experts = any(any(stack.is_sparse) for stack in stacks.values())
  if is_switch and not has_experts:
    raise errors.UserError(f"{where} has no sparse layer; it is no Switch.")
  return architecture_lib.Architecture(
      **stacks,
      **{
          name: _count(config, name, where)
          for name in ("d_model", "d_ff", "d_kv", "num_heads")
      },
      vocab_rows=_count(config, "vocab_size", where),
      num_experts=_count(config, "num_experts", where) if has_experts else 0,
      activation=_activation(config, where),
      is_tied=not has_softmax,
      num_buckets=_count(config, "relative_attention_num_buckets", where, 32),
      norm_epsilon=_epsilon(config, where),
  )


def sparse_layers(num_layers: int, sparse_step: int) -> tuple[bool, ...]:
  """Returns which layers of a stack have experts, as Hugging Face counts.

  Args:
    num_layers: of the stack.
    sparse_step: encoder_sparse_step or decoder_sparse_step.
  """
  return tuple(
      sparse_step > 0 and (sparse_step == 1 or number % sparse_step == 1)
      for number in range(num_layers)
  )


def content(
    of: architecture_lib.Architecture, options: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the config.json that describes a model.

  Args:
    of: the model.
    options: what is no part of its function, such as dropout_rate.

  Raises:
    UserError: names what Hugging Face's classes cannot do.
  """
  kind = "switch_transformers" if of.has_experts else "t5"
  names = {activation: name for name, activation in _ACTIVATIONS.items()}
  activation = names.get(of.activation)
  if activation is None or (of.has_experts and len(of.activation) > 1):
    raise errors.UserError(
        f"Hugging Face's {_CLASSES[kind]} has no activation "
        f"{' x '.join(of.activation)}"
        + (" in experts (GEGLU)." if activation else ".")
    )
  config = {
      "architectures": [_CLASSES[kind]],
      "model_type": kind,
      "d_model": of.d_model,
      "d_ff": of.d_ff,
      "d_kv": of.d_kv,
      "num_heads": of.num_heads,
      "num_layers": len(of.encoder.is_sparse),
      "num_decoder_layers": len(of.decoder.is_sparse),
      "vocab_size": of.vocab_rows,
      "relative_attention_num_buckets": of.num_buckets,
      "layer_norm_epsilon": of.norm_epsilon,
      "tie_word_embeddings": of.is_tied,
      "dtype": "float32",
      **_FIXED,
      **options,
  }
  if not of.has_experts:
    return config | {"feed_forward_proj": activation}
  config |= {"dense_act_fn": activation, "num_experts": of.num_experts}
  for name, stack in of.stacks.items():
    config[f"num_sparse_{name}_layers"] = sum(stack.is_sparse)
    config[f"{name}_sparse_step"] = _step_of(name, stack.is_sparse)
  return config


def generation() -> dict[str, Any]:
  """Returns generation_config.json: the ids with which decoding works."""
  return {name: x for name, x in _FIXED.items() if name.endswith("_token_id")}


def _step_of(name: str, is_sparse: tuple[bool, ...]) -> int:
  """The step with which Hugging Face has experts in the same layers."""
  size = len(is_sparse)
  for step in range(size + 1):
    if sparse_layers(size, step) == is_sparse:
      return step
  with_experts = [str(n) for n, x in enumerate(is_sparse) if x]
  raise errors.UserError(
      f"the {name} has experts in its layers {', '.join(with_experts)} of "
      f"0 to {size - 1}, and Hugging Face's SwitchTransformers can only have "
      "them in all layers, or in layer 1 and every n-th after it."
  )


def _check_softmax(config: Mapping[str, Any], has_softmax: bool, where: str):
  """Refuses logits that Mesh TensorFlow would scale, or not, differently.

  Tied models scale activations by d_model^-0.5 before the logits, untied ones
  do not. In Hugging Face's models other pairs are possible.
  """
  is_tied = config.get("tie_word_embeddings") is not False
  is_scaled = {
      "t5": config.get("scale_decoder_outputs", is_tied),
      "mt5": False,
      "switch_transformers": is_tied,
  }[config["model_type"]]
  if is_scaled != has_softmax:
    return
  raise errors.UserError(
      f"{where} is of a model "
      + (
          "whose logits are scaled by d_model^-0.5, but lm_head.weight is not "
          "the embedding; "
          if is_scaled
          else "whose logits are not scaled, but there is no lm_head.weight "
          "other than the embedding; "
      )
      + "in Mesh TensorFlow both belong together. Are tie_word_embeddings and "
      "the weights of the same model?"
  )


def _sparse_step(
    config: Mapping[str, Any], stack: str, num_layers: int, where: str
) -> int:
  """The step of a stack: as the file says, else as Hugging Face derives it."""
  name = f"{stack}_sparse_step"
  if config.get(name) is not None:
    return _count(config, name, where, least=0)
  num_sparse = _count(config, f"num_sparse_{stack}_layers", where, least=0)
  return num_layers // num_sparse if num_sparse else num_layers


def _activation(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
  """What Mesh TensorFlow calls the activation."""
  kind = config["model_type"]
  name, default = {
      "t5": ("feed_forward_proj", "relu"),
      "mt5": ("feed_forward_proj", "gated-gelu"),
      "switch_transformers": ("dense_act_fn", "relu"),
  }[kind]
  value = config.get(name, default)
  known = [
      x
      for x in _ACTIVATIONS
      if kind != "switch_transformers" or len(_ACTIVATIONS[x]) == 1
  ]
  if not isinstance(value, str) or value not in known:
    raise errors.UserError(
        f"{where} has {name} = {errors.shown(repr(value))}; what is converted "
        f"is {', '.join(known)}."
    )
  return _ACTIVATIONS[value]


def _count(
    config: Mapping[str, Any],
    name: str,
    where: str,
    default: int | None = None,
    least: int = 1,
) -> int:
  """A whole number of config.json."""
  value = config.get(name, default)
  if value is None:
    raise errors.UserError(f"{where} lacks {name}.")
  if type(value) is not int or not least <= value < 2**31:
    raise errors.UserError(
        f"{where} has {name} = {errors.shown(repr(value))}, which is no whole "
        f"number of at least {least}."
    )
  return value


def _epsilon(config: Mapping[str, Any], where: str) -> float:
  """The epsilon of norms."""
  value = config.get("layer_norm_epsilon", 1e-6)
  if type(value) not in (int, float) or not (0 < value and np.isfinite(value)):
    raise errors.UserError(
        f"{where} has layer_norm_epsilon = {errors.shown(repr(value))}, which "
        "is no number above 0."
    )
  return float(value)
