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

"""Mesh TensorFlow's own layers, stack, loss and decoding.

The package is the installed one, unmodified. Without `mtf_switch.compat` it
cannot be imported; the shims also switch to resource variables.
"""

from benchmarks.contenders import tensorflow_graphs as graphs  # isort: skip
from collections.abc import Mapping
import functools
import pathlib

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow import placement_mesh_impl
from mesh_tensorflow.transformer import moe
from mesh_tensorflow.transformer import transformer
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf

from benchmarks.contenders import worker

_GIN_FILE = pathlib.Path(__file__).with_suffix(".gin")
_DTYPE = mtf.VariableDType(tf.float32)


def _mesh() -> tuple[mtf.Mesh, mtf.MeshImpl]:
  mesh = mtf.Mesh(mtf.Graph(), "mesh")
  impl = placement_mesh_impl.PlacementMeshImpl(
      mtf.Shape([]), mtf.LayoutRules([]), [""]
  )
  return mesh, impl


def layer(num_experts: int, **sizes) -> worker.Work:
  """One layer: MoE1D, or DenseReluDense without experts."""
  switch = None
  if num_experts:
    switch = moe.MoE1D(
        num_experts,
        hidden_size=sizes["d_ff"],
        group_size=sizes["tokens_per_group"],
        moe_gating="switch",
    )
  # TensorFlow's defaults: upstream configures no session.
  return graphs.layer(
      *_mesh(), config=None, switch=switch, num_experts=num_experts, **sizes
  )


def _build_model(sizes: Mapping[str, int], is_dense: bool = False):
  """The transformer from upstream's classes only.

  Args:
    sizes: from models.sizes.
    is_dense: whether dense layers take the place of sparse ones.
  """
  gin.parse_config_file(str(_GIN_FILE))
  gin.parse_config(
      [
          f"{name} = {sizes[name]}"
          for name in (
              "d_model",
              "d_ff",
              "d_kv",
              "num_heads",
              "num_blocks",
              "num_experts",
              "group_size",
          )
      ]
  )
  if is_dense:
    gin.parse_config("sparse_layer = %dense_layer")
  return utils.build_model(
      "bitransformer", sizes["vocabulary"], sizes["vocabulary"], "", ""
  )


def _ids(mesh: mtf.Mesh, sizes: Mapping[str, int], name: str) -> mtf.Tensor:
  batch, length = sizes["batch"], sizes[name]
  ids = worker.ids(batch, length, sizes["vocabulary"], seed=len(name))
  dims = [mtf.Dimension("batch", batch), mtf.Dimension("length", length)]
  return mtf.import_fully_replicated(
      mesh, graphs.constant(name, ids), mtf.Shape(dims)
  )


def step(**sizes) -> worker.Work:
  """A training step."""
  return _training_work(_build_model(sizes), sizes)


def dense_step(**sizes) -> worker.Work:
  """A training step of the dense twin."""
  return _training_work(_build_model(sizes, is_dense=True), sizes)


def distill(**sizes) -> worker.Work:
  """A training step of StudentTeacher, which asks the teacher in training."""
  teacher = _build_model(sizes)
  student = _build_model(sizes, is_dense=True)
  model = transformer.StudentTeacher(
      student, teacher, temperature=1.0, fraction_soft=0.25
  )
  return _training_work(model, sizes)


def _training_work(model, sizes: Mapping[str, int]) -> worker.Work:
  mesh, mesh_impl = _mesh()
  _, loss = model.call_simple(
      _ids(mesh, sizes, "inputs"),
      _ids(mesh, sizes, "targets"),
      compute_loss=True,
      mode=tf.estimator.ModeKeys.TRAIN,
      variable_dtype=_DTYPE,
  )
  variables = mesh.graph.trainable_variables
  updates = mtf.optimize.AdafactorOptimizer(learning_rate=0.001).apply_grads(
      mtf.gradients([loss], [v.outputs[0] for v in variables]), variables
  )
  lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
  train = tf.group(*(lowering.lowered_operation(u) for u in updates))
  session = graphs.open_session(None, [mtf.MtfRestoreHook(lowering)])
  facts = {"weight_bytes": graphs.weight_bytes(mesh.graph)}
  return worker.Work({"step": lambda: session.run(train)}, facts)


def decode(**sizes) -> worker.Work:
  """Greedy decoding of a batch."""
  mesh, mesh_impl = _mesh()
  model = _build_model(sizes)
  samples = model.decode(
      _ids(mesh, sizes, "inputs"),
      variable_dtype=_DTYPE,
      max_decode_length=sizes["targets"],
  )
  lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
  outputs = lowering.export_to_tf_tensor(samples)
  return graphs.decode(None, [mtf.MtfRestoreHook(lowering)], outputs)


if __name__ == "__main__":
  worker.serve(
      {
          "layer": layer,
          "step": step,
          "dense_step": dense_step,
          "distill": distill,
          "decode": decode,
          "matmul": functools.partial(graphs.matmul, None),
      },
      graphs.VERSIONS,
  )
