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

"""What layers read off their context."""

import mesh_tensorflow as mtf


def nonpadding(context):
  """Which positions hold a real token, as Context.nonpadding says.

  Before its loop, decoding calls the layers once with the text that is to be
  continued, of which upstream does not say where it ends.

  Args:
    context: a transformer.Context.

  Returns:
    a tensor, 1 where a token is real; None or 1 if all are.
  """
  if context.mode != "first_part":
    return context.nonpadding
  # The inputs are shifted: the last real token is at initial_position.
  is_real = mtf.less_equal(context.position, context.initial_position)
  return mtf.cast(is_real, context.activation_dtype)
