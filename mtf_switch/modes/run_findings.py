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

"""What --mode=doctor finds with TensorFlow loaded: data, model, checkpoints."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import glob
import os
import pathlib

import seqio
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import tpu as tpu_lib
from mtf_switch.modes import data
from mtf_switch.modes import launch
from mtf_switch.modes.findings import Finding
from mtf_switch.modes.findings import of_directory
from mtf_switch.planning import least_memory
from mtf_switch.planning import step_graph
from mtf_switch.planning import units
from mtf_switch.training import checkpoint_files
from mtf_switch.training import checkpoint_fit
from mtf_switch.training import checkpoints
from mtf_switch.training import data_checks
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin
from mtf_switch.training import vocabulary_record

# The most that is read of a checkpoint to see whether it is unchanged.
_MOST_READ = 2**30
_MAX_NAMED = 3
_ASK = "--ask_remote asks"


def of_run(
    run: run_lib.Run,
    model_dir: str | None,
    ask_remote: bool,
    display: progress.Display,
) -> Iterator[Finding]:
  """Looks at the devices, the caches, the tasks and what a run needs.

  Nothing is downloaded, trained or written.

  Args:
    run: the run of the command line, which has not read its gin files.
    model_dir: its directory, if one is given.
    ask_remote: whether what is remote is asked.
    display: shows what takes long.

  Yields:
    the findings.
  """
  yield from _guarded("GPUs", of_gpus)
  if run.tpu:
    yield from _guarded("TPU", lambda: of_tpu(run.tpu, ask_remote, display))
  yield from _guarded("cache", of_cache)
  yield from _guarded("tasks", of_tasks)
  steps: Sequence[int] = ()
  if model_dir and "://" in model_dir and not ask_remote:
    yield Finding("model_dir", "ok", f"{model_dir} was not asked", _ASK)
    model_dir = None
  if model_dir:
    with contextlib.suppress(OSError, tf.errors.OpError):
      steps = checkpoints.steps(model_dir)
    yield from _guarded(
        "model_dir", lambda: of_model_dir(model_dir, steps, display)
    )
  if run.gin_files or run.gin_params:
    yield from _of_configuration(run, model_dir, steps, ask_remote, display)


def _guarded(
    subject: str, look: Callable[[], Iterator[Finding]]
) -> Iterator[Finding]:
  """Yields findings; what a look ends with is one of them."""
  try:
    yield from look()
  except Exception as error:  # pylint: disable=broad-exception-caught
    yield Finding(subject, "wrong", _said(error))


def _said(error: Exception) -> str:
  """An error in one line."""
  return launch.explain(error) or " ".join(
      f"{type(error).__name__}: {error}".split()
  )


def of_gpus() -> Iterator[Finding]:
  """Which GPUs TensorFlow can use."""
  found = tf.config.list_physical_devices("GPU")
  there = glob.glob("/dev/nvidia[0-9]*")
  if len(found) < len(there):
    yield Finding(
        "GPUs",
        "warning",
        f"TensorFlow uses {len(found)} of {len(there)}",
        "see docs/gpu.md for the libraries that it needs, and unset "
        "CUDA_VISIBLE_DEVICES",
    )
  elif found:
    yield Finding("GPUs", "ok", ", ".join(x.name for x in found))
  else:
    yield Finding("GPUs", "ok", "none; runs are on the processor")


def of_tpu(
    tpu: run_lib.Tpu, ask_remote: bool, display: progress.Display
) -> Iterator[Finding]:
  """Whether the TPU of the command line answers, if it is asked."""
  if not ask_remote:
    yield Finding("TPU", "ok", f"{tpu.name} was not asked", _ASK)
    return
  with display.working(tpu_lib.describe_wait(tpu.name)):
    tpu_lib.check_answer(tpu.name, tpu.zone, tpu.project)
  yield Finding("TPU", "ok", f"{tpu.name} answers")


def of_cache() -> Iterator[Finding]:
  """The directory of prepared texts and vocabularies, and what is in it."""
  from tasks import cache  # pylint: disable=g-import-not-at-top

  directory = cache.cache_directory()
  yield of_directory("cache", str(directory))
  entries = sorted(directory.glob("[!.]*")) if directory.is_dir() else []
  sizes = {x.name: units.bytes_(_size_of(x)) for x in entries}
  named = [f"{name} {size}" for name, size in sizes.items()][:_MAX_NAMED]
  if len(sizes) > _MAX_NAMED:
    named.append(f"{len(sizes) - _MAX_NAMED} more")
  yield Finding("cache", "ok", ", ".join(named) or "nothing in it yet")
  if unfinished := list(directory.glob(".*.partial")):
    yield Finding(
        "cache",
        "warning",
        f"unfinished: {', '.join(x.name for x in unfinished[:_MAX_NAMED])}",
        "another program is at work, or was killed; the next run begins "
        "them again",
    )


def _size_of(path: pathlib.Path) -> int:
  """The bytes of a file, or of all in a directory."""
  files = path.rglob("*") if path.is_dir() else [path]
  return sum(x.lstat().st_size for x in files if not x.is_dir())


def of_tasks() -> Iterator[Finding]:
  """Which of this project's and the user's tasks have their data."""
  import tasks as tasks_lib  # pylint: disable=g-import-not-at-top

  names = set(seqio.TaskRegistry.names()) - tasks_lib.T5_TASKS
  found = [seqio.TaskRegistry.get(name) for name in sorted(names)]
  there = [task.name for task in found if data.presence([task]) == "yes"]
  families = list(dict.fromkeys(map(data.family, there)))
  named = ", ".join(families[:_MAX_NAMED])
  yield Finding(
      "tasks",
      "ok",
      f"{len(there)} of {len(found)} have their data: {named}, ...",
      "--mode=tasks lists all",
  )


def of_model_dir(
    model_dir: str, steps: Sequence[int], display: progress.Display
) -> Iterator[Finding]:
  """The directory of a run: whether it can go on, and from where.

  Args:
    model_dir: the directory.
    steps: of its complete checkpoints.
    display: shows what takes long.

  Yields:
    the findings.
  """
  saved = checkpoints.saved_steps(model_dir)
  paths = {step: checkpoints.path(model_dir, step) for step in saved}
  last = paths[steps[-1]] if steps else None
  size = checkpoint_files.size_of_variables(last) if last else 0
  if "://" not in model_dir:
    yield of_directory("model_dir", model_dir, needed=size)
  faults = {step: checkpoint_files.fault(path) for step, path in paths.items()}
  if last and size <= _MOST_READ:
    with display.working(f"reading {last}"):
      faults[steps[-1]] = checkpoint_files.damage(last)
  damaged = [
      f"{os.path.basename(paths[step])} {fault}"
      for step, fault in faults.items()
      if fault
  ]
  whole = [step for step, fault in faults.items() if not fault]
  if damaged:
    yield Finding(
        "checkpoints",
        "warning" if whole else "wrong",
        "; ".join(damaged[:_MAX_NAMED]),
        "bring back their files"
        + (
            f", or go on from step {whole[-1]}"
            if whole
            else ", or take another directory"
        ),
    )
  if whole:
    read = "" if size <= _MOST_READ else ", by their sizes; a run reads all"
    yield Finding(
        "checkpoints",
        "ok",
        f"whole: {len(whole)}, the last one of step {whole[-1]}{read}",
    )
  elif not damaged:
    yield Finding("checkpoints", "ok", "none; a run begins at step 0")


def _of_configuration(
    run: run_lib.Run,
    model_dir: str | None,
    steps: Sequence[int],
    ask_remote: bool,
    display: progress.Display,
) -> Iterator[Finding]:
  """What gin describes: the model, the data, and whether all fits."""
  try:
    run.configure()
    has_model = strict_gin.value("Experiment.task") is not None
    if has_model:
      vocabularies = run.experiment.vocabularies
      vocabulary_record.find([model_dir] if model_dir else [], vocabularies)
  except Exception as error:  # pylint: disable=broad-exception-caught
    yield Finding("gin", "wrong", _said(error))
    return
  yield Finding("gin", "ok", "all files and bindings can be read")
  if not has_model:
    return
  yield from _guarded("data", lambda: of_data(run.experiment.provider))
  is_ready = True
  inputs, targets = vocabularies
  for vocabulary in [inputs] if inputs == targets else [inputs, targets]:
    finding, is_at_hand = of_vocabulary(vocabulary, ask_remote)
    is_ready &= is_at_hand
    yield finding
  if is_ready:
    yield from _guarded(
        "model", lambda: of_model(run, model_dir, steps, display)
    )


def of_data(provider: seqio.Task | seqio.Mixture) -> Iterator[Finding]:
  """Whether the data of the task that gin names is there."""
  split = "train" if "train" in provider.splits else min(provider.splits)
  data_checks.check_split(provider, split, "mesh_train_dataset_fn")
  yield Finding("data", "ok", f"{provider.name} has its {split} split")


def of_vocabulary(
    vocabulary: seqio.Vocabulary, ask_remote: bool
) -> tuple[Finding, bool]:
  """Whether a vocabulary can be read.

  Args:
    vocabulary: a task's.
    ask_remote: whether a remote one is read.

  Returns:
    the finding, and whether the vocabulary can be used now, with no training
    and no network that was not asked for.
  """
  if not getattr(vocabulary, "is_at_hand", True):
    text = "it is trained on the task's text when it is first used"
    return Finding("vocabulary", "ok", text), False
  path = getattr(vocabulary, "path", None) or getattr(
      vocabulary, "sentencepiece_model_file", None
  )
  if path and "://" in path and not ask_remote:
    text = f"{path} was not asked"
    return Finding("vocabulary", "ok", text, _ASK), False
  try:
    size = vocabulary.vocab_size
    vocabulary.decode([size - 1])  # Reads it.
  except Exception as error:  # pylint: disable=broad-exception-caught
    return Finding("vocabulary", "wrong", _said(error)), False
  where = f", {path}" if path else ""
  return Finding("vocabulary", "ok", f"{size:,} ids{where}"), True


def of_model(
    run: run_lib.Run,
    model_dir: str | None,
    steps: Sequence[int],
    display: progress.Display,
) -> Iterator[Finding]:
  """Whether the model can be built, and restored from the last checkpoint."""
  with display.working("building the model, to compare it"):
    if model_dir:
      vocabulary_record.check(model_dir, run.experiment.vocabularies)
    run.experiment.check_layout()
    least_memory.check(run)
    if not steps:
      yield Finding("model", "ok", "it can be built, and its layout works")
      return
    graph = step_graph.StepGraph(run.experiment, bool(run.tpu)).graph
  path = checkpoints.path(model_dir, steps[-1])
  # Those of the optimizer, which may be another one, only count in training.
  variables = {
      variable.name: checkpoint_fit.Variable(
          variable.master_dtype, tuple(variable.shape.to_integer_list)
      )
      for variable in graph.trainable_variables
  }
  checkpoint_fit.check(path, variables)
  yield Finding("model", "ok", f"it is that of {os.path.basename(path)}")
