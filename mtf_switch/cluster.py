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

"""The devices of a mesh, in one process or in several.

Several processes are the tasks of a job "mesh", each with a server of
TensorFlow's. Task 0 does all that a run does: it builds the graph, reads the
data, holds the variables that are saved, and writes. The others lend their
devices until it ends.
"""

from mtf_switch import compat  # isort: skip
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import signal
import socket
import threading
import time
from typing import Any

import tensorflow.compat.v1 as tf

_JOB = "mesh"
# How long the tasks wait for each other when they start, in seconds.
_START = 600
# Whether the others are there is looked at so often, in seconds,
_PERIOD = 0.5
# with so much time to answer,
_ANSWER = 10
# and this often in a row before they count as lost.
_TRIES = 3


class ConnectionLost(compat.UserError):
  """Tasks of the mesh do not reach each other any more."""


@dataclasses.dataclass(frozen=True)
class Cluster:
  """The processes of a mesh.

  Attributes:
    hosts: "name:port" of each task, in the order of the mesh.
    task: which of them this process is.
    is_local: whether task 0 starts the others, on this machine.
  """

  hosts: tuple[str, ...]
  task: int = 0
  is_local: bool = False

  @property
  def target(self) -> str:
    """Where sessions are opened: at task 0."""
    return f"grpc://{self.hosts[0]}"

  def describe(self, task: int) -> str:
    """A task as messages name it."""
    return f"task {task} of the mesh ({self.hosts[task]})"


def parse(hosts: str, task: int | None) -> Cluster:
  """Reads --mesh_hosts and --mesh_task.

  Args:
    hosts: a number of processes on this machine, or "name:port" of all,
      separated by commas.
    task: which of them this process is; None to find out by the names.

  Returns:
    a Cluster.

  Raises:
    UserError: there is no number and no list, or no way to tell the task.
  """
  if hosts.isdecimal() and int(hosts):
    if task is not None:
      raise compat.UserError(
          f"--mesh_task goes with a list of hosts; --mesh_hosts={hosts} starts "
          "all tasks by itself."
      )
    ports = _free_ports(int(hosts))
    return Cluster(tuple(f"localhost:{port}" for port in ports), is_local=True)
  names = tuple(hosts.split(","))
  for name in names:
    host, _, port = name.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
      raise compat.UserError(
          f"--mesh_hosts={hosts} is neither a number of processes nor a list "
          f"such as host0:2222,host1:2222; look at {name!r}."
      )
  if len(set(names)) < len(names):
    raise compat.UserError(
        f"--mesh_hosts={hosts} has one of them twice; give processes on one "
        "machine a port each."
    )
  if task is None:
    task = _own_task(names)
  elif not 0 <= task < len(names):
    raise compat.UserError(
        f"--mesh_task={task} is not one of the {len(names)} tasks of "
        f"--mesh_hosts, 0 to {len(names) - 1}."
    )
  return Cluster(names, task)


