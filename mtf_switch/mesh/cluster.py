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

"""The devices of a mesh, in one process or in several; see servers.py."""

from collections.abc import Sequence
import contextlib
import dataclasses
import re
import socket

import tensorflow.compat.v1 as tf

from mtf_switch import errors

JOB = "mesh"
# On one machine: each has a server of its own.
_MOST_PROCESSES = 256
_NAME_AND_PORT = re.compile(r"[^\s/]+:(\d{1,5})", re.ASCII)
# More in one process take minutes to start.
_MOST_CPUS = 1024


@dataclasses.dataclass(frozen=True)
class Cluster:
  """The processes of a mesh.

  Attributes:
    hosts: "name:port" of each task, in the order of the mesh.
    task: the number of this process among them.
    is_local: whether task 0 starts the others, on this machine.
  """

  hosts: tuple[str, ...]
  task: int = 0
  is_local: bool = False

  @property
  def target(self) -> str:
    """The address for sessions: that of task 0."""
    return f"grpc://{self.hosts[0]}"

  def describe(self, task: int) -> str:
    """The name of a task in messages."""
    return f"task {task} of the mesh ({self.hosts[task]})"


def parse(hosts: str, task: int | None) -> Cluster:
  """Reads --mesh_hosts and --mesh_task.

  Args:
    hosts: a number of processes on this machine, or "name:port" of all,
      separated by commas.
    task: the number of this process; None to infer it from the names.

  Returns:
    a Cluster.

  Raises:
    UserError: hosts is neither a number nor a list, or the task cannot be
      inferred.
  """
  if hosts.isdecimal():
    if task is not None:
      raise errors.UserError(
          f"--mesh_task goes with a list of hosts; --mesh_hosts={hosts} starts "
          "all tasks by itself."
      )
    # So many digits that Python would not read them are too many as well.
    if len(hosts) > 9 or not 1 <= int(hosts) <= _MOST_PROCESSES:
      raise errors.UserError(
          f"--mesh_hosts={hosts} is no number of processes for one machine; "
          f"use 1 to {_MOST_PROCESSES}, or a list such as host0:2222,host1:2222"
          " for several."
      )
    ports = _free_ports(int(hosts))
    return Cluster(tuple(f"localhost:{port}" for port in ports), is_local=True)
  names = tuple(hosts.split(","))
  for name in names:
    found = _NAME_AND_PORT.fullmatch(name)
    if not (found and 0 < int(found[1]) < 2**16):
      raise errors.UserError(
          f"--mesh_hosts={hosts} is neither a number of processes nor a list "
          f"such as host0:2222,host1:2222; look at {name!r}."
      )
  if len(set(names)) < len(names):
    raise errors.UserError(
        f"--mesh_hosts={hosts} has one of them twice; give processes on one "
        "machine a port each."
    )
  if task is None:
    task = _own_task(names)
  elif not 0 <= task < len(names):
    raise errors.UserError(
        f"--mesh_task={task} is not one of the {len(names)} tasks of "
        f"--mesh_hosts, 0 to {len(names) - 1}."
    )
  return Cluster(names, task)


def _own_task(names: Sequence[str]) -> int:
  """The only task whose host is this machine."""
  here = [task for task, name in enumerate(names) if _is_here(name)]
  if len(here) != 1:
    found = "none" if not here else f"tasks {', '.join(map(str, here))}"
    raise errors.UserError(
        f"which task of --mesh_hosts={','.join(names)} this is cannot be told "
        f"by the names: {found} of them are this machine; give each process "
        f"its own --mesh_task, 0 to {len(names) - 1}."
    )
  return here[0]


def _is_here(name: str) -> bool:
  """Whether "name:port" is this machine: whether its address can be bound."""
  try:
    addresses = socket.getaddrinfo(
        name.rpartition(":")[0], None, type=socket.SOCK_STREAM
    )
  except (socket.gaierror, UnicodeError):
    return False
  for family, kind, _, _, address in addresses:
    with contextlib.suppress(OSError), socket.socket(family, kind) as here:
      here.bind(address)
      return True
  return False


def _free_ports(count: int) -> list[int]:
  """Free ports of this machine."""
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
    for one in sockets:
      one.bind(("localhost", 0))
    return [one.getsockname()[1] for one in sockets]


def devices_per_task(mesh_size: int, num_tasks: int) -> int:
  """The number of a mesh's processors that each process has.

  Args:
    mesh_size: the processors of the mesh.
    num_tasks: the processes.

  Returns:
    a number of devices.

  Raises:
    UserError: the processes cannot have equal shares.
  """
  per_task, rest = divmod(mesh_size, num_tasks)
  if rest or not per_task:
    nearest = max(1, round(mesh_size / num_tasks)) * num_tasks
    raise errors.UserError(
        f"mesh_shape has {mesh_size} processors, which is no multiple of the "
        f"{num_tasks} processes of --mesh_hosts; the nearest is {nearest}."
    )
  return per_task


def choose_devices(mesh_size: int, names: Sequence[str]) -> list[str]:
  """The devices of a mesh in its order: task by task.

  Args:
    mesh_size: the processors of the mesh.
    names: all available devices. GPUs are taken if there are any, CPUs
      otherwise.

  Returns:
    a device for each processor, equally many for each task.

  Raises:
    UserError: a task has too few.
  """
  specs = [tf.DeviceSpec.from_string(name) for name in names]
  kind = "GPU" if any(s.device_type == "GPU" for s in specs) else "CPU"
  of_task: dict[int | None, list[tf.DeviceSpec]] = {s.task: [] for s in specs}
  for spec in specs:
    if spec.device_type == kind:
      of_task[spec.task].append(spec)
  per_task = devices_per_task(mesh_size, len(of_task))
  chosen = []
  for task, found in sorted(of_task.items()):
    if len(found) < per_task:
      where = "here" if task is None else f"in task {task}"
      raise errors.UserError(
          f"mesh_shape has {mesh_size} processors, which needs {per_task} "
          f"{kind}s {where}, but there are {len(found)}; use a smaller mesh"
          + (" or CUDA_VISIBLE_DEVICES=-1 for CPUs." if kind == "GPU" else ".")
      )
    found.sort(key=lambda spec: spec.device_index)
    prefix = "" if task is None else f"/job:{JOB}/task:{task}"
    chosen += [
        f"{prefix}/device:{kind}:{spec.device_index}"
        for spec in found[:per_task]
    ]
  return chosen


def find_devices(cluster: Cluster | None, mesh_size: int) -> list[str]:
  """The devices of a mesh, chosen from this process or from a cluster.

  Args:
    cluster: the cluster, whose servers run; None for this process alone.
    mesh_size: the processors of the mesh.

  Returns:
    a device for each processor. A process has as many CPUs as its
    configuration asks for.
  """
  if cluster:
    with tf.Session(cluster.target) as session:
      names = [device.name for device in session.list_devices()]
  else:
    gpus = tf.config.list_physical_devices("GPU")
    names = [f"/device:GPU:{i}" for i in range(len(gpus))]
    num_cpus = min(mesh_size, _MOST_CPUS)
    names = names or [f"/device:CPU:{i}" for i in range(num_cpus)]
  return choose_devices(mesh_size, names)


def on_task_0(op: tf.Operation) -> str:
  """A device function: operations are on task 0 unless they name another."""
  default = tf.DeviceSpec(job=JOB, task=0)
  own = tf.DeviceSpec.from_string(op.device)
  return default.make_merged_spec(own).to_string()
