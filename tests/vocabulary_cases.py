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

"""Inputs for the two ends of a vocabulary: its embedding and its loss."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import numpy as np

from tests import graphs

BATCH = mtf.Dimension("batch", 4)
LENGTH = mtf.Dimension("length", 6)
VOCAB = mtf.Dimension("vocab", 24)


def random(mesh, dims, seed):
  """Returns a constant of normal draws."""
  array = np.random.RandomState(seed).randn(*(dim.size for dim in dims))
  return graphs.constant(mesh, array, dims)


def ids(mesh, low=0):
  """Returns random tokens from `low` on, `[batch, length]` int32."""
  array = np.random.RandomState(0).randint(low, VOCAB.size, (4, 6))
  array[0, 0] = array[3, 5] = 7  # A row with several copies.
  return graphs.constant(mesh, array.astype(np.int32), [BATCH, LENGTH])
