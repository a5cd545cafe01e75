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

"""Small runs with checkpoints, for tests of all that finds and reads them."""

import pathlib

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.training import checkpoint_hook
from mtf_switch.training import checkpoints


class Recorder(tf.train.CheckpointSaverListener):
  """Records the steps of the checkpoints after which it is called."""

  def __init__(self):
    self.steps = []

  def after_save(self, session, global_step_value):
    self.steps.append(global_step_value)


def train(
    model_dir, last_step, periods, keep=100, choose_best=lambda x: (), size=1
):
  """Trains a weight that depends on all steps before, as modes/train.py does.

  Args:
    model_dir: the directory, from whose checkpoint it goes on.
    last_step: the last step.
    periods: numbers of steps at whose multiples it saves.
    keep: how many of the latest checkpoints stay.
    choose_best: which of the others stay; see checkpoints.prune.
    size: of the weight.

  Returns:
    the saved steps, and the weight after each step.
  """
  model_dir = str(model_dir)
  recorder = Recorder()
  weights = {}
  batch = checkpoints.resume(model_dir)
  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    # On another device: the variables of each have a data file of their own.
    with tf.device("cpu:1"):
      weight = tf.get_variable("w", [size], initializer=tf.zeros_initializer())
    data = tf.placeholder(tf.float32, [])
    updated = tf.assign(weight, 1.5 * weight + data)
    with tf.control_dependencies([updated]):
      train_op = tf.assign_add(step, 1)
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    lowering = mtf.Lowering(
        mesh.graph,
        {mesh: mtf.placement_mesh_impl.PlacementMeshImpl("", "", [""])},
    )
    hooks = [
        checkpoint_hook.CheckpointHook(
            model_dir,
            lowering,
            periods,
            lambda: checkpoints.prune(model_dir, keep, choose_best),
            [recorder],
        ),
        tf.train.StopAtStepHook(last_step=last_step),
    ]
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=model_dir,
        hooks=hooks,
        save_checkpoint_secs=None,
        save_summaries_secs=None,
        log_step_count_steps=None,
        config=tf.ConfigProto(device_count={"CPU": 2}),
    ) as session:
      while not session.should_stop():
        batch += 1
        at_step, value = session.run([train_op, updated], {data: batch})
        weights[int(at_step)] = float(value[0])
  return recorder.steps, weights


def files_of(model_dir: pathlib.Path, step: int) -> dict[str, pathlib.Path]:
  """The files of a checkpoint by the end of their names."""
  found = model_dir.glob(f"model.ckpt-{step}.*")
  return {path.name.split(".")[-1]: path for path in found}
