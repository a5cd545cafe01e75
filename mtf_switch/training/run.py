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

"""The record of a run: its directory, its seed, its devices and its gin files.

Experiment, in experiment.py, is the record of the model and its layout.
"""

from collections.abc import Sequence
import dataclasses
import functools

from mtf_switch import errors
from mtf_switch.mesh import cluster as cluster_lib
from mtf_switch.training import checkpoints
from mtf_switch.training import experiment as experiment_lib
from mtf_switch.training import metrics_file as metrics_file_lib
from mtf_switch.training import strict_gin
from mtf_switch.training import t5_refusals
from mtf_switch.training import unread_bindings
from mtf_switch.training import vocabulary_record


@dataclasses.dataclass(frozen=True)
class Tpu:
  """The address of a TPU; the fields are T5's flags.

  Attributes:
    name: the Cloud TPU's name, or a grpc:// address.
    zone: its Google Cloud zone, None to detect it.
    project: its Google Cloud project, None to detect it.
    job_name: the name of the TPU worker's job, None for the default.
  """

  name: str
  zone: str | None = None
  project: str | None = None
  job_name: str | None = None


@dataclasses.dataclass(frozen=True)
class Run:
  """A run of one mode, as the command line describes it.

  Attributes:
    model_dir: the directory of checkpoints, metrics and logs; None for a mode
      that needs no model.
    seed: determines initial weights, the order of the examples, and noise.
    tpu: the TPU; None for CPU and GPU.
    cluster: the processes that the mesh's CPUs or GPUs belong to; None for this
      process alone.
    gin_files: names of gin files.
    gin_params: gin bindings that override those of the files.
    gin_directories: directories of the project's gin files, which are searched.
    gin_location_prefixes: directories of the user's, which are searched last.
    mode: the program's mode, which decides what T5's own gin files mean; None
      for any.
    own_bindings: gin's bindings that are the user's; filled by `configure`.
  """

  model_dir: str | None = None
  seed: int = 0
  tpu: Tpu | None = None
  cluster: cluster_lib.Cluster | None = None
  gin_files: Sequence[str] = ()
  gin_params: Sequence[str] = ()
  gin_directories: Sequence[str] = ()
  gin_location_prefixes: Sequence[str] = ()
  mode: str | None = None
  own_bindings: set[unread_bindings.Key] = dataclasses.field(
      default_factory=set, init=False, compare=False
  )

  def configure(self, files: Sequence[str] = (), params: Sequence[str] = ()):
    """Reads the run's gin files and parameters, and more of them if given.

    Args:
      files: gin files that follow the run's own.
      params: gin bindings that follow the run's own.

    Raises:
      UserError: a name is unknown, a value is missing or without meaning, or a
        file is not gin.
    """
    own = strict_gin.parse(
        [*self.gin_files, *files],
        [*self.gin_params, *params],
        self.gin_directories,
        self.gin_location_prefixes,
        self.mode,
        on_tpu=bool(self.tpu),
    )
    t5_refusals.check_steps(self.mode, lambda: strict_gin.value("train.steps"))
    unread_bindings.check_scopes(own)
    self.own_bindings.clear()
    self.own_bindings.update(own)

  @functools.cached_property
  def experiment(self) -> experiment_lib.Experiment:
    """The model and its layout, which gin describes after `configure`.

    Raises:
      UserError: the mesh does not fit the processes or the devices.
    """
    experiment = experiment_lib.Experiment()
    size, devices = experiment.mesh.size, experiment.mesh_devices
    if self.cluster:
      cluster_lib.devices_per_task(size, len(self.cluster.hosts))
      if devices:
        raise errors.UserError(
            "Experiment.mesh_devices names the devices of one process; leave it"
            " out with --mesh_hosts, which finds those of all."
        )
    # Plans, which need no devices, compare meshes of several sizes.
    if devices and len(devices) != size:
      raise errors.UserError(
          f"Experiment.mesh_devices has {len(devices)} names, but mesh_shape "
          f"has {size} processors."
      )
    return experiment

  @functools.cached_property
  def devices(self) -> Sequence[str] | None:
    """A device for each processor of the mesh; None leaves it to TensorFlow.

    If mesh_devices is not set: GPUs where there are any, otherwise a CPU device
    for each processor.
    """
    experiment = self.experiment
    if (
        experiment.mesh_devices
        or self.tpu
        or (experiment.mesh.size == 1 and not self.cluster)
    ):
      return experiment.mesh_devices
    return cluster_lib.find_devices(self.cluster, experiment.mesh.size)

  @functools.cached_property
  def metrics_file(self) -> metrics_file_lib.MetricsFile:
    """The run's metrics.jsonl; one for all its writers, who share a clock."""
    return metrics_file_lib.MetricsFile(self.model_dir)

  def select_checkpoints(self, selection: checkpoints.Selection) -> list[int]:
    """Returns the steps of the checkpoints that a mode reads.

    Args:
      selection: which checkpoints; see checkpoints.Selection.

    Raises:
      UserError: they are missing, or of another vocabulary than the task's.
    """
    vocabulary_record.check(self.model_dir, self.experiment.vocabularies)
    return checkpoints.select(self.model_dir, selection)
