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

from mtf_switch.training import microbatches
from mtf_switch.transformer import layer_stack
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import microbatches as microbatches_lib


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
    change_loss: loss_lib.ChangeLoss | None = None,
) -> TrainingStep:
  """Builds the loss, its gradients and the optimizer's updates.

  Args:
    experiment: the Experiment.
    mesh: the mesh of a new mtf.Graph.
    features: int32 [batch, length] or [outer_batch, batch, length] by name.
    learning_rate: a number or a scalar tensor.
    model: the transformer; None for the experiment's.
    num_microbatches: microbatches of a step; None for as many as gin asks for.
    change_loss: see loss.loss_and_sums.

  Raises:
    UserError: activations are recomputed, which would lose a layer's loss.
  """
  model = model or experiment.build_model()
  layer_stack.check_recomputation(model)
  variable_dtype = utils.get_variable_dtype()
  num_microbatches = num_microbatches or _num_microbatches(
      experiment, features["targets"].shape
  )

  def of_part(features):
    """The loss, the sums and, by variable, the gradients."""
    loss, sums = loss_lib.loss_and_sums(
        model,
        features,
        tf.estimator.ModeKeys.TRAIN,
        variable_dtype,
        num_microbatches,
        change_loss,
    )
    variables = mesh.graph.trainable_variables
    gradients = mtf.gradients([loss], [v.outputs[0] for v in variables])
    return {
        "loss": loss,
        **sums,
        **{v: g for v, g in zip(variables, gradients) if g is not None},
    }

  if num_microbatches > 1:
    serial = num_microbatches, microbatches.rows_together(
        model, {name: x.shape for name, x in features.items()}, num_microbatches
    )
    first_choices = microbatches.first_choices(
        model, features, variable_dtype, *serial
    )
    with microbatches_lib.part_of(model, features, first_choices):
      sums = microbatches.sums(of_part, features, *serial)
  else:
    sums = of_part(features)
  loss = sums.pop("loss")
  variables = mesh.graph.trainable_variables
  gradients = [sums.pop(v, None) for v in variables]
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
