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

"""The interface of all strategies that carry out a `Routing`."""

import abc

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.layer import dims as dims_lib
from mtf_switch.layer import routing as routing_lib


class Dispatcher(abc.ABC):
  """Moves tokens to their experts and back, as a `Routing` says.

  A strategy chooses the form in which the experts see their tokens, and its
  methods agree on it:

  strategy  expert inputs
  einsum    [num_experts`, num_cores_unsplit, expert_capacity, d_model]
  index     [num_experts`, num_cores_unsplit, expert_capacity, d_model]
  ragged    [num_cores`, tokens_per_core, d_model], and for the results of
            products [num_cores`, rows, d_output], on each core sorted by expert
  blocks    [num_cores`, blocks, block_rows, d_model], one expert a block
  tokens    [num_cores`, tokens_per_core, choices, d_model]

  The strategies with slots own the all-to-alls: `dispatch` ends with
  `exchange.to_experts`, and `combine` begins with `exchange.from_experts`. The
  others work where each core holds all experts whole; nothing is exchanged.
  """

  @abc.abstractmethod
  def __init__(
      self,
      routing: routing_lib.Routing,
      dims: dims_lib.SwitchDims,
      dtype: tf.DType,
  ):
    """Derives the places of tokens among the expert inputs.

    Args:
      routing: the router's decisions.
      dims: the layer's dimensions.
      dtype: of the activations; gates are cast to it before they are used
        (section 2.4).
    """

  @abc.abstractmethod
  def dispatch(self, inputs: mtf.Tensor) -> mtf.Tensor:
    """Copies each token to its experts.

    Args:
      inputs: [num_cores`, tokens_per_core, d_model].

    Returns:
      the expert inputs, in the strategy's form; zero where there is no token.
    """

  def choices(self) -> mtf.Tensor:
    """The choices that the experts see, for draws that belong to choices.

    Returns:
      int32, the form of products' results without new_dim: token * choices +
      choice, counted over the batch; any number where there is no token.

    Raises:
      NotImplementedError: the strategy is one of inference alone.
    """
    raise NotImplementedError("expert dropout is for training")

  @abc.abstractmethod
  def multiply(
      self, x: mtf.Tensor, weights: mtf.Tensor, new_dim: mtf.Dimension
  ) -> mtf.Tensor:
    """Multiplies the tokens of each expert by its own matrix.

    Args:
      x: in the strategy's form, with d_input for d_model.
      weights: [num_experts`, d_input, new_dim].
      new_dim: the output dimension.

    Returns:
      the strategy's form of results, with new_dim for d_input.
    """

  @abc.abstractmethod
  def combine(self, expert_outputs: mtf.Tensor) -> mtf.Tensor:
    """Takes each token's results from its experts, times its gates.

    Args:
      expert_outputs: in the strategy's form of results, with d_output.

    Returns:
      [num_cores`, tokens_per_core, d_output], exactly zero for tokens without a
      slot.
    """
