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

"""Head-major attention under its gin names, for dense and sparse models.

The stack names variables after classes. So the classes have upstream's names,
and checkpoints of either fit the other. Both pairs of gin names make them:
HeadMajorSelfAttention and HeadMajorEncDecAttention with upstream's initial
values, TruncatedNormalSelfAttention and TruncatedNormalEncDecAttention with
those of section 2.4. Bindings of upstream's own names, such as
SelfAttention.num_heads, reach all four.
"""

import gin
from mesh_tensorflow.transformer import transformer_layers

from mtf_switch.transformer import head_major


class SelfAttention(head_major.HeadMajor, head_major.CachedSelfAttention):
  """Upstream's self-attention, computed head-major."""


class EncDecAttention(head_major.HeadMajor, transformer_layers.EncDecAttention):
  """Upstream's encoder-decoder attention, computed head-major."""


# The classes are not decorated: bindings of one gin name would reach the other.
gin.external_configurable(
    SelfAttention, "HeadMajorSelfAttention", module="mtf_switch"
)
gin.external_configurable(
    EncDecAttention, "HeadMajorEncDecAttention", module="mtf_switch"
)


@gin.configurable("TruncatedNormalSelfAttention", module="mtf_switch")
def truncated_normal_self_attention(
    initializer_scale: float = 0.1, **kwargs
) -> SelfAttention:
  """Self-attention with section 2.4's initial values.

  Args:
    initializer_scale: s of section 2.4.
    **kwargs: upstream's options, which its gin name sets too.

  Returns:
    the layer.
  """
  return SelfAttention(initializer_scale, **kwargs)


@gin.configurable("TruncatedNormalEncDecAttention", module="mtf_switch")
def truncated_normal_enc_dec_attention(
    initializer_scale: float = 0.1, **kwargs
) -> EncDecAttention:
  """Encoder-decoder attention with section 2.4's initial values.

  Args:
    initializer_scale: s of section 2.4.
    **kwargs: upstream's options, which its gin name sets too.

  Returns:
    the layer.
  """
  return EncDecAttention(initializer_scale, **kwargs)
