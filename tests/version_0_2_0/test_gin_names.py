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

"""Gin files and gin names of version 0.2.0 keep working.

`gin/` holds its files as they were, `configurables.json` the long name of each
configurable, with the parameters that a user could set. Those that the program
passes itself, such as Experiment.model_dir, are left out.
"""

import mtf_switch  # isort: skip  # noqa: F401
import json
import pathlib

import gin
from mesh_tensorflow.transformer import transformer_layers
import pytest

from mtf_switch.training import strict_gin
from tests import gin_files
from tests.modes import test_runs

DIRECTORY = pathlib.Path(__file__).resolve().parent
GIN = DIRECTORY / "gin"
CONFIGURABLES = json.loads((DIRECTORY / "configurables.json").read_text())
NAMES = sorted(str(path.relative_to(GIN)) for path in GIN.rglob("*.gin"))
FILES = [name for name in NAMES if not name.startswith("experiments/")]
MODELS = [
    name
    for name in NAMES
    if name.startswith("models/") and "defaults" not in name
]
EXPERIMENTS = [
    name
    for name in NAMES
    if name.startswith("experiments/") and "defaults" not in name
]
MODULES = [
    "attention",
    "decoding",
    "experiment",
    "finetuning",
    "layers",
    "modes",
    "optimizer",
    "tpu",
    "vocabulary",
]


@pytest.fixture(autouse=True)
def in_directory_of_gin_files(monkeypatch):
  # Gin looks into the working directory first, for included files too.
  monkeypatch.chdir(GIN)


def test_the_files_are_found_here_and_not_among_todays():
  gin_files.parse(["models/t5_tiny.gin"])
  layer, *_ = gin_files.build_model(128).encoder.layer_stack.layers
  assert type(layer) is transformer_layers.SelfAttention


@pytest.mark.parametrize("name", FILES)
def test_file_parses_with_the_macros_that_it_requires(name):
  gin_files.parse_unfinished(name)
  _, required = gin_files.macros()
  gin_files.parse([name], [f"{macro} = 1" for macro in required])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_parses_strictly(name):
  gin_files.clear()
  strict_gin.parse([name], [], [])


@pytest.mark.parametrize("name", MODELS)
def test_model_can_be_built(name):
  gin_files.parse([name], gin_files.SHRUNK)
  assert gin_files.build_model(128)


@pytest.mark.parametrize("run", ["pretrain", "finetune", "evaluate"])
@pytest.mark.parametrize("model", ["t5_tiny", "switch_tiny"])
@pytest.mark.parametrize("precision", ["float32", "selective", "bfloat16"])
def test_files_of_all_folders_go_together(model, run, precision):
  gin_files.clear()
  files = [
      f"models/{model}.gin",
      "layouts/expert_model_data.gin",
      "objectives/span_corruption.gin",
      "schedules/linear_warmup_rsqrt.gin",
      f"runs/{run}.gin",
      f"precision/{precision}.gin",
  ]
  params = ["data_parallelism = 2", "model_parallelism = 2"]
  if "switch" in model:
    params.append("num_cores = 2")
  for file in files:
    gin.parse_config_file(file)
  _, required = gin_files.macros()
  values = {**test_runs.VALUES, "warmup_steps": "10"}
  for macro in sorted(required - {x.split(" = ")[0] for x in params}):
    params.append(f"{macro} = {values[macro]}")
  gin_files.clear()
  strict_gin.parse(files, params, [])


@pytest.mark.parametrize("module", MODULES)
def test_gin_files_import_modules_under_their_old_names(module):
  gin.parse_config(f"import mtf_switch.{module}")


@pytest.mark.parametrize("long_name", CONFIGURABLES)
def test_configurable_keeps_its_names_and_parameters(long_name):
  for module in ("decoding", "finetuning", "modes", "tpu"):
    gin.parse_config(f"import mtf_switch.{module}")
  gin.parse_config("import tasks")
  for name in (long_name, long_name.rpartition(".")[2]):
    assert gin.get_configurable(name)
    for parameter in CONFIGURABLES[long_name]:
      gin.parse_config(f"{name}.{parameter} = 1")


def test_the_switch_layer_accepts_all_of_its_old_options():
  """With **kwargs, gin accepts every name; the layer itself must too."""
  options = dict(
      num_experts=4,
      num_cores=2,
      group_size=None,
      strict_groups=True,
      hidden_size=8,
      activation="relu",
      exploration="argmax",
      router_jitter=0.02,
      router_dropout_rate=0.2,
      router_dtype="float32",
      priority="position",
      dispatch=None,
      capacity_factor_train=1.0,
      capacity_factor_eval=1.0,
      capacity_rounding="floor",
      min_expert_capacity=1,
      aux_loss_coefficient=0.02,
      z_loss_coefficient=0.0,
      loss_scope="group",
      loss_over_layers="sum",
      expert_dropout_rate=0.1,
      expert_dtype=None,
      initializer_scale=0.2,
  )
  # The router itself is set as users set it, by its reference.
  long_name = "mtf_switch.layers.SwitchFeedForward"
  assert {*options, "router"} == set(CONFIGURABLES[long_name])
  gin.parse_config(
      [f"{long_name}.{name} = {value!r}" for name, value in options.items()]
      + [f"{long_name}.router = @switch_router"]
  )
  layer = gin.get_configurable(long_name)()
  assert layer.num_experts == 4
