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

"""Parameters and FLOPs of a configuration, in integers, before any tensor."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

from mesh_tensorflow.transformer import transformer_layers


class AttentionExperts(NamedTuple):
  """The experts of a Switch attention layer (Appendix A).

  There are two sets of experts: one for queries, and one for keys and values,
  which are the same.

  Attributes:
    num_experts: the experts of each set.
    d_ff: the inner width of an expert; None for linear experts.
    gated: whether experts are GEGLU networks, as ModelSize.gated.
    num_choices: the number of experts of a set that a token passes.
  """

  num_experts: int
  d_ff: int | None
  gated: bool
  num_choices: int = 1


@dataclasses.dataclass(frozen=True)
class ModelSize:
  """The sizes of a T5 or Switch model, one column of Table 9 each.

  Attributes:
    d_model: the width of the residual stream.
    d_ff: the inner width of a feed-forward network, expert or not; None for
      linear experts.
    d_kv: the width of an attention head.
    num_heads: the number of attention heads.
    num_layers: the layers of each stack; an encoder-decoder has two stacks.
    gated: whether feed-forward networks are GEGLU, with three matrices in the
      place of two.
    tied_embeddings: whether the logits use the embedding's weights. Encoder and
      decoder always share one embedding, as in T5.
    num_experts: the experts of a Switch layer; 0 for a dense model.
    sparse_every: the number of feed-forward layers of which one is a Switch
      layer (the inverse of Table 9's expert frequency).
    encoder_decoder: False for a language model, which has one stack and no
      attention to an encoder.
    vocabulary_rows: the rows of the embedding; Mesh TensorFlow rounds the
      vocabulary's size up to a multiple of 128.
    relative_attention_buckets: the biases of each head, shared by the layers
      of a stack.
    num_choices: the number of experts of a Switch layer that a token passes, n
      of a top-n router.
    self_attention_experts: the experts that make queries, keys and values of
      self-attention; None if there are none.
    enc_dec_attention_experts: the same for the attention to the encoder.
  """

  d_model: int
  d_ff: int | None
  d_kv: int
  num_heads: int
  num_layers: int
  gated: bool
  tied_embeddings: bool
  num_experts: int = 0
  sparse_every: int = 2
  encoder_decoder: bool = True
  vocabulary_rows: int = 32128
  relative_attention_buckets: int = 32
  num_choices: int = 1
  self_attention_experts: AttentionExperts | None = None
  enc_dec_attention_experts: AttentionExperts | None = None

  def __post_init__(self):
    if self.num_experts and self.num_layers % self.sparse_every:
      raise ValueError(
          f"num_layers = {self.num_layers} is not a multiple of sparse_every ="
          f" {self.sparse_every}."
      )


def size_of(model) -> ModelSize:
  """Reads the sizes of a T5 or Switch model that upstream's constructors built.

  Args:
    model: a Bitransformer, or a Unitransformer that is a language model. Only
      attributes are read.

  Returns:
    its sizes.

  Raises:
    ValueError: layers or stacks differ, so that no ModelSize describes them.
  """
  encoder_decoder = hasattr(model, "encoder")
  stacks = [model.encoder, model.decoder] if encoder_decoder else [model]
  layers = [layer for stack in stacks for layer in stack.layer_stack.layers]

  def shared(name, owners, default=None):
    values = [getattr(x, name) for x in owners if hasattr(x, name)]
    return _same(values, name, default)

  def attention_experts(is_enc_dec):
    experts = [
        _attention_experts(layer)
        for layer in layers
        if hasattr(layer, "num_heads")
        and isinstance(layer, transformer_layers.EncDecAttention) == is_enc_dec
    ]
    return _same(experts, "experts of attention")

  def feed_forward_and_switch_layers(stack):
    return tuple(
        sum(hasattr(layer, name) for layer in stack.layer_stack.layers)
        for name in ("hidden_size", "num_experts")
    )

  counts = {feed_forward_and_switch_layers(stack) for stack in stacks}
  num_layers, num_sparse = min(counts)
  if not num_layers:
    raise ValueError("A stack has no feed-forward layers.")
  if len(counts) > 1 or (num_sparse and num_layers % num_sparse):
    raise ValueError(
        "The stacks have different or irregular feed-forward layers; (all of"
        f" them, Switch layers): {sorted(counts)}."
    )
  return ModelSize(
      d_model=shared("model_dim", stacks).size,
      d_ff=shared("hidden_size", layers),
      d_kv=shared("key_value_size", layers),
      num_heads=shared("num_heads", layers),
      num_layers=num_layers,
      gated=_is_gated(shared("activation", layers)),
      tied_embeddings=stacks[-1].shared_embedding_and_softmax_weights,
      num_experts=shared("num_experts", layers, default=0),
      sparse_every=num_layers // num_sparse if num_sparse else 2,
      encoder_decoder=encoder_decoder,
      vocabulary_rows=shared("input_vocab_dim", stacks).size,
      relative_attention_buckets=shared(
          "relative_attention_num_buckets", layers
      ),
      num_choices=shared("num_choices", layers, default=1),
      self_attention_experts=attention_experts(is_enc_dec=False),
      enc_dec_attention_experts=attention_experts(is_enc_dec=True),
  )


def _same(values: Sequence[Any], what: str, default: Any = None) -> Any:
  """Returns the value that all layers share; gin copies lists, equal ones."""
  by_text = {repr(value): value for value in values}
  if len(by_text) > 1:
    raise ValueError(f"Not all layers have the same {what}: {list(by_text)}.")
  return next(iter(by_text.values()), default)


def _is_gated(activation: str | Sequence[str]) -> bool:
  return not isinstance(activation, str) and len(activation) == 2


def _attention_experts(layer) -> AttentionExperts | None:
  """Returns the experts of an attention layer, whose sets are alike."""
  if not hasattr(layer, "switches"):
    return None
  switch = layer.switches[0]
  return AttentionExperts(
      switch.num_experts,
      switch.hidden_size,
      _is_gated(switch.activation),
      switch.num_choices,
  )


def attention_parameters(
    size: ModelSize, experts: AttentionExperts | None = None
) -> int:
  """Weights of one attention layer: queries, keys, values and output.

  Args:
    size: the model's sizes.
    experts: the experts that make queries, keys and values; None if there are
      none.

  Returns:
    a count, routers included.
  """
  projection = size.d_model * size.num_heads * size.d_kv
  if experts is None:
    return 4 * projection
  expert = _attention_expert_parameters(size, experts)
  router_and_experts = experts.num_experts * (size.d_model + expert)
  return projection + 2 * router_and_experts


def _attention_expert_parameters(
    size: ModelSize, experts: AttentionExperts
) -> int:
  """Weights of one expert of Switch attention, as wide as all heads."""
  d_output = size.num_heads * size.d_kv
  if experts.d_ff is None:
    return size.d_model * d_output
  matrices_in = 2 if experts.gated else 1
  return experts.d_ff * (matrices_in * size.d_model + d_output)


def _attention_layers(
    size: ModelSize,
) -> list[list[AttentionExperts | None]]:
  """The attention layers beside each feed-forward layer, stack by stack."""
  self_attention = size.self_attention_experts
  if not size.encoder_decoder:
    return [[self_attention]]
  # A decoder also attends to the encoder.
  return [[self_attention], [self_attention, size.enc_dec_attention_experts]]


def feed_forward_parameters(size: ModelSize) -> int:
  """Weights of one dense feed-forward layer, and of one expert."""
  if size.d_ff is None:
    return size.d_model**2
  return (3 if size.gated else 2) * size.d_model * size.d_ff


def num_sparse_layers(size: ModelSize) -> int:
  """The Switch layers of all stacks."""
  if not size.num_experts:
    return 0
  num_stacks = 2 if size.encoder_decoder else 1
  return num_stacks * (size.num_layers // size.sparse_every)


def expert_parameters(size: ModelSize) -> int:
  """The parameters of experts, without the routers'.

  Args:
    size: the model's sizes.

  Returns:
    a count; 0 for a dense model.
  """
  in_attention = sum(
      2 * experts.num_experts * _attention_expert_parameters(size, experts)
      for layers in _attention_layers(size)
      for experts in layers
      if experts
  )
  return (
      num_sparse_layers(size) * size.num_experts * feed_forward_parameters(size)
      + size.num_layers * in_attention
  )


def num_parameters(size: ModelSize) -> int:
  """The trainable parameters, all variables of the Mesh TensorFlow graph.

  Args:
    size: the model's sizes.

  Returns:
    a count.
  """
  stacks = _attention_layers(size)
  attentions = sum(stacks, start=[])
  feed_forwards = size.num_layers * len(stacks)
  sparse = num_sparse_layers(size)
  # One before each of these layers, and one at the end of each stack.
  normalizations = (
      size.num_layers * len(attentions) + feed_forwards + len(stacks)
  )
  relative_attention_biases = (
      len(stacks) * size.num_heads * size.relative_attention_buckets
  )
  embeddings = (
      (1 if size.tied_embeddings else 2) * size.vocabulary_rows * size.d_model
  )
  experts_and_router = size.num_experts * (
      feed_forward_parameters(size) + size.d_model
  )
  return (
      embeddings
      + size.num_layers
      * sum(attention_parameters(size, experts) for experts in attentions)
      + (feed_forwards - sparse) * feed_forward_parameters(size)
      + sparse * experts_and_router
      + normalizations * size.d_model
      + relative_attention_biases
  )


def flops_per_sequence(
    size: ModelSize, inputs_length: int, targets_length: int
) -> int:
  """FLOPs of the forward pass of one sequence, counted as in Table 9.

  The paper counts "as in Kaplan et al. (2020)": a token costs two FLOPs for
  each weight of its stack's matrices and 2 * context * num_heads * d_kv for
  the attention logits of each attention layer; embedding lookups,
  normalization and the products with the attention weights are left out. To
  this the projection to the vocabulary is added. Table 9's numbers follow with
  512 inputs, 114 targets and 32128 rows if, as here, a token passes through
  one expert and the router is left out, so that a Switch model has the FLOPs
  of its dense twin. With a top-n router it passes through n, whether they have
  a slot for it or not, and in Switch attention through one (or n) of each set.

  Keys and values of the encoder are counted once a target token, as Kaplan's
  rule does, although there is one a token of the inputs; counting those would
  give T5-Base 136B, not 124B.

  Args:
    size: the model's sizes.
    inputs_length: tokens of the encoder; 0 for a language model.
    targets_length: tokens of the decoder or of the language model.

  Returns:
    a number of floating-point operations.

  Raises:
    ValueError: inputs for a model without an encoder, or none for one with.
  """
  if bool(inputs_length) != size.encoder_decoder:
    raise ValueError(
        f"inputs_length = {inputs_length} does not fit encoder_decoder ="
        f" {size.encoder_decoder}."
    )

  def attention_weights(experts):
    if experts is None:
      return attention_parameters(size)
    output = size.d_model * size.num_heads * size.d_kv
    passed = 2 * experts.num_choices
    return output + passed * _attention_expert_parameters(size, experts)

  stacks = _attention_layers(size)
  sparse = num_sparse_layers(size) // len(stacks)
  # A layer's first expert is counted as the dense layer in its place would be.
  feed_forwards = size.num_layers + sparse * (size.num_choices - 1)

  def stack(length, attentions, contexts):
    weights = size.num_layers * sum(map(attention_weights, attentions))
    weights += feed_forwards * feed_forward_parameters(size)
    attention = sum(contexts) * size.num_heads * size.d_kv
    return 2 * length * (weights + size.num_layers * attention)

  logits = 2 * targets_length * size.d_model * size.vocabulary_rows
  if not size.encoder_decoder:
    return stack(targets_length, stacks[0], [targets_length]) + logits
  return (
      stack(inputs_length, stacks[0], [inputs_length])
      + stack(targets_length, stacks[1], [targets_length, inputs_length])
      + logits
  )


def flops_of_model(model, lengths: Mapping[str, int]) -> int | None:
  """FLOPs of the forward pass of one sequence of a model, as in Table 9.

  Args:
    model: a Bitransformer, or a Unitransformer that is a language model.
    lengths: positions for "inputs", if the model has any, and "targets".

  Returns:
    a number of floating-point operations; None for a model with layers that
    Table 9's rule does not cover.
  """
  try:
    size = size_of(model)
  except ValueError:
    return None
  return flops_per_sequence(size, lengths.get("inputs", 0), lengths["targets"])
