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


r"""Trains, evaluates and applies Switch Transformers.

For example, from any directory:

  python run_switch.py --model_dir=/tmp/switch_tiny \
    --gin_file=models/switch_tiny.gin --gin_file=layouts/single.gin \
    --gin_file=objectives/span_corruption.gin \
    --gin_file=schedules/rsqrt_no_ramp_down.gin --gin_file=runs/pretrain.gin \
    --gin_param="task = 'docstrings_span_corruption'" \
    --gin_param="num_cores = 1" --gin_param="batch_size = 16" \
    --gin_param="train_steps = 1000"

A gin file is looked for in the working directory and then in gin/. The same
command resumes an interrupted run. TensorFlow's log is in model_dir/log.txt.
"""

# Nothing here may import TensorFlow before the flags are parsed: --help and
# the first mistakes are answered at once.
from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import difflib
import functools
import gc
import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import shlex
import signal
import sys
import tempfile
import traceback
from typing import Any
import warnings

from absl import app
from absl import flags

_OBJECTS_BETWEEN_COLLECTIONS = 200_000
# Broken records that are named when a run ends; the others are counted.
_NAMED_RECORDS = 3


@dataclasses.dataclass(frozen=True)
class _Mode:
  """A mode of the program.

  Attributes:
    function: "module.function" of mtf_switch.modes, which is called with an
      Experiment, if there is a model_dir, a console, and the flags.
    does: what it does, for --help.
    flags: those that it knows beside the ones for all modes.
    needs: those of them that must be given.
    has_model_dir: whether it is about a model; others are about data, and gin
      need not describe a model.
    reads_gin: whether it reads the gin files itself, perhaps several times.
  """

  function: str
  does: str
  flags: Sequence[str] = ()
  needs: Sequence[str] = ()
  has_model_dir: bool = True
  reads_gin: bool = False


_MODES = {
    "train": _Mode("train.train", "train a model"),
    "finetune": _Mode("finetune.finetune", "train on from a pre-trained model"),
    "eval": _Mode("decode.evaluate", "decode and apply the task's metrics"),
    "perplexity_eval": _Mode(
        "train.perplexity_eval", "cross-entropy over a whole split"
    ),
    "infer": _Mode(
        "decode.infer",
        "decode a file",
        flags=("input_file", "output_file"),
        needs=("input_file", "output_file"),
    ),
    "score": _Mode(
        "decode.score",
        "the log-probabilities of a file's targets",
        flags=("input_file", "output_file"),
        needs=("input_file", "output_file"),
    ),
    "plan": _Mode(
        "plan.plan",
        "what a training step needs, before it runs",
        flags=(
            "plan_chip",
            "plan_chips_file",
            "plan_compare",
            "plan_format",
            "plan_picture",
            "plan_table9",
        ),
        has_model_dir=False,
        reads_gin=True,
    ),
    "tasks": _Mode(
        "data.list_tasks",
        "list the tasks and mixtures",
        has_model_dir=False,
    ),
    "inspect": _Mode(
        "data.inspect",
        "show a task's records and what a model is fed",
        flags=("task", "split", "num_examples"),
        has_model_dir=False,
    ),
    "cache": _Mode(
        "data.cache",
        "preprocess a task once for many runs",
        flags=("task", "output_dir"),
        needs=("output_dir",),
        has_model_dir=False,
    ),
    "compare_downstream": _Mode(
        "compare_downstream.compare_downstream",
        "Figure 13, from fine-tuned runs",
        flags=("compare_dir", "output_dir"),
        needs=("compare_dir", "output_dir"),
        has_model_dir=False,
    ),
    "compare_languages": _Mode(
        "compare_languages.compare_languages",
        "Figures 7 and 8, from a dense and a Switch run",
        flags=("compare_dir", "output_dir"),
        needs=("compare_dir", "output_dir"),
        has_model_dir=False,
    ),
}

