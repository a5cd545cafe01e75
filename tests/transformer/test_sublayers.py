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

"""Sublayers against upstream's, and what they leave out of the graph."""

import mtf_switch  # isort: skip  # noqa: F401
import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
from mesh_tensorflow.transformer import transformer_layers
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import layer_stack
from mtf_switch.transformer import sublayers
from tests import attention_cases as cases
from tests import graphs

DIMS = [cases.BATCH_DIM, cases.LENGTH_DIM, cases.D_MODEL_DIM]
SUBLAYERS = dict(
    sublayers_initial=[],
    sublayers_per_layer=[
        transformer.sublayer_rms_norm,
        transformer.sublayer_call_layer,
        transformer.sublayer_residual,
    ],
    sublayers_final=[transformer.sublayer_rms_norm],
)
PADDING = 2


def sequence_id(mesh):
  """Sequence ids of a batch whose last positions are padding."""
  ids = np.ones((cases.BATCH, cases.LENGTH), np.int32)
  ids[:, -PADDING:] = 0
  return graphs.constant(mesh, ids, DIMS[:2])


def make_context(mesh, dtype=tf.float32, mesh_shape="", layout="batch:data"):
  context = cases.make_context(
      mesh, model=cases.make_model(mesh_shape, layout), dtype=dtype
  )
  context.sequence_id = sequence_id(mesh)
  return context


def normalized(sublayer, dtype, mesh_shape=""):
  """Outputs and gradients of a norm."""

  def build(mesh):
    context = make_context(mesh, dtype, mesh_shape, "batch:data")
    x, target = (mtf.cast(cases.inputs(mesh, seed), dtype) for seed in (2, 3))
    y = sublayer(3.0 * x, None, context)
    assert y.dtype == dtype
    (scale,) = mesh.graph.trainable_variables
    assert scale.name == "rms_norm/scale"
    gradients = mtf.gradients(
        [mtf.reduce_sum(y * target)], [x, scale.outputs[0]]
    )
    return [mtf.to_float(t) for t in (y, *gradients)]

  return graphs.evaluate(
      build,
      mesh_shape,
      "batch:data",
      before_run=lambda: cases.set_weights(1.0),
  )[0]


@pytest.mark.parametrize("mesh_shape", ["", "data:2"])
@pytest.mark.parametrize(
    "dtype, error",
    [
        # The same float32 sums in another order.
        (tf.float32, 1e-6),
        # Upstream rounds squares, means and factors to 8 bits.
        (tf.bfloat16, 2**-5),
    ],
    ids=["float32", "bfloat16"],
)
def test_norms_are_upstreams(dtype, error, mesh_shape):
  ours = normalized(sublayers.rms_norm, dtype, mesh_shape)
  upstreams = normalized(transformer.sublayer_rms_norm, dtype)
  for one, other in zip(ours, upstreams, strict=True):
    assert other.any()
    np.testing.assert_allclose(one, other, atol=error * np.abs(other).max())


def test_the_norm_of_a_vector_by_hand():
  def build(mesh):
    dim = mtf.Dimension("d_model", 2)
    x = graphs.constant(mesh, [[3.0, 4.0]], [mtf.Dimension("batch", 1), dim])
    scale = graphs.constant(mesh, [1.0, 2.0], [dim])
    y = sublayers.normalize(x, scale, epsilon=0.0)
    gradients = mtf.gradients([mtf.reduce_sum(y)], [x, scale])
    return [y, *gradients]

  (y, of_x, of_scale), _ = graphs.evaluate(build)
  # The root mean square of 3 and 4 is sqrt(12.5); the gradient is
  # (scale - y * mean(y)) / sqrt(12.5), where y stands for x normalized.
  rms = 12.5**0.5
  unit = np.array([3.0, 4.0]) / rms
  np.testing.assert_allclose(y, [unit * [1, 2]], rtol=1e-6)
  np.testing.assert_allclose(of_scale, unit, rtol=1e-6)
  mean = (unit * [1, 2]).mean()
  np.testing.assert_allclose(of_x, [([1, 2] - unit * mean) / rms], rtol=1e-5)


