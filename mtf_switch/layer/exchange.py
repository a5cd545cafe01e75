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

"""The two all-to-alls of Figure 16, as changes of names.

The printed pseudocode reshapes to the same dimensions, which changes nothing in
Mesh TensorFlow: there the layout follows the names. Below, a backtick marks the
axis that a layout with the rules batch:data and experts:data splits.
"""

import mesh_tensorflow as mtf

from mtf_switch.layer import dims as dims_lib


class ExchangeOperation(mtf.ReshapeOperation):
  """A change of names that moves slots between tokens' and experts' cores.

  A class of its own lets plans tell these all-to-alls from others.
  """

  def gradient(self, grad_ys):
    """Returns the gradients, sent the other way."""
    return [_exchange(grad_ys[0], self.inputs[0].shape)]


def _exchange(x: mtf.Tensor, shape) -> mtf.Tensor:
  """Changes the names of dimensions, as mtf.reshape does."""
  shape = mtf.convert_to_shape(shape)
  return ExchangeOperation(x, shape, name="reshape").outputs[0]


def to_experts(
    expert_inputs: mtf.Tensor, dims: dims_lib.SwitchDims
) -> mtf.Tensor:
  """Sends each slot from the core of its token to the core of its expert.

  Args:
    expert_inputs: [num_experts_unsplit, num_cores`, expert_capacity, d_model],
      or numbers without d_model.
    dims: the layer's dimensions.

  Returns:
    [num_experts`, num_cores_unsplit, expert_capacity, d_model], or without
    d_model.
  """
  slots = [dims.num_experts, *dims.groups_unsplit, dims.expert_capacity]
  return _exchange(
      expert_inputs, slots + expert_inputs.shape.dims[len(slots) :]
  )


def from_experts(
    expert_outputs: mtf.Tensor, dims: dims_lib.SwitchDims
) -> mtf.Tensor:
  """Sends each slot back to the core of its token.

  Args:
    expert_outputs: [num_experts`, num_cores_unsplit, expert_capacity,
      d_output].
    dims: the layer's dimensions.

  Returns:
    [num_experts_unsplit, num_cores`, expert_capacity, d_output].
  """
  return _exchange(
      expert_outputs,
      [
          dims.num_experts_unsplit,
          *dims.groups,
          dims.expert_capacity,
          expert_outputs.shape.dims[-1],
      ],
  )