flags.DEFINE_enum(
    "mode",
    "train",
    list(_MODES),
    "; ".join(f"{name}: {mode.does}" for name, mode in _MODES.items()) + ".",
)
flags.DEFINE_string(
    "model_dir", None, "Directory of checkpoints, metrics and logs."
)
flags.DEFINE_multi_string(
    "gin_file", [], "Gin file, in the working directory or in gin/; repeatable."
)
flags.DEFINE_multi_string(
    "gin_param", [], "Gin binding that overrides the files'; repeatable."
)
flags.DEFINE_integer(
    "seed",
    0,
    "Decides initial weights, the examples' order and all noise.",
    lower_bound=0,
    upper_bound=2**31 - 1,
)
flags.DEFINE_string("input_file", None, "infer, score: the inputs, one a line.")
flags.DEFINE_string(
    "output_file", None, "infer, score: the outputs, one a line."
)
flags.DEFINE_string(
    "task", None, "inspect, cache: the task or mixture, if gin does not say."
)
flags.DEFINE_string("split", None, "inspect: the split; train if not given.")
flags.DEFINE_integer(
    "num_examples", None, "inspect: how many; 3 if not given.", lower_bound=1
)
flags.DEFINE_multi_string(
    "compare_dir", [], "compare_*: the model_dir of a run; repeatable."
)
flags.DEFINE_string(
    "output_dir", None, "cache, compare_*: the directory for what is made."
)
flags.DEFINE_string(
    "plan_chip",
    None,
    "plan: the cores of the mesh, tpu_v2 to tpu_v5p, a100, h100 or this_cpu; "
    "tpu_v3 if not given.",
)
flags.DEFINE_string(
    "plan_chips_file",
    None,
    "plan: a table of chips like mtf_switch/planning/chips.csv.",
)
flags.DEFINE_multi_string(
    "plan_compare",
    [],
    "plan: a layout to compare, a gin file and bindings with commas between "
    "them; repeatable.",
)
flags.DEFINE_enum(
    "plan_format", "table", ["table", "json"], "plan: how to print it."
)
flags.DEFINE_string(
    "plan_picture", None, "plan: PNG file for a picture as in Figure 9."
)
flags.DEFINE_bool(
    "plan_table9", False, "plan: show the paper's models beside these."
)
flags.DEFINE_multi_string(
    "module_import", [], "Module to import, with tasks or layers; repeatable."
)
flags.DEFINE_string(
    "t5_tfds_data_dir",
    None,
    "Directory of the datasets that TensorFlow Datasets has prepared.",
)
flags.DEFINE_list(
    "additional_task_cache_dirs", [], "Directories with cached seqio tasks."
)
flags.DEFINE_string("tpu", None, "Name or grpc:// address of a Cloud TPU.")
flags.DEFINE_string("tpu_zone", None, "The TPU's zone; detected if not given.")
flags.DEFINE_string(
    "gcp_project", None, "The TPU's project; detected if not given."
)
flags.DEFINE_string(
    "tpu_job_name", None, "The TPU worker's job, if it is not tpu_worker."
)
flags.DEFINE_string(
    "mesh_hosts",
    None,
    "Processes that the mesh is spread over: how many on this machine, or "
    "host0:port,host1:port,... with the same command on each of them.",
)
flags.DEFINE_integer(
    "mesh_task",
    None,
    "Which of --mesh_hosts this process is, where their names do not tell.",
    lower_bound=0,
)
FLAGS = flags.FLAGS


class _Mistake(Exception):
  """A mistake on the command line; the message says how to correct it."""


class _Log:
  """Takes over stderr: Python's, TensorFlow's C++, and what it starts.

  Attributes:
    terminal: a file that still goes to the terminal.
  """

  def __init__(self):
    self.terminal = os.fdopen(os.dup(2), "w", buffering=1)
    self._file = tempfile.TemporaryFile()
    os.dup2(self._file.fileno(), 2)

  def move_to(self, path: str):
    """Appends what was logged so far to a file, and all that follows."""
    sys.stderr.flush()
    with open(path, "ab") as file:
      size = os.fstat(self._file.fileno()).st_size
      file.write(os.pread(self._file.fileno(), size, 0))
      file.flush()
      os.dup2(file.fileno(), 2)
    self._file.close()


