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

"""A contender's processes: each builds one work and runs it on request.

Separate processes keep the memory of works apart, and the threads of TensorFlow
and PyTorch. The libraries are loaded once, by a server that forks for each
work. It reads paths of Unix sockets from stdin, one per line; the forked
process connects to the socket and answers requests in JSON, one per line.
Standard library and NumPy only: each contender brings its own environment.
"""

from collections.abc import Callable, Mapping
import json
import os
import re
import signal
import socket
import sys
import time
import traceback
from typing import Any, NamedTuple

import numpy as np

# The first runs also optimize the graph and fill the allocators' pools.
_WARM_UPS = 2

# The scale of the embedding in decoding. At its usual scale it dominates the
# layers' outputs, and with tied weights each token predicts itself: all rows
# would write the same token, go to the same expert, and finish faster than any
# real text.
EMBEDDING_SCALE = 0.05


class Work(NamedTuple):
  """A work that a contender has built.

  Attributes:
    runs: the functions that can be timed, by name.
    facts: numbers and strings about the work, by name.
  """

  runs: Mapping[str, Callable[[], Any]]
  facts: Mapping[str, Any]


def num_threads() -> int:
  """The number of cores for this process; TensorFlow starts as many threads."""
  return len(os.sched_getaffinity(0))


def tokens(groups: int, tokens_per_group: int, d_model: int) -> np.ndarray:
  """The layers' inputs, the same for all contenders.

  Args:
    groups: the number of groups.
    tokens_per_group: the tokens in each.
    d_model: the width of a token.

  Returns:
    `[groups, tokens_per_group, d_model]` float32, like normalized activations.
  """
  draws = np.random.default_rng(0)
  return draws.standard_normal(
      (groups, tokens_per_group, d_model), dtype=np.float32
  )


def router_kernel(d_model: int, num_experts: int) -> np.ndarray:
  """The routers' weights, the same for all contenders.

  Args:
    d_model: the width of a token.
    num_experts: the experts.

  Returns:
    `[d_model, num_experts]` float32, for logits of standard deviation 1.
  """
  draws = np.random.default_rng(1)
  kernel = draws.standard_normal((d_model, num_experts), dtype=np.float32)
  return kernel * d_model**-0.5


def ids(batch: int, length: int, vocabulary: int, seed: int) -> np.ndarray:
  """Token ids without padding or end-of-sequence tokens.

  Args:
    batch: the number of sequences.
    length: the tokens in each.
    vocabulary: the number of ids.
    seed: the seed of the draws.

  Returns:
    `[batch, length]` int32.
  """
  draws = np.random.default_rng(seed)
  return draws.integers(2, vocabulary, (batch, length), dtype=np.int32)


def matmul_facts(size: int) -> dict[str, Any]:
  """The facts about a work that multiplies two square matrices."""
  return {"matmul_flops": 2 * size**3}


def serve(works: Mapping[str, Callable[..., Work]], versions: Mapping):
  """Forks a process for each line of stdin until stdin ends.

  The first request to a process names its work, {"work", "options"}; the answer
  is {"runs", "facts", "versions"} when the work is built and warm. Each later
  request names one of the runs, {"run"}; the answer is {"seconds",
  "peak_bytes"}, see `_peak_bytes`.

  Args:
    works: functions that build a Work, by name; options are their arguments.
    versions: the versions of the libraries, by name.
  """
  signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Children are never awaited.
  for line in sys.stdin:
    if os.fork():
      continue
    status = 1
    try:
      with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(line.strip())
        _work(connection.makefile("rw", buffering=1), works, versions)
      status = 0
    except BaseException:  # The child must not continue the server's loop.
      traceback.print_exc()
    finally:
      sys.stderr.flush()
      # A normal exit would free all modules first, which takes seconds.
      os._exit(status)


def _work(driver, works, versions):
  """Serves the driver until it hangs up."""
  request = json.loads(driver.readline())
  size_before = _memory("RssAnon")
  work = works[request["work"]](**request["options"])
  for run in work.runs.values():
    for _ in range(_WARM_UPS):
      run()
  built = {"runs": list(work.runs), "facts": work.facts, "versions": versions}
  print(json.dumps(built), file=driver)
  for line in driver:
    run = work.runs[json.loads(line)["run"]]
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    timed = {"seconds": seconds, "peak_bytes": _peak_bytes() - size_before}
    print(json.dumps(timed), file=driver)


def _peak_bytes() -> int:
  """The process's peak memory without mapped files.

  The kernel records the peak of everything. The files are the libraries, whose
  code is loaded when it first runs, and stays.
  """
  return _memory("VmHWM") - _memory("RssFile")


def _memory(name: str) -> int:
  """One of the kernel's figures for this process, in bytes."""
  with open("/proc/self/status") as file:
    kilobytes = re.search(rf"{name}:\s+(\d+) kB", file.read())[1]
  return int(kilobytes) * 1024
