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

"""Where values stop being finite, in small graphs."""

import mtf_switch  # isort: skip  # noqa: F401
import functools
import io
import math
import types

import mesh_tensorflow as mtf
import numpy as np
import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import placement_mesh
from mtf_switch.training import numerics
from mtf_switch.training import progress

SCOPE = "decoder/block_000/layer_001"
KERNEL = f"{SCOPE}/Layer/kernel"
BATCH = mtf.Dimension("batch", 4)
D = mtf.Dimension("d", 2)


def exponential(y):
  return mtf.exp(y)


def square_root(y):
  return mtf.sqrt(mtf.square(y))


def masked_logarithm(y):
  """Infinite values that no result depends on, as T5's position buckets."""
  return y + mtf.cast(mtf.cast(mtf.log(y * 0), tf.int32) * 0, tf.float32)


def model(function, features):
  with tf.variable_scope(f"{SCOPE}/Layer"):
    kernel = mtf.get_variable(
        features["x"].mesh,
        "kernel",
        mtf.Shape([D]),
        initializer=tf.ones_initializer(),
    )
    y = mtf.reduce_sum(features["x"] * kernel, reduced_dim=D)
  with tf.variable_scope(f"{SCOPE}/Other"):
    y = function(y)
  return {"loss": mtf.reduce_sum(y)}


def replay(function, batches, learning_rate=1e-3, num_microbatches=1, cores=1):
  """Replays SGD on batches `[steps][4]`; returns the hook."""
  hook = numerics.ReplayHook(
      len(batches), progress.Display(rich.console.Console(file=io.StringIO()))
  )
  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    values = tf.gather(tf.constant(batches, tf.float32), step)
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    impl = placement_mesh.PlacementMeshImpl(
        f"all:{cores}", "batch:all", ["cpu:0"] * cores
    )
    x = tf.tile(values[:, tf.newaxis], [1, D.size])
    features = {
        "x": mtf.import_fully_replicated(mesh, x, mtf.Shape([BATCH, D]), "x")
    }
    outputs_of = functools.partial(model, function)
    if num_microbatches > 1:
      gradients, outputs = mtf.serialize_training_step(
          features, outputs_of, BATCH, num_microbatches
      )
    else:
      outputs = outputs_of(features)
      gradients = mtf.gradients(
          [outputs["loss"]],
          [v.outputs[0] for v in mesh.graph.trainable_variables],
      )
    variables = mesh.graph.trainable_variables
    with tf.variable_scope(KERNEL):
      updates = mtf.optimize.SgdOptimizer(learning_rate).apply_grads(
          gradients, variables
      )
    lowering = numerics.Lowering(mesh.graph, {mesh: impl})
    hook.follow(
        types.SimpleNamespace(
            lowering=lowering,
            features={"x": x},
            loss=outputs["loss"],
            gradients={KERNEL: gradients[0]},
        )
    )
    tf.add_to_collection(
        tf.GraphKeys.LOSSES, lowering.export_to_tf_tensor(outputs["loss"])
    )
    with tf.control_dependencies(
        [lowering.lowered_operation(update) for update in updates]
    ):
      train_op = tf.assign_add(step, 1)
    copy_hook = mtf.MtfRestoreHook(lowering)
    with tf.train.MonitoredSession(hooks=[hook, copy_hook]) as session:
      try:
        for _ in batches:
          session.run(train_op)
      except numerics.Found:
        pass
  return hook


ONES, LARGE, ZERO = [1.0] * 4, [1.0, 1.0, 1e3, 1.0], [1.0, 1.0, 0.0, 1.0]
VARIANTS = [
    dict(),
    dict(num_microbatches=2),
    dict(cores=2),
    dict(cores=2, num_microbatches=2),
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_forward(variant):
  hook = replay(exponential, [ONES, LARGE, ONES], **variant)
  assert hook.step == 2
  assert hook.place == numerics.Place(
      "Inf", "forward", f"{SCOPE}/Other", f"{SCOPE}/Other/exp", None
  )
  np.testing.assert_array_equal(hook.batch["x"][:, 0], LARGE)
  assert str(hook.place) == f"Inf first in {SCOPE}/Other"


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient(variant):
  hook = replay(square_root, [ONES, ONES, ZERO], **variant)
  assert hook.step == 3
  place = hook.place
  assert place[:3] == ("Inf", "gradient", f"{SCOPE}/Other")
  assert place.operation.startswith(f"{SCOPE}/Other/sqrt/gradients/")
  assert place.variable == KERNEL
  assert str(place) == (
      f"Inf first in the gradients of {SCOPE}/Other, then in that of {KERNEL}"
  )


@pytest.mark.parametrize("variant", VARIANTS)
def test_update(variant):
  hook = replay(square_root, [ONES], math.inf, **variant)
  assert hook.step == 1
  assert hook.place[:2] == ("Inf", "update")
  assert hook.place.variable == KERNEL
  assert str(hook.place) == f"Inf first in the update of {KERNEL}"


def test_infinite_values_that_are_masked():
  assert replay(masked_logarithm, [ONES, ONES]).place is None