def main():
  """The entry point."""
  # --help describes the main module, which is a small script in .venv/bin
  # where this program is run by its name.
  sys.modules["__main__"].__doc__ = __doc__
  for flag in FLAGS.get_flags_for_module(__name__):
    FLAGS.register_key_flag_for_module(sys.argv[0], flag)
  app.run(_main)


def _main(argv: Sequence[str]) -> int:
  """Runs one mode and returns the exit status."""
  log = _Log()
  interrupts = []

  def interrupt(*unused_args):
    interrupts.append(True)
    raise KeyboardInterrupt

  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, interrupt)
  message = None
  try:
    _run(argv, log)
  except (Exception, KeyboardInterrupt) as error:  # pylint: disable=broad-exception-caught
    if not isinstance(error, _Mistake):
      traceback.print_exc()
    # While modules are loaded, an interrupt becomes an ImportError.
    if interrupts:
      message = "interrupted; run the same command to go on."
    else:
      message = _explain(error) or traceback.format_exc()
  _report(message, log)
  if message is None:
    return 0
  return 130 if interrupts else 1


def _report(message: str | None, log: _Log):
  """Says how the program ends."""
  if skipped := _skipped_records():
    print(f"note: {skipped}", file=log.terminal)
  if message is not None:
    print(f"run_switch: {message}", file=log.terminal)


def _run(argv: Sequence[str], log: _Log):
  """Checks the command line, loads TensorFlow and calls the mode."""
  if argv[1:]:
    raise _Mistake(f"{argv[1]!r} is not a flag; flags start with --.")
  mode = _MODES[FLAGS.mode]
  if mode.has_model_dir and not FLAGS.model_dir:
    raise _Mistake(
        "--model_dir is missing, the directory for checkpoints, metrics and "
        "logs."
    )
  _check_mesh_flags(mode)
  of_mode = _flags_of(mode)
  gin_directories = _gin_directories()
  for name in FLAGS.gin_file:
    _check_gin_file("gin_file", name, gin_directories)
  for layout in FLAGS.plan_compare:
    _check_gin_file("plan_compare", layout.split(",")[0], gin_directories)

  # pylint: disable=g-import-not-at-top
  import rich.console

  # Modules and graphs are millions of objects that stay. With Python's own
  # threshold of 700 new ones, looking for garbage among them takes a tenth of
  # the time until the first step.
  gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
  console = rich.console.Console(file=log.terminal)
  _show_notices(console)
  with console.status("loading TensorFlow"):
    from mtf_switch import compat  # isort: skip
    import seqio
    import tensorflow.compat.v1 as tf

    from mtf_switch.mesh import cluster as cluster_lib
    from mtf_switch.mesh import servers
    from mtf_switch.training import experiment as experiment_lib
    from mtf_switch.training import strict_gin
    from mtf_switch.training import vocabulary_record
    import tasks  # noqa: F401  Registers this project's tasks.

    module, _, name = mode.function.rpartition(".")
    run = getattr(importlib.import_module(f"mtf_switch.modes.{module}"), name)
  # pylint: enable=g-import-not-at-top

  compat.use_graph_mode()
  tf.logging.set_verbosity(tf.logging.INFO)
  sys.path.append(os.getcwd())
  for module in FLAGS.module_import:
    try:
      importlib.import_module(module)
    except ModuleNotFoundError as error:
      raise _Mistake(f"--module_import={module}: {error}.") from error
  if FLAGS.t5_tfds_data_dir:
    seqio.set_tfds_data_dir_override(FLAGS.t5_tfds_data_dir)
  seqio.add_global_cache_dirs(FLAGS.additional_task_cache_dirs)

  def configure(files=(), params=()):
    strict_gin.parse(
        [*FLAGS.gin_file, *files], [*FLAGS.gin_param, *params], gin_directories
    )

  if mode.reads_gin:
    run(console, configure, **of_mode)
    return
  configure()
  if not mode.has_model_dir:
    run(console, **of_mode)
    return
  tpu = None
  if FLAGS.tpu:
    tpu = experiment_lib.Tpu(
        FLAGS.tpu, FLAGS.tpu_zone, FLAGS.gcp_project, FLAGS.tpu_job_name
    )
  cluster = None
  if FLAGS.mesh_hosts:
    cluster = cluster_lib.parse(FLAGS.mesh_hosts, FLAGS.mesh_task)
  experiment = experiment_lib.Experiment(
      model_dir=FLAGS.model_dir, seed=FLAGS.seed, tpu=tpu, cluster=cluster
  )
  if cluster and cluster.task:
    with console.status(f"serving as {cluster.describe(cluster.task)}"):
      servers.serve(cluster, experiment.mesh.size)
    console.print(f"{cluster.describe(0)} has ended.", highlight=False)
    return
  _open_model_dir(FLAGS.model_dir, log, tf.io.gfile)
  vocabulary_record.check(FLAGS.model_dir, experiment.vocabularies)
  experiment.check_layout()
  with contextlib.ExitStack() as stack:
    if cluster:
      with console.status("waiting for the other processes of the mesh"):
        stack.enter_context(
            servers.connected(
                cluster,
                experiment.mesh.size,
                functools.partial(_end_after_loss, cluster, console, log),
            )
        )
    run(experiment, console, **of_mode)


