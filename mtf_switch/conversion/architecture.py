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

"""The models that Hugging Face, T5X and Mesh TensorFlow can describe."""

import dataclasses
from typing import Literal

FeedForward = Literal["dense", "gated", "sparse", "gated sparse"]

# The attention layers of a layer of Hugging Face and T5X, in order.
_ATTENTION = {
    "encoder": ("SelfAttention",),
    "decoder": ("SelfAttention", "EncDecAttention"),
}
STACKS = tuple(_ATTENTION)


@dataclasses.dataclass(frozen=True)
class Stack:
  """The layers of an encoder or a decoder.

  A layer is T5X's layer and Hugging Face's block: attention and a feed-forward
  network. Mesh TensorFlow's blocks have one or more of these.

  Attributes:
    is_sparse: of each layer, whether its feed-forward network has experts.
    layers_per_block: of Mesh TensorFlow's blocks.
  """

  is_sparse: tuple[bool, ...]
  layers_per_block: int

  @property
  def num_blocks(self) -> int:
    """The number of Mesh TensorFlow's blocks."""
    return len(self.is_sparse) // self.layers_per_block


def stack_of(is_sparse: tuple[bool, ...]) -> Stack:
  """Returns a stack with the shortest blocks whose repetition it is.

  Args:
    is_sparse: as that of `Stack`; at least one layer.
  """
  size = len(is_sparse)
  period = next(
      n
      for n in range(1, size + 1)
      if size % n == 0 and is_sparse == is_sparse[:n] * (size // n)
  )
  return Stack(is_sparse, period)


@dataclasses.dataclass(frozen=True)
class Architecture:
  """A model's layers and sizes: all that decides its variables and function.

  Attributes:
    encoder: its layers.
    decoder: its layers.
    d_model: the size of activations between layers.
    d_ff: the size of the feed-forward networks' inner activations.
    d_kv: the size of a head.
    num_heads: the number of heads.
    vocab_rows: the rows of the embedding, padding included.
    num_experts: of a sparse layer; 0 without sparse layers.
    activation: names that Mesh TensorFlow multiplies: ("relu",), or ("gelu",
      "linear") for GEGLU.
    is_tied: whether the embedding, scaled by d_model^-0.5, is the softmax too.
    num_buckets: of relative positions.
    norm_epsilon: what is added to the mean square of activations.
  """

  encoder: Stack
  decoder: Stack
  d_model: int
  d_ff: int
  d_kv: int
  num_heads: int
  vocab_rows: int
  num_experts: int
  activation: tuple[str, ...]
  is_tied: bool
  num_buckets: int = 32
  norm_epsilon: float = 1e-6

  @property
  def stacks(self) -> dict[str, Stack]:
    """The encoder and the decoder by name."""
    return {"encoder": self.encoder, "decoder": self.decoder}

  @property
  def has_experts(self) -> bool:
    """Whether it is a Switch Transformer."""
    return bool(self.num_experts)

  @property
  def sizes(self) -> dict[str, int]:
    """The sizes of the axes that names.ROWS has."""
    return {
        "vocab": self.vocab_rows,
        "d_model": self.d_model,
        "d_ff": self.d_ff,
        "heads * d_kv": self.num_heads * self.d_kv,
        "heads": self.num_heads,
        "buckets": self.num_buckets,
        "experts": self.num_experts,
    }

  def sublayers(self, stack: str, layer: int) -> tuple[str, ...]:
    """The sublayers of a layer: classes of attention, and a FeedForward.

    Args:
      stack: one of STACKS.
      layer: its number in the stack.
    """
    is_sparse = self.stacks[stack].is_sparse[layer]
    if len(self.activation) == 1:
      kind = "sparse" if is_sparse else "dense"
    else:
      kind = "gated sparse" if is_sparse else "gated"
    return (*_ATTENTION[stack], kind)