@pytest.mark.parametrize("mesh_shape", ["", "data:2", "model:2"])
def test_padding_is_zero_whatever_was_there(mesh_shape):
  layout = "batch:data;d_model:model"

  def build(mesh):
    context = make_context(mesh)
    real = mtf.cast(context.sequence_id, tf.float32)
    # 0 / 0 at padding.
    spoilt = cases.inputs(mesh, 2) * real / real
    y = sublayers.mask_padding(spoilt, None, context)
    (gradient,) = mtf.gradients(
        [mtf.reduce_sum(y)], [spoilt], grad_ys=[mtf.ones(mesh, [])]
    )
    return [spoilt, y, gradient]

  (spoilt, y, gradient), _ = graphs.evaluate(build, mesh_shape, layout)
  assert np.isnan(spoilt[:, -PADDING:]).all()
  assert not y[:, -PADDING:].any()
  assert not gradient[:, -PADDING:].any()
  np.testing.assert_array_equal(y[:, :-PADDING], spoilt[:, :-PADDING])
  assert np.isfinite(y).all()
  assert (gradient[:, :-PADDING] == 1).all()


def make_stack(stack_class):
  layer = transformer_layers.DenseReluDense(8, activation=["gelu", "linear"])
  layer.set_name("layer")
  return stack_class([layer], **SUBLAYERS)


def stack_of(stack_class, mesh, context):
  x = cases.inputs(mesh, 2)
  y = make_stack(stack_class).call(context, x)
  loss = mtf.reduce_sum(y * cases.inputs(mesh, 3))
  variables = mesh.graph.trainable_variables
  return [y, *mtf.gradients([loss], [x, *(v.outputs[0] for v in variables)])]


@pytest.mark.parametrize("mesh_shape", ["", "data:2", "model:2"])
def test_a_stack_computes_what_upstreams_does(mesh_shape):
  layout = "batch:data;d_ff:model"

  def run(stack_class, mesh_shape):
    def build(mesh):
      context = make_context(mesh, mesh_shape=mesh_shape, layout=layout)
      results = stack_of(stack_class, mesh, context)
      shapes.append({v.name: v.shape for v in mesh.graph.trainable_variables})
      outputs.append(len(context.layer_outputs))
      return results

    return graphs.evaluate(
        build, mesh_shape, layout, before_run=lambda: cases.set_weights(1.0)
    )[0]

  shapes, outputs = [], []
  ours = run(layer_stack.SwitchLayerStack, mesh_shape)
  upstreams = run(transformer.LayerStack, "")
  assert shapes[0] == shapes[1]
  assert outputs[0] == outputs[1]
  for one, other in zip(ours, upstreams, strict=True):
    assert other.any()
    # The same float32 sums in another order.
    np.testing.assert_allclose(one, other, atol=2e-6 * np.abs(other).max())


def products_with_masks(stack_class):
  """Products that Grappler could make as large as the activations."""
  mesh = mtf.Mesh(mtf.Graph(), "mesh")
  stack_of(
      stack_class,
      mesh,
      make_context(mesh, mesh_shape="data:1", layout="batch:data"),
  )
  return [
      operation
      for operation in mesh.graph.operations
      if isinstance(operation, mtf.EinsumOperation)
      and operation.outputs[0].shape == mtf.Shape(DIMS)
      and any(x.shape == mtf.Shape(DIMS[:2]) for x in operation.inputs)
  ]


def test_no_activations_are_multiplied_by_a_mask():
  with tf.Graph().as_default():
    assert products_with_masks(transformer.LayerStack)
  with tf.Graph().as_default():
    assert not products_with_masks(layer_stack.SwitchLayerStack)


def test_options_that_gin_sets_are_read():
  norm = transformer.sublayer_rms_norm
  assert sublayers.replacement_of(norm) is sublayers.rms_norm
  assert sublayers.replacement_of(transformer.sublayer_dropout) is (
      transformer.sublayer_dropout
  )
  with gin.unlock_config():
    gin.bind_parameter("transformer.sublayer_rms_norm.epsilon", 0.1)
    try:
      assert sublayers.replacement_of(norm) is norm
    finally:
      gin.clear_config()
