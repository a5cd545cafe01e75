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

"""What --mode=doctor finds of an installation and its machine.

Nothing here needs a library: a missing one is a finding.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import sys
import tempfile
from typing import Literal, NamedTuple

from mtf_switch import errors
from mtf_switch import machine
from mtf_switch.planning import units

# "wrong" will stop a run; "warning" may make it slow, or stop it later.
State = Literal["ok", "warning", "wrong"]

# Whose files some of the lock's libraries are overwritten by.
_OVERWRITING = {
    "tensorflow-cpu": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tf-nightly": "tensorflow",
    "tfds-nightly": "tensorflow-datasets",
}
# What requirements.in has for developers and for the set-up alone. Others of
# the lock are needed by all runs, or by some.
_OF_DEVELOPERS = {
    *("hypothesis", "pip", "psutil", "pyink", "pytest", "pytest-xdist"),
    *("ruff", "wheel"),
}
_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")
_MAX_NAMED = 5
# TensorFlow's processes and its libraries, with the smallest model.
_LEAST_MEMORY = 2**30
_LITTLE_MEMORY = 2**32
_LEAST_DISK = 2**24
_LITTLE_DISK = 2**30
# Where kernels of control groups, version 2 and 1, say a process's limit.
_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


class Finding(NamedTuple):
  """What was looked at, and what to do about it.

  Attributes:
    subject: what was looked at.
    state: whether it is in order.
    found: what was found, on one line.
    advice: what to do, on one line; empty if nothing is.
  """

  subject: str
  state: State
  found: str
  advice: str = ""


def read_lock(text: str) -> dict[str, tuple[str, set[str]]]:
  """Returns each library of a lock, as uv writes it.

  Args:
    text: of requirements.txt.

  Returns:
    the version, and what asks for the library, by its name.
  """
  libraries: dict[str, tuple[str, set[str]]] = {}
  askers: set[str] = set()
  for line in text.splitlines():
    if pin := _PIN.fullmatch(line.strip()):
      askers = set()
      libraries[pin[1]] = (pin[2], askers)
    else:
      asker = re.sub(r"^\s*#\s*(via\b)?\s*", "", line).strip()
      askers |= {asker} - {""}
  return libraries


def needed_by_runs(
    libraries: Mapping[str, tuple[str, set[str]]],
) -> set[str]:
  """Returns the libraries of a lock that not only its developers' tools need.

  Args:
    libraries: those of the lock; see `read_lock`.
  """
  needed: set[str] = set()
  while True:
    more = {
        name
        for name, (_, askers) in libraries.items()
        if name not in _OF_DEVELOPERS
        and any(x in needed or x.startswith("-r ") for x in askers)
    }
    if more == needed:
      return needed
    needed = more


def of_python() -> Finding:
  """Which Python this is: the program starts with the right one only."""
  return Finding(
      "Python", "ok", f"{platform.python_version()}, in {sys.prefix}"
  )


def of_libraries(
    lock: str | None,
    completion: str,
    version_of: Callable[[str], str | None],
) -> Iterator[Finding]:
  """Compares the libraries that are installed with those of the lock.

  Args:
    lock: the text of requirements.txt; None where it is not to be found.
    completion: how to complete the installation.
    version_of: returns the version of an installed library, or None.
  """
  if lock is None:
    yield Finding(
        "libraries", "warning", "there is no requirements.txt", completion
    )
    return
  libraries = read_lock(lock)
  needed = needed_by_runs(libraries)
  found = {name: version_of(name) for name in libraries}
  missing = [x for x in libraries if found[x] is None]
  others = [
      f"{name} {found[name]} for {version}"
      for name, (version, _) in libraries.items()
      if found[name] not in (None, version)
  ]
  of_runs = [x for x in missing if x in needed]
  of_developers = [x for x in missing if x not in needed]
  if of_runs:
    yield Finding(
        "libraries",
        "wrong",
        f"missing: {errors.some(of_runs, _MAX_NAMED)}",
        completion,
    )
  if others:
    yield Finding(
        "libraries",
        "warning",
        f"other versions than were tried: {errors.some(others, _MAX_NAMED)}",
        completion,
    )
  for name, overwritten in _OVERWRITING.items():
    if version_of(name):
      yield Finding(
          "libraries",
          "warning",
          f"{name} overwrites files of {overwritten}",
          f"uninstall both, then {completion}",
      )
  if not missing and not others:
    yield Finding(
        "libraries", "ok", f"all {len(libraries)} are those of the lock"
    )
  elif of_developers:
    yield Finding(
        "libraries",
        "ok",
        f"no {errors.some(of_developers, _MAX_NAMED)}, for developers only",
    )


def version_of(name: str) -> str | None:
  """Returns the version of an installed library; None if it is missing."""
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return None


def of_processor(
    device: Mapping, usable_cores: int, system: str, architecture: str
) -> Finding:
  """What of a processor decides how fast, and whether, TensorFlow computes.

  Args:
    device: see machine.device.
    usable_cores: how many of its cores this process may use.
    system: as platform.system has it.
    architecture: as platform.machine has it.
  """
  flags = " ".join(device["flags"]) or "no AVX2"
  text = (
      f"{device['processor']}, {usable_cores} of {device['cores']} cores,"
      f" {flags}"
  )
  if (system, architecture) != ("Linux", "x86_64"):
    return Finding(
        "processor",
        "warning",
        f"{text}; {system} on {architecture}",
        "this program was tried on Linux with x86_64 only",
    )
  if not device["flags"]:
    return Finding(
        "processor",
        "warning",
        text,
        "TensorFlow is built for AVX; if it ends with an illegal instruction, "
        "take a newer processor",
    )
  return Finding("processor", "ok", text)


def available_memory(
    meminfo: str, limits: Iterable[str] = (), total: int = 0
) -> int:
  """Returns the bytes of memory that a new process may have.

  Args:
    meminfo: of /proc/meminfo.
    limits: what control groups say, if anything.
    total: the machine's, where meminfo does not say more.
  """
  match = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo, re.MULTILINE)
  known = [int(match[1]) * 1024 if match else total]
  known += [int(x) for x in limits if x.strip().isdecimal()]
  return min(known)


def of_memory(total: int, available: int) -> Finding:
  """Whether there is memory for a run.

  Args:
    total: the machine's bytes.
    available: those that a new process may have.
  """
  found = f"{units.bytes_(available)} of {units.bytes_(total)} are free"
  advice = "end other programs, or take a machine with more"
  if available < _LEAST_MEMORY:
    return Finding("memory", "wrong", found, advice)
  if available < _LITTLE_MEMORY:
    return Finding(
        "memory", "warning", found, f"{advice}; --mode=plan says what is needed"
    )
  return Finding("memory", "ok", found)


def of_directory(subject: str, path: str, needed: int = 0) -> Finding:
  """Whether a local directory, or one to be made, can be written to.

  Args:
    subject: what the directory is.
    path: its path.
    needed: the bytes that a run is going to write there, if that is known.
  """
  place = os.path.abspath(path)
  while not os.path.lexists(place) and place != os.path.dirname(place):
    place = os.path.dirname(place)
  if not os.path.isdir(place):
    return Finding(
        subject, "wrong", f"{place} is not a directory", "give another one"
    )
  try:
    with tempfile.TemporaryFile(dir=place) as file:
      file.write(b"a")
    free = shutil.disk_usage(place).free
  except OSError as error:
    return Finding(
        subject,
        "wrong",
        f"{place} cannot be written: {error.strerror}",
        "give another one, or get the right to write there",
    )
  new = "" if os.path.exists(path) else ", to be made"
  found = f"{path}{new}, {units.bytes_(free)} free"
  advice = "make room, or give another one"
  if free < _LEAST_DISK:
    return Finding(subject, "wrong", found, advice)
  if needed and free < needed:
    found += f", and the next checkpoint needs {units.bytes_(needed)}"
    return Finding(subject, "wrong", found, advice)
  return Finding(
      subject,
      *(("warning", found, advice) if free < _LITTLE_DISK else ("ok", found)),
  )


def of_variables(variables: Mapping[str, str]) -> Iterator[Finding]:
  """What of the environment's variables changes a run.

  Args:
    variables: of os.environ.
  """
  if "TF_CONFIG" in variables:
    yield Finding(
        "environment",
        "wrong",
        "TF_CONFIG, in which TensorFlow would look for workers of its own",
        "unset it; --mesh_hosts names the processes of a mesh",
    )
  for name in ("PYTHONHOME", "LD_PRELOAD"):
    if variables.get(name):
      yield Finding(
          "environment",
          "warning",
          f"{name}={variables[name]}",
          "unset it, unless you know what it is for",
      )


def of_machine() -> Iterator[Finding]:
  """The findings that need no library, of the machine this runs on."""
  device = machine.device()
  limits = [
      pathlib.Path(x).read_text() for x in _LIMITS if os.access(x, os.R_OK)
  ]
  yield of_processor(
      device,
      len(os.sched_getaffinity(0)),
      platform.system(),
      platform.machine(),
  )
  total = device["memory_bytes"]
  meminfo = pathlib.Path("/proc/meminfo").read_text()
  yield of_memory(total, available_memory(meminfo, limits, total))
  yield from of_variables(os.environ)
