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

import mtf_switch  # isort: skip  # noqa: F401
import pytest

from mtf_switch.training import estimators
from tests.training import test_model_functions


def test_estimator_leaves_saving_and_logging_to_our_hooks(tmp_path):
  run = test_model_functions.make_run("dense", seed=5, model_dir=str(tmp_path))
  config = estimators.make(run, lambda features: None).config
  assert config.tf_random_seed == 5
  assert config.save_checkpoints_steps is None
  assert config.save_checkpoints_secs is None
  assert config.log_step_count_steps is None
  assert not config.save_summary_steps


@pytest.mark.parametrize(
    "mesh_devices, devices",
    [
        ("['cpu:1', 'cpu:0']", ["cpu:1", "cpu:0"]),
        ("None", ["/device:CPU:0", "/device:CPU:1"]),
    ],
)
def test_each_cpu_device_exists(mesh_devices, devices):
  run = test_model_functions.make_run(
      "dense",
      f"Experiment.mesh_devices = {mesh_devices}",
      "mesh_shape = 'all:2'",
  )
  assert run.devices == devices
  assert estimators.session_config(run).device_count["CPU"] == 2


def test_graphs_are_rewritten_without_passes_that_find_nothing():
  run = test_model_functions.make_run("dense")
  options = estimators.session_config(run).graph_options.rewrite_options
  assert not options.disable_meta_optimizer
  assert options.disable_tfg_optimizer
  assert options.layout_optimizer == options.OFF
