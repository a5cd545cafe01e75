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

"""Mistakes on the command line that show without TensorFlow."""

from collections.abc import Sequence
import importlib.machinery
import importlib.util
import os
import pathlib
from typing import Any

from absl import flags

from switch_command import card_flags
from switch_command import installation
from switch_command import mistakes
from switch_command import modes
from switch_command import streams

FLAGS = flags.FLAGS


def check(
    argv: Sequence[str], mode: modes.Mode, log: streams.Log
) -> dict[str, Any]:
  """Refuses mistakes that show without TensorFlow.

  Args:
    argv: the program and what is left of its arguments without the flags.
    mode: the one that is asked for.
    log: for notes.

  Returns:
    the flags that are given and that only some modes know, by name.

  Raises:
    Mistake: the first one.
  """
  if argv[1:]:
    raise mistakes.Mistake(f"{argv[1]!r} is not a flag; flags start with --.")
  try:
    os.getcwd()
  except OSError as error:
    message = "the working directory is gone; change to another one."
    raise mistakes.Mistake(message) from error
  _check_model_dirs(mode)
  if mode.starts_programs:
    card_flags.check()
  _check_mesh_flags(mode)
  _check_tpu_flags()
  of_mode = _flags_of(mode)
  for name in FLAGS.gin_file:
    _check_gin_file("gin_file", name)
  for layout in FLAGS.plan_compare:
    _check_gin_file("plan_compare", layout.split(",")[0])
  _check_tasks(log)
  return of_mode


def _check_model_dirs(mode: modes.Mode):
  """Refuses a missing --model_dir, and more of them than a mode reads."""
  given = FLAGS.model_dir or [""]
  needs_one = mode.needs_model_dir or mode.reads_model_dirs
  if needs_one and not all(path.strip() for path in given):
    others = " or ".join(f"--{x}" for x in mode.instead_of_model_dir)
    raise mistakes.Mistake(
        "--model_dir is missing, the directory for checkpoints, metrics and "
        "logs" + (f"; or {others}." if others else ".")
    )
  sources = ("model_dir", *mode.instead_of_model_dir)
  one, *others = [f"--{x}" for x in sources if FLAGS[x].present] or [""]
  if mode.has_model_dir and others:
    raise mistakes.Mistake(
        f"{one} and {others[0]} do not go together: --mode={FLAGS.mode} has one"
        " or the other."
    )
  most = 2 if mode.compares else 1
  if len(given) > most and not mode.reads_model_dirs:
    raise mistakes.Mistake(
        f"--model_dir is given {len(given)} times, and --mode={FLAGS.mode} "
        f"takes {'two' if mode.compares else 'one'}; --mode=report takes "
        "several."
    )


def _check_mesh_flags(mode: modes.Mode):
  """Refuses flags and settings that do not go with a mesh of processes."""
  if mode.needs_model_dir and "TF_CONFIG" in os.environ:
    raise mistakes.Mistake(
        "the environment has TF_CONFIG, in which TensorFlow's Estimator would "
        "look for workers of its own; unset it, and name the processes of a "
        "mesh with --mesh_hosts."
    )
  has_hosts = FLAGS.mesh_hosts is not None
  if FLAGS.mesh_task is not None and not has_hosts:
    raise mistakes.Mistake("--mesh_task goes with --mesh_hosts only.")
  if has_hosts and not mode.needs_model_dir:
    raise mistakes.Mistake(f"--mesh_hosts is of no use to --mode={FLAGS.mode}.")
  if has_hosts and FLAGS.tpu:
    raise mistakes.Mistake(
        "--mesh_hosts is for CPUs and GPUs; --tpu finds the hosts of a TPU."
    )


