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

"""Calls a mode for run_switch: everything after TensorFlow is loaded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import datetime
import functools
import importlib
import importlib.metadata
import os
import platform
import shlex
import sys
from typing import Any
import warnings

import rich.console
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import compat
from mtf_switch import errors
from mtf_switch import files
from mtf_switch.mesh import servers
from mtf_switch.training import checkpoints
from mtf_switch.training import run as run_lib
from mtf_switch.training import stopping
from mtf_switch.training import strict_gin
from mtf_switch.training import unread_bindings
from mtf_switch.training import vocabulary_record

# `tasks` is imported in functions only: in another program, a user's own module
# of that name may come first.
# pylint: disable=g-import-not-at-top

# Flags that name what a mode writes.
_OUTPUTS = ("output_file", "output_dir", "plan_picture")
# Broken records that are named when a run ends; the others are counted.
_NAMED_RECORDS = 3


def load(mode: str) -> Callable[..., None]:
  """Loads a mode, and registers this project's tasks.

  Args:
    mode: "module.function" in mtf_switch.modes.

  Returns:
    the function, to be called with a Run, a console and the mode's flags.
  """
  import tasks  # noqa: F401

  compat.use_graph_mode()
  tf.logging.set_verbosity(tf.logging.INFO)
  name, _, function = mode.rpartition(".")
  module = importlib.import_module(f"mtf_switch.modes.{name}")
  return getattr(module, function)


def import_users_modules(names: Sequence[str]):
  """Imports modules with the user's tasks or layers.

  Args:
    names: of modules, which may be in the working directory.

  Raises:
    UserError: there is no such module.
  """
  sys.path.append(os.getcwd())
  for name in names:
    try:
      importlib.import_module(name)
    except ModuleNotFoundError as error:
      raise errors.UserError(f"--module_import={name}: {error}.") from error


def find_data(tfds_data_dir: str | None, cache_dirs: Sequence[str]):
  """Tells seqio the directories of data.

  Args:
    tfds_data_dir: of datasets that TensorFlow Datasets has prepared; None for
      its default.
    cache_dirs: of cached seqio tasks.
  """
  if tfds_data_dir:
    seqio.set_tfds_data_dir_override(tfds_data_dir)
  seqio.add_global_cache_dirs(cache_dirs)


def call(
    mode: Callable[..., None],
    run: run_lib.Run,
    console: rich.console.Console,
    mode_flags: Mapping[str, Any],
    reads_gin: bool,
    move_log: Callable[[str], None],
):
  """Calls a mode, in the model's directory and on the mesh's processes.

  A process that is not the first of its mesh only lends its devices.

  Args:
    mode: the mode's function.
    run: the run.
    console: the console for progress and notices.
    mode_flags: the flags that only some modes know, by name.
    reads_gin: whether the mode reads the run's gin files itself.
    move_log: moves the log to a file.

  Raises:
    UserError: the user can correct the error.
  """
  _show_notices(console)
  try:
    _check_outputs(mode_flags)
    if not reads_gin:
      run.configure()
    if run.model_dir is None:
      if not reads_gin:
        unread_bindings.check(run.own_bindings)  # No model will be built.
      mode(run, console, **mode_flags)
      return
    if run.cluster and run.cluster.task:
      _serve(run, console)
      return
    mesh_size = run.experiment.mesh.size
    _open_model_dir(run.model_dir, move_log)
    # In fine-tuning, the vocabulary is that of the model to start from.
    pretrained_dir = strict_gin.value("finetune.pretrained_dir")
    vocabulary_record.find(
        [x for x in (run.model_dir, pretrained_dir) if isinstance(x, str)],
        run.experiment.vocabularies,
    )
    run.experiment.check_layout()
    with _mesh_processes(run, mesh_size, console):
      mode(run, console, **mode_flags)
  finally:
    _note_skipped_records(console)


def _check_outputs(mode_flags: Mapping[str, Any]):
  """Refuses outputs that cannot be written, before the work for them."""
  for flag in _OUTPUTS:
    if path := mode_flags.get(flag):
      file = os.path.join(path, "a_file") if flag.endswith("_dir") else path
      files.check_writable(file, f"--{flag}={path}")


def explain(error: BaseException) -> str | None:
  """Returns one line if the user can correct an error, None otherwise."""
  from tasks import errors as task_errors

  if isinstance(
      error, (errors.UserError, errors.Stopped, task_errors.DataError)
  ):
    # Gin adds lines about the functions on the way.
    return str(error).split("\n", maxsplit=1)[0]
  if task_errors.raised_in_dataset() and isinstance(error, tf.errors.OpError):
    return str(task_errors.raised_in_dataset())
  return strict_gin.explain(error) or files.explain(error)


def _serve(run: run_lib.Run, console: rich.console.Console):
  """Lends this process's devices to the first process of the mesh."""
  cluster = run.cluster
  # Preemption may reach all hosts: task 0 needs this one to save its work.
  with stopping.Request() as request, request.deferring(True):
    with console.status(f"serving as {cluster.describe(cluster.task)}"):
      servers.serve(cluster, run.experiment.mesh.size)
  request.act()
  console.print(f"{cluster.describe(0)} has ended.", highlight=False)


