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

"""Parameters and FLOPs of a configuration, as integers before any tensor."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ModelSize:
  """The sizes of a T5 or Switch model, one column of Table 9 each.

  Attributes:
    d_model: the width of the residual stream.
    d_ff: the inner width of a feed-forward network, expert or not.
    d_kv: the width of an attention head.
    num_heads: the number of attention heads.
    num_layers: the layers of each stack; an encoder-decoder has two stacks.
    gated: GEGLU, with three matrices in a feed-forward network and not two.
    tied_embeddings: the logits use the embedding's weights. Encoder and
      decoder always share one embedding, as in T5.
    num_experts: the experts of a Switch layer; 0 for a dense model.
    sparse_every: one feed-forward layer in so many is a Switch layer (the
      inverse of Table 9's expert frequency).
    encoder_decoder: False for a language model, which has one stack and no
      attention to an encoder.
    vocabulary_rows: the rows of the embedding; Mesh TensorFlow rounds the
      vocabulary's size up to a multiple of 128.
    relative_attention_buckets: the biases of each head, shared by the layers
      of a stack.
  """

  d_model: int
  d_ff: int
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

  def __post_init__(self):
    if self.num_experts and self.num_layers % self.sparse_every:
      raise ValueError(
          f"num_layers = {self.num_layers} is not a multiple of sparse_every ="
          f" {self.sparse_every}."
      )


def size_of(model) -> ModelSize:
  """The sizes of a T5 or Switch model that upstream's constructors have built.

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

  if any(hasattr(layer, "switches") for layer in layers):
    raise ValueError("No ModelSize describes Switch attention.")
  routers = {
      getattr(getattr(layer, "router", None), "__name__", None)
      for layer in layers
  }
  if routers & {"top_2_router", "top_n_router"}:
    raise ValueError("A ModelSize has one expert for each token.")

  def shared(name, owners, default=None):
    values = {
        repr(getattr(owner, name)): getattr(owner, name)
        for owner in owners
        if hasattr(owner, name)
    }
    if len(values) > 1:
      raise ValueError(f"Not all layers have the same {name}: {list(values)}.")
    return next(iter(values.values()), default)

  def feed_forward_and_switch_layers(stack):
    return tuple(
        sum(hasattr(layer, name) for layer in stack.layer_stack.layers)
        for name in ("hidden_size", "num_experts")
    )

  counts = {feed_forward_and_switch_layers(stack) for stack in stacks}
  num_layers, num_sparse = min(counts)
  if len(counts) > 1 or (num_sparse and num_layers % num_sparse):
    raise ValueError(
        "The stacks have different or irregular feed-forward layers; (all of"
        f" them, Switch layers): {sorted(counts)}."
    )
  activation = shared("activation", layers)
  return ModelSize(
      d_model=shared("model_dim", stacks).size,
      d_ff=shared("hidden_size", layers),
      d_kv=shared("key_value_size", layers),
      num_heads=shared("num_heads", layers),
      num_layers=num_layers,
      gated=not isinstance(activation, str) and len(activation) == 2,
      tied_embeddings=stacks[-1].shared_embedding_and_softmax_weights,
      num_experts=shared("num_experts", layers, default=0),
      sparse_every=num_layers // num_sparse if num_sparse else 2,
      encoder_decoder=encoder_decoder,
      vocabulary_rows=shared("input_vocab_dim", stacks).size,
      relative_attention_buckets=shared(
          "relative_attention_num_buckets", layers
      ),
  )


def attention_parameters(size: ModelSize) -> int:
  """Weights of one attention layer: queries, keys, values and output."""
  return 4 * size.d_model * size.num_heads * size.d_kv


def feed_forward_parameters(size: ModelSize) -> int:
  """Weights of one dense feed-forward layer, and of one expert."""
  return (3 if size.gated else 2) * size.d_model * size.d_ff


def num_sparse_layers(size: ModelSize) -> int:
  """The Switch layers of all stacks."""
  if not size.num_experts:
    return 0
  num_stacks = 2 if size.encoder_decoder else 1
  return num_stacks * (size.num_layers // size.sparse_every)


def expert_parameters(size: ModelSize) -> int:
  """The parameters that are in experts, the routers not included.

  Args:
    size: the model's sizes.

  Returns:
    a count; 0 for a dense model.
  """
  return (
      num_sparse_layers(size) * size.num_experts * feed_forward_parameters(size)
  )


def num_parameters(size: ModelSize) -> int:
  """All trainable parameters, as the variables of the Mesh TensorFlow graph.

  Args:
    size: the model's sizes.

  Returns:
    a count.
  """
  # How many in a layer of each stack: a decoder also attends to the encoder.
  attention_layers = [1, 2] if size.encoder_decoder else [1]
  attentions = size.num_layers * sum(attention_layers)
  feed_forwards = size.num_layers * len(attention_layers)
  sparse = num_sparse_layers(size)
  # One before each of these layers, and one at the end of each stack.
  normalizations = attentions + feed_forwards + len(attention_layers)
  relative_attention_biases = (
      len(attention_layers) * size.num_heads * size.relative_attention_buckets
  )
  embeddings = (
      (1 if size.tied_embeddings else 2) * size.vocabulary_rows * size.d_model
  )
  return (
      embeddings
      + attentions * attention_parameters(size)
      + (feed_forwards - sparse) * feed_forward_parameters(size)
      + expert_parameters(size)
      + sparse * size.d_model * size.num_experts  # Routers.
      + normalizations * size.d_model
      + relative_attention_biases
  )


def flops_per_sequence(
    size: ModelSize, inputs_length: int, targets_length: int
) -> int:
  """FLOPs of the forward pass of one sequence, as Table 9 counts them.

  The paper counts "as in Kaplan et al. (2020)": a token costs two FLOPs for
  each weight of its stack's matrices and 2 * context * num_heads * d_kv for
  the attention logits of each attention layer; embedding lookups,
  normalization and the products with the attention weights are left out. To
  this the projection to the vocabulary is added. Table 9's numbers follow with
  512 inputs, 114 targets and 32128 rows if, as here, a token passes through
  one expert and the router is left out, so that a Switch model has the FLOPs
  of its dense twin.

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

  def stack(length, contexts):
    weights = len(contexts) * attention_parameters(
        size
    ) + feed_forward_parameters(size)
    attention = sum(contexts) * size.num_heads * size.d_kv
    return 2 * length * size.num_layers * (weights + attention)

  logits = 2 * targets_length * size.d_model * size.vocabulary_rows
  if not size.encoder_decoder:
    return stack(targets_length, [targets_length]) + logits
  return (
      stack(inputs_length, [inputs_length])
      + stack(targets_length, [targets_length, inputs_length])
      + logits
  )
