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

"""Which process is which task, and which devices a mesh has."""

import socket

import pytest

from mtf_switch import errors
from mtf_switch.mesh import cluster as cluster_lib

# Reserved for documentation (RFC 5737): of no machine.
ELSEWHERE = "192.0.2.1"


def refusal(function, *args):
  with pytest.raises(errors.UserError) as error:
    function(*args)
  return str(error.value)


def test_a_number_is_so_many_processes_on_this_machine():
  cluster = cluster_lib.parse("4", None)
  assert cluster.is_local
  assert cluster.task == 0
  assert cluster.target == f"grpc://{cluster.hosts[0]}"
  names, ports = zip(*(host.split(":") for host in cluster.hosts))
  assert set(names) == {"localhost"}
  assert len(set(ports)) == 4
  for port in ports:  # Nobody has them.
    with socket.socket() as server:
      server.bind(("localhost", int(port)))


@pytest.mark.parametrize("task, own", [(0, "localhost"), (1, "127.0.0.1")])
def test_a_process_knows_its_task_by_the_name(task, own):
  names = [f"{ELSEWHERE}:2222", f"{ELSEWHERE}:2223"]
  names[task] = f"{own}:2222"
  cluster = cluster_lib.parse(",".join(names), None)
  assert cluster.task == task
  assert not cluster.is_local
  assert cluster.target == f"grpc://{names[0]}"
  assert cluster.describe(task) == f"task {task} of the mesh ({own}:2222)"


def test_a_process_is_told_its_task():
  hosts = "localhost:2222,localhost:2223"
  assert cluster_lib.parse(hosts, 1) == cluster_lib.Cluster(
      ("localhost:2222", "localhost:2223"), 1
  )


@pytest.mark.parametrize(
    "hosts, task, message",
    [
        (
            "4",
            1,
            "--mesh_task goes with a list of hosts; --mesh_hosts=4 starts all "
            "tasks by itself.",
        ),
        (
            "localhost:1,localhost:2",
            2,
            "--mesh_task=2 is not one of the 2 tasks of --mesh_hosts, 0 to 1.",
        ),
        (
            "a:2222,a:2222",
            None,
            "--mesh_hosts=a:2222,a:2222 has one of them twice; give processes "
            "on one machine a port each.",
        ),
        (
            "localhost:2222,localhost:2223",
            None,
            "which task of --mesh_hosts=localhost:2222,localhost:2223 this is "
            "cannot be told by the names: tasks 0, 1 of them are this machine; "
            "give each process its own --mesh_task, 0 to 1.",
        ),
        (
            f"{ELSEWHERE}:2222",
            None,
            f"which task of --mesh_hosts={ELSEWHERE}:2222 this is cannot be "
            "told by the names: none of them are this machine; give each "
            "process its own --mesh_task, 0 to 0.",
        ),
    ]
    + [
        (
            hosts,
            None,
            f"--mesh_hosts={hosts} is no number of processes for one machine; "
            "use 1 to 256, or a list such as host0:2222,host1:2222 for "
            "several.",
        )
        for hosts in ("0", "257", 5000 * "9")
    ]
    + [
        (
            hosts,
            None,
            f"--mesh_hosts={hosts} is neither a number of processes nor a list "
            f"such as host0:2222,host1:2222; look at {part!r}.",
        )
        for hosts, part in [
            ("four", "four"),
            ("a:1,b", "b"),
            ("a:1,", ""),
            ("a:65536", "a:65536"),
            (":2222", ":2222"),
            ("http://a:80", "http://a:80"),
            ("a:1, b:1", " b:1"),
        ]
    ],
)
def test_refused_hosts(hosts, task, message):
  assert refusal(cluster_lib.parse, hosts, task) == message


def test_devices_per_task():
  assert cluster_lib.devices_per_task(8, 4) == 2
  assert refusal(cluster_lib.devices_per_task, 6, 4) == (
      "mesh_shape has 6 processors, which is no multiple of the 4 processes of "
      "--mesh_hosts; the nearest is 8."
  )
  assert "1 processors" in refusal(cluster_lib.devices_per_task, 1, 2)


def of_tasks(kind, *counts):
  """Names as a session lists them, in an order that says nothing."""
  return [
      f"/job:mesh/replica:0/task:{task}/device:{kind}:{index}"
      for task, count in reversed(list(enumerate(counts)))
      for index in reversed(range(count))
  ]


def test_devices_of_a_task_follow_each_other():
  names = of_tasks("CPU", 2, 2)
  assert cluster_lib.choose_devices(4, names) == [
      "/job:mesh/task:0/device:CPU:0",
      "/job:mesh/task:0/device:CPU:1",
      "/job:mesh/task:1/device:CPU:0",
      "/job:mesh/task:1/device:CPU:1",
  ]
  assert cluster_lib.choose_devices(2, names) == [
      "/job:mesh/task:0/device:CPU:0",
      "/job:mesh/task:1/device:CPU:0",
  ]


def test_gpus_are_taken_where_there_are_any():
  names = of_tasks("CPU", 1, 1) + of_tasks("GPU", 2, 2)
  assert cluster_lib.choose_devices(4, names) == [
      f"/job:mesh/task:{task}/device:GPU:{index}"
      for task in (0, 1)
      for index in (0, 1)
  ]
  assert cluster_lib.choose_devices(2, ["/device:GPU:0", "/device:GPU:1"]) == [
      "/device:GPU:0",
      "/device:GPU:1",
  ]


@pytest.mark.parametrize(
    "size, names, message",
    [
        (
            4,
            of_tasks("GPU", 2, 1),
            "mesh_shape has 4 processors, which needs 2 GPUs in task 1, but "
            "there are 1; use a smaller mesh or CUDA_VISIBLE_DEVICES=-1 for "
            "CPUs.",
        ),
        (
            2,
            of_tasks("CPU", 1, 1) + of_tasks("GPU", 1),
            "mesh_shape has 2 processors, which needs 1 GPUs in task 1, but "
            "there are 0; use a smaller mesh or CUDA_VISIBLE_DEVICES=-1 for "
            "CPUs.",
        ),
        (
            8,
            ["/device:GPU:0", "/device:GPU:1"],
            "mesh_shape has 8 processors, which needs 8 GPUs here, but there "
            "are 2; use a smaller mesh or CUDA_VISIBLE_DEVICES=-1 for CPUs.",
        ),
    ],
)
def test_too_few_devices(size, names, message):
  assert refusal(cluster_lib.choose_devices, size, names) == message


def test_one_process_has_a_cpu_device_for_each_processor():
  assert cluster_lib.find_devices(None, 2) == ["/device:CPU:0", "/device:CPU:1"]