def _own_task(names: Sequence[str]) -> int:
  """The only task whose host is this machine."""
  here = [task for task, name in enumerate(names) if _is_here(name)]
  if len(here) != 1:
    found = "none" if not here else f"tasks {', '.join(map(str, here))}"
    raise compat.UserError(
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
  except socket.gaierror:
    return False
  for family, kind, _, _, address in addresses:
    with contextlib.suppress(OSError), socket.socket(family, kind) as here:
      here.bind(address)
      return True
  return False


def _free_ports(count: int) -> list[int]:
  """Ports that nobody on this machine listens to."""
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
    for one in sockets:
      one.bind(("localhost", 0))
    return [one.getsockname()[1] for one in sockets]


def devices_per_task(mesh_size: int, num_tasks: int) -> int:
  """How many processors of a mesh each process has.

  Args:
    mesh_size: the processors of the mesh.
    num_tasks: the processes.

  Returns:
    a number of devices.

  Raises:
    UserError: it is not the same for all of them.
  """
  per_task, rest = divmod(mesh_size, num_tasks)
  if rest or not per_task:
    nearest = max(1, round(mesh_size / num_tasks)) * num_tasks
    raise compat.UserError(
        f"mesh_shape has {mesh_size} processors, which is no multiple of the "
        f"{num_tasks} processes of --mesh_hosts; the nearest is {nearest}."
    )
  return per_task


def choose_devices(mesh_size: int, names: Sequence[str]) -> list[str]:
  """The devices of a mesh, in its order: all of the first task, and so on.

  Args:
    mesh_size: the processors of the mesh.
    names: of all devices that there are. GPUs are taken where there are any,
      CPUs elsewhere.

  Returns:
    a device for each processor; each task has as many.

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
      raise compat.UserError(
          f"mesh_shape has {mesh_size} processors, which needs {per_task} "
          f"{kind}s {where}, but there are {len(found)}; use a smaller mesh"
          + (" or CUDA_VISIBLE_DEVICES=-1 for CPUs." if kind == "GPU" else ".")
      )
    found.sort(key=lambda spec: spec.device_index)
    prefix = "" if task is None else f"/job:{_JOB}/task:{task}"
    chosen += [
        f"{prefix}/device:{kind}:{spec.device_index}"
        for spec in found[:per_task]
    ]
  return chosen


def find_devices(cluster: Cluster | None, mesh_size: int) -> list[str]:
  """The devices of a mesh, out of those of this process or of a cluster.

  Args:
    cluster: the cluster, whose servers run; None for this process alone.
    mesh_size: the processors of the mesh.

  Returns:
    a device for each processor. Of CPUs a process has as many as it asks for
    in its configuration.
  """
  if cluster:
    with tf.Session(cluster.target, config=_configuration(1)) as session:
      names = [device.name for device in session.list_devices()]
  else:
    gpus = tf.config.list_physical_devices("GPU")
    names = [f"/device:GPU:{i}" for i in range(len(gpus))]
    names = names or [f"/device:CPU:{i}" for i in range(mesh_size)]
  return choose_devices(mesh_size, names)


def on_task_0(op: tf.Operation) -> str:
  """A device function: what is not placed on another task is on task 0."""
  default = tf.DeviceSpec(job=_JOB, task=0)
  own = tf.DeviceSpec.from_string(op.device)
  return default.make_merged_spec(own).to_string()


def _configuration(num_cpus: int) -> tf.ConfigProto:
  config = tf.ConfigProto(device_count={"CPU": num_cpus})
  config.gpu_options.allow_growth = True
  return config


def _start_server(cluster: Cluster, mesh_size: int):
  """Starts the server of the cluster's task; it lives as the process does."""
  host = cluster.hosts[cluster.task]
  with socket.socket() as own:
    # TensorFlow would share the port with a server that is there already.
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      own.bind(("", int(host.rpartition(":")[2])))
    except OSError as error:
      raise compat.UserError(
          f"the port of {host} cannot be had on this machine: "
          f"{error.strerror}; end what uses it, or choose another."
      ) from error
  tf.distribute.Server(
      {_JOB: list(cluster.hosts)},
      job_name=_JOB,
      task_index=cluster.task,
      config=_configuration(devices_per_task(mesh_size, len(cluster.hosts))),
  )


def serve(cluster: Cluster, mesh_size: int):
  """Lends this process's devices until task 0 has ended.

  Args:
    cluster: the cluster.
    mesh_size: the processors of the mesh, of all tasks.

  Raises:
    UserError: task 0 does not start, or the port is in use.
  """
  _start_server(cluster, mesh_size)
  _first_lost({0: _wait_for(cluster, 0, lambda: True)}, threading.Event())


def _serve_parent(cluster: Cluster, mesh_size: int, parent: int):
  """What a process that task 0 has started does."""
  # Ctrl-C reaches all processes of a terminal, and task 0 answers it.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  _start_server(cluster, mesh_size)
  _first_lost({0: lambda: os.getppid() == parent}, threading.Event())
  os._exit(0)  # pylint: disable=protected-access


@contextlib.contextmanager
def connected(
    cluster: Cluster, mesh_size: int, on_loss: Callable[[int], Any]
) -> Iterator[None]:
  """Starts task 0 and, on one machine, the others; all serve in the context.

  Args:
    cluster: the cluster; this process is its task 0.
    mesh_size: the processors of the mesh, of all tasks.
    on_loss: called with the number of a task that is gone, in a thread of its
      own, and expected to end the process: sessions may wait for a lost task
      for ever, even to be closed.

  Yields:
    nothing, when all tasks serve.

  Raises:
    UserError: one of them does not start, or the port is in use.
  """
  # Forked before the first session, processes are there at once and share
  # what this one has loaded.
  context = multiprocessing.get_context("fork")
  started = {
      task: context.Process(
          target=_serve_parent,
          args=(
              dataclasses.replace(cluster, task=task),
              mesh_size,
              os.getpid(),
          ),
          daemon=True,
      )
      for task in range(1, len(cluster.hosts) if cluster.is_local else 1)
  }
  over = threading.Event()

  def end_others():
    for process in started.values():
      process.kill()
      process.join()

  try:
    for process in started.values():
      process.start()
    _start_server(cluster, mesh_size)
    is_there = {}
    for task in range(1, len(cluster.hosts)):
      process = started.get(task)
      answers = _wait_for(
          cluster, task, process.is_alive if process else lambda: True
      )
      is_there[task] = process.is_alive if process else answers
    watch = threading.Thread(
        target=_watch,
        args=(is_there, over, lambda task: (end_others(), on_loss(task))),
        daemon=True,
    )
    watch.start()
    try:
      yield
    except (tf.errors.OpError, ConnectionLost):
      # TensorFlow may notice first that a task is gone.
      watch.join(2 * _TRIES * _PERIOD)
      raise
  finally:
    over.set()
    end_others()


def _wait_for(
    cluster: Cluster, task: int, is_coming: Callable[[], bool]
) -> Callable[[], bool]:
  """Waits until a task serves; returns what tells whether it still does."""
  host, _, port = cluster.hosts[task].rpartition(":")
  deadline = time.monotonic() + _START
  while not (address := _answer((host, int(port)))):
    if not is_coming() or time.monotonic() > deadline:
      raise compat.UserError(
          f"{cluster.describe(task)} does not answer; start all processes "
          f"within {_START // 60} minutes, and see to it that they reach each "
          "other."
      )
    time.sleep(_PERIOD)
  # Not by its name: asking for that may fail for a moment.
  return functools.partial(_answer, address)


def _answer(address: tuple[str, int]) -> tuple[str, int] | None:
  """The numeric address of a host that accepts connections, or None."""
  try:
    with socket.create_connection(address, timeout=_ANSWER) as connection:
      return connection.getpeername()[:2]
  except OSError:
    return None


def _watch(
    is_there: Mapping[int, Callable[[], Any]],
    over: threading.Event,
    on_loss: Callable[[int], Any],
):
  """Calls on_loss with the first task that is lost, unless all is over."""
  task = _first_lost(is_there, over)
  if task is not None:
    on_loss(task)


def _first_lost(
    is_there: Mapping[int, Callable[[], Any]], over: threading.Event
) -> int | None:
  """Waits until a task is not there any more and returns it.

  Args:
    is_there: functions that tell, by task.
    over: set when nobody needs to know any more.

  Returns:
    the task; None when all is over.
  """
  misses = dict.fromkeys(is_there, 0)
  while not over.wait(_PERIOD):
    for task, is_one_there in is_there.items():
      misses[task] = 0 if is_one_there() else misses[task] + 1
      if misses[task] == _TRIES and not over.is_set():
        return task
  return None
