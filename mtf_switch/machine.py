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

"""The machine that this program runs on."""

import os
import pathlib
import platform
import re
from typing import Any

# Those that decide how fast matrix products are.
FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
)
# With either, a core multiplies bfloat16 faster than float32.
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def device() -> dict[str, Any]:
  """The processor, its flags of FLAGS, the cores and the memory."""
  cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
  name = _first(cpuinfo, "model name")
  flags = _first(cpuinfo, "flags") or ""
  return {
      "processor": name or platform.machine(),
      "flags": [flag for flag in FLAGS if flag in flags.split()],
      "cores": os.cpu_count(),
      "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
  }


def _first(cpuinfo: str, key: str) -> str | None:
  """The value of a line of /proc/cpuinfo, of its first processor."""
  line = re.search(rf"^{key}\s*: (.*)$", cpuinfo, flags=re.MULTILINE)
  return line and line[1]


def multiplies_bfloat16() -> bool:
  """Whether the processor has products of bfloat16, which are faster."""
  return not _BFLOAT16_FLAGS.isdisjoint(device()["flags"])
