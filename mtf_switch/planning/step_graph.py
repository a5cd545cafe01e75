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

"""The Mesh TensorFlow graphs of a run, on no devices.

They are built as for a run, by the same gin configuration, but their variables
are placeholders and they are never lowered to TensorFlow.
"""

from collections.abc import Iterator, Sequence
import contextlib

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_function

from mtf_switch.mesh import placement
from mtf_switch.planning import communication
from mtf_switch.planning import graph_optimizer
from mtf_switch.training import training_step
from mtf_switch.transformer import layer_stack


class PlannedGraph:
  """A Mesh TensorFlow graph on no devices.

  Attributes:
    graph: the mtf.Graph.
    gradients: those of the trainable variables.
    exported: tensors that the host reads.
    iterations: the iterations of its loop, if it has one.
    activation_dtype: the dtype of the activations.
  """

  graph: mtf.Graph
  gradients: Sequence[mtf.Tensor | None] = ()
  exported: Sequence[mtf.Tensor] = ()
  iterations: int = 1
  activation_dtype: tf.DType

  def __init__(self, on_tpu: bool):
    """Begins an empty graph.

    Args:
      on_tpu: whether it is built as for a TPU, where layers multiply by one-hot
        matrices.
    """
    self._tf_graph = tf.Graph()
    self._on_tpu = on_tpu

  @contextlib.contextmanager
  def building(self) -> Iterator[None]:
    """Makes the TensorFlow graph the default, as on a TPU if asked for."""
    with contextlib.ExitStack() as stack:
      stack.enter_context(self._tf_graph.as_default())
      stack.enter_context(placement.placeholders_for_variables())
      if self._on_tpu:
        stack.enter_context(tpu_function.tpu_shard_context(1))
      self.activation_dtype = utils.get_variable_dtype().activation_dtype
      yield

  def features(self, experiment, outer_batch_size: int = 1):
    """Places a batch on a new mesh, the mesh of `graph`."""
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    self.graph = mesh.graph
    features = {
        name: tf.placeholder(tf.int32, [experiment.sequences_per_batch, n])
        for name, n in experiment.lengths.items()
    }
    return placement.import_features(
        mesh,
        features,
        experiment.sequences_per_batch,
        experiment.lengths,
        outer_batch_size,
    )

  def collectives(
      self, mesh_shape: mtf.Shape, layout: mtf.LayoutRules
  ) -> list[communication.Collective]:
    """Returns the messages of the graph between the cores of a mesh."""
    with self.building():
      return communication.collectives(
          self.graph,
          mesh_shape,
          layout,
          self._on_tpu,
          self.gradients,
          self.exported,
          self.iterations,
      )

  def operations(self) -> Iterator[tuple[mtf.Operation, int]]:
    """Yields all operations, and how often each runs."""
    for operation in self.graph.operations:
      yield operation, 1
      if isinstance(operation, mtf.WhileLoopOperation):
        for inner in operation._body_ops:  # pylint: disable=protected-access
          yield inner, self.iterations


class StepGraph(PlannedGraph):
  """The graph of a training step.

  Attributes:
    step: the training_step.TrainingStep.
  """

  def __init__(
      self,
      experiment,
      on_tpu: bool,
      recompute: bool = False,
      num_microbatches: int | None = None,
      teacher=None,
  ):
    """Builds the graph.

    Args:
      experiment: the Experiment.
      on_tpu: as PlannedGraph's.
      recompute: whether gradients recompute the layers' activations even if
        gin does not ask for it.
      num_microbatches: the microbatches of a step; None for gin's choice.
      teacher: the teacher.Teacher that the step asks; None for none.
    """
    super().__init__(on_tpu)
    with self.building():
      features = self.features(experiment, experiment.outer_batch_size)
      model = experiment.build_model()
      if recompute:
        layer_stack.recompute_gradients(model)
      self.step = training_step.build(
          experiment,
          features["targets"].mesh,
          features,
          learning_rate=1.0,
          model=model,
          num_microbatches=num_microbatches,
          change_loss=teacher and teacher.change_loss_at(tf.constant(0)),
      )
    self.gradients = self.step.gradients
    self.exported = [self.step.loss, *self.step.sums.values()]
    if not on_tpu:
      # Such as the whole logits, of which the loss reads only the factors.
      graph_optimizer.leave_out_unused(self.graph.operations, self.exported)
    self.iterations = self.step.num_microbatches
