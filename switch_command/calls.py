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

"""Loads what a mode needs, TensorFlow mostly, and calls it."""

from collections.abc import Iterator
import contextlib
import gc
import importlib
import importlib.util
import sys
from typing import Any

from absl import flags

from switch_command import card_flags
from switch_command import checks
from switch_command import installation
from switch_command import modes
from switch_command import streams

FLAGS = flags.FLAGS

_OBJECTS_BETWEEN_COLLECTIONS = 200_000


def call(mode: modes.Mode, of_mode: dict[str, Any], log: streams.Log):
  """Loads TensorFlow and calls a mode.

  Args:
    mode: the mode.
    of_mode: its own flags, by name.
    log: goes to the model's directory where the mode has one.
  """
  if mode.looks_first:
    _call_with_installation(mode, of_mode, log)
    return
  import rich.console  # pylint: disable=g-import-not-at-top

  # Graphs are millions of objects that stay. With Python's own threshold of 700
  # new ones, looking for garbage among them takes a tenth of the time until the
  # first step.
  gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
  console = rich.console.Console(file=log.terminal)
  if mode.starts_programs:
    _call_with_program(mode, of_mode, console)
    return
  run = _load_run(mode, console)
  from mtf_switch.modes import launch  # pylint: disable=g-import-not-at-top

  if mode.reads_model_dirs:
    of_mode = {**of_mode, "model_dirs": FLAGS.model_dir}
  if mode.compares and len(FLAGS.model_dir) > 1:
    of_mode = {**of_mode, "other_model_dir": FLAGS.model_dir[1]}
  launch.call(
      launch.load(mode.function),
      run,
      console,
      of_mode,
      mode.reads_gin,
      log.move_to,
  )


def _model_dir() -> str | None:
  """The --model_dir of a mode that takes one."""
  return FLAGS.model_dir[0] if FLAGS.model_dir else None


def _load_run(mode: modes.Mode, console, ask_remote: bool = True, load=None):
  """Loads TensorFlow, the mode and the user's modules.

  Args:
    mode: the mode.
    console: a rich.console.Console.
    ask_remote: whether remote directories of data are used.
    load: what else there is to load first, if anything.

  Returns:
    the run.Run that the flags describe.
  """
  with loading(console, "loading TensorFlow (5 to 20 s)"):
    if load:
      load()
    # pylint: disable=g-import-not-at-top
    from mtf_switch.mesh import cluster
    from mtf_switch.modes import launch
    from mtf_switch.modes import users_modules
    from mtf_switch.training import run
    # pylint: enable=g-import-not-at-top

    launch.load(mode.function)
  users_modules.load(FLAGS.module_import)
  data_dir, *cache_dirs = [
      path if ask_remote or "://" not in (path or "") else None
      for path in (FLAGS.t5_tfds_data_dir, *FLAGS.additional_task_cache_dirs)
  ]
  launch.find_data(data_dir, [x for x in cache_dirs if x is not None])
  tpu = None
  if FLAGS.tpu:
    tpu = run.Tpu(
        FLAGS.tpu, FLAGS.tpu_zone, FLAGS.gcp_project, FLAGS.tpu_job_name
    )
  processes = None
  if FLAGS.mesh_hosts is not None:
    processes = cluster.parse(FLAGS.mesh_hosts, FLAGS.mesh_task)
  return run.Run(
      model_dir=_model_dir() if mode.needs_model_dir else None,
      seed=FLAGS.seed,
      tpu=tpu,
      cluster=processes,
      gin_files=FLAGS.gin_file,
      gin_params=FLAGS.gin_param,
      gin_directories=installation.gin_directories(),
      gin_location_prefixes=checks.gin_location_prefixes(),
      mode=FLAGS.mode,
  )


def _find_packages() -> list[Any]:
  """Has modules found whose packages load TensorFlow.

  Importing these packages registers layers and modes with gin, and loads
  TensorFlow for it.

  Returns:
    the packages that are found and have not done so.
  """
  found = []
  for name in ("mtf_switch", "mtf_switch.modes"):
    if name not in sys.modules:
      spec = importlib.util.find_spec(name)
      sys.modules[name] = importlib.util.module_from_spec(spec)
      found.append(sys.modules[name])
  return found


def _call_with_installation(
    mode: modes.Mode, of_mode: dict[str, Any], log: streams.Log
):
  """Calls a mode that loads libraries itself, after it has looked for them."""
  packages = _find_packages()

  def load(ask_remote):
    import rich.console  # pylint: disable=g-import-not-at-top

    def register():
      for package in packages:
        package.__spec__.loader.exec_module(package)

    console = rich.console.Console(file=log.terminal)
    return _load_run(mode, console, ask_remote, register), console

  from mtf_switch.modes import doctor  # pylint: disable=g-import-not-at-top

  locks = installation.locks()
  doctor.doctor(
      doctor.Installation(
          lock=locks[0] if locks else None,
          completion=installation.completion(),
          model_dir=_model_dir(),
          load=load,
      ),
      **of_mode,
  )


def _call_with_program(mode: modes.Mode, of_mode: dict[str, Any], console):
  """Calls a mode that starts this program for what needs TensorFlow."""
  if FLAGS.scale == "small":
    _find_packages()
    shown = contextlib.nullcontext()
  else:  # Cards of the paper's sizes are known to modules that plan.
    shown = loading(console, "loading TensorFlow (5 to 20 s)")
  with shown:
    from mtf_switch.reproduction import processes  # pylint: disable=g-import-not-at-top

    name, _, function = mode.function.rpartition(".")
    module = importlib.import_module(f"mtf_switch.modes.{name}")
  program = processes.Program(
      [sys.executable, str(installation.PROGRAM)],
      installation.gin_directories(),
      card_flags.for_runs(),
      bool(FLAGS.tpu),
  )
  getattr(module, function)(program, console, **of_mode)


@contextlib.contextmanager
def loading(console, text: str) -> Iterator[None]:
  """Shows a text while modules are loaded, on a terminal until they are.

  Modules stay, so that nothing looks for garbage among them.

  Not with rich's live displays, whose thread imports modules of its own when it
  first draws: TensorFlow Datasets replaces Python's import for a while as it is
  loaded, and then those imports fail.

  Args:
    console: a rich.console.Console.
    text: what is being done.

  Yields:
    nothing.
  """
  if "tensorflow" in sys.modules:
    yield  # A program that starts many runs has loaded them.
    return
  is_terminal = console.is_terminal
  console.print(text, end="\r" if is_terminal else "\n", highlight=False)
  gc.disable()
  try:
    yield
  finally:
    gc.freeze()
    gc.enable()
    if is_terminal:
      console.print(" " * len(text), end="\r")
