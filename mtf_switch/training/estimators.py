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

"""TPUEstimators and the configuration of their sessions."""

import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import rewriter_config_pb2
from tensorflow.python.tpu import tpu_config
from tensorflow.python.tpu import tpu_estimator

from mtf_switch.mesh import cluster as cluster_lib
from mtf_switch.training import run as run_lib


def make(
    run: run_lib.Run,
    model_fn,
    iterations_per_loop: int = 100,
    optimizes_graph: bool = True,
) -> tpu_estimator.TPUEstimator:
  """Returns the TPUEstimator of a model function.

  Args:
    run: the run.
    model_fn: a model function, see model_functions.py.
    iterations_per_loop: steps that a TPU makes between two looks at the host.
    optimizes_graph: whether TensorFlow may rewrite the graph, which takes long
      for one that is run once.

  Returns:
    a TPUEstimator, which runs on CPU and GPU as well.
  """
  tpu = run.tpu
  cluster = None
  if tpu:
    cluster = tf.distribute.cluster_resolver.TPUClusterResolver(
        tpu.name, zone=tpu.zone, project=tpu.project
    )
  run_config = tpu_config.RunConfig(
      cluster=cluster,
      master=run.cluster and run.cluster.target,
      device_fn=run.cluster and cluster_lib.on_task_0,
      model_dir=run.model_dir,
      tf_random_seed=run.seed,
      session_config=session_config(run, optimizes_graph),
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
  batch_size = run.experiment.sequences_per_batch
  return tpu_estimator.TPUEstimator(
      model_fn=model_fn,
      config=run_config,
      use_tpu=bool(tpu),
      train_batch_size=batch_size,
      eval_batch_size=batch_size,
      predict_batch_size=batch_size,
      export_to_tpu=False,
  )


def session_config(
    run: run_lib.Run, optimizes_graph: bool = True
) -> tf.ConfigProto:
  """Returns the configuration of a run's sessions.

  Args:
    run: the run.
    optimizes_graph: whether TensorFlow may rewrite the graph.

  Returns:
    Grappler's settings as upstream has them, and as many CPU devices as the
    mesh has.
  """
  rewrites = rewriter_config_pb2.RewriterConfig(
      meta_optimizer_iterations=rewriter_config_pb2.RewriterConfig.ONE,
      # It delays the start on TPUs and has little to optimize there.
      disable_meta_optimizer=bool(run.tpu) or not optimizes_graph,
      # A quarter of its time: orders of an image's dimensions, and another
      # form of the graph, for inferring shapes, which all are known.
      layout_optimizer=rewriter_config_pb2.RewriterConfig.OFF,
      disable_tfg_optimizer=True,
  )
  devices = {d for d in run.devices or () if "cpu" in d.lower()}
  config = tf.ConfigProto(
      allow_soft_placement=True,
      device_count={"CPU": max(1, len(devices))},
      graph_options=tf.GraphOptions(rewrite_options=rewrites),
      # Servers keep variables by their names: an evaluation would share those
      # of the training that waits for it.
      isolate_session_state=bool(run.cluster),
  )
  config.gpu_options.allow_growth = True
  return config
