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

"""A small attention layer's inputs and context, for tests of every kind."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import numpy as np
import tensorflow.compat.v1 as tf

from tests import graphs

BATCH, LENGTH, MEMORY, D_MODEL, HEADS, D_KV = 4, 6, 8, 12, 3, 5
BATCH_DIM = mtf.Dimension("batch", BATCH)
LENGTH_DIM = mtf.Dimension("length", LENGTH)
MEMORY_DIM = mtf.Dimension("memory_length", MEMORY)
D_MODEL_DIM = mtf.Dimension("d_model", D_MODEL)
SIZES = dict(num_heads=HEADS, key_value_size=D_KV)


def tokens(mesh, dims, seed):
  array = np.random.RandomState(seed).randn(*(d.size for d in dims))
  return graphs.constant(mesh, array, dims)


def inputs(mesh, seed):
  """Activations [batch, length, d_model]."""
  return tokens(mesh, [BATCH_DIM, LENGTH_DIM, D_MODEL_DIM], seed)


def make_model(mesh_shape=None, layout=None):
  model = graphs.Model(mesh_shape, layout)
  model.model_dim = D_MODEL_DIM
  model.fully_autoregressive = False
  return model


def make_context(mesh, memory_seed=1, model=None, dtype=tf.float32, **kwargs):
  memory = tokens(mesh, [BATCH_DIM, MEMORY_DIM, D_MODEL_DIM], memory_seed)
  return transformer.Context(
      model or make_model(),
      mesh,
      [BATCH_DIM],
      LENGTH_DIM,
      mtf.VariableDType(tf.float32, tf.float32, dtype),
      mode=tf.estimator.ModeKeys.TRAIN,
      position=mtf.range(mesh, LENGTH_DIM, tf.int32),
      sequence_id=mtf.ones(mesh, [BATCH_DIM, LENGTH_DIM], tf.int32),
      encoder_output=mtf.cast(memory, dtype),
      encoder_sequence_id=mtf.ones(mesh, [BATCH_DIM, MEMORY_DIM], tf.int32),
      losses=[],
      **kwargs,
  )


def set_weights(scale=0.1, bias_scale=None):
  """Assigns to each variable what depends on its name and shape only.

  Args:
    scale: of the values.
    bias_scale: of those of position biases; None for scale.
  """
  return [
      tf.assign(
          variable,
          np.random.RandomState(len(variable.op.name))
          .randn(*variable.shape.as_list())
          .astype(np.float32)
          * (
              bias_scale
              if bias_scale and "relative_attention_bias" in variable.op.name
              else scale
          ),
      )
      for variable in tf.trainable_variables()
  ]
