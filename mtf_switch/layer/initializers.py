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

"""Initial values of the weights (section 2.4, Table 3)."""

import mesh_tensorflow as mtf


def truncated_normal(scale: float) -> mtf.layers.DenseInitializer:
  """Truncated normal with sigma = sqrt(scale / fan-in), cut at two sigma.

  Args:
    scale: the paper's s; it reduces T5's 1.0 to 0.1.

  Returns:
    an initializer for `mtf.layers.dense`; called with (reduced_dims, new_dims)
    it gives one for a variable. Expert dimensions do not count as fan-in.
  """
  return mtf.layers.VarianceScalingInitializer(
      scale=scale, mode="fan_in", distribution="normal"
  )
