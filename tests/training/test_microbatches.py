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

"""Microbatches: the groups, the loss and the gradients of the whole batch."""

import mtf_switch  # isort: skip  # noqa: F401

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.mesh import placement
from mtf_switch.training import experiment as experiment_lib
from mtf_switch.training import microbatches
from mtf_switch.training import training_step
from tests import gin_files
from tests import graphs
from tests import toy_tasks  # noqa: F401  Registers them.

ROWS = 8
LM = (
    "task = 'toy_lm'",
    "model_type = 'lm'",
    "make_layer_stack.layers ="
    " [@transformer_layers.SelfAttention, @SwitchFeedForward]",
)
# Both stacks have Switch layers, and the decoder's attention experts of its
# own that see the encoder's output.
TRANSFORMER = (
    "encoder/make_layer_stack.layers = [@SwitchFeedForward]",
    "decoder/make_layer_stack.layers = [@SwitchEncDecAttention]",
    "SwitchEncDecAttention.experts = @SwitchFeedForward",
)
WITHOUT_NOISE = (
    "SwitchFeedForward.router_jitter = 0.0",
    "top_2_router.second_policy_train = 'threshold'",
)
BATCH_WIDE = "SwitchFeedForward.loss_scope = 'batch'"
LENGTHS = {"inputs": 12, "targets": 8}


def experiment(*params, mesh_shape="", layout="") -> experiment_lib.Experiment:
  gin_files.parse(
      [
          "models/switch_tiny.gin",
          "layouts/single.gin",
          "schedules/constant_0_001.gin",
          "runs/pretrain.gin",
      ],
      [
          "train_steps = 1",
          f"batch_size = {ROWS}",
          *gin_files.SHRUNK,
          "num_layers = 1",
          "task = 'toy_copy'",
          f"sequence_length = {LENGTHS}",
          f"Experiment.mesh_shape = '{mesh_shape}'",
          f"Experiment.layout_rules = '{layout}'",
          "SwitchFeedForward.min_expert_capacity = 1",
          "SwitchFeedForward.z_loss_coefficient = 0.1",
          "optimizer = @SgdOptimizer",
          *params,
      ],
  )
  return experiment_lib.Experiment()


def features_on(mesh, experiment_) -> dict[str, mtf.Tensor]:
  """Rows of all lengths, so that groups have padding, and some nothing else."""
  rng = np.random.RandomState(0)
  features = {}
  for name in experiment_.provider.output_features:
    ids = rng.randint(2, 250, (ROWS, LENGTHS[name]))
    ends = rng.randint(1, LENGTHS[name] + 1, (ROWS, 1))
    features[name] = tf.constant(ids * (np.arange(LENGTHS[name]) < ends))
  return placement.import_features(
      mesh, features, ROWS, LENGTHS, experiment_.outer_batch_size
  )


def steps_of(experiment_, *nums_microbatches):
  """Losses, reports and gradients by name, for numbers of microbatches.

  All from one graph with the same weights.
  """
  names = []

  def build(mesh):
    features = features_on(mesh, experiment_)
    outputs = []
    for num_microbatches in nums_microbatches:
      step = training_step.build(
          experiment_, mesh, features, 1.0, num_microbatches=num_microbatches
      )
      variables = [x.name for x in mesh.graph.trainable_variables]
      names[:] = ["loss", *step.sums, *variables]
      outputs += [step.loss, *step.sums.values(), *step.gradients]
    return outputs

  results, _ = graphs.evaluate(
      build, experiment_.mesh_shape, experiment_.layout_rules
  )
  return [
      dict(zip(names, results[first : first + len(names)]))
      for first in range(0, len(results), len(names))
  ]


