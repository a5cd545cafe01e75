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

"""The model and the quick text that several questions use."""

from collections.abc import Mapping

# An encoder-decoder of 4 + 4 layers; each block has a dense and a sparse one.
SIZES = dict(
    d_model=256,
    d_ff=1024,
    d_kv=64,
    num_heads=4,
    num_blocks=2,
    num_experts=8,
    vocabulary=32128,
    group_size=1024,
    batch=16,
    inputs=256,
    targets=64,
)
QUICK_SIZES = dict(
    d_model=16,
    d_ff=32,
    d_kv=8,
    num_heads=2,
    num_blocks=1,
    num_experts=4,
    vocabulary=128,
    group_size=16,
    batch=2,
    inputs=16,
    targets=8,
)

# Bindings for a text that is extracted and a vocabulary that is learnt within
# seconds.
QUICK_TEXT = (
    "tasks.docstrings.max_bytes = 200000",
    "tasks.vocabulary.size = 400",
)


def sizes(quick: bool, **changes: int) -> Mapping[str, int]:
  """The sizes of the model and its batch.

  Args:
    quick: whether to use the tiny model.
    **changes: sizes that replace the defaults.

  Returns:
    sizes by name; group_size is in tokens, inputs and targets in tokens per
    sequence.
  """
  return {**(QUICK_SIZES if quick else SIZES), **changes}
