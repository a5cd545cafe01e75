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

"""The model functions that answer each example: decoding, scoring, teaching."""

from collections.abc import Callable, Mapping, Sequence

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_estimator

from mtf_switch.mesh import draws
from mtf_switch.mesh import servers
from mtf_switch.training import inference
from mtf_switch.training import model_graph
from mtf_switch.training import run as run_lib
from mtf_switch.training import teacher
from mtf_switch.training import unread_bindings
from mtf_switch.transformer import distillation
from mtf_switch.transformer import loss as loss_lib

# Makes the lowering of a graph, as mtf.Lowering does.
Lower = Callable[..., mtf.Lowering]


def decoding_model_fn(
    run: run_lib.Run,
    lower: Lower = mtf.Lowering,
):
  """Returns a model function that answers inputs with "outputs", token ids.

  How it decodes is set with T5's gin names: Bitransformer.decode and, for
  model_type "lm", Unitransformer.sample_autoregressive.

  Args:
    run: the run.
    lower: makes the lowering, as mtf.Lowering does.

  Returns:
    a function for estimators.make.
  """
  experiment = run.experiment

  def model_fn(features, labels, mode, params):
    del labels, mode
    features = dict(features)
    batch_number = features.pop("batch_number")[0]
    mesh, mesh_impl = model_graph.place(run, params, step=batch_number)
    features = model_graph.import_features(experiment, mesh, features)
    decoding = inference.decode(experiment, features)
    draws.seed_loops(mesh.graph)
    lowering = lower(mesh.graph, {mesh: mesh_impl})
    outputs = utils.clean_decodes(
        lowering.export_to_tf_tensor(decoding.results)
    )
    # Ids, not text: strings made in the graph reach the output file as b'...',
    # and TPUs have no strings.
    return _predictions(
        run,
        lowering,
        "operative_config_decoding",
        {"outputs": outputs},
        decoding.drops,
        built=[unread_bindings.DECODING],
    )

  return model_fn


def scoring_model_fn(
    run: run_lib.Run,
    lower: Lower = mtf.Lowering,
):
  """Returns a model function that answers sequences with their "score".

  The score is the logarithm of the targets' probability, float32.

  Args:
    run: the run.
    lower: makes the lowering, as mtf.Lowering does.

  Returns:
    a function for estimators.make.
  """
  experiment = run.experiment

  def model_fn(features, labels, mode, params):
    del labels, mode
    features = dict(features)
    del features["batch_number"]
    mesh, mesh_impl = model_graph.place(run, params, step=None)
    features = model_graph.import_features(experiment, mesh, features)
    scoring = inference.score(experiment, features)
    lowering = lower(mesh.graph, {mesh: mesh_impl})
    scores = lowering.export_to_tf_tensor(scoring.results)
    return _predictions(
        run,
        lowering,
        "operative_config_scoring",
        {"score": scores},
        scoring.drops,
        built=(),
    )

  return model_fn


def teaching_model_fn(
    run: run_lib.Run,
    num_choices: int,
    temperature: float,
    lower: Lower = mtf.Lowering,
):
  """Returns a model function that answers batches with distillation.CACHED.

  Args:
    run: the teacher's run.
    num_choices: the tokens of each target.
    temperature: divides the logits.
    lower: makes the lowering, as mtf.Lowering does.

  Returns:
    a function for estimators.make; the tokens of the batch come along.
  """
  experiment = run.experiment

  def model_fn(features, labels, mode, params):
    del labels, mode
    mesh, mesh_impl = model_graph.place(run, params, step=None)
    features = model_graph.import_features(experiment, mesh, dict(features))
    tokens = {x: features[x] for x in experiment.provider.output_features}
    model = experiment.build_model()
    lesson = distillation.lesson_to_cache(
        model,
        features,
        loss_lib.logits_of(
            model,
            features,
            teacher.evaluation_mode(model),
            utils.get_variable_dtype(),
        ),
        num_choices,
        temperature,
    )
    lowering = lower(mesh.graph, {mesh: mesh_impl})
    return _predictions(
        run,
        lowering,
        "operative_config_teaching",
        {
            name: lowering.export_to_tf_tensor(x)
            for name, x in {**tokens, **lesson}.items()
        },
        {},
        built=[unread_bindings.DATA],
    )

  return model_fn


def loads_model_fn(run: run_lib.Run, of_teacher: teacher.Teacher):
  """Returns a model function that answers with the load of a teacher's experts.

  Args:
    run: the student's run.
    of_teacher: its teacher.

  Returns:
    a function for estimators.make; each row of a batch is answered with the
    loads of the batch, `[num_experts]` by the layer's name.
  """

  def model_fn(features, labels, mode, params):
    del labels
    mesh, mesh_impl = model_graph.place(run, params, step=None)
    features = model_graph.import_features(run.experiment, mesh, dict(features))
    loads = of_teacher.expert_loads(features)
    lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
    rows = run.experiment.sequences_per_batch
    with mtf.utils.outside_all_rewrites():
      hooks = [servers.OneSessionHook(), mtf.MtfRestoreHook(lowering)]
    return tpu_estimator.TPUEstimatorSpec(
        mode=mode,
        predictions={
            name: tf.tile(lowering.export_to_tf_tensor(x)[None], [rows, 1])
            for name, x in loads.items()
        },
        prediction_hooks=hooks,
    )

  return model_fn


def _predictions(
    run: run_lib.Run,
    lowering: mtf.Lowering,
    config_name: str,
    predictions: Mapping[str, tf.Tensor],
    drops: Mapping[str, mtf.Tensor],
    built: Sequence[str],
) -> tpu_estimator.TPUEstimatorSpec:
  """The specification of a graph that predicts.

  Args:
    run: the run.
    lowering: the graph's.
    config_name: the name of the file of gin's bindings.
    predictions: `[batch, ...]` by name.
    drops: sums over the batch by name, which each row is given.
    built: the parts that were built, for unread_bindings.check.
  """
  batch_size = next(iter(predictions.values())).shape[0]
  predictions = {
      **predictions,
      **{
          name: tf.fill([batch_size], lowering.export_to_tf_tensor(x))
          for name, x in drops.items()
      },
  }
  with mtf.utils.outside_all_rewrites():
    hooks = model_graph.hooks(run, lowering, config_name, built)
  return tpu_estimator.TPUEstimatorSpec(
      mode=tf.estimator.ModeKeys.PREDICT,
      predictions=predictions,
      prediction_hooks=hooks,
  )