@contextlib.contextmanager
def _mesh_processes(
    run: run_lib.Run, mesh_size: int, console: rich.console.Console
) -> Iterator[None]:
  """Connects the processes of a mesh that has several."""
  if not run.cluster:
    yield
    return
  with contextlib.ExitStack() as stack:
    with console.status("waiting for the other processes of the mesh"):
      on_loss = functools.partial(_end_after_loss, run, console)
      stack.enter_context(servers.connected(run.cluster, mesh_size, on_loss))
    yield


def _end_after_loss(run: run_lib.Run, console: rich.console.Console, task: int):
  """Ends the program when a process of the mesh is lost.

  At once: TensorFlow may wait for the lost process wherever it is, and the last
  checkpoint has everything that counts.
  """
  step = checkpoints.latest_step(run.model_dir)
  console.show_cursor()
  _note_skipped_records(console)
  print(
      f"run_switch: {run.cluster.describe(task)} is lost; run the same "
      "command, also with another mesh, to go on from "
      + (f"the checkpoint of step {step}." if step else "the beginning."),
      file=console.file,
  )
  os._exit(1)  # pylint: disable=protected-access


def _open_model_dir(model_dir: str, move_log: Callable[[str], None]):
  """Moves the log to model_dir and records the command and the libraries."""
  tf.io.gfile.makedirs(model_dir)
  is_remote = "://" in model_dir
  move_log("run_switch.log" if is_remote else f"{model_dir}/log.txt")
  command = shlex.join(sys.argv)
  time = datetime.datetime.now().isoformat(" ", "seconds")
  print(f"\n=== {time}  {command}", file=sys.stderr, flush=True)
  directory = os.path.join(model_dir, "commands")
  tf.io.gfile.makedirs(directory)
  number = len(tf.io.gfile.listdir(directory))
  files.write_lines(f"{directory}/command.{number}", [command])
  distributions = (d.metadata for d in importlib.metadata.distributions())
  libraries = sorted(f"{d['Name']}=={d['Version']}" for d in distributions)
  files.write_lines(
      os.path.join(model_dir, "versions.txt"),
      [f"python=={platform.python_version()}", *libraries],
  )


def _show_notices(console: rich.console.Console):
  """Shows notices to the user; other warnings stay in the log."""
  from tasks import errors as task_errors

  notices = (errors.UserNotice, task_errors.DataNotice)
  log_warning = warnings.showwarning

  def show(message, category, *args, **kwargs):
    if issubclass(category, notices):
      console.print(
          f"note: {message}", markup=False, highlight=False, soft_wrap=True
      )
    log_warning(message, category, *args, **kwargs)

  warnings.showwarning = show


def _note_skipped_records(console: rich.console.Console):
  """Prints one line about broken records, if there were any."""
  from tasks import records

  skipped = records.skipped()
  if not skipped:
    return
  count = (
      "1 broken record was"
      if len(skipped) == 1
      else f"{len(skipped):,} broken records were"
  )
  named = [
      f"{place}: {problem}"
      for place, problem in list(skipped.items())[:_NAMED_RECORDS]
  ]
  if len(skipped) > _NAMED_RECORDS:
    named.append("...")
  print(f"note: {count} skipped ({'; '.join(named)}).", file=console.file)