def _check_mesh_flags(mode: _Mode):
  """Refuses what goes with no mesh of several processes."""
  if mode.has_model_dir and "TF_CONFIG" in os.environ:
    raise _Mistake(
        "the environment has TF_CONFIG, in which TensorFlow's Estimator would "
        "look for workers of its own; unset it, and name the processes of a "
        "mesh with --mesh_hosts."
    )
  if FLAGS.mesh_task is not None and not FLAGS.mesh_hosts:
    raise _Mistake("--mesh_task goes with --mesh_hosts only.")
  if FLAGS.mesh_hosts and not mode.has_model_dir:
    raise _Mistake(f"--mesh_hosts is of no use to --mode={FLAGS.mode}.")
  if FLAGS.mesh_hosts and FLAGS.tpu:
    raise _Mistake(
        "--mesh_hosts is for CPUs and GPUs; --tpu finds the hosts of a TPU."
    )


def _end_after_loss(cluster, console, log: _Log, task: int):
  """Ends the program when a task of the mesh is gone.

  At once: TensorFlow may wait for the lost task wherever it is, and all that
  counts is in the last checkpoint.
  """
  from mtf_switch.training import checkpoints  # pylint: disable=g-import-not-at-top

  step = checkpoints.latest_step(FLAGS.model_dir)
  console.show_cursor()
  _report(
      f"{cluster.describe(task)} is lost; run the same command, also with "
      "another mesh, to go on from "
      + (f"the checkpoint of step {step}." if step else "the beginning."),
      log,
  )
  os._exit(1)  # pylint: disable=protected-access


def _flags_of(mode: _Mode) -> dict[str, Any]:
  """The flags that are given and that only some modes know, by name."""
  owners = {}
  for name, other in _MODES.items():
    for flag in other.flags:
      owners.setdefault(flag, []).append(f"--mode={name}")
  given = {flag: FLAGS[flag].value for flag in owners if FLAGS[flag].present}
  for flag in given:
    if flag not in mode.flags:
      raise _Mistake(f"--{flag} goes with {' and '.join(owners[flag])} only.")
  if any(flag not in given for flag in mode.needs):
    needed = " and ".join(f"--{flag}" for flag in mode.needs)
    raise _Mistake(f"--mode={FLAGS.mode} needs {needed}.")
  return given


