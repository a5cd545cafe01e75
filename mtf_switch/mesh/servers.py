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

"""The processes of a mesh: their start, and the loss of one of them.

They are the tasks of a job, each with a TensorFlow server. Task 0 does all the
work of a run: it builds the graph, reads the data, holds the variables that are
saved, and writes. The others lend their devices until it ends.

Whoever reaches a server can have it compute anything, and read and write files:
TensorFlow asks nobody for a name. On one machine only that machine reaches it.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import functools
import ipaddress
import multiprocessing
import os
import signal
import socket
import threading
import time
from typing import Any
import warnings

import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.mesh import cluster as cluster_lib

# How long the tasks wait for each other when they start, in seconds.
_START = 600
# The time between two checks that the others are present, in seconds.
_PERIOD = 0.5
# The time that a task has to answer, in seconds.
_ANSWER = 10
# Failed checks in a row after which a task counts as lost.
_TRIES = 3


class ConnectionLost(errors.UserError):
  """Tasks of the mesh no longer reach each other."""


class OneSessionHook(tf.train.SessionRunHook):
  """Ends a run where the Estimator would continue in another session.

  The Estimator does so after losing a task of the mesh for a moment: it would
  restore the weights of the last checkpoint, but read on at another place of
  the data.
  """

  def begin(self):
    """Records that no session is open yet."""
    self._is_open = False

  def after_create_session(self, session, coord):
    """Rejects a second session."""
    del session, coord
    if self._is_open:
      raise ConnectionLost(
          "TensorFlow has lost the connection to a device; run the same "
          "command to go on from the last checkpoint."
      )
    self._is_open = True


def _configuration(num_cpus: int) -> tf.ConfigProto:
  config = tf.ConfigProto(device_count={"CPU": num_cpus})
  config.gpu_options.allow_growth = True
  return config


def _start_server(
    cluster: cluster_lib.Cluster, mesh_size: int
) -> OSError | None:
  """Starts the server of the cluster's task, for the life of the process.

  Args:
    cluster: the cluster.
    mesh_size: the processors of the mesh, of all tasks.

  Returns:
    why other machines reach the server of a mesh on this one; None if they do
    not, or belong to the mesh.

  Raises:
    UserError: the port is in use.
  """
  host = cluster.hosts[cluster.task]
  with socket.socket() as own:
    # TensorFlow would share the port with a server that already uses it.
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      own.bind(("", int(host.rpartition(":")[2])))
    except OSError as error:
      raise errors.UserError(
          f"the port of {host} cannot be had on this machine: "
          f"{error.strerror}; end what uses it, or choose another."
      ) from error
  # With http_proxy set, gRPC would use the proxy even to reach this machine.
  names = {name.rpartition(":")[0] for name in cluster.hosts}
  os.environ["no_grpc_proxy"] = ",".join(sorted(names))
  tf.distribute.Server(
      {cluster_lib.JOB: list(cluster.hosts)},
      job_name=cluster_lib.JOB,
      task_index=cluster.task,
      config=_configuration(
          cluster_lib.devices_per_task(mesh_size, len(cluster.hosts))
      ),
  )
  name, _, port = host.rpartition(":")
  return _close_to_others(int(port)) if _is_loopback(name) else None


def _is_loopback(name: str) -> bool:
  """Whether a name is only known to the machine itself, as localhost is."""
  try:
    found = socket.getaddrinfo(name.strip("[]"), None)
  except (OSError, UnicodeError):
    return False
  return all(ipaddress.ip_address(x[4][0]).is_loopback for x in found)


def _close_to_others(port: int) -> OSError | None:
  """Has this process's server accept what comes from this machine only.

  TensorFlow has every server listen on all of a machine's addresses. Its socket
  is found among the open files and bound to the loopback device.

  Args:
    port: the server's.

  Returns:
    why that failed, if it did.
  """
  for descriptor in os.listdir("/proc/self/fd"):
    try:
      listener = socket.socket(fileno=os.dup(int(descriptor)))
    except OSError:  # Another kind of file, or already closed.
      continue
    with listener:
      if listener.family not in (socket.AF_INET, socket.AF_INET6):
        continue
      if listener.getsockname()[1] != port or not listener.getsockopt(
          socket.SOL_SOCKET, socket.SO_ACCEPTCONN
      ):
        continue
      try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
      except OSError as error:
        return error
  return None


def _note_open(problem: OSError | None):
  """Says that other machines reach the server, if they do."""
  if problem:
    warnings.warn(
        "other machines can reach the processes of this mesh, and through them "
        "compute and read and write files here: their ports cannot be bound to "
        f"the loopback device ({problem.strerror}); use a firewall, or leave "
        "--mesh_hosts out.",
        errors.UserNotice,
        stacklevel=3,
    )


def serve(cluster: cluster_lib.Cluster, mesh_size: int):
  """Lends this process's devices until task 0 has ended.

  Args:
    cluster: the cluster.
    mesh_size: the processors of the mesh, of all tasks.

  Raises:
    UserError: task 0 does not start, or the port is in use.
  """
  _note_open(_start_server(cluster, mesh_size))
  _first_lost({0: _wait_for(cluster, 0, lambda: True)}, threading.Event())


def _serve_parent(cluster: cluster_lib.Cluster, mesh_size: int, parent: int):
  """Serves until task 0, which has started this process, ends."""
  # Signals may reach all processes of a terminal or a job, and task 0 answers
  # them: it saves its work with the devices of this one.
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
  _start_server(cluster, mesh_size)
  _first_lost({0: lambda: os.getppid() == parent}, threading.Event())
  os._exit(0)  # pylint: disable=protected-access


@contextlib.contextmanager
def connected(
    cluster: cluster_lib.Cluster, mesh_size: int, on_loss: Callable[[int], Any]
) -> Iterator[None]:
  """Starts task 0 and, on one machine, the others, for a context.

  Args:
    cluster: the cluster; this process is its task 0.
    mesh_size: the processors of the mesh, of all tasks.
    on_loss: called with the number of a lost task, in a thread of its own, and
      expected to end the process: sessions may wait for a lost task for ever,
      even to be closed.

  Yields:
    nothing, once all tasks serve.

  Raises:
    UserError: one of them does not start, or the port is in use.
  """
  # Forked before the first session, processes start at once and share the
  # modules that this one has loaded.
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
    _note_open(_start_server(cluster, mesh_size))
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
    cluster: cluster_lib.Cluster, task: int, is_coming: Callable[[], bool]
) -> Callable[[], bool]:
  """Waits until a task serves; returns a check that it still does."""
  host, _, port = cluster.hosts[task].rpartition(":")
  deadline = time.monotonic() + _START
  while not (address := _answer((host, int(port)))):
    if not is_coming() or time.monotonic() > deadline:
      raise errors.UserError(
          f"{cluster.describe(task)} does not answer; start all processes "
          f"within {_START // 60} minutes, and see to it that they reach each "
          "other."
      )
    time.sleep(_PERIOD)
  # By address: resolving the name may fail for a moment.
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
  """Calls on_loss with the first lost task, unless all is over."""
  task = _first_lost(is_there, over)
  if task is not None:
    on_loss(task)


def _first_lost(
    is_there: Mapping[int, Callable[[], Any]], over: threading.Event
) -> int | None:
  """Waits until a task is lost and returns it.

  Args:
    is_there: a check for each task.
    over: set when the run has ended.

  Returns:
    the task; None if the run ends first.
  """
  misses = dict.fromkeys(is_there, 0)
  while not over.wait(_PERIOD):
    for task, is_one_there in is_there.items():
      misses[task] = 0 if is_one_there() else misses[task] + 1
      if misses[task] == _TRIES and not over.is_set():
        return task
  return None
