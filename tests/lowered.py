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


"""Lowers graphs for absent TPUs, and lists the cores' collectives.

TensorFlow builds the graph of a core from a device assignment alone; the TPU is
only needed to run it.
"""

from mtf_switch import compat  # isort: skip  # noqa: F401
from collections.abc import Iterable, Iterator
import contextlib
import math
import types
from typing import NamedTuple
from unittest import mock

from absl import flags
import mesh_tensorflow as mtf
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import tensor_util
from tensorflow.python.tpu import device_assignment
from tensorflow.python.tpu import topology as topology_lib
from tensorflow.python.tpu import tpu_function

from mtf_switch.mesh import draws
from mtf_switch.mesh import placement
from mtf_switch.mesh import simd_mesh
from mtf_switch.training import experiment as experiment_lib
from mtf_switch.training import model_functions
from mtf_switch.training import prediction_functions
from mtf_switch.training import run as run_lib

# The names in plans of TensorFlow's operations.
KINDS = {
    "AllToAll": "all_to_all",
    "CrossReplicaSum": "all_reduce",
    "CollectivePermute": "permute",
}


class Collective(NamedTuple):
  """An operation with which cores exchange data.

  Attributes:
    kind: "AllToAll", "CrossReplicaSum" or "CollectivePermute".
    shape: the operand's, on one core.
    dtype: the operand's.
    groups: the cores that exchange data with each other; for
      "CollectivePermute", pairs of source and target.
    name: the tf.Operation's.
  """

  kind: str
  shape: tuple[int, ...]
  dtype: tf.DType
  groups: tuple[tuple[int, ...], ...]
  name: str


def operations(tf_graph: tf.Graph) -> Iterator[tf.Operation]:
  """Yields the operations of a graph and of the functions that they call."""
  graphs, seen = [tf_graph], set()
  while graphs:
    for operation in graphs.pop().get_operations():
      yield operation
      called = set(_functions(operation)) - seen
      seen |= called
      graphs += called


def needed(results: Iterable[tf.Tensor]) -> set[tf.Operation]:
  """Returns the operations that run for some tensors, in loops too."""
  found, left = set(), [x.op for x in results]
  while left:
    operation = left.pop()
    if operation not in found:
      found.add(operation)
      left += [x.op for x in operation.inputs] + operation.control_inputs
      for function in _functions(operation):
        left += [x.op for x in function.outputs]
  return found


def _functions(operation: tf.Operation) -> Iterator[tf.Graph]:
  """Yields the graphs of the functions that an operation calls."""
  for attribute in operation.node_def.attr.values():
    if name := attribute.func.name:
      yield operation.graph._get_function(name).graph  # pylint: disable=protected-access


def collectives(
    tf_graph: tf.Graph, results: Iterable[tf.Tensor] | None = None
) -> list[Collective]:
  """Returns the collectives of a graph; those in loops count once.

  Args:
    tf_graph: the graph.
    results: the tensors for which it is run; None for all operations.
  """
  result = []
  all_operations = operations(tf_graph) if results is None else needed(results)
  for operation in all_operations:
    if operation.type in KINDS:
      operand, groups = operation.inputs
      result.append(
          Collective(
              operation.type,
              tuple(operand.shape.as_list()),
              operand.dtype.base_dtype,
              tuple(map(tuple, tensor_util.constant_value(groups).tolist())),
              operation.name,
          )
      )
  return result