def _check_tpu_flags():
  """Refuses flags of a TPU without a TPU."""
  if FLAGS.tpu:
    return
  if FLAGS.tpu is not None:
    raise mistakes.Mistake(
        "--tpu= has no name; leave it out for CPUs and GPUs."
    )
  for name in ("tpu_zone", "gcp_project", "tpu_job_name"):
    if FLAGS[name].present:
      raise mistakes.Mistake(f"--{name} goes with --tpu only.")


def _flags_of(mode: modes.Mode) -> dict[str, Any]:
  """The flags that are given and that only some modes know, by name."""
  owners = {}
  for name, other in modes.MODES.items():
    for flag in other.flags:
      owners.setdefault(flag, []).append(f"--mode={name}")
  given = {flag: FLAGS[flag].value for flag in owners if FLAGS[flag].present}
  for flag in given:
    if flag not in mode.flags:
      *others, last = owners[flag]
      those = f"{', '.join(others)} and {last}" if others else last
      raise mistakes.Mistake(f"--{flag} goes with {those} only.")
  for flag, value in given.items():
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(x, str) and not x.strip() for x in values):
      raise mistakes.Mistake(
          f"--{flag}= has no value; leave it out, or give one."
      )
  if any(flag not in given for flag in mode.needs):
    needed = " and ".join(f"--{flag}" for flag in mode.needs)
    raise mistakes.Mistake(f"--mode={FLAGS.mode} needs {needed}.")
  return given


def gin_location_prefixes() -> list[str]:
  """The user's directories of gin files: repeated, or with commas as in T5."""
  return [
      path for given in FLAGS.gin_location_prefix for path in given.split(",")
  ]


def _gin_directories_of_t5() -> list[str]:
  """T5's own gin files, found without importing T5."""
  package = importlib.util.find_spec("t5")
  if not package:
    return []
  return [f"{place}/models/gin" for place in package.submodule_search_locations]


def _check_gin_file(flag: str, name: str):
  """Refuses a gin file that is not there; others are looked at later."""
  directories = installation.gin_directories() + gin_location_prefixes()
  if "://" in name or any(
      os.path.lexists(os.path.join(place, name))
      for place in ("", *directories, *_gin_directories_of_t5())
      if name
  ):
    return
  import difflib  # pylint: disable=g-import-not-at-top

  known = {
      str(path.relative_to(place))
      for place in directories
      for path in pathlib.Path(place).rglob("*.gin")
  }
  near = difflib.get_close_matches(name, sorted(known))
  raise mistakes.Mistake(
      f"--{flag}={name} is neither in the working directory nor in "
      + (" nor in ".join(directories) or "gin/")
      + (f"; did you mean {' or '.join(near)}?" if near else ".")
  )


def _check_tasks(log: streams.Log):
  """Refuses a user's own module `tasks`, or notes that it is hidden.

  Python has one module of a name, the first on its path, and run_switch needs
  this project's package.
  """
  tasks = _location(importlib.util.find_spec("tasks"))
  if tasks != installation.ROOT / "tasks":
    raise mistakes.Mistake(
        f"{tasks} comes before this project's package `tasks` on Python's "
        "path; rename yours, or take its directory off PYTHONPATH."
    )
  of_user = [os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
  spec = importlib.machinery.PathFinder.find_spec(
      "tasks",
      [place for place in of_user if _resolved(place) != installation.ROOT],
  )
  if not spec:
    return
  for module in FLAGS.module_import:
    if module.split(".")[0] == "tasks":
      raise mistakes.Mistake(
          f"--module_import={module} would import this project's package "
          f"`tasks`, not {_location(spec)}; rename yours."
      )
  if FLAGS.module_import and spec.origin:
    print(
        f"note: {_location(spec)} cannot be imported: `tasks` is this project's"
        " package.",
        file=log.terminal,
    )


def _location(spec: importlib.machinery.ModuleSpec) -> pathlib.Path:
  """The file of a module, or the directory of a package."""
  return _resolved((spec.submodule_search_locations or [spec.origin])[0])


def _resolved(path: str) -> pathlib.Path:
  return pathlib.Path(path).resolve()
