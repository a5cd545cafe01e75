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

"""The record of a run: how it reads gin, and its mesh of processes."""

import mtf_switch  # isort: skip  # noqa: F401
import gin
import pytest

from mtf_switch import errors
from mtf_switch.mesh import cluster
from mtf_switch.training import experiment as experiment_lib
from mtf_switch.training import run as run_lib
from tests import toy_tasks  # noqa: F401

EXPERIMENT = """
Experiment.task = 'toy_copy'
Experiment.sequence_length = 16
Experiment.batch_size = 4
Experiment.mesh_shape = 'all:4'
"""


def test_more_gin_follows_the_runs_own(tmp_path):
  for name, text in (
      ("own.gin", "a = 1\nb = 1\nc = 1\nExperiment.task = [%a, %b, %c]"),
      ("more.gin", "b = 2\nc = 2"),
  ):
    (tmp_path / name).write_text(text)
  run = run_lib.Run(
      gin_files=["own.gin"],
      gin_params=["c = 3"],
      gin_directories=[str(tmp_path)],
  )
  run.configure()
  assert gin.query_parameter("%c") == 3
  gin.clear_config()
  run.configure(["more.gin"], ["c = 4"])
  values = [gin.query_parameter(name) for name in ("%a", "%b", "%c")]
  assert values == [1, 2, 4]


@pytest.mark.parametrize(
    "num_processes, params, message",
    [
        (3, [], "mesh_shape has 4 processors, which is no multiple of the 3 "),
        (
            2,
            ["Experiment.mesh_devices = ['a', 'b', 'c', 'd']"],
            "Experiment.mesh_devices names the devices of one process; leave ",
        ),
    ],
)
def test_a_mesh_of_processes_has_devices_of_its_own(
    num_processes, params, message
):
  gin.parse_config([EXPERIMENT, *params])
  hosts = tuple(f"localhost:{port}" for port in range(num_processes))
  run = run_lib.Run(cluster=cluster.Cluster(hosts))
  with pytest.raises(errors.UserError) as error:
    run.experiment  # noqa: B018
  assert str(error.value).startswith(message)


def test_as_many_devices_are_named_as_the_mesh_has():
  gin.parse_config([EXPERIMENT, "Experiment.mesh_devices = ['a', 'b']"])
  experiment_lib.Experiment()  # For a plan, which needs no devices.
  with pytest.raises(errors.UserError) as error:
    run_lib.Run().experiment  # noqa: B018
  assert str(error.value) == (
      "Experiment.mesh_devices has 2 names, but mesh_shape has 4 processors."
  )


def test_devices_are_chosen_unless_gin_names_them():
  gin.parse_config(EXPERIMENT)
  assert run_lib.Run().devices == [f"/device:CPU:{i}" for i in range(4)]
  assert run_lib.Run(tpu=run_lib.Tpu("mine")).devices is None
  gin.parse_config("Experiment.mesh_devices = ['a', 'b', 'c', 'd']")
  assert run_lib.Run().devices == ["a", "b", "c", "d"]


def test_all_writers_of_metrics_share_a_clock(tmp_path):
  run = run_lib.Run(model_dir=str(tmp_path))
  assert run.metrics_file is run.metrics_file
