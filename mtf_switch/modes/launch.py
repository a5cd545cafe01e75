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
import os
import shlex
import sys
import traceback
from typing import Any
import warnings

from mesh_tensorflow.transformer import transformer
import rich.console
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import compat
from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch import versions
from mtf_switch.mesh import servers
from mtf_switch.mesh import tpu as tpu_lib
from mtf_switch.modes import users_modules
from mtf_switch.planning import least_memory
from mtf_switch.training import checkpoints
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import stopping
from mtf_switch.training import strict_gin
from mtf_switch.training import unread_bindings
from mtf_switch.training import vocabulary_record

# `tasks` is imported in functions only: in another program, a user's own module
# of that name may come first.
# pylint: disable=g-import-not-at-top

# Flags that name what a mode reads, and what it writes.
_INPUTS = ("input_file", "plan_chips_file")
_OUTPUTS = ("output_file", "output_dir", "plan_picture")
# In the paths of TensorFlow's own code.
_TENSORFLOW = f"{os.sep}tensorflow{os.sep}python{os.sep}"
_NO_EXAMPLES = "the examples of the task cannot be made: "
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


def find_data(tfds_data_dir: str | None, cache_dirs: Sequence[str]):
  """Tells seqio the directories of data.

  Args:
    tfds_data_dir: of datasets that TensorFlow Datasets has prepared; None for
      its default.
    cache_dirs: of cached seqio tasks.

  Raises:
    UserError: one of them is no directory.
  """
  for directory in cache_dirs:
    files.check_directory(
        directory, f"--additional_task_cache_dirs={directory}"
    )
  if tfds_data_dir:
    files.check_directory(tfds_data_dir, f"--t5_tfds_data_dir={tfds_data_dir}")
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
    _check_files(run, mode_flags)
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
    if run.tpu:
      with console.status(tpu_lib.describe_wait(run.tpu.name)):
        tpu_lib.check_answer(run.tpu.name, run.tpu.zone, run.tpu.project)
    _open_model_dir(run.model_dir, move_log)
    # Else the vocabulary is that of the model to start or to learn from.
    directories = [
        run.model_dir,
        strict_gin.value("finetune.pretrained_dir"),
        strict_gin.value("distill.teacher_dir"),
        strict_gin.value("upcycle.dense_dir"),
    ]
    # The model's size is its vocabulary's too, which may have to be trained.
    with (
        progress.Display(console) as display,
        display.working("checking the model and its layout"),
    ):
      vocabulary_record.find(
          [x for x in directories if isinstance(x, str)],
          run.experiment.vocabularies,
      )
      run.experiment.check_layout()
      least_memory.check(run)
    with _mesh_processes(run, mesh_size, console):
      mode(run, console, **mode_flags)
  finally:
    _note_skipped_records(console)


def _check_files(run: run_lib.Run, mode_flags: Mapping[str, Any]):
  """Refuses files that cannot be read or written, before the work for them."""
  for flag in _OUTPUTS:
    if path := mode_flags.get(flag):
      file = os.path.join(path, "a_file") if flag.endswith("_dir") else path
      files.check_writable(file, f"--{flag}={path}")
  for flag in _INPUTS:
    if path := mode_flags.get(flag):
      files.check_readable(path, f"--{flag}={path}", or_stream=True)
  layouts = mode_flags.get("plan_compare", ())
  gin_files = {f"--gin_file={file}": file for file in run.gin_files}
  gin_files |= {f"--plan_compare={x}": x.split(",")[0] for x in layouts}
  for setting, file in gin_files.items():
    # Others are this project's.
    if os.path.lexists(file) or "://" in file:
      files.check_readable(file, setting)
  for path in mode_flags.get("compare_dir", ()):
    files.check_directory(path, f"--compare_dir={path}", to_be_made=True)
  if run.model_dir is not None:
    files.check_directory(
        run.model_dir, f"--model_dir={run.model_dir}", to_be_made=True
    )


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
  return (
      strict_gin.explain(error)
      or files.explain(error)
      or users_modules.explain(error)
      or _explain_dataset(error)
      or _explain_seqio(error)
      or _explain_upstream(error)
  )


def _explain_dataset(error: BaseException) -> str | None:
  """One line for steps of a task that do not fit its records."""
  of_records = (
      tf.errors.DataLossError,
      tf.errors.InvalidArgumentError,
      tf.errors.UnknownError,  # Of Python within a dataset.
  )
  if not isinstance(error, of_records) or "IteratorGetNext" not in str(error):
    return None
  message = error.message.removeprefix("Graph execution error:").strip()
  return f"{_NO_EXAMPLES}{message.splitlines()[0]}"


def _explain_seqio(error: BaseException) -> str | None:
  """One line for steps of a task that seqio refuses."""
  frames = traceback.extract_tb(error.__traceback__)
  if not isinstance(error, ValueError) or not frames:
    return None
  directory = os.path.dirname(frames[-1].filename)
  if directory != os.path.dirname(seqio.__file__):
    return None
  return _NO_EXAMPLES + str(error).split("\n", maxsplit=1)[0]


def _explain_upstream(error: BaseException) -> str | None:
  """One line for options of upstream's layers that do not go together.

  They show in whatever error upstream's code runs into, or TensorFlow for it.
  """
  if isinstance(error, (tf.errors.OpError, MemoryError, KeyboardInterrupt)):
    return None
  places = [
      frame.filename
      for frame in traceback.extract_tb(error.__traceback__)
      if _TENSORFLOW not in frame.filename
  ]
  of_models = os.path.dirname(transformer.__file__)
  upstream = os.path.dirname(of_models)
  if (
      not places
      or not places[-1].startswith(upstream + os.sep)
      or of_models not in map(os.path.dirname, places)
  ):
    return None
  message = str(error).split("\n", maxsplit=1)[0]
  if not isinstance(error, ValueError):
    message = f"{type(error).__name__}: {message}"
  return f"the model cannot be built: {message}"


def _serve(run: run_lib.Run, console: rich.console.Console):
  """Lends this process's devices to the first process of the mesh."""
  cluster = run.cluster
  # Preemption may reach all hosts: task 0 needs this one to save its work.
  with stopping.Request() as request, request.deferring(True):
    with (
        progress.Display(console) as display,
        display.working(
            f"serving as {cluster.describe(cluster.task)}", at_once=True
        ),
    ):
      servers.serve(cluster, run.experiment.mesh.size)
  request.act()
  terminal.say(console, f"{cluster.describe(0)} has ended.")


@contextlib.contextmanager
def _mesh_processes(
    run: run_lib.Run, mesh_size: int, console: rich.console.Console
) -> Iterator[None]:
  """Connects the processes of a mesh that has several."""
  if not run.cluster:
    yield
    return
  with contextlib.ExitStack() as stack:
    with (
        progress.Display(console) as display,
        display.working(
            "waiting for the other processes of the mesh", at_once=True
        ),
    ):
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
  files.write_lines(os.path.join(model_dir, versions.FILE), versions.lines())


def _show_notices(console: rich.console.Console):
  """Shows each notice to the user, once; other warnings stay in the log."""
  from tasks import errors as task_errors

  notices = (errors.UserNotice, task_errors.DataNotice)
  log_warning = warnings.showwarning
  shown = set()

  def show(message, category, *args, **kwargs):
    if issubclass(category, notices) and str(message) not in shown:
      shown.add(str(message))
      terminal.say(console, f"note: {message}")
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
  terminal.say(console, f"note: {count} skipped ({'; '.join(named)}).")
