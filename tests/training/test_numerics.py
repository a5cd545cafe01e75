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
import math
import types

import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import placement_mesh
from mtf_switch.training import numerics

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


def model(function, initial, features):
  with tf.variable_scope(f"{SCOPE}/Layer"):
    kernel = mtf.get_variable(
        features["x"].mesh,
        "kernel",
        mtf.Shape([D]),
        initializer=tf.constant_initializer(initial),
    )
    y = mtf.reduce_sum(features["x"] * kernel, reduced_dim=D)
  with tf.variable_scope(f"{SCOPE}/Other"):
    y = function(y)
  return {"loss": mtf.reduce_sum(y)}


def check(
    function,
    batch,
    learning_rate=1e-3,
    num_microbatches=1,
    cores=1,
    initial=1.0,
):
  """Makes a step of SGD on a batch `[4]`; returns the place."""
  hook = numerics.CheckHook()
  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    impl = placement_mesh.PlacementMeshImpl(
        f"all:{cores}", "batch:all", ["cpu:0"] * cores
    )
    x = tf.tile(tf.constant(batch)[:, tf.newaxis], [1, D.size])
    features = {
        "x": mtf.import_fully_replicated(mesh, x, mtf.Shape([BATCH, D]), "x")
    }
    outputs_of = functools.partial(model, function, initial)
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
            loss=outputs["loss"],
            gradients={KERNEL: gradients[0]},
        )
    )
    with tf.control_dependencies(
        [lowering.lowered_operation(update) for update in updates]
    ):
      train_op = tf.assign_add(step, 1)
    copy_hook = mtf.MtfRestoreHook(lowering)
    with tf.train.MonitoredSession(hooks=[hook, copy_hook]) as session:
      with pytest.raises(numerics.Done):
        session.run(train_op)
  return hook.place


ONES, LARGE, ZERO = [1.0] * 4, [1.0, 1.0, 1e3, 1.0], [1.0, 1.0, 0.0, 1.0]
VARIANTS = [
    dict(),
    dict(num_microbatches=2),
    dict(cores=2),
    dict(cores=2, num_microbatches=2),
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_forward(variant):
  assert check(exponential, ONES, **variant) is None
  place = check(exponential, LARGE, **variant)
  assert place == numerics.Place(
      "Inf", "forward", f"{SCOPE}/Other", f"{SCOPE}/Other/exp", None
  )
  assert str(place) == f"Inf first in {SCOPE}/Other"


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient(variant):
  place = check(square_root, ZERO, **variant)
  assert place[:3] == ("Inf", "gradient", f"{SCOPE}/Other")
  assert place.operation.startswith(f"{SCOPE}/Other/sqrt/gradients/")
  assert place.variable == KERNEL
  assert str(place) == (
      f"Inf first in the gradients of {SCOPE}/Other, then in that of {KERNEL}"
  )


@pytest.mark.parametrize("variant", VARIANTS)
def test_update(variant):
  place = check(square_root, ONES, math.inf, **variant)
  assert place[:2] == ("Inf", "update")
  assert place.variable == KERNEL
  assert str(place) == f"Inf first in the update of {KERNEL}"


def test_weights():
  place = check(exponential, ONES, initial=math.nan)
  assert str(place) == f"NaN in the weights {KERNEL}"


def test_infinite_values_that_are_masked():
  assert check(masked_logarithm, ONES) is None


@pytest.mark.parametrize(
    "operation, layer",
    [
        (
            "decoder/block_003/layer_001/SwitchFeedForward/router/einsum",
            "decoder/block_003/layer_001/SwitchFeedForward",
        ),
        (
            "encoder/block_000/layer_000/rms_norm/square",
            "encoder/block_000/layer_000",
        ),
        ("decoder/einsum_5", "decoder"),
        ("reduce", "reduce"),
    ],
)
def test_layers(operation, layer):
  place = numerics.first_place([operation], [2], {}, [], [0])
  assert place == numerics.Place("NaN", "forward", layer, operation, None)
