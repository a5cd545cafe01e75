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

"""The lookup against upstream's one-hot product."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import embedding
from tests import graphs
from tests.vocabulary_cases import BATCH
from tests.vocabulary_cases import ids
from tests.vocabulary_cases import LENGTH
from tests.vocabulary_cases import random
from tests.vocabulary_cases import VOCAB

D_MODEL = mtf.Dimension("d_model", 8)
MESHES = [
    ("", ""),
    ("data:2", "batch:data"),
    ("data:4", "batch:data"),
    ("model:2", "vocab:model"),
    ("model:2", "d_model:model"),
    ("data:2;model:2", "batch:data,vocab:model"),
]


@pytest.mark.parametrize("mesh_shape, layout", MESHES)
def test_lookup_and_its_gradient_are_those_of_one_hot(mesh_shape, layout):
  def build(mesh):
    table = random(mesh, [VOCAB, D_MODEL], 1)
    target = random(mesh, [BATCH, LENGTH, D_MODEL], 2)
    results = []
    for look_up in (
        embedding.lookup,
        lambda table, ids, dim: mtf.gather(table, ids, dim),
    ):
      rows = look_up(table, ids(mesh), VOCAB)
      loss = mtf.reduce_sum(rows * target)
      results += [rows] + mtf.gradients([loss], [table])
    return results

  results, _ = graphs.evaluate(build, mesh_shape, layout)
  for one, other in zip(results[:2], results[2:]):
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_lookup_leaves_the_variable_a_dense_one():
  """A gather from the variable itself makes later reads copy all of it."""
  types = []

  def build(mesh):
    table = mtf.get_variable(mesh, "table", mtf.Shape([VOCAB, D_MODEL]))
    return [embedding.lookup(table, ids(mesh), VOCAB)]

  def record():
    types.extend(op.type for op in tf.get_default_graph().get_operations())
    return []

  graphs.evaluate(build, before_run=record)
  assert "VarHandleOp" in types and "GatherV2" in types
  assert "ResourceGather" not in types
