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

"""A check of the character map in a SentencePiece model.

SentencePiece reads the map without looking at its bounds: a byte that has been
damaged ends the process once a text leads to it.
"""

import numpy as np

_SIZE_BYTES = 4
_UNIT = "<u4"
_IS_VALUE = 1 << 31


def is_whole(charsmap: bytes) -> bool:
  """Returns whether no text can lead out of a map.

  Args:
    charsmap: the precompiled_charsmap of a model's normalizer_spec: the size of
      a double-array trie (Darts), the trie, and the texts that its values are
      places in, each with a zero byte at its end. Empty for no map.
  """
  if not charsmap:
    return True
  size = int.from_bytes(charsmap[:_SIZE_BYTES], "little")
  trie = charsmap[_SIZE_BYTES : _SIZE_BYTES + size]
  texts = charsmap[_SIZE_BYTES + size :]
  if len(trie) < size or size % 4 or not size or texts[-1:] != b"\0":
    return False
  units = np.frombuffer(trie, _UNIT).astype(np.int64)
  (nodes,) = np.nonzero(units & _IS_VALUE == 0)
  inner = units[nodes]
  starts = nodes ^ ((inner >> 10) << ((inner & 1 << 9) >> 6))
  # The next byte of a text leads to any of 256 units, and all are read.
  if np.any(starts | 0xFF >= len(units)):
    return False
  values = units[starts[inner >> 8 & 1 == 1]] & ~_IS_VALUE
  return bool(np.all(values < len(texts)))
