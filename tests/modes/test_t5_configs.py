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

"""T5's own configurations train here, with the sizes that they state."""

import mtf_switch  # isort: skip  # noqa: F401
import io

import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.modes import train
from mtf_switch.planning import accounting
from mtf_switch.planning import step_graph
from mtf_switch.training import run as run_lib
from tests import gin_files
from tests import t5_operative_configs
from tests import toy_tasks  # noqa: F401  Registers its tasks.

ENCODER, DECODER = "encoder/block_000/layer_", "decoder/block_000/layer_"


def configured(directory, text, *params, files=()):
  """A run by a configuration in T5's names, after its gin files are read."""
  file = directory / "operative_config.gin"
  file.write_text(text)
  gin_files.clear()
  run = run_lib.Run(
      model_dir=str(directory / "model"),
      gin_files=[*files, str(file)],
      gin_params=params,
      gin_directories=[str(gin_files.ROOT)],
      mode="train",
  )
  with pytest.warns(errors.UserNotice, match="T5's names"):
    run.configure()
  return run


def trained_shapes(directory, text):
  """Trains by a configuration; returns the shapes of the variables by name."""
  run = configured(directory, text)
  console = rich.console.Console(file=io.StringIO())
  train.train(run, console)
  return dict(tf.train.list_variables(f"{run.model_dir}/model.ckpt-1"))


def test_a_configuration_of_2020(tmp_path):
  shapes = trained_shapes(tmp_path, t5_operative_configs.OF_2020)
  assert shapes["shared/embedding"][1] == 24
  assert shapes[f"{ENCODER}000/SelfAttention/q"] == [24, 3 * 8]
  assert shapes[f"{DECODER}002/DenseReluDense/wi/kernel"] == [24, 48]
  assert f"{ENCODER}001/layer_norm/scale" in shapes
  assert f"{DECODER}003/layer_norm/scale" not in shapes
  assert "decoder/logits/kernel" not in shapes


def test_a_configuration_of_today(tmp_path):
  shapes = trained_shapes(tmp_path, t5_operative_configs.OF_TODAY)
  assert shapes["shared/embedding"][1] == 32
  assert shapes[f"{ENCODER}000/SelfAttention/q"] == [32, 2 * 16]
  assert shapes[f"{DECODER}002/DenseReluDense/wi_0/kernel"] == [32, 64]
  assert shapes["decoder/logits/kernel"][0] == 32


def test_upstreams_experts_keep_their_variables(tmp_path):
  run = configured(
      tmp_path,
      t5_operative_configs.EXPERTS,
      "MIXTURE_NAME = 'toy_lm'",
      files=["dataset.gin", "learning_rate_schedules/constant_0_001.gin"],
  )
  step = step_graph.StepGraph(run.experiment, on_tpu=False)
  shapes = {
      variable.name: variable.shape.to_integer_list
      for variable in step.graph.trainable_variables
  }
  scope = "transformer/block_000/layer_001/MoE1D"
  assert shapes[f"{scope}/switch_gating/kernel"] == [24, 4]
  assert shapes[f"{scope}/wi/kernel"] == [4, 24, 48]
  assert shapes[f"{scope}/wo/kernel"] == [4, 48, 24]
  # Which Table 9's rule does not cover.
  lengths = run.experiment.lengths
  assert accounting.flops_of_model(step.step.model, lengths) is None


def test_recomputation_would_lose_the_loss_of_upstreams_experts(tmp_path):
  run = configured(
      tmp_path,
      t5_operative_configs.EXPERTS,
      "MIXTURE_NAME = 'toy_lm'",
      "LayerStack.recompute_grads = True",
      files=["dataset.gin"],
  )
  with pytest.raises(errors.UserError, match="loses the auxiliary loss of MoE"):
    step_graph.StepGraph(run.experiment, on_tpu=False)