def _show_notices(console):
  """Shows what the user should know; other warnings stay in the log."""
  log_warning = warnings.showwarning

  def show(message, category, *args, **kwargs):
    if category.__name__ == "UserNotice":
      console.print(
          f"note: {message}", markup=False, highlight=False, soft_wrap=True
      )
    log_warning(message, category, *args, **kwargs)

  warnings.showwarning = show


def _gin_directories() -> list[str]:
  """Where the project's gin files are: in the checkout, or installed."""
  places = [pathlib.Path(__file__).resolve().parent / "gin"]
  package = importlib.util.find_spec("mtf_switch")
  if package:
    places.append(pathlib.Path(package.origin).parent / "gin_files")
  return [str(place) for place in places if (place / "runs").is_dir()]


def _check_gin_file(flag: str, name: str, directories: Sequence[str]):
  """Refuses a gin file that is not there; remote ones are left to gin."""
  if "://" in name or any(
      os.path.isfile(os.path.join(place, name)) for place in ("", *directories)
  ):
    return
  known = {
      str(path.relative_to(place))
      for place in directories
      for path in pathlib.Path(place).rglob("*.gin")
  }
  near = difflib.get_close_matches(name, sorted(known))
  raise _Mistake(
      f"--{flag}={name} is neither in the working directory nor in "
      + (" nor in ".join(directories) or "gin/")
      + (f"; did you mean {' or '.join(near)}?" if near else ".")
  )


def _open_model_dir(model_dir: str, log: _Log, gfile):
  """Moves the log to model_dir and records the command and the libraries."""
  gfile.makedirs(model_dir)
  is_remote = "://" in model_dir
  log.move_to("run_switch.log" if is_remote else f"{model_dir}/log.txt")
  command = shlex.join(sys.argv)
  time = datetime.datetime.now().isoformat(" ", "seconds")
  print(f"\n=== {time}  {command}", file=sys.stderr, flush=True)
  directory = os.path.join(model_dir, "commands")
  gfile.makedirs(directory)
  number = len(gfile.listdir(directory))
  with gfile.GFile(f"{directory}/command.{number}", "w") as file:
    file.write(command + "\n")
  distributions = (d.metadata for d in importlib.metadata.distributions())
  libraries = sorted(f"{d['Name']}=={d['Version']}" for d in distributions)
  lines = [f"python=={platform.python_version()}", *libraries]
  with gfile.GFile(os.path.join(model_dir, "versions.txt"), "w") as file:
    file.write("\n".join(lines) + "\n")


def _skipped_records() -> str | None:
  """One line about the records that were broken, None if there were none."""
  records = sys.modules.get("tasks.records")
  skipped = records and records.skipped()
  if not skipped:
    return None
  count = (
      "1 broken record was"
      if len(skipped) == 1
      else (f"{len(skipped):,} broken records were")
  )
  named = [
      f"{place}: {problem}"
      for place, problem in list(skipped.items())[:_NAMED_RECORDS]
  ]
  if len(skipped) > _NAMED_RECORDS:
    named.append("...")
  return f"{count} skipped ({'; '.join(named)})."


def _explain(error: Exception) -> str | None:
  """One line for what the user can correct, None for anything else."""
  if isinstance(error, _Mistake):
    return str(error)
  if "mtf_switch.training.strict_gin" not in sys.modules:
    return None
  # pylint: disable=g-import-not-at-top
  import tensorflow.compat.v1 as tf

  from mtf_switch import errors
  from mtf_switch.training import strict_gin
  from tasks import errors as task_errors
  # pylint: enable=g-import-not-at-top

  if isinstance(error, (errors.UserError, task_errors.DataError)):
    # Gin adds lines about the functions on the way.
    return str(error).split("\n", maxsplit=1)[0]
  if task_errors.raised_in_dataset() and isinstance(error, tf.errors.OpError):
    return str(task_errors.raised_in_dataset())
  return strict_gin.explain(error)


if __name__ == "__main__":
  main()
