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

"""Weights that are a function of their names, with NumPy alone.

The peers' environment and this project's have different versions of NumPy;
RandomState draws the same numbers in all of them. So the fixtures need no
weights.
"""

import zlib

import numpy as np

# Where files have the embedding again.
EMBEDDING = "shared.weight"
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
  """Returns float32 weights of a model.

  Args:
    shapes: by Hugging Face's names.
  """
  return {name: _draw(name, shape) for name, shape in shapes.items()}


def _draw(name: str, shape: list[int]) -> np.ndarray:
  if name in COPIES:
    name = EMBEDDING
  draws = np.random.RandomState(zlib.crc32(name.encode())).randn(*shape)
  if name.endswith("norm.weight"):
    draws = 1 + 0.2 * draws
  elif name == EMBEDDING:
    draws *= 0.3  # With more, a decoder repeats what it has read last.
  elif "relative" not in name:
    draws /= np.sqrt(shape[-1])  # The fan-in, of all matrices.
  return draws.astype(np.float32)