@pytest.mark.parametrize(
    "params, mesh",
    [
        pytest.param((*LM, "num_cores = 4"), {}, id="groups of two rows"),
        pytest.param(
            (*LM, "num_cores = 16", "SwitchFeedForward.router = @top_2_router"),
            dict(mesh_shape="all:2", layout="batch:all,experts:all"),
            id="groups of half a row, some of padding alone, on two cores",
        ),
        pytest.param(
            (*TRANSFORMER, "num_cores = 4", BATCH_WIDE),
            {},
            id="attention, over the batch",
        ),
        pytest.param(
            (
                *LM,
                "num_cores = 8",
                "Experiment.outer_batch_size = 2",
                "transformer.LayerStack.recompute_grads = True",
                "SwitchFeedForward.router = @no_token_left_behind_router",
                BATCH_WIDE,
            ),
            {},
            id="outer batches, recomputed, over the batch",
        ),
    ],
)
def test_losses_and_gradients_are_those_of_the_batch(params, mesh):
  experiment_ = experiment(*params, *WITHOUT_NOISE, **mesh)
  whole, parts = steps_of(experiment_, 1, 2)
  assert parts.keys() == whole.keys()
  for name, value in whole.items():
    np.testing.assert_allclose(
        parts[name],
        value,
        rtol=0,
        atol=1e-6 * np.abs(value).max(),
        err_msg=name,
    )


def test_what_is_counted_first_is_what_is_chosen_then():
  """With noise and dropout, which come again in the second pass."""
  experiment_ = experiment(
      *LM,
      "num_cores = 4",
      "SwitchFeedForward.router_jitter = 0.5",
      "dropout_rate = 0.2",
      BATCH_WIDE,
  )

  def build(mesh):
    model = experiment_.build_model()
    features = features_on(mesh, experiment_)
    counts = microbatches.first_choices(
        model, features, utils.get_variable_dtype(), 2, 2
    )
    step = training_step.build(
        experiment_, mesh, features, 1.0, model, num_microbatches=2
    )
    (layer,) = counts
    return [counts[layer], step.sums[f"{layer}/expert_load"]]

  (first, then), _ = graphs.evaluate(build)
  np.testing.assert_array_equal(first, then)


def rows_together(experiment_, num_microbatches):
  """Of eight rows of 12 inputs and of 8 targets."""
  shapes = {
      name: mtf.Shape(
          [mtf.Dimension("batch", ROWS), mtf.Dimension("length", length)]
      )
      for name, length in LENGTHS.items()
  }
  return microbatches.rows_together(
      experiment_.build_model(), shapes, num_microbatches
  )


@pytest.mark.parametrize(
    "params, num_microbatches, rows",
    [
        (["num_cores = 4"], 4, 2),
        (["num_cores = 16"], 4, 1),
        # The encoder's groups have two rows, the decoder's four.
        (["encoder/SwitchFeedForward.num_cores = 4", "num_cores = 2"], 2, 4),
        # Groups of 1 1/3 rows of 12 tokens; of two rows of 8.
        (
            [
                "SwitchFeedForward.num_cores = None",
                "SwitchFeedForward.group_size = 16",
            ],
            2,
            4,
        ),
        # The nearest number of groups that is even is 4.
        (["num_cores = 3", "SwitchFeedForward.strict_groups = False"], 2, 2),
        (["model_type = 'lm'", "task = 'toy_lm'", "num_experts = 2"], 2, 4),
    ],
)
def test_rows_of_a_group_stay_together(params, num_microbatches, rows):
  assert rows_together(experiment(*params), num_microbatches) == rows


@pytest.mark.parametrize(
    "params, mesh, where",
    [
        (["num_cores = 2"], {}, "4 microbatches, so .* multiple of 4 keeps"),
        (
            ["num_cores = 4"],
            dict(mesh_shape="all:2", layout="batch:all"),
            "4 microbatches on each of 2 parts of the mesh, .* multiple of 8 ",
        ),
    ],
)
def test_groups_that_microbatches_tear_apart_are_noted(params, mesh, where):
  experiment_ = experiment(*params, *LM, **mesh)
  assert rows_together(experiment_, 4) == 1
  with (
      tf.Graph().as_default(),
      placement.placeholders_for_variables(),
      pytest.warns(errors.UserNotice, match=where),
  ):
    graph_mesh = mtf.Mesh(mtf.Graph(), "mesh")
    training_step.build(
        experiment_,
        graph_mesh,
        features_on(graph_mesh, experiment_),
        1.0,
        num_microbatches=4,
    )
