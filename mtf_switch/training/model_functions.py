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

"""The model functions of training and of perplexity.

With those of prediction, in prediction_functions.py, they take the place of
upstream's one model function for all modes (`tpu_estimator_model_fn` in
mesh_tensorflow/transformer/utils.py), whose loss contains the auxiliary losses
in training and in evaluation alike, which prints a line for each step, and
which drops all summaries where there is no TPU.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import learning_rate_schedules
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_estimator

from mtf_switch.mesh import draws
from mtf_switch.training import figures as figures_lib
from mtf_switch.training import host_call as host_call_lib
from mtf_switch.training import model_graph
from mtf_switch.training import norms
from mtf_switch.training import run as run_lib
from mtf_switch.training import training_step
from mtf_switch.training import unread_bindings
from mtf_switch.transformer import loss as loss_lib


class TrainingGraph(NamedTuple):
  """A training graph as the hooks of its session see it.

  Attributes:
    model: the transformer.
    lowering: the mtf.Lowering.
    figures: the step's scalars by name: "cross_entropy", "neg_log_perplexity",
      "packing_efficiency", "learning_rate" and, for sparse models, "aux_loss",
      "z_loss" and "fraction_dropped"; with a teacher figures.OF_DISTILLATION;
      and, if asked for, "gradient_norm" and "weight_norm", which are 0 at steps
      that are not recorded.
    layer_figures: figures.LAYER_FIGURES of each Switch layer, scalars and
      vectors, as "<layer>/<name>".
    summaries: further scalars, which layers show in TensorBoard.
    features: the batch, integers `[batch_size, length]` by name; on TPUs none
      that a hook could fetch.
    loss: that the step minimizes.
    gradients: of the loss, by the names of the trainable variables.
  """

  model: Any
  lowering: mtf.Lowering
  figures: dict[str, Any]
  layer_figures: dict[str, Any]
  summaries: dict[str, tf.Tensor]
  features: dict[str, tf.Tensor]
  loss: mtf.Tensor
  gradients: dict[str, mtf.Tensor]


MakeHooks = Callable[[TrainingGraph], Sequence[Any]]
# From the step, an integer scalar, to the change of its loss.
ChangeLossAt = Callable[[tf.Tensor], loss_lib.ChangeLoss]


def training_model_fn(
    run: run_lib.Run,
    total_steps: int,
    make_hooks: MakeHooks,
    lower: Callable[..., mtf.Lowering] = mtf.Lowering,
    change_loss_at: ChangeLossAt | None = None,
    norms_every: int | None = None,
):
  """Returns a model function that trains.

  Args:
    run: the run.
    total_steps: updates to be made in all, for the learning rate.
    make_hooks: returns the hooks of the session.
    lower: makes the lowering, as mtf.Lowering does.
    change_loss_at: changes the loss of the targets; None to leave it.
    norms_every: steps between two computations of the norms of the gradients
      and weights; None for none. TPUs, whose host sees the last of many steps,
      never compute them.

  Returns:
    a function for estimators.make.
  """
  experiment = run.experiment

  def model_fn(features, labels, mode, params):
    del labels
    batch = {} if run.tpu else dict(features)
    global_step = tf.train.get_global_step()
    # Read once, so that the whole step sees the same number.
    step = tf.identity(global_step)
    mesh, mesh_impl = model_graph.place(run, params, step)
    features = model_graph.import_features(
        experiment, mesh, features, experiment.outer_batch_size
    )
    learning_rate = _learning_rate(run, step, total_steps)
    training = training_step.build(
        experiment,
        mesh,
        features,
        learning_rate,
        change_loss=change_loss_at and change_loss_at(step),
    )
    draws.seed_loops(mesh.graph)
    # Before lowering, which may combine variables.
    variables = [v.name for v in mesh.graph.trainable_variables]
    lowering = lower(mesh.graph, {mesh: mesh_impl})
    updates = [
        lowering.lowered_operation(update) for update in training.updates
    ]
    with tf.control_dependencies(updates + [step]):
      train_op = tf.assign_add(global_step, 1)

    figures = figures_lib.of_batch(
        {
            name: lowering.export_to_tf_tensor(x)
            for name, x in training.sums.items()
        }
    )
    figures["learning_rate"] = tf.cast(learning_rate, tf.float32)
    if norms_every and not run.tpu:
      figures |= norms.at(
          tf.equal((step + 1) % norms_every, 0),
          lowering,
          {
              "gradient_norm": [x for x in training.gradients if x is not None],
              # After lowering: those that it has combined are one.
              "weight_norm": [
                  v.outputs[0] for v in lowering.graph.trainable_variables
              ],
          },
      )
    if change_loss_at:
      figures["loss"] = lowering.export_to_tf_tensor(training.loss)
    if training.num_microbatches > 1:
      # The layers' summaries are then inside the loop, where nothing outside
      # can read them; upstream's host call fails on them.
      mtf.utils.remove_summaries()
    if run.tpu:
      host_call, figures = host_call_lib.send_to_host(run.model_dir, figures)
      summaries = {}
    else:
      host_call = None
      summaries = dict(
          tf.get_collection(mtf.utils.SCALAR_SUMMARIES_COLLECTION_KEY)
      )
    mtf.utils.remove_summaries()
    layer_figures = {
        name: figures.pop(name) for name in list(figures) if "/" in name
    }
    with mtf.utils.outside_all_rewrites():
      # The caller's hooks come first: they may set initial weights, from which
      # the slices are then filled.
      hooks = [
          *make_hooks(
              TrainingGraph(
                  training.model,
                  lowering,
                  figures,
                  layer_figures,
                  summaries,
                  batch,
                  training.loss,
                  dict(zip(variables, training.gradients)),
              )
          ),
          *model_graph.hooks(
              run,
              lowering,
              "operative_config",
              built=(unread_bindings.TRAINING, unread_bindings.DATA),
              is_summarized=True,
          ),
      ]
    return tpu_estimator.TPUEstimatorSpec(
        mode=mode,
        loss=lowering.export_to_tf_tensor(training.loss),
        train_op=train_op,
        host_call=host_call,
        training_hooks=hooks,
    )

  return model_fn


def perplexity_model_fn(
    run: run_lib.Run,
    num_datasets: int,
    lower: Callable[..., mtf.Lowering] = mtf.Lowering,
):
  """Returns a model function whose metrics are figures over whole datasets.

  Args:
    run: the run.
    num_datasets: the number of datasets in inputs.evaluation_batches.
    lower: makes the lowering, as mtf.Lowering does.

  Returns:
    a function for estimators.make.
  """
  experiment = run.experiment

  def model_fn(features, labels, mode, params):
    del labels
    features = dict(features)
    # TPUs hand over nothing that has no batch dimension.
    dataset = features.pop("dataset")[:1]
    mesh, mesh_impl = model_graph.place(run, params, step=None)
    features = model_graph.import_features(
        experiment, mesh, features, experiment.outer_batch_size
    )
    _, sums = loss_lib.loss_and_sums(
        experiment.build_model(), features, mode, utils.get_variable_dtype()
    )
    lowering = lower(mesh.graph, {mesh: mesh_impl})
    sums = {
        name: tf.expand_dims(lowering.export_to_tf_tensor(x), 0)
        for name, x in sums.items()
    }
    loss = tf.math.divide_no_nan(sums["cross_entropy"], sums["target_tokens"])
    with mtf.utils.outside_all_rewrites():
      hooks = model_graph.hooks(
          run, lowering, "operative_config_perplexity", built=()
      )
    return tpu_estimator.TPUEstimatorSpec(
        mode=mode,
        loss=tf.reduce_mean(loss),
        eval_metrics=(
            functools.partial(figures_lib.of_datasets, num_datasets),
            {"dataset": dataset, **sums},
        ),
        evaluation_hooks=hooks,
    )

  return model_fn


def _learning_rate(run: run_lib.Run, step, total_steps: int):
  """The learning rate at a step: a number or a scalar tensor."""
  schedule = run.experiment.learning_rate_schedule
  if isinstance(schedule, (list, tuple)):
    schedule = functools.partial(
        learning_rate_schedules.product_learning_rate, factors=schedule
    )
  if not callable(schedule):
    return schedule
  if not run.tpu:
    return schedule(step=step, total_train_steps=total_steps)
  # As upstream: on the host, constant while the TPU loops.
  with mtf.utils.outside_all_rewrites():
    return schedule(
        step=tf.train.get_global_step(), total_train_steps=total_steps
    )
