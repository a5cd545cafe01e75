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
"""The variables that a run's training saves, and their initial values."""

from collections.abc import Mapping

import mesh_tensorflow as mtf
import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch.conversion import checkpoint_writer
from mtf_switch.mesh import placement
from mtf_switch.training import run as run_lib
from mtf_switch.training import training_step
from mtf_switch.training import unread_bindings
from mtf_switch.training import warm_start


class SavedVariables:
  """The variables of a training step's graph, which is never lowered.

  Attributes:
    weights: the model's weights by name.
    all: weights and the optimizer's slots, as a checkpoint has them.
  """

  weights: Mapping[str, checkpoint_writer.Variable]
  all: list[checkpoint_writer.Variable]

  def __init__(self, run: run_lib.Run):
    """Builds the graph that the run's configuration describes.

    Args:
      run: the run; its seed decides the initial values.

    Raises:
      UserError: the configuration does not describe a model.
    """
    experiment = run.experiment
    with tf.Graph().as_default() as self._graph:
      tf.set_random_seed(run.seed)
      mesh = mtf.Mesh(mtf.Graph(), "mesh")
      features = {
          name: tf.zeros([experiment.sequences_per_batch, length], tf.int32)
          for name, length in experiment.lengths.items()
      }
      training_step.build(
          experiment,
          mesh,
          placement.import_features(
              mesh,
              features,
              experiment.sequences_per_batch,
              experiment.lengths,
              experiment.outer_batch_size,
          ),
          learning_rate=1.0,
      )
      self._variables = {
          x.op.name: x
          for x in tf.global_variables()
          if x.op.name != tf.GraphKeys.GLOBAL_STEP
      }
    unread_bindings.check(run.own_bindings, {unread_bindings.MODEL})
    self.all = [
        checkpoint_writer.Variable(
            name,
            tuple(x.shape.as_list()),
            np.dtype(x.dtype.base_dtype.as_numpy_dtype),
        )
        for name, x in self._variables.items()
    ]
    weights = set(warm_start.weights_among(self._variables))
    self.weights = {x.name: x for x in self.all if x.name in weights}

  @property
  def num_bytes(self) -> int:
    """The size of all values."""
    return sum(x.num_bytes for x in self.all)

  def initial_value(self, name: str) -> np.ndarray:
    """Returns the value with which a variable begins, by the run's seed.

    Args:
      name: the variable's name.
    """
    with tf.Session(graph=self._graph) as session:
      return session.run(self._variables[name].initial_value)
