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

"""The gin file of a model that was brought here."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtf_switch.conversion import architecture as architecture_lib
from mtf_switch.reproduction import gin_text

# Of models without experts and with them: the file that is included, the macro
# with the number of blocks, the layers of a block there, and the gin names of
# sublayers.
_DEFAULTS = {
    False: "models/t5_defaults.gin",
    True: "models/switch_defaults.gin",
}
_NUM_BLOCKS = {False: "num_layers", True: "num_blocks"}
_BLOCK = {False: (False,), True: (False, True)}
_ATTENTION = {False: "HeadMajor", True: "TruncatedNormal"}
_FEED_FORWARD = {
    "dense": "@transformer_layers.DenseReluDense",
    "gated": "@transformer_layers.DenseReluDense",
    "sparse": "@SwitchFeedForward",
    "gated sparse": "@SwitchFeedForward",
}


def text(
    of: architecture_lib.Architecture,
    vocabulary: Mapping[str, Any],
    comments: Sequence[str],
) -> list[str]:
  """Returns the lines of a gin file that takes the place of models/*.gin.

  Args:
    of: the model.
    vocabulary: bindings that name its vocabulary.
    comments: what the file says of itself first.
  """
  default = architecture_lib.Architecture  # Its fields have the defaults.
  activation = list(of.activation)
  values = {
      "d_model": of.d_model,
      "d_ff": of.d_ff,
      "activation": activation if len(activation) > 1 else activation[0],
      "d_kv": of.d_kv,
      "num_heads": of.num_heads,
      _NUM_BLOCKS[of.has_experts]: of.encoder.num_blocks,
  }
  if of.has_experts:
    values["num_experts"] = of.num_experts
  if of.decoder.num_blocks != of.encoder.num_blocks:
    values["decoder/transformer.make_layer_stack.num_layers"] = (
        of.decoder.num_blocks
    )
  if not of.is_tied:
    values["Unitransformer.shared_embedding_and_softmax_weights"] = False
  if of.num_buckets != default.num_buckets:
    values["SelfAttention.relative_attention_num_buckets"] = of.num_buckets
  if of.norm_epsilon != default.norm_epsilon:
    values["transformer.sublayer_rms_norm.epsilon"] = of.norm_epsilon
  for name, stack in of.stacks.items():
    if stack.is_sparse[: stack.layers_per_block] != _BLOCK[of.has_experts]:
      values[f"{name}/transformer.make_layer_stack.layers"] = _layers(of, name)
  values |= vocabulary
  return [
      *(f"# {line}".rstrip() for line in comments),
      "",
      f'include "{_DEFAULTS[of.has_experts]}"',
      *(["import tasks"] if vocabulary else []),
      "",
      *(
          line
          for name, value in values.items()
          for line in f"{name} = {gin_text.value(value)}".splitlines()
      ),
  ]


def _layers(of: architecture_lib.Architecture, stack: str) -> list[str]:
  """The gin names of the layers of a block."""
  return [
      _FEED_FORWARD.get(kind) or f"@{_ATTENTION[of.has_experts]}{kind}"
      for number in range(of.stacks[stack].layers_per_block)
      for kind in of.sublayers(stack, number)
  ]
