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

"""Attention's function and its gradients against upstream's."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import attention as upstream
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import dot_product
from tests import graphs

BATCH = mtf.Dimension("batch", 4)
BEAM = mtf.Dimension("beam", 2)
LENGTH = mtf.Dimension("length", 3)
MEMORY = mtf.Dimension("memory_length", 5)
HEADS = mtf.Dimension("heads", 4)
D_KV = mtf.Dimension("d_kv", 6)
MESHES = [
    ("", ""),
    ("data:2", "batch:data"),
    ("data:4", "batch:data"),
    ("model:2", "heads:model"),
    ("model:4", "heads:model"),
    ("data:2;model:2", "batch:data,heads:model"),
]


def random(mesh, dims, seed, dtype=tf.float32):
  array = np.random.RandomState(seed).randn(*(dim.size for dim in dims))
  return mtf.cast(graphs.constant(mesh, array, dims), dtype)


def outputs_and_gradients(
    q_dims,
    memory_dims,
    bias_dims,
    dtype=tf.float32,
    mesh_shape="",
    layout="",
):
  """Those of both functions, float32 arrays, one after the other."""

  def build(mesh):
    q = random(mesh, [*q_dims, D_KV], 1, dtype)
    k, v = (random(mesh, [*memory_dims, D_KV], seed, dtype) for seed in (2, 3))
    bias = random(mesh, bias_dims, 4, dtype) if bias_dims else None
    target = random(mesh, [*q_dims, D_KV], 5, dtype)
    results = []
    for function in (dot_product.attend, upstream.attention):
      options = {}
      if function is upstream.attention:
        options["dropout_broadcast_dims"] = []
        options["context"] = NoDropout()
      y = function(q, k, v, MEMORY, D_KV, D_KV, bias, **options)
      assert (y.shape, y.dtype) == (q.shape, dtype)
      xs = [q, k, v] + ([bias] if bias_dims else [])
      results += [y] + mtf.gradients([mtf.reduce_sum(y * target)], xs)
    return [mtf.to_float(x) for x in results]

  results, _ = graphs.evaluate(build, mesh_shape, layout)
  half = len(results) // 2
  return results[:half], results[half:]


class NoDropout:
  """What upstream's function asks of a context."""

  train = False
  model = graphs.Model()


@pytest.mark.parametrize("mesh_shape, layout", MESHES)
def test_outputs_and_gradients_are_upstreams(mesh_shape, layout):
  ours, upstreams = outputs_and_gradients(
      [BATCH, LENGTH, HEADS],
      [BATCH, MEMORY, HEADS],
      [BATCH, HEADS, LENGTH, MEMORY],
      mesh_shape=mesh_shape,
      layout=layout,
  )
  for one, other in zip(ours, upstreams, strict=True):
    assert other.any()
    # The same float32 products in another order.
    np.testing.assert_allclose(one, other, atol=2e-6 * np.abs(other).max())


@pytest.mark.parametrize(
    "bias_dims",
    [
        [],
        [HEADS, LENGTH, MEMORY],
        [LENGTH, MEMORY, BATCH],
        [MEMORY],
    ],
    ids=lambda dims: "-".join(d.name for d in dims) or "none",
)
@pytest.mark.parametrize(
    "q_dims, memory_dims",
    [
        ([BATCH, LENGTH, HEADS], [BATCH, MEMORY, HEADS]),
        ([BATCH, LENGTH, HEADS], [BATCH, MEMORY]),
        ([BATCH, LENGTH], [BATCH, MEMORY]),
        ([BATCH, HEADS], [BATCH, MEMORY, HEADS]),
        ([BATCH, BEAM, HEADS], [BATCH, MEMORY, HEADS]),
        ([BATCH, BEAM, HEADS], [BATCH, BEAM, MEMORY, HEADS]),
    ],
    ids=["all", "one-memory-head", "one-head", "token", "beam", "beams"],
)
def test_any_dimensions_do(q_dims, memory_dims, bias_dims):
  dims = set(q_dims) | {MEMORY}
  ours, upstreams = outputs_and_gradients(
      q_dims, memory_dims, [d for d in bias_dims if d in dims]
  )
  for one, other in zip(ours, upstreams, strict=True):
    np.testing.assert_allclose(one, other, atol=2e-6 * np.abs(other).max())


def test_bfloat16_is_upstreams_too():
  """Logits and softmax are float32 in both; bfloat16 has 8 bits."""
  ours, upstreams = outputs_and_gradients(
      [BATCH, LENGTH, HEADS],
      [BATCH, MEMORY, HEADS],
      [HEADS, LENGTH, MEMORY],
      tf.bfloat16,
  )
  for one, other in zip(ours, upstreams, strict=True):
    np.testing.assert_allclose(one, other, atol=2**-6 * np.abs(other).max())


def test_the_softmax_of_few_is_that_of_many(monkeypatch):
  logits = 9 * np.random.RandomState(0).randn(3, 2, 8).astype(np.float32)
  logits[0, 0, 3:] = -1e9
  logits[0, 1] = -1e9  # A query that is masked from all keys.
  results = []
  for few in (logits.size, 0):
    monkeypatch.setattr(dot_product, "_FEW_ENTRIES", few)
    with tf.Graph().as_default(), tf.Session() as session:
      softmax = dot_product._softmax(tf.constant(logits))  # pylint: disable=protected-access
      results.append(session.run(softmax))
      assert softmax.op.type == ("Exp" if few else "Softmax")
  # The logarithm of a weight of exp(-30) is rounded to 2^-19.
  np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-20)
  np.testing.assert_array_equal(results[0][0, 1], 1 / 8)


def test_nothing_as_large_as_the_logits_is_transposed():
  operations = []

  def build(mesh):
    q = random(mesh, [BATCH, LENGTH, HEADS, D_KV], 1)
    k, v = (random(mesh, [BATCH, MEMORY, HEADS, D_KV], s) for s in (2, 3))
    bias = random(mesh, [HEADS, LENGTH, MEMORY], 4)
    y = dot_product.attend(q, k, v, MEMORY, D_KV, D_KV, bias)
    return [y] + mtf.gradients([mtf.reduce_sum(y)], [q, k, v, bias])

  def record():
    operations.extend(tf.get_default_graph().get_operations())
    return []

  graphs.evaluate(build, before_run=record)
  size = mtf.Shape([BATCH, LENGTH, HEADS, MEMORY]).size
  products = [op for op in operations if "MatMul" in op.type]
  assert len(products) == 6  # 2 forward, 4 backward.
  assert not [
      op
      for op in operations
      if op.type in ("Transpose", "Einsum")
      and any(x.shape.num_elements() == size for x in op.inputs)
  ]
