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

"""Losses of tokens and their gradients, a block of tokens at a time.

The logits of a batch and their softmax are larger than anything else in a step:
`[tokens, vocab]`. A loss is a sum over tokens whose weights are known before
the logits are, so that one pass over blocks of tokens is enough: it multiplies
the block's hidden states by the vocabulary, and adds the block's part to the
loss and to the gradients of both factors.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import NamedTuple

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch import operations
from mtf_switch.mesh import splits

# Fewer read and write the gradient of the vocabulary's weights more often, more
# have logits that no cache holds.
TOKENS_PER_BLOCK = 512


class Term(NamedTuple):
  """Values of each token that are a function of its logits.

  Attributes:
    inputs: what they depend on besides the logits, `[batch, length, ...]`;
      other logits, `[batch, length, vocab]`, among them.
    of_slice: from slices of the logits, `[tokens, vocab]` float32, the weights,
      `[tokens]` float32 or None, and the inputs, `[tokens, ...]`, to the
      gradient of the sum of weights times losses by the logits, None without
      weights, and a list of values, `[tokens]` float32, the losses first.
    of_mesh: from mtf.Tensors of the logits and the inputs to the list of
      values, `[batch, length]` float32, for vocabularies that are split.
    num_values: the length of the list.
    weights: those of the first value in the loss that is trained, `[batch,
      length]` float32; None for values that are only reported.
  """

  inputs: Sequence[mtf.Tensor]
  of_slice: Callable[..., tuple[tf.Tensor | None, Sequence[tf.Tensor]]]
  of_mesh: Callable[..., Sequence[mtf.Tensor]]
  num_values: int
  weights: mtf.Tensor | None = None


def evaluate(
    model, logits: mtf.Tensor, terms: Sequence[Term]
) -> tuple[mtf.Tensor, list[Sequence[mtf.Tensor]]]:
  """The loss that some terms add up to, and their values.

  Logits that are a product with the vocabulary are not computed as a whole,
  unless something else reads them.

  Args:
    model: a Unitransformer; it knows how the mesh splits the vocabulary.
    logits: `[batch, length, vocab]`.
    terms: the terms.

  Returns:
    the sum over terms and tokens of weights times losses, a float32 scalar; and
    for each term its values, `[batch, length]` float32, which have no gradient
    where the vocabulary is whole.
  """
  if splits.is_on_tpu() or splits.ways(model, logits.shape.dims[-1]) > 1:
    values = [
        term.of_mesh(mtf.cast(logits, tf.float32), *term.inputs)
        for term in terms
    ]
    losses = [
        mtf.reduce_sum(of_term[0] * term.weights)
        for of_term, term in zip(values, terms)
        if term.weights is not None
    ]
    return mtf.add_n(losses) if losses else mtf.zeros(logits.mesh, []), values
  loss, *others = _TokenLossOperation(model, logits, terms).outputs
  others = iter(others)
  return loss, [[next(others) for _ in range(x.num_values)] for x in terms]


def softmax_and_log_z(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """The softmax, and the logarithm of its denominator.

  Args:
    logits: `[tokens, vocab]` float32.
  """
  # Four times as fast as TensorFlow's sparse cross-entropy on a CPU. The
  # largest probability is 1 / sum(exp(logits - max(logits))).
  softmax = tf.nn.softmax(logits)
  log_z = tf.reduce_max(logits, axis=-1) - tf.math.log(
      tf.reduce_max(softmax, axis=-1)
  )
  return softmax, log_z


class _TokenLossOperation(operations.Operation):
  """The loss and the values of terms, and if asked for the loss's gradients.

  The outputs are the loss, the values and, once the gradient of the loss has
  been asked for, those by the factors of the logits.
  """

  def __init__(self, model, logits: mtf.Tensor, terms: Sequence[Term]):
    read = [x for term in terms for x in (term.weights, *term.inputs)]
    vocab = logits.shape.dims[-1]
    # What terms share is computed once.
    self._factors = {
        x: _factors(model, x, vocab) for x in (logits, *read) if x is not None
    }
    super().__init__(
        [x for factors in self._factors.values() for x in factors], name="loss"
    )
    self._logits = logits
    self._terms = terms
    self._tokens = logits.shape - vocab
    self._outputs = [mtf.Tensor(self, mtf.Shape([]), tf.float32)]
    for term in terms:
      for _ in range(term.num_values):
        self._outputs.append(mtf.Tensor(self, self._tokens, tf.float32))
    self._gradients = []
    self._splittable_dims, self._unsplittable_dims = (
        self._initialize_splittable_and_unsplittable_dims(
            "unsplittable", self._tokens.dimension_names
        )
    )

  def gradient(self, grad_ys):
    of_loss, *of_values = grad_ys
    if any(x is not None for x in of_values):
      raise NotImplementedError("The values of tokens have no gradient.")
    if not self._gradients:
      self._gradients = [
          mtf.Tensor(self, x.shape, x.dtype)
          for x in self._factors[self._logits]
      ]
      self._outputs += self._gradients
    gradients = self._gradients
    if not _is_one(of_loss):
      gradients = [x * mtf.cast(of_loss, x.dtype) for x in gradients]
    return [*gradients, *[None] * (len(self.inputs) - len(gradients))]

  @property
  def _products(self) -> list[mtf.Tensor]:
    """The logits that are computed in blocks."""
    return [x for x, factors in self._factors.items() if len(factors) == 2]

  @property
  def scratch(self) -> Sequence[mtf.Tensor]:
    """A block's logits, softmax and gradient; its part of the weights'."""
    block = self._tokens
    if block.size > TOKENS_PER_BLOCK:
      block = mtf.Shape([mtf.Dimension("block", TOKENS_PER_BLOCK)])
    logits = [
        mtf.Tensor(self, block + x.shape.dims[-1], tf.float32)
        for x in self._products
    ]
    of_logits = logits[:1] if self._gradients else []
    return [*logits, *logits, *of_logits, *self._gradients[1:]]

  def multiplications(self, slice_size: operations.SliceSize) -> int:
    total = 0
    for x in self._products:
      hidden, _ = self._factors[x]
      is_trained = x is self._logits and self._gradients
      products = 3 if is_trained else 1
      total += products * slice_size([*hidden.shape.dims, x.shape.dims[-1]])
    return total

  def lower(self, lowering: mtf.Lowering):
    mesh_impl = lowering.mesh_impl(self)
    operations.check_splits(self, mesh_impl)
    results = mesh_impl.slicewise(
        self._of_slices, *(lowering.tensors[x] for x in self.inputs)
    )
    for output, slices in zip(self.outputs, results):
      if set(self._tokens.dims) <= set(output.shape.dims):
        lowering.set_tensor_lowering(output, slices)
      else:
        operations.add_over_cores(
            lowering, mesh_impl, slices, output, self._tokens, "loss"
        )

  def _of_slices(self, *slices: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Computes the outputs of one core."""
    *shape, _ = slices[0].shape.as_list()
    num_tokens = math.prod(shape)
    num_blocks = -(-num_tokens // TOKENS_PER_BLOCK)
    slices = iter(slices)
    in_blocks = {}
    for x, factors in self._factors.items():
      rows, *weights = (next(slices) for _ in factors)
      in_blocks[x] = _in_blocks(rows, len(shape), num_blocks), *weights

    def of_block(i):
      return self._of_block(
          {x: (rows[i], *weights) for x, (rows, *weights) in in_blocks.items()}
      )

    (loss, *of_weights), rows = _over_blocks(of_block, num_blocks)
    rows = [
        tf.reshape(x[:num_tokens], [*shape, *x.shape.as_list()[1:]])
        for x in rows
    ]
    of_weights = [
        tf.cast(x, gradient.dtype)
        for x, gradient in zip(of_weights, self._gradients[1:])
    ]
    return (loss, *rows, *of_weights)

  def _of_block(
      self, block: Mapping[mtf.Tensor, Sequence[tf.Tensor]]
  ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """The sums over a block's tokens, and what each of them has.

    Args:
      block: of each key of `_factors`, the block's factors.

    Returns:
      the loss, and if asked for the gradient of the vocabulary's weights; and
      the values and the gradient of the hidden states or logits, `[tokens,
      ...]`.
    """
    rows = {x: _multiplied(y, self._factors[x]) for x, y in block.items()}
    logits = rows[self._logits]
    loss, values, of_logits = tf.constant(0.0), [], []
    for term in self._terms:
      weights = rows.get(term.weights)
      gradient, of_term = term.of_slice(
          logits, weights, *(rows[x] for x in term.inputs)
      )
      values += of_term
      if weights is not None:
        loss += tf.reduce_sum(weights * of_term[0])
        of_logits.append(gradient)
    if not self._gradients:
      return [loss], values
    of_logits = tf.cast(tf.add_n(of_logits), self._gradients[0].dtype)
    if len(self._gradients) == 1:
      return [loss], [*values, of_logits]
    hidden, weights = block[self._logits]
    has_rows = _has_rows(*self._factors[self._logits])
    of_hidden = tf.matmul(of_logits, weights, transpose_b=not has_rows)
    left, right = (of_logits, hidden) if has_rows else (hidden, of_logits)
    of_weights = tf.matmul(left, right, transpose_a=True)
    # In bfloat16, sums of many blocks would lose the small ones.
    return [loss, tf.cast(of_weights, tf.float32)], [*values, of_hidden]


def _is_one(x: mtf.Tensor) -> bool:
  """Whether a tensor is known to be 1, as the gradient of a loss by itself."""
  # pylint: disable-next=protected-access
  return isinstance(x.operation, mtf.Constant) and x.operation._value == 1


def _factors(
    model, x: mtf.Tensor, vocab: mtf.Dimension
) -> tuple[mtf.Tensor, ...]:
  """The tensors that a block's rows of a tensor are computed from.

  Args:
    model: a Unitransformer; it knows what the mesh splits.
    x: `[batch, length, ...]`.
    vocab: the dimension of the vocabulary.

  Returns:
    for logits that are the product of hidden states and the vocabulary's
    weights these two, otherwise x.
  """
  operation = x.operation
  if (
      isinstance(operation, mtf.EinsumOperation)
      and len(operation.inputs) == 2
      and x.shape.dims[-1] == vocab
  ):
    hidden, weights = operation.inputs
    *tokens, inner = hidden.shape.dims
    if (
        tokens == x.shape.dims[:-1]
        and {*weights.shape.dims} == {vocab, inner}
        and splits.ways(model, inner) == 1
    ):
      return hidden, weights
  return (x,)


def _has_rows(hidden: mtf.Tensor, weights: mtf.Tensor) -> bool:
  """Whether the vocabulary's weights are `[vocab, d_model]`."""
  return weights.shape.dims[-1] == hidden.shape.dims[-1]


def _multiplied(
    block: Sequence[tf.Tensor], factors: Sequence[mtf.Tensor]
) -> tf.Tensor:
  """A block's rows, numbers as float32.

  Args:
    block: its factors, or its rows alone.
    factors: of all blocks.
  """
  rows, *weights = block
  if weights:
    rows = tf.matmul(rows, *weights, transpose_b=_has_rows(*factors))
  return tf.cast(rows, tf.float32) if rows.dtype.is_floating else rows


def _in_blocks(x: tf.Tensor, token_axes: int, num_blocks: int) -> tf.Tensor:
  """Rows in blocks of one size, `[num_blocks, tokens, ...]`; zeros fill up.

  Args:
    x: a tensor of rows.
    token_axes: the number of axes that tokens have.
    num_blocks: how many blocks.
  """
  shape = x.shape.as_list()
  num_tokens, row = math.prod(shape[:token_axes]), shape[token_axes:]
  size = -(-num_tokens // num_blocks)
  x = tf.reshape(x, [num_tokens, *row])
  missing = num_blocks * size - num_tokens
  if missing:
    x = tf.pad(x, [[0, missing], *[[0, 0]] * len(row)])
  return tf.reshape(x, [num_blocks, size, *row])


def _over_blocks(
    of_block: Callable, num_blocks: int
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
  """Adds up and joins what a function gives of each block.

  Args:
    of_block: from the number of a block to a list of tensors to be added up,
      and one of tensors to be joined.
    num_blocks: how many.

  Returns:
    two lists, as of_block's.
  """
  # The first block stands before the loop, which then adds to its sums.
  sums, rows = of_block(0)
  if num_blocks == 1:
    return sums, rows
  arrays = [
      tf.TensorArray(x.dtype, num_blocks, element_shape=x.shape).write(0, x)
      for x in rows
  ]

  def add(i, sums, arrays):
    terms, rows = of_block(i)
    return (
        i + 1,
        [x + y for x, y in zip(sums, terms)],
        [array.write(i, x) for array, x in zip(arrays, rows)],
    )

  _, sums, arrays = tf.while_loop(
      lambda i, *_: i < num_blocks,
      add,
      (tf.constant(1), sums, arrays),
      # One block at a time has its logits in memory.
      parallel_iterations=1,
      back_prop=False,
  )
  return sums, [
      tf.reshape(array.stack(), [-1, *x.shape.as_list()[1:]])
      for array, x in zip(arrays, rows)
  ]
