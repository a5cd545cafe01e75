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

"""Sequences in the place of some rows of a training batch.

Tokens of a group compete for slots (Appendix F), so that whether one is dropped
depends on its neighbours. To see what becomes of a sequence in training, it
takes a part of one row of a real batch; no group has more than one such row,
unless the rows have several groups each. Slots are given from left to right, so
that the last rows of a group lose most: the rows are spread over the places of
their groups.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

_SEGMENTATION, _POSITION = "_segmentation", "_position"
# Multiples of it, without their whole parts, are spread evenly, however many.
_GOLDEN = (5**0.5 - 1) / 2


class Place(NamedTuple):
  """Where a sequence is.

  Attributes:
    row: among the rows of all batches that `fill` returns.
    starts: by feature, the position of its first token.
  """

  row: int
  starts: Mapping[str, int]


class Filled(NamedTuple):
  """Copies of a batch with sequences in them.

  Attributes:
    features: `[batches * batch_size, length]` by name, batch after batch; the
      first one is the batch as it was.
    places: where each sequence is.
  """

  features: dict[str, np.ndarray]
  places: list[Place]


def fill(
    batch: Mapping[str, np.ndarray],
    sequences: Sequence[Mapping[str, np.ndarray]],
    rows_together: int,
) -> Filled:
  """Puts sequences into copies of a training batch.

  If the batch is packed, as many sequences as there is room for share a row,
  in their order.

  Args:
    batch: `[batch_size, length]` integers by name.
    sequences: `[tokens]` ids by feature, no longer than the lengths, without
      padding.
    rows_together: the least number of neighbouring rows that hold whole groups,
      of which one is replaced.

  Returns:
    Filled.
  """
  names = list(sequences[0]) if sequences else []
  is_packed = any(name.endswith(_SEGMENTATION) for name in batch)
  lengths = {name: batch[name].shape[1] for name in names}
  rows = _rows_of(sequences, lengths, is_packed)
  batch_size = len(next(iter(batch.values())))
  blocks = batch_size // rows_together
  num_batches = 1 + -(-len(rows) // blocks)
  features = {
      name: np.tile(ids, (num_batches, 1)) for name, ids in batch.items()
  }
  places = []
  for number, row in enumerate(rows):
    turn, block = divmod(number, blocks)
    within = int((number + 1) * _GOLDEN % 1 * rows_together)
    place = (1 + turn) * batch_size + block * rows_together + within
    for x in features.values():
      x[place] = 0
    starts = dict.fromkeys(names, 0)
    for segment, sequence in enumerate(row, start=1):
      places.append(Place(place, dict(starts)))
      for name, ids in sequence.items():
        span = slice(starts[name], starts[name] + len(ids))
        features[name][place, span] = ids
        if is_packed:
          features[name + _SEGMENTATION][place, span] = segment
          features[name + _POSITION][place, span] = np.arange(len(ids))
        starts[name] = span.stop
  return Filled(features, places)


def _rows_of(
    sequences: Sequence[Mapping[str, np.ndarray]],
    lengths: Mapping[str, int],
    is_packed: bool,
) -> list[list[Mapping[str, np.ndarray]]]:
  """The sequences of each row."""
  rows = []
  room = {}
  for sequence in sequences:
    fits = rows and all(len(ids) <= room[x] for x, ids in sequence.items())
    if not (is_packed and fits):
      rows.append([])
      room = dict(lengths)
    rows[-1].append(sequence)
    room = {name: room[name] - len(ids) for name, ids in sequence.items()}
  return rows
