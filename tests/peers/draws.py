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

"""Weights that are a function of their names, and ids, with NumPy alone.

The peers' environment and this project's have different versions of NumPy;
RandomState draws the same numbers in all of them. So the fixtures need no
weights.
"""

import zlib

import numpy as np

# Sentences of different lengths, with padding.
LENGTHS = {"inputs": [9, 4, 1], "targets": [6, 7, 2]}
EMBEDDING = "shared.weight"
_EMBEDDING_OF_T5X = "token_embedder/embedding"
# Where files have the embedding again.
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def ids(
    vocab_size: int, of: dict[str, list[int]] = LENGTHS
) -> dict[str, np.ndarray]:
  """Returns inputs and targets, int32 `[batch, length]`.

  Args:
    vocab_size: the number of ids; 0 is padding.
    of: the lengths of the sentences, by feature.
  """
  generator = np.random.RandomState(0)
  found = {}
  for feature, lengths in of.items():
    found[feature] = np.zeros([len(lengths), max(lengths)], np.int32)
    for row, length in zip(found[feature], lengths):
      row[:length] = generator.randint(2, vocab_size, length)
  return found


def weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
  """Returns float32 weights of a model.

  Args:
    shapes: by Hugging Face's names, or by T5X's, whose parts have "/" between
      them.
  """
  return {name: _draw(name, shape) for name, shape in shapes.items()}


def _draw(name: str, shape: list[int]) -> np.ndarray:
  if name in COPIES:
    name = EMBEDDING
  draws = np.random.RandomState(zlib.crc32(name.encode())).randn(*shape)
  if name.endswith(("norm.weight", "norm/scale")):
    draws = 1 + 0.2 * draws
  elif name in (EMBEDDING, _EMBEDDING_OF_T5X):
    draws *= 0.3  # With more, a decoder repeats what it has read last.
  elif "relative" not in name and "relpos" not in name:
    draws /= np.sqrt(shape[-2] if "/" in name else shape[-1])  # The fan-in.
  return draws.astype(np.float32)
