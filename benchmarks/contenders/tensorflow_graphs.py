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

"""Sessions, inputs and a layer for the two contenders on TensorFlow."""

from mtf_switch import compat  # isort: skip
from collections.abc import Sequence
import importlib.metadata

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
from mesh_tensorflow.transformer import transformer_layers
import numpy as np
import tensorflow.compat.v1 as tf

from benchmarks.contenders import worker

compat.use_graph_mode()

VERSIONS = {
    name: importlib.metadata.version(name)
    for name in ("tensorflow", "mesh-tensorflow")
}


class _Model:
  """The attributes of a Unitransformer that a layer reads."""

  ensemble_dim = None
  ensemble_dims = []

  def __init__(self, mesh_impl: mtf.MeshImpl, d_model: int):
    self.mesh_shape = mesh_impl.shape
    self.layout = mesh_impl.layout_rules
    self.model_dim = mtf.Dimension("d_model", d_model)


class _AssignFirst(tf.train.SessionRunHook):
  """Replaces variables' initial values; comes before mtf.MtfRestoreHook."""

  def __init__(self, new_value):
    """Creates the hook.

    Args:
      new_value: a function from a trainable variable to its new value, or None
        to keep the old one.
    """
    self._new_value = new_value

  def begin(self):
    """Builds the assignments."""
    values = [(v, self._new_value(v)) for v in tf.trainable_variables()]
    self._assignments = [tf.assign(v, x) for v, x in values if x is not None]

  def after_create_session(self, session, coord):
    """Runs the assignments."""
    del coord
    session.run(self._assignments)


def constant(name: str, value: np.ndarray) -> tf.Tensor:
  """An input that costs nothing to feed and is not folded as a constant.

  Nor is it one of the graph, of which TensorFlow holds several copies.
  """
  initializer = tf.numpy_function(lambda: value, [], value.dtype)
  return tf.get_variable(
      name,
      initializer=tf.ensure_shape(initializer, value.shape),
      trainable=False,
  ).read_value()


def open_session(config: tf.ConfigProto | None, hooks: Sequence = ()):
  """Opens a session and initializes all variables.

  Args:
    config: the session's configuration.
    hooks: hooks, called in this order.

  Returns:
    the session.
  """
  return tf.train.SingularMonitoredSession(hooks=list(hooks), config=config)


def weight_bytes(graph: mtf.Graph) -> int:
  """The memory of the trainable weights, in bytes."""
  return sum(4 * variable.size for variable in graph.trainable_variables)


def matmul(config: tf.ConfigProto | None, size: int) -> worker.Work:
  """The product of two square matrices, which shows the machine's speed.

  Args:
    config: the session's configuration.
    size: rows and columns of the matrices.

  Returns:
    the run "matmul".
  """
  matrix = constant("matrix", worker.tokens(1, size, size)[0])
  product = tf.matmul(matrix, matrix).op
  session = open_session(config)
  return worker.Work(
      {"matmul": lambda: session.run(product)}, worker.matmul_facts(size)
  )


def layer(
    mesh: mtf.Mesh,
    mesh_impl,
    config: tf.ConfigProto | None,
    switch: transformer.TransformerLayer | None,
    groups: int,
    tokens_per_group: int,
    d_model: int,
    d_ff: int,
    num_experts: int,
) -> worker.Work:
  """One feed-forward layer, forward and backward.

  Args:
    mesh: the mesh.
    mesh_impl: its implementation.
    config: the session's configuration.
    switch: the Switch layer; None for the dense layer that both share.
    groups: the number of groups of tokens.
    tokens_per_group: the tokens in each.
    d_model: the width of a token.
    d_ff: the inner width.
    num_experts: the experts of the Switch layer.

  Returns:
    the run "layer".
  """
  batch_dim = mtf.Dimension("batch", groups)
  length_dim = mtf.Dimension("length", tokens_per_group)
  model = _Model(mesh_impl, d_model)
  shape = mtf.Shape([batch_dim, length_dim, model.model_dim])
  x = mtf.import_fully_replicated(
      mesh,
      constant("tokens", worker.tokens(groups, tokens_per_group, d_model)),
      shape,
  )
  context = transformer.Context(
      model,
      mesh,
      [batch_dim],
      length_dim,
      mtf.VariableDType(tf.float32),
      losses=[],
      # All tokens are real; MoE1D must be told.
      sequence_id=mtf.ones(mesh, [batch_dim, length_dim], tf.int32),
  )
  feed_forward = switch or transformer_layers.DenseReluDense(hidden_size=d_ff)
  y = feed_forward.call(context, x)
  # Any loss will do that gives each output a gradient of its own.
  loss = mtf.add_n([mtf.reduce_sum(mtf.square(y)), *context.losses])
  variables = mesh.graph.trainable_variables
  gradients = mtf.gradients([loss], [x, *(v.value for v in variables)])
  lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
  output = lowering.export_to_tf_tensor(y)
  # Fetching operations copies nothing to Python.
  computed = [lowering.export_to_tf_tensor(g).op for g in gradients]

  kernel = worker.router_kernel(d_model, num_experts)
  same_router = _AssignFirst(
      lambda v: kernel if v.shape == kernel.shape else None
  )
  session = open_session(config, [same_router, mtf.MtfRestoreHook(lowering)])
  facts = {"weight_bytes": weight_bytes(mesh.graph)}
  if switch:
    # A token without a slot leaves the layer as zeros.
    facts["processed"] = float(session.run(output).any(axis=-1).mean())
  return worker.Work({"layer": lambda: session.run(computed)}, facts)


def decode(
    config: tf.ConfigProto | None,
    hooks: Sequence,
    outputs: tf.Tensor,
) -> worker.Work:
  """Decoding of a batch, with initial values that leave every token open.

  Args:
    config: the session's configuration.
    hooks: the session's hooks.
    outputs: `[batch, length]` token ids.

  Returns:
    the run "decode".
  """

  def varied(variable):
    if variable.op.name.endswith("embedding"):
      return variable * worker.EMBEDDING_SCALE
    return None

  session = open_session(config, [_AssignFirst(varied), *hooks])
  ids = session.run(outputs)
  facts = {"tokens": ids.size, "different_tokens": len(np.unique(ids))}
  return worker.Work({"decode": lambda: session.run(outputs)}, facts)
