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

"""Sequences in training batches: where they are, and what stays."""

import numpy as np

from mtf_switch.training import filled_batches

BATCH, LENGTHS = 6, {"inputs": 8, "targets": 5}


def packed_batch():
  batch = {}
  for name, length in LENGTHS.items():
    batch[name] = np.arange(100, 100 + BATCH * length).reshape(BATCH, length)
    batch[f"{name}_segmentation"] = np.ones([BATCH, length], int)
    batch[f"{name}_position"] = np.tile(np.arange(length), (BATCH, 1))
  return batch


def sequence(inputs, targets):
  return {
      "inputs": np.arange(2, 2 + inputs),
      "targets": np.arange(2, 2 + targets),
  }


def test_sequences_share_a_row_while_there_is_room():
  batch = packed_batch()
  sequences = [sequence(3, 2), sequence(5, 1), sequence(1, 1), sequence(2, 5)]
  found = filled_batches.fill(batch, sequences, rows_together=3)
  # Of groups of three rows the second, the first and the third, in two batches
  # after the one as it was; the third sequence finds no room among the inputs,
  # the last none among the targets.
  assert [place.row for place in found.places] == [7, 7, 9, 14]
  assert [place.starts for place in found.places] == [
      {"inputs": 0, "targets": 0},
      {"inputs": 3, "targets": 2},
      {"inputs": 0, "targets": 0},
      {"inputs": 0, "targets": 0},
  ]
  features = found.features
  assert features["inputs"].shape == (3 * BATCH, 8)
  assert features["inputs"][7].tolist() == [2, 3, 4, 2, 3, 4, 5, 6]
  assert features["inputs_segmentation"][7].tolist() == [1] * 3 + [2] * 5
  assert features["inputs_position"][7].tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
  assert features["targets"][7].tolist() == [2, 3, 2, 0, 0]
  assert features["targets_segmentation"][7].tolist() == [1, 1, 2, 0, 0]
  assert features["targets_position"][7].tolist() == [0, 1, 0, 0, 0]
  others = [x for x in range(3 * BATCH) if x not in (7, 9, 14)]
  for name, ids in features.items():
    assert (ids[others] == np.tile(batch[name], (3, 1))[others]).all()


def test_a_row_each_without_packing():
  batch = {name: packed_batch()[name] for name in LENGTHS}
  found = filled_batches.fill(batch, [sequence(1, 1)] * 7, rows_together=1)
  assert [place.row for place in found.places] == list(range(6, 13))
  assert set(found.features) == set(LENGTHS)
  assert found.features["inputs"][6].tolist() == [2, *[0] * 7]


def test_a_batch_of_one_group_takes_one_row_at_a_time():
  found = filled_batches.fill(
      packed_batch(), [sequence(8, 1)] * 2, rows_together=BATCH
  )
  assert [place.row for place in found.places] == [6 + 3, 12 + 1]


def test_a_batch_of_its_own_rows_is_the_batch():
  batch = packed_batch()
  rows = [{name: batch[name][i] for name in LENGTHS} for i in range(BATCH)]
  found = filled_batches.fill(batch, rows, rows_together=1)
  for name, ids in batch.items():
    assert (found.features[name] == np.tile(ids, (2, 1))).all()


def test_without_sequences_the_batch_is_as_it_was():
  batch = packed_batch()
  found = filled_batches.fill(batch, [], rows_together=2)
  assert not found.places
  assert all((found.features[x] == batch[x]).all() for x in batch)


def test_rows_are_spread_over_their_groups():
  found = filled_batches.fill(
      {"targets": np.ones([8, 2], int)}, [{"targets": [3, 4]}] * 64, 8
  )
  rows = [place.row % 8 for place in found.places]
  assert set(np.bincount(rows)) <= {7, 8, 9}
  # Also the first of them.
  assert set(rows[:8]) >= {0, 1, 3, 5, 6}
