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

"""The Mesh TensorFlow graph of one training step, on any mesh."""

from collections.abc import Mapping, Sequence
import math
from typing import Any, NamedTuple

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf

from mtf_switch.transformer import loss as loss_lib


class TrainingStep(NamedTuple):
  """The parts of a step, in one mtf.Graph.

  Attributes:
    model: the transformer.
    loss: the loss that the step minimizes, a float32 scalar; with microbatches,
      the sum of theirs.
    sums: of loss.loss_and_sums, over microbatches too.
    gradients: of the loss, one for each trainable variable of the graph and in
      their order; None for a variable that the loss does not need.
    updates: the mtf.Operations that change the variables.
    num_microbatches: the number of parts of the batch that follow one another.
  """

  model: Any
  loss: mtf.Tensor
  sums: Mapping[str, mtf.Tensor]
  gradients: Sequence[mtf.Tensor | None]
  updates: Sequence[mtf.Operation]
  num_microbatches: int


def build(
    experiment,
    mesh: mtf.Mesh,
    features: Mapping[str, mtf.Tensor],
    learning_rate,
    model=None,
    num_microbatches: int | None = None,
) -> TrainingStep:
  """Builds the loss, its gradients and the optimizer's updates.

  Args:
    experiment: the Experiment.
    mesh: the mesh of a new mtf.Graph.
    features: int32 [batch, length] or [outer_batch, batch, length] by name.
    learning_rate: a number or a scalar tensor.
    model: the transformer; None for the experiment's.
    num_microbatches: microbatches of a step; None for as many as gin asks for.
  """
  model = model or experiment.build_model()
  variable_dtype = utils.get_variable_dtype()
  num_microbatches = num_microbatches or _num_microbatches(
      experiment, features["targets"].shape
  )

  def outputs_of(features):
    loss, sums = loss_lib.loss_and_sums(
        model,
        features,
        tf.estimator.ModeKeys.TRAIN,
        variable_dtype,
        num_microbatches,
    )
    return {"loss": loss, **sums}

  if num_microbatches > 1:
    gradients, sums = mtf.serialize_training_step(
        features,
        outputs_of,
        features["targets"].shape.dims[-2],
        num_microbatches,
    )
  else:
    sums = outputs_of(features)
    gradients = mtf.gradients(
        [sums["loss"]],
        [v.outputs[0] for v in mesh.graph.trainable_variables],
    )
  loss = sums.pop("loss")
  variables = mesh.graph.trainable_variables
  optimizer = experiment.optimizer(learning_rate=learning_rate)
  return TrainingStep(
      model,
      loss,
      sums,
      gradients,
      optimizer.apply_grads(gradients, variables),
      num_microbatches,
  )


def _num_microbatches(experiment, shape: mtf.Shape) -> int:
  """The number of microbatches that gin asks for."""
  *outer_batch, batch_dim, _ = shape.dims
  # A core's microbatch has rows of all the outer batches that the core has.
  rows = math.prod(
      mtf.tensor_dim_to_size_per_split(experiment.layout, experiment.mesh, dim)
      for dim in outer_batch
  )
  return utils.serialize_num_microbatches(
      batch_dim,
      {name: rows * length for name, length in experiment.lengths.items()},
      experiment.mesh,
      experiment.layout,
  )
