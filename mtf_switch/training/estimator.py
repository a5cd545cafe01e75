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

"""The model functions, one for each purpose, and their TPUEstimators.

They take the place of upstream's one model function for all modes
(`tpu_estimator_model_fn` in mesh_tensorflow/transformer/utils.py), whose loss
contains the auxiliary losses in training and in evaluation alike, which prints
a line for each step, and which drops all summaries where there is no TPU.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import gin
import gin.tf
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import learning_rate_schedules
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import rewriter_config_pb2
from tensorflow.python.tpu import tpu_config
from tensorflow.python.tpu import tpu_estimator

from mtf_switch.mesh import cluster as cluster_lib
from mtf_switch.mesh import draws
from mtf_switch.mesh import placement
from mtf_switch.mesh import servers
from mtf_switch.training import figures as figures_lib
from mtf_switch.training import host_call as host_call_lib
from mtf_switch.training import training_step
from mtf_switch.transformer import loss as loss_lib


class TrainingGraph(NamedTuple):
  """What the hooks of a training session work with.

  Attributes:
    model: the transformer.
    lowering: the mtf.Lowering.
    figures: the step's scalars by name: "cross_entropy", "neg_log_perplexity",
      "packing_efficiency", "learning_rate" and, for sparse models, "aux_loss",
      "z_loss" and "fraction_dropped".
    layer_figures: figures.LAYER_FIGURES of each Switch layer, scalars and
      vectors, as "<layer>/<name>".
    summaries: further scalars, which layers show in TensorBoard.
  """

  model: Any
  lowering: mtf.Lowering
  figures: dict[str, Any]
  layer_figures: dict[str, Any]
  summaries: dict[str, tf.Tensor]


def training_model_fn(
    experiment,
    total_steps: int,
    make_hooks: Callable[[TrainingGraph], Sequence[Any]],
):
  """A model function that trains.

  Args:
    experiment: the Experiment.
    total_steps: updates to be made in all, for the learning rate.
    make_hooks: returns the hooks of the session.

  Returns:
    a function for make_estimator.
  """

  def model_fn(features, labels, mode, params):
    del labels
    global_step = tf.train.get_global_step()
    # Read once: all of a step sees the same number, nothing the next one.
    step = tf.identity(global_step)
    mesh, mesh_impl = _place(experiment, params, step)
    features = _import_features(
        experiment, mesh, features, experiment.outer_batch_size
    )
    learning_rate = _learning_rate(experiment, step, total_steps)
    training = training_step.build(experiment, mesh, features, learning_rate)
    draws.seed_loops(mesh.graph)
    lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
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
    loss = figures["cross_entropy"]
    figures["learning_rate"] = tf.cast(learning_rate, tf.float32)
    if training.num_microbatches > 1:
      # What layers summarize is then inside the loop, where only the loop can
      # read it; upstream's host call fails on it.
      mtf.utils.remove_summaries()
    if experiment.tpu:
      host_call, figures = host_call_lib.send_to_host(
          experiment.model_dir, figures
      )
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
      # Those that are made set initial weights, before slices are filled.
      hooks = [
          *make_hooks(
              TrainingGraph(
                  training.model, lowering, figures, layer_figures, summaries
              )
          ),
          *_hooks(experiment, lowering, "operative_config"),
      ]
    return tpu_estimator.TPUEstimatorSpec(
        mode=mode,
        loss=loss,
        train_op=train_op,
        host_call=host_call,
        training_hooks=hooks,
    )

  return model_fn


def perplexity_model_fn(experiment, num_datasets: int):
  """A model function whose metrics are figures over whole datasets.

  Args:
    experiment: the Experiment.
    num_datasets: how many datasets inputs.evaluation_batches is made of.

  Returns:
    a function for make_estimator.
  """

  def model_fn(features, labels, mode, params):
    del labels
    features = dict(features)
    # TPUs hand over nothing that has no batch dimension.
    dataset = features.pop("dataset")[:1]
    mesh, mesh_impl = _place(experiment, params, step=None)
    features = _import_features(
        experiment, mesh, features, experiment.outer_batch_size
    )
    _, sums = loss_lib.loss_and_sums(
        experiment.build_model(), features, mode, utils.get_variable_dtype()
    )
    lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
    sums = {
        name: tf.expand_dims(lowering.export_to_tf_tensor(x), 0)
        for name, x in sums.items()
    }
    loss = tf.math.divide_no_nan(sums["cross_entropy"], sums["target_tokens"])
    with mtf.utils.outside_all_rewrites():
      hooks = _hooks(experiment, lowering, "operative_config_perplexity")
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


def decoding_model_fn(experiment):
  """A model function that answers inputs with "outputs", token ids.

  How it decodes is set with T5's gin names: Bitransformer.decode and, for
  model_type "lm", Unitransformer.sample_autoregressive.

  Args:
    experiment: the Experiment.

  Returns:
    a function for make_estimator.
  """

  def model_fn(features, labels, mode, params):
    del labels
    features = dict(features)
    batch_number = features.pop("batch_number")[0]
    mesh, mesh_impl = _place(experiment, params, step=batch_number)
    inputs = _import_features(experiment, mesh, features)["inputs"]
    model = experiment.build_model()
    variable_dtype = utils.get_variable_dtype()
    if experiment.model_type == "lm":
      inputs = mtf.pad(inputs, [0, experiment.lengths["targets"]], "length")
      samples = model.sample_autoregressive(
          inputs, variable_dtype=variable_dtype, remove_partial_sequences=True
      )
    else:
      samples = model.decode(inputs, variable_dtype=variable_dtype)
    samples = mtf.anonymize(samples)
    draws.seed_loops(mesh.graph)
    lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
    outputs = utils.clean_decodes(lowering.export_to_tf_tensor(samples))
    with mtf.utils.outside_all_rewrites():
      hooks = _hooks(experiment, lowering, "operative_config_decoding")
    return tpu_estimator.TPUEstimatorSpec(
        mode=mode,
        # Ids and not text: strings made in the graph reach the output file as
        # b'...', and TPUs have none.
        predictions={"outputs": outputs},
        prediction_hooks=hooks,
    )

  return model_fn


def scoring_model_fn(experiment):
  """A model function that answers inputs and targets with their "score".

  The score is the logarithm of the probability of the targets, float32.

  Args:
    experiment: the Experiment.

  Returns:
    a function for make_estimator.
  """

  def model_fn(features, labels, mode, params):
    del labels
    features = dict(features)
    del features["batch_number"]
    mesh, mesh_impl = _place(experiment, params, step=None)
    features = _import_features(experiment, mesh, features)
    scores = loss_lib.log_likelihood(
        experiment.build_model(), features, mode, utils.get_variable_dtype()
    )
    lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
    with mtf.utils.outside_all_rewrites():
      hooks = _hooks(experiment, lowering, "operative_config_scoring")
    return tpu_estimator.TPUEstimatorSpec(
        mode=mode,
        predictions={"score": lowering.export_to_tf_tensor(scores)},
        prediction_hooks=hooks,
    )

  return model_fn


def make_estimator(
    experiment, model_fn, iterations_per_loop: int = 100
) -> tpu_estimator.TPUEstimator:
  """The TPUEstimator of a model function; it runs on CPU and GPU as well.

  Args:
    experiment: the Experiment.
    model_fn: one of this module's.
    iterations_per_loop: steps that a TPU makes between two looks at the host.

  Returns:
    a TPUEstimator.
  """
  tpu = experiment.tpu
  cluster = None
  if tpu:
    cluster = tf.distribute.cluster_resolver.TPUClusterResolver(
        tpu.name, zone=tpu.zone, project=tpu.project
    )
  run_config = tpu_config.RunConfig(
      cluster=cluster,
      master=experiment.cluster and experiment.cluster.target,
      device_fn=experiment.cluster and cluster_lib.on_task_0,
      model_dir=experiment.model_dir,
      tf_random_seed=experiment.seed,
      session_config=_session_config(experiment),
      # Hooks of our own save, summarize and log.
      save_checkpoints_steps=None,
      save_checkpoints_secs=None,
      save_summary_steps=0,
      log_step_count_steps=None,
      tpu_config=tpu_config.TPUConfig(
          tpu_job_name=tpu and tpu.job_name,
          iterations_per_loop=iterations_per_loop,
          num_cores_per_replica=1,
          per_host_input_for_training=(
              tpu_config.InputPipelineConfig.BROADCAST
          ),
      ),
  )
  batch_size = experiment.sequences_per_batch
  return tpu_estimator.TPUEstimator(
      model_fn=model_fn,
      config=run_config,
      use_tpu=bool(tpu),
      train_batch_size=batch_size,
      eval_batch_size=batch_size,
      predict_batch_size=batch_size,
      export_to_tpu=False,
  )


def _session_config(experiment) -> tf.ConfigProto:
  """Grappler as upstream has it; as many CPU devices as the mesh has."""
  rewrites = rewriter_config_pb2.RewriterConfig(
      meta_optimizer_iterations=rewriter_config_pb2.RewriterConfig.ONE,
      # It slows the start on TPUs and has little to do there.
      disable_meta_optimizer=bool(experiment.tpu),
  )
  devices = {d for d in experiment.devices or () if "cpu" in d.lower()}
  config = tf.ConfigProto(
      allow_soft_placement=True,
      device_count={"CPU": max(1, len(devices))},
      graph_options=tf.GraphOptions(rewrite_options=rewrites),
      # Else variables of the evaluation would be those of the training that
      # waits for it: servers keep them by their names.
      isolate_session_state=bool(experiment.cluster),
  )
  config.gpu_options.allow_growth = True
  return config


def _place(experiment, params, step):
  return placement.place(
      experiment.mesh,
      experiment.layout,
      experiment.devices,
      experiment.seed,
      step,
      tpu_context=params["context"] if experiment.tpu else None,
  )


def _hooks(experiment, lowering: mtf.Lowering, config_name: str):
  """What every session needs: the slices filled, its gin bindings recorded."""
  return [
      servers.OneSessionHook(),
      mtf.MtfRestoreHook(lowering),
      gin.tf.GinConfigSaverHook(
          experiment.model_dir,
          base_name=config_name,
          include_step_in_filename=False,
      ),
  ]


def _import_features(experiment, mesh, features, outer_batch_size: int = 1):
  """The features on the mesh; upstream's beam search knows no outer batch."""
  return placement.import_features(
      mesh,
      features,
      experiment.sequences_per_batch,
      experiment.lengths,
      outer_batch_size,
  )


def _learning_rate(experiment, step, total_steps: int):
  """The learning rate at a step: a number or a scalar tensor."""
  schedule = experiment.learning_rate_schedule
  if isinstance(schedule, (list, tuple)):
    schedule = functools.partial(
        learning_rate_schedules.product_learning_rate, factors=schedule
    )
  if not callable(schedule):
    return schedule
  if not experiment.tpu:
    return schedule(step=step, total_train_steps=total_steps)
  # As upstream: on the host, constant while the TPU loops.
  with mtf.utils.outside_all_rewrites():
    return schedule(
        step=tf.train.get_global_step(), total_train_steps=total_steps
    )