def chips(num_cores: int, cores_per_chip: int = 2) -> list[int]:
  """Returns the topology `[x, y, z, core]` of a nearly square pod."""
  num_chips = num_cores // cores_per_chip
  y = 2 ** (int(math.log2(num_chips)) // 2)
  return [num_chips // y, y, 1, cores_per_chip]


def tpu_context(topology: list[int]):
  """Returns TPUEstimator's description of a TPU of `[x, y, z, core]`."""
  num_cores = math.prod(topology)
  num_hosts = max(1, num_cores // 8)
  return types.SimpleNamespace(
      num_hosts=num_hosts,
      num_replicas=num_cores,
      tpu_host_placement_function=lambda host_id: (
          f"/task:{host_id}/device:CPU:0"
      ),
      device_assignment=device_assignment.device_assignment(
          topology_lib.Topology(
              mesh_shape=topology,
              device_coordinates=np.reshape(
                  list(np.ndindex(*topology)), [num_hosts, -1, 4]
              ),
          ),
          computation_shape=[1, 1, 1, 1],
          num_replicas=num_cores,
      ),
  )


class _OneSlice(simd_mesh.SimdMeshImpl.LaidOutVariable):
  """A variable's slice on one core.

  Upstream creates the slices of all cores, which takes a hundred times as long
  for one layer on 2048 cores.
  """

  def __init__(self, variable, mesh_impl):
    self._variable = variable
    with mtf.utils.outside_all_rewrites():
      one = tf.Variable(
          tf.zeros(mesh_impl.slice_shape(variable.shape), variable.slice_dtype),
          trainable=variable.trainable,
          collections=["TPU_VAR"],
          name=f"{variable.name}_slice_0",
      )
      self._copy_master_to_slices = self._copy_slices_to_master = tf.no_op()
    self._laid_out_tensor = mesh_impl.LaidOutTensor([one])


def _with_one_slice():
  return mock.patch.object(simd_mesh.SimdMeshImpl, "LaidOutVariable", _OneSlice)


def place(mesh_shape: str, layout: str) -> tuple[mtf.Mesh, mtf.MeshImpl]:
  """Returns a mesh of the cores of a TPU, and its implementation."""
  flags.FLAGS.mark_as_parsed()  # Mesh TensorFlow reads flags of its own.
  shape = mtf.convert_to_shape(mesh_shape)
  return placement.place(
      shape,
      mtf.convert_to_layout_rules(layout),
      None,
      seed=0,
      step=None,
      tpu_context=tpu_context(chips(shape.size)),
  )


def graph(build, mesh_shape: str, layout: str) -> tf.Graph:
  """Lowers a small graph for the cores of a TPU, with one core's variables.

  Args:
    build: a function from an mtf.Mesh to a list of mtf.Tensor.
    mesh_shape: for example "data:2".
    layout: for example "batch:data,experts:data".

  Returns:
    the tf.Graph.
  """
  shape = mtf.convert_to_shape(mesh_shape)
  with (
      tf.Graph().as_default() as tf_graph,
      tpu_function.tpu_shard_context(shape.size),
      _with_one_slice(),
  ):
    mesh, mesh_impl = place(mesh_shape, layout)
    outputs = build(mesh)
    draws.seed_loops(mesh.graph)
    lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
    for output in outputs:
      # Without this, unused sums would be left out.
      lowering.tensors[output].to_laid_out_tensor()
  return tf_graph


@contextlib.contextmanager
def _run_on_pod(experiment, with_all_slices=False):
  """Yields a graph, a run and the arguments of its model functions."""
  flags.FLAGS.mark_as_parsed()
  num_cores = experiment.mesh.size
  with (
      tf.Graph().as_default() as tf_graph,
      tpu_function.tpu_shard_context(num_cores),
      contextlib.nullcontext() if with_all_slices else _with_one_slice(),
  ):
    tf.train.create_global_step()
    features = {
        name: tf.zeros([experiment.sequences_per_batch, length], tf.int32)
        for name, length in experiment.lengths.items()
    }
    run = run_lib.Run("unused", tpu=run_lib.Tpu("no_tpu"))
    yield tf_graph, run, features, {"context": tpu_context(chips(num_cores))}


def training_step(
    experiment: experiment_lib.Experiment, with_all_slices: bool = False
) -> tf.Graph:
  """Lowers gin's training step for the cores of a TPU.

  Args:
    experiment: gin's experiment.
    with_all_slices: whether the graph has the variables of all cores, as in a
      run; otherwise only those of one, which takes a fraction of the time.

  Returns:
    the tf.Graph.
  """
  with _run_on_pod(experiment, with_all_slices) as pod:
    tf_graph, run, features, params = pod
    model_functions.training_model_fn(run, 10, lambda graph: [])(
        features, None, tf.estimator.ModeKeys.TRAIN, params
    )
  return tf_graph


def evaluation(
    experiment: experiment_lib.Experiment, mode: str
) -> list[Collective]:
  """Lowers a batch of a mode that does not train for the cores of a TPU.

  Args:
    experiment: gin's experiment.
    mode: "perplexity_eval", "score" or "infer".

  Returns:
    the collectives that its results need; those in loops count once.
  """
  with _run_on_pod(experiment) as (tf_graph, run, features, params):
    number = tf.zeros([experiment.sequences_per_batch], tf.int32)
    if mode == "perplexity_eval":
      spec = model_functions.perplexity_model_fn(run, 1)(
          {**features, "dataset": number},
          None,
          tf.estimator.ModeKeys.EVAL,
          params,
      )
      _, results = spec.eval_metrics
    else:
      model_fn = {
          "score": prediction_functions.scoring_model_fn,
          "infer": prediction_functions.decoding_model_fn,
      }[mode](run)
      spec = model_fn(
          {**features, "batch_number": number},
          None,
          tf.estimator.ModeKeys.PREDICT,
          params,
      )
      results = spec.predictions
    return collectives(tf_graph, results.values())
