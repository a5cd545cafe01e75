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
import shutil

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


def cut(path: pathlib.Path, size: int):
  """Cuts a file, as a full disk does or a copy that is not done."""
  path.write_bytes(path.read_bytes()[:size])


def flip(path: pathlib.Path):
  """Changes one bit of a file."""
  content = bytearray(path.read_bytes())
  content[2] ^= 1
  path.write_bytes(content)


def data_of(step: int) -> str:
  """The name of the data file with the weight."""
  return f"model.ckpt-{step}.data-00001-of-00002"


# Damage to the checkpoint of step 6, and what is said of it.
DAMAGE = {
    "no index": (
        lambda run: (run / "model.ckpt-6.index").unlink(),
        "has no index file",
    ),
    "empty index": (
        lambda run: cut(run / "model.ckpt-6.index", 0),
        "has a damaged index file",
    ),
    "cut index": (
        lambda run: cut(run / "model.ckpt-6.index", 60),
        "has a damaged index file",
    ),
    "changed index": (
        lambda run: flip(run / "model.ckpt-6.index"),
        "has a damaged index file",
    ),
    "no data": (
        lambda run: (run / data_of(6)).unlink(),
        "lacks model.ckpt-6.data-00001-of-00002",
    ),
    "half copied": (
        lambda run: cut(run / data_of(6), 2),
        "has 10 bytes of data, but its index names 12",
    ),
    "changed data": (
        lambda run: flip(run / data_of(6)),
        "has damaged data: w is not what was saved",
    ),
    "data of another step": (
        lambda run: shutil.copy(run / data_of(4), run / data_of(6)),
        "has damaged data: w is not what was saved",
    ),
}
