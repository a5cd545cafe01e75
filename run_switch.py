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

# Nothing here may import TensorFlow before the flags are checked: --help and
# mistakes on the command line are answered at once. This file has the flags,
# mtf_switch/modes/launch.py everything that needs TensorFlow.
from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import gc
import importlib.machinery
import importlib.metadata
import importlib.util
import io
import os
import pathlib
import re
import select
import shlex
import signal
import sys
import tempfile
import threading
import time
import traceback
from typing import Any

_ROOT = pathlib.Path(__file__).resolve().parent


def _locks() -> list[str]:
  """The file with the libraries' versions: in the checkout, or installed."""
  lock = _ROOT / "requirements.txt"
  if lock.exists():
    return [str(lock)]
  files = importlib.metadata.files("mtf_switch") or ()
  return [str(x.locate().resolve()) for x in files if x.name == lock.name]


def _completion() -> str:
  """How to complete an environment that lacks something."""
  if (_ROOT / "requirements.txt").exists():
    return (
        f"use {_ROOT / '.venv/bin/python'}, which `make setup` in {_ROOT} makes"
        " and completes."
    )
  options = ["-m", "pip", "install", "--no-deps", "-r", *_locks()]
  command = shlex.join([sys.executable, *options])
  return f"complete the installation with: {command}"


def _incomplete(problem: str) -> str:
  """A line for an environment that lacks something, with what completes it."""
  return f"{problem}; {_completion()}"


if sys.version_info[:2] != (3, 11):
  version = ".".join(map(str, sys.version_info[:3]))
  sys.exit("run_switch: " + _incomplete(f"Python {version} is not 3.11"))

try:
  from absl import app
  from absl import flags
except ModuleNotFoundError as error:
  sys.exit("run_switch: " + _incomplete(f"{error.name} is not installed"))

_OBJECTS_BETWEEN_COLLECTIONS = 200_000
# Ctrl-C, preemption, and the end of a terminal.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Programs such as `timeout` send a signal to a process and to its group.
_SECONDS_OF_ONE_SIGNAL = 0.1
_SECONDS_TO_ANSWER = 1
# The pipes of a shell, and what stands for no file.
_STREAM = re.compile(r"/dev/(null|stdin|fd/\d+)|/proc/(self|\d+)/fd/\d+")
# What absl says of a flag in Python's terms, and its decorations.
_WORDS_OF_ABSL = {
    "^flag --": "--",
    "^ERROR:: ": "",
    "invalid literal for int.*": "this is not a whole number",
    r"\('Non-boolean argument.*": "this is neither true nor false",
    r"\. Did you mean: (.*) \?$": r", did you mean \1?",
}


@dataclasses.dataclass(frozen=True)
class _Mode:
  """A mode of the program.

  Attributes:
    function: "module.function" in mtf_switch.modes, to be called with a Run, a
      console and the flags.
    does: its purpose, for --help.
    flags: its flags, beside those of all modes.
    needs: those of them that are required.
    has_model_dir: whether it needs a model's directory.
    instead_of_model_dir: flags that take the place of the model's directory.
    reads_model_dirs: whether it reads those of one or more models instead, and
      is called with model_dirs.
    reads_gin: whether it reads the gin files itself, perhaps several times.
    starts_programs: whether it does its work by starting this program again,
      and is called with a processes.Program instead of a Run.
    looks_first: whether it looks at the installation before anything is loaded,
      and is called with a doctor.Installation alone.
    compares: whether it takes a second model's directory, other_model_dir.
  """

  function: str
  does: str
  flags: Sequence[str] = ()
  needs: Sequence[str] = ()
  has_model_dir: bool = True
  instead_of_model_dir: Sequence[str] = ()
  reads_model_dirs: bool = False
  reads_gin: bool = False
  starts_programs: bool = False
  looks_first: bool = False
  compares: bool = False

  @property
  def needs_model_dir(self) -> bool:
    """Whether it needs a model's directory with the flags that are given."""
    others = self.instead_of_model_dir
    return self.has_model_dir and not any(FLAGS[x].present for x in others)


_MODES = {
    "train": _Mode("train.train", "train a model"),
    "finetune": _Mode("finetune.finetune", "train on from a pre-trained model"),
    "distill": _Mode(
        "distill.distill", "train a student with a trained model as its teacher"
    ),
    "teach": _Mode(
        "teach.teach",
        "ask a trained model once, to teach many students",
        flags=("output_dir",),
        needs=("output_dir",),
    ),
    "upcycle": _Mode(
        "upcycle.upcycle",
        "make a Switch model of a dense one's weights",
    ),
    "prune": _Mode(
        "prune.prune",
        "make a model with fewer experts, or none, of a Switch model",
        flags=("output_dir",),
        needs=("output_dir",),
    ),
    "eval": _Mode(
        "decode.evaluate",
        "decode and apply the task's metrics",
        flags=("watch", "watch_minutes"),
    ),
    "perplexity_eval": _Mode(
        "perplexity.perplexity_eval",
        "cross-entropy over a whole split",
        flags=("watch", "watch_minutes"),
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
    "export": _Mode(
        "export.export",
        "write SavedModels that decode and score without this program",
        flags=("output_dir",),
        needs=("output_dir",),
    ),
    "interactive": _Mode(
        "interactive.interactive",
        "answer what is typed, or comes through a pipe",
    ),
    "routing": _Mode(
        "routing.routing",
        "show which experts tokens go to",
        flags=("input_file", "task", "split", "num_examples", "output_dir"),
        needs=("output_dir",),
        compares=True,
    ),
    "convert": _Mode(
        "convert.convert",
        "bring weights here from Hugging Face or T5X, or take them to the "
        "former",
        flags=("huggingface_dir", "t5x_dir", "output_dir"),
        needs=("output_dir",),
        instead_of_model_dir=("huggingface_dir", "t5x_dir"),
    ),
    "serve": _Mode(
        "serve.serve",
        "serve an exported model over HTTP",
        flags=("saved_model", "host", "port"),
        needs=("saved_model",),
        has_model_dir=False,
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
    "reproduce": _Mode(
        "reproduce.reproduce",
        "the paper's tables and figures, run by run",
        flags=(
            *("experiment", "seeds", "rows", "scale"),
            *("output_dir", "dry_run"),
        ),
        needs=("experiment",),
        has_model_dir=False,
        starts_programs=True,
    ),
    "doctor": _Mode(
        "doctor.doctor",
        "say what is wrong with the installation or a run, and what to do",
        flags=("ask_remote",),
        has_model_dir=False,
        looks_first=True,
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
    "report": _Mode(
        "report.report",
        "a page of curves, loads and settings of one or more runs",
        flags=("output_dir",),
        needs=("output_dir",),
        has_model_dir=False,
        reads_model_dirs=True,
    ),
}

flags.DEFINE_enum(
    "mode",
    "train",
    list(_MODES),
    "; ".join(f"{name}: {mode.does}" for name, mode in _MODES.items()) + ".",
    allow_overwrite=False,
)
flags.DEFINE_multi_string(
    "model_dir",
    None,
    "Directory of checkpoints, metrics and logs; report: repeatable; routing: "
    "a second one is compared.",
)
flags.DEFINE_multi_string(
    "gin_file", [], "Gin file, in the working directory or in gin/; repeatable."
)
flags.DEFINE_multi_string(
    "gin_location_prefix",
    [],
    "Directory in which gin files are looked for last, as in T5; repeatable.",
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
flags.DEFINE_bool(
    "watch",
    False,
    "eval, perplexity_eval: evaluate the checkpoints of a run as they come.",
)
flags.DEFINE_integer(
    "watch_minutes",
    None,
    "eval, perplexity_eval: end if no checkpoint has come for so long.",
    lower_bound=1,
)
flags.DEFINE_string(
    "input_file", None, "infer, score, routing: the inputs, one a line."
)
flags.DEFINE_string(
    "output_file", None, "infer, score: the outputs, one a line."
)
flags.DEFINE_string(
    "huggingface_dir",
    None,
    "convert: the directory of Hugging Face's that becomes a model's here; "
    "without it, --model_dir becomes one of Hugging Face's.",
)
flags.DEFINE_string(
    "t5x_dir",
    None,
    "convert: the checkpoint of T5X that becomes a model's here, the one that "
    "gin describes.",
)
flags.DEFINE_string(
    "saved_model", None, "serve: the directory that --mode=export has written."
)
flags.DEFINE_string(
    "host",
    None,
    "serve: the address to listen at, this machine alone if not given.",
)
flags.DEFINE_integer(
    "port",
    None,
    "serve: the port to listen at, 8500 if not given; 0 for one that is free.",
    lower_bound=0,
    upper_bound=2**16 - 1,
)
flags.DEFINE_string(
    "task",
    None,
    "inspect, cache, routing: the task or mixture, if gin does not say.",
)
flags.DEFINE_string(
    "split",
    None,
    "inspect: the split, train if not given; routing: validation if not.",
)
flags.DEFINE_integer(
    "num_examples",
    None,
    "inspect: how many, 3 if not given; routing: how many are shown, 200.",
    lower_bound=1,
)
flags.DEFINE_multi_string(
    "compare_dir", [], "compare_*: the model_dir of a run; repeatable."
)
flags.DEFINE_string(
    "output_dir",
    None,
    "cache, teach, prune, convert, export, compare_*, report, routing, "
    "reproduce: the directory for what is made; for reproduce, reproduction if "
    "not given.",
)
flags.DEFINE_list(
    "experiment",
    None,
    "reproduce: names of tables and figures (table3), or all.",
)
flags.DEFINE_string(
    "seeds",
    None,
    "reproduce: how many seeds (3), or which ones (3-7 or 0,2); a question's "
    "own if not given.",
)
flags.DEFINE_list(
    "rows",
    None,
    "reproduce: names of cards; all of --experiment's if not given.",
)
flags.DEFINE_enum(
    "scale",
    "small",
    ["small", "paper"],
    "reproduce: models of minutes on a CPU, or the paper's own with --tpu.",
)
flags.DEFINE_bool(
    "dry_run", False, "reproduce: say only how many runs and hours it takes."
)
flags.DEFINE_bool(
    "ask_remote",
    False,
    "doctor: ask the TPU, and look at remote directories and vocabularies.",
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


# What the cards of --mode=reproduce say of a run, and where it runs: at the
# paper's scale that is the user's TPU and data.
_SETTLED_BY_CARDS = ("model_dir", "seed", "mesh_hosts", "mesh_task")
_SETTLED_AT_SMALL_SCALE = (
    *("gin_file", "gin_param", "gin_location_prefix", "module_import"),
    *("t5_tfds_data_dir", "additional_task_cache_dirs"),
    *("tpu", "tpu_zone", "gcp_project", "tpu_job_name"),
)

_MODEL_API = "of T5's model API; here gin has it"
# What stands here for the flags of T5's program that this one does not have.
_FLAGS_OF_T5 = {
    "additional_deprecated_gin_references": "delete the names from the file",
    "batch_size": f'{_MODEL_API}: --gin_param="batch_size = ..."',
    "beam_size": f"{_MODEL_API}: --gin_file=runs/beam_search.gin",
    "checkpoint_mode": f'{_MODEL_API}: --gin_param="checkpoint_step = ..."',
    "checkpoint_steps": f'{_MODEL_API}: --gin_param="checkpoint_step = ..."',
    "dataset_dir": "a task knows its data; TFDS's is in --t5_tfds_data_dir",
    "eval_split": f'{_MODEL_API}: --gin_param="split = ..."',
    "eval_summary_dir": "evaluations are in the --model_dir",
    "export_dir": "--mode=export writes to --output_dir",
    "input_sequence_length": f'{_MODEL_API}: "inputs_length = ..."',
    "keep_top_k": f"{_MODEL_API}: Unitransformer's and Bitransformer's names",
    "mixture_or_task": f'{_MODEL_API}: --gin_param="task = ..."',
    "model_parallelism": f'{_MODEL_API}: --gin_param="model_parallelism = ..."',
    "pretrained_model_dir": f'{_MODEL_API}: "pretrained_dir = ..."',
    "skip_all_gin_unknowns": "names that gin does not know are mistakes here",
    "target_file": "--mode=score has inputs and targets in --input_file",
    "target_sequence_length": f'{_MODEL_API}: "targets_length = ..."',
    "temperature": f"{_MODEL_API}: --gin_file=runs/sample_decode.gin",
    "tpu_topology": f'{_MODEL_API}: "utils.tpu_mesh_shape.tpu_topology = ..."',
    "train_steps": f'{_MODEL_API}: --gin_param="train_steps = ..."',
    "use_model_api": "--mode chooses a mode without it",
}
_MODES_OF_T5 = {
    "export_infer": "it is --mode=export here",
    "export_predict": "it is --mode=export here",
    "export_score": "it is --mode=export here, which decodes and scores",
    "predict": "it is --mode=infer here",
    "score_eval": "it is --mode=eval or --mode=score here",
    "score_from_dataset": "it is --mode=score here, of a file",
    "score_from_strings": "it is --mode=score here",
}


class _Mistake(Exception):
  """A mistake on the command line; the message says how to correct it."""


class _Tolerant(io.FileIO):
  """A file for messages: what it has no room for is lost, and nothing else."""

  def write(self, data):
    try:
      written = super().write(data)
    except OSError:
      written = None
    return len(data) if written is None else written


def _messages(descriptor: int) -> io.TextIOWrapper:
  """A file for messages, even with names that are in no encoding."""
  return io.TextIOWrapper(
      io.BufferedWriter(_Tolerant(descriptor, "w")),
      errors="backslashreplace",
      line_buffering=True,
  )


class _Log:
  """Takes over stderr: Python's, TensorFlow's C++, and what it starts.

  Attributes:
    terminal: a file that still goes to the terminal.
  """

  def __init__(self):
    self.terminal = _messages(os.dup(2))
    try:
      self._file = tempfile.TemporaryFile()
    except OSError:  # No directory for temporary files can be written.
      self._file = os.fdopen(os.memfd_create("log"), "w+b")
    os.dup2(self._file.fileno(), 2)
    sys.stderr = _messages(2)

  def move_to(self, path: str):
    """Appends what was logged so far to a file, and all that follows."""
    sys.stderr.flush()
    with open(path, "ab") as file:
      size = os.fstat(self._file.fileno()).st_size
      file.write(os.pread(self._file.fileno(), size, 0))
      file.flush()
      os.dup2(file.fileno(), 2)
    self._file.close()


class _Signals:
  """Ends the program on signals: on the first in order, on the second at once.

  Attributes:
    first: the first signal that has raised KeyboardInterrupt.
  """

  def __init__(self, terminal: io.TextIOWrapper):
    self.first = None
    self._is_over = False
    self._terminal = terminal
    self._reader, self._writer = os.pipe()
    os.set_blocking(self._writer, False)
    signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
    for number in _SIGNALS:
      if signal.getsignal(number) not in (signal.SIG_IGN, None):
        signal.signal(number, self._interrupt)
    threading.Thread(target=self._watch, daemon=True).start()

  def close(self):
    """Leaves signals to the system."""
    self._is_over = True
    for number in _SIGNALS:
      if signal.getsignal(number) == self._interrupt:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)

  def _interrupt(self, number, unused_frame):
    if not self.first:
      self.first = signal.Signals(number)
      raise KeyboardInterrupt

  def _watch(self):
    """Waits for signals beside the main thread, which may be inside C++."""
    first = self._next()
    time.sleep(_SECONDS_OF_ONE_SIGNAL)
    while self._has_next(0):
      self._next()
    if not self._has_next(_SECONDS_TO_ANSWER) and not self._is_over:
      print(
          f"{first.name}: ending in order; a second signal ends at once.",
          file=self._terminal,
      )
    second = self._next()
    if self._terminal.isatty():
      print("\x1b[?25h", end="", file=self._terminal, flush=True)  # The cursor.
    os._exit(128 + second)  # pylint: disable=protected-access

  def _has_next(self, seconds: float) -> bool:
    return bool(select.select([self._reader], [], [], seconds)[0])

  def _next(self) -> signal.Signals:
    while (number := os.read(self._reader, 1)[0]) not in _SIGNALS:
      pass
    return signal.Signals(number)


def main():
  """The entry point."""
  _open_streams()
  # --help describes the main module, which is a small script in .venv/bin
  # where this program is run by its name.
  sys.modules["__main__"].__doc__ = __doc__
  for flag in FLAGS.get_flags_for_module(__name__):
    FLAGS.register_key_flag_for_module(sys.argv[0], flag)
  if answer := _answer_to_t5(sys.argv[1:]):
    sys.exit(f"run_switch: {answer}")
  app.run(_main, flags_parser=_parse_flags)


def _answer_to_t5(arguments: Sequence[str]) -> str | None:
  """Says what stands here for the first flag or mode that only T5 has."""
  for argument, following in zip(arguments, [*arguments[1:], ""]):
    if argument == "--":
      return None
    name, equals, value = argument.removeprefix("-").partition("=")
    if not argument.startswith("-"):
      continue
    name = name.removeprefix("-")
    if answer := _FLAGS_OF_T5.get(name.removeprefix("no")) or _FLAGS_OF_T5.get(
        name
    ):
      return f"--{name} of T5's program is not a flag here: {answer}."
    mode = value if equals else following
    if name == "mode" and mode in _MODES_OF_T5:
      return f"--mode={mode} is a mode of T5's program: {_MODES_OF_T5[mode]}."
  return None


def _open_streams():
  """Opens the standard streams that the caller has closed.

  Files would get their numbers otherwise, and messages end up in them.
  """
  for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
    try:
      os.fstat(descriptor)
    except OSError:
      os.open(os.devnull, os.O_RDWR)  # The lowest number that is free.
    if getattr(sys, name) is None:
      mode = "w" if descriptor else "r"
      setattr(sys, name, open(descriptor, mode, closefd=False))
  sys.stdout.reconfigure(errors="backslashreplace")


def _parse_flags(argv: Sequence[str]) -> Sequence[str]:
  """Reads the flags and returns the other arguments, or ends with one line."""
  try:
    _check_flag_files(argv[1:])
    try:
      return FLAGS(argv)
    finally:
      sys.stdout.flush()  # The help, which may fit in its buffer.
  except BrokenPipeError:  # The reader has seen enough, as `head` has.
    sys.exit(1)
  except OSError as error:
    message = f"the help cannot be printed: {error.strerror}."
  except _Mistake as mistake:
    message = str(mistake)
  except (flags.Error, ValueError, RecursionError) as error:  # Of --flagfile.
    message = " ".join(str(error).split())
    for pattern, words in _WORDS_OF_ABSL.items():
      message = re.sub(pattern, words, message)
    message += " See --help." if message.endswith("?") else "; see --help."
  print(f"run_switch: {message}", file=_messages(os.dup(2)))
  sys.exit(1)


def _check_flag_files(arguments: Sequence[str], including: Sequence[str] = ()):
  """Refuses pipes and devices, which may never begin or never end."""
  for argument, following in zip(arguments, [*arguments[1:], ""]):
    if argument == "--":
      return
    name, equals, value = argument.strip().partition("=")
    if name not in ("--flagfile", "-flagfile"):
      continue
    path = os.path.expanduser(value.strip() if equals else following)
    if _STREAM.fullmatch(path):
      continue
    if path in including:
      raise _Mistake(f"--flagfile={path} leads back to itself.")
    if os.path.isfile(path):
      with open(path, errors="replace") as file:
        _check_flag_files(file.readlines(), [*including, path])
    elif os.path.exists(path) and not os.path.isdir(path):
      raise _Mistake(
          f"--flagfile={path} is a device, a named pipe or a socket; write the "
          "flags to a file."
      )


def _main(argv: Sequence[str]) -> int:
  """Runs one mode and returns the exit status."""
  log = _Log()
  signals = _Signals(log.terminal)
  status = 1
  try:
    mode = _MODES[FLAGS.mode]
    of_mode = _check_command_line(argv, mode, log)
    _run(mode, of_mode, log)
    sys.stdout.flush()
    return 0
  except _Mistake as mistake:
    message = str(mistake)
  except (Exception, KeyboardInterrupt) as error:  # pylint: disable=broad-exception-caught
    traceback.print_exc()
    status = getattr(error, "exit_status", 1)
    message = _explain(error)
    # While modules are loaded, an interrupt becomes an ImportError.
    if not message and signals.first:
      status = 128 + signals.first
      message = f"stopped by {signals.first.name}; run the same command again."
    elif not message and isinstance(error, ModuleNotFoundError):
      message = _incomplete(f"{_missing(error)} is not installed")
    message = message or traceback.format_exc()
  finally:
    signals.close()
    # Python would look for garbage among all objects, for seconds, to end.
    gc.freeze()
  print(f"run_switch: {message}", file=log.terminal)
  return status


def _missing(error: ModuleNotFoundError) -> str:
  """The module that is missing; gin's copy of an error has it in its text."""
  return error.name or str(error).partition("'")[2].partition("'")[0]


def _explain(error: BaseException) -> str | None:
  """One line for an error that the user can correct, None for any other."""
  if launch := sys.modules.get("mtf_switch.modes.launch"):
    return launch.explain(error)
  own = sys.modules.get("mtf_switch.errors")  # Without TensorFlow.
  if own and isinstance(error, (own.UserError, own.Stopped)):
    return str(error)
  return None


def _check_command_line(
    argv: Sequence[str], mode: _Mode, log: _Log
) -> dict[str, Any]:
  """Refuses mistakes that show without TensorFlow; returns the mode's flags."""
  if argv[1:]:
    raise _Mistake(f"{argv[1]!r} is not a flag; flags start with --.")
  try:
    os.getcwd()
  except OSError as error:
    message = "the working directory is gone; change to another one."
    raise _Mistake(message) from error
  _check_model_dirs(mode)
  if mode.starts_programs:
    _check_flags_of_cards()
  _check_mesh_flags(mode)
  _check_tpu_flags()
  of_mode = _flags_of(mode)
  for name in FLAGS.gin_file:
    _check_gin_file("gin_file", name)
  for layout in FLAGS.plan_compare:
    _check_gin_file("plan_compare", layout.split(",")[0])
  _check_tasks(log)
  return of_mode


def _check_model_dirs(mode: _Mode):
  """Refuses a missing --model_dir, and more of them than a mode reads."""
  given = FLAGS.model_dir or [""]
  needs_one = mode.needs_model_dir or mode.reads_model_dirs
  if needs_one and not all(path.strip() for path in given):
    others = " or ".join(f"--{x}" for x in mode.instead_of_model_dir)
    raise _Mistake(
        "--model_dir is missing, the directory for checkpoints, metrics and "
        "logs" + (f"; or {others}." if others else ".")
    )
  sources = ("model_dir", *mode.instead_of_model_dir)
  one, *others = [f"--{x}" for x in sources if FLAGS[x].present] or [""]
  if mode.has_model_dir and others:
    raise _Mistake(
        f"{one} and {others[0]} do not go together: --mode={FLAGS.mode} has one"
        " or the other."
    )
  most = 2 if mode.compares else 1
  if len(given) > most and not mode.reads_model_dirs:
    raise _Mistake(
        f"--model_dir is given {len(given)} times, and --mode={FLAGS.mode} "
        f"takes {'two' if mode.compares else 'one'}; --mode=report takes "
        "several."
    )


def _model_dir() -> str | None:
  """The --model_dir of a mode that takes one."""
  return FLAGS.model_dir[0] if FLAGS.model_dir else None


def _run(mode: _Mode, of_mode: dict[str, Any], log: _Log):
  """Loads TensorFlow and calls the mode."""
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


def _load_run(mode: _Mode, console, ask_remote: bool = True, load=None):
  """Loads TensorFlow, the mode and the user's modules.

  Args:
    mode: the mode.
    console: a rich.console.Console.
    ask_remote: whether remote directories of data are used.
    load: what else there is to load first, if anything.

  Returns:
    the run.Run that the flags describe.
  """
  with _loading(console, "loading TensorFlow (5 to 20 s)"):
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
      gin_directories=_gin_directories(),
      gin_location_prefixes=_gin_location_prefixes(),
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


def _call_with_installation(mode: _Mode, of_mode: dict[str, Any], log: _Log):
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

  locks = _locks()
  installation = doctor.Installation(
      lock=locks[0] if locks else None,
      completion=_completion(),
      model_dir=_model_dir(),
      load=load,
  )
  doctor.doctor(installation, **of_mode)


def _call_with_program(mode: _Mode, of_mode: dict[str, Any], console):
  """Calls a mode that starts this program for what needs TensorFlow."""
  if FLAGS.scale == "small":
    _find_packages()
    loading = contextlib.nullcontext()
  else:  # Cards of the paper's sizes are known to modules that plan.
    loading = _loading(console, "loading TensorFlow (5 to 20 s)")
  with loading:
    from mtf_switch.reproduction import processes  # pylint: disable=g-import-not-at-top

    name, _, function = mode.function.rpartition(".")
    module = importlib.import_module(f"mtf_switch.modes.{name}")
  program = processes.Program(
      [sys.executable, str(pathlib.Path(__file__).resolve())],
      _gin_directories(),
      _flags_for_runs(),
      bool(FLAGS.tpu),
  )
  getattr(module, function)(program, console, **of_mode)


@contextlib.contextmanager
def _loading(console, text: str) -> Iterator[None]:
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


def _check_flags_of_cards():
  """Refuses flags that are settled by the cards of --mode=reproduce."""
  for name in _SETTLED_BY_CARDS + _SETTLED_AT_SMALL_SCALE:
    if not FLAGS[name].present:
      continue
    if name in _SETTLED_BY_CARDS:
      raise _Mistake(
          f"--{name} is of no use to --mode=reproduce: the cards settle it; "
          "--seeds, --rows and --output_dir are for all of their runs."
      )
    if FLAGS.scale == "small":
      raise _Mistake(
          f"--{name} goes with --mode=reproduce at --scale=paper only: small "
          "cards say all of a run."
      )


def _flags_for_runs() -> list[str]:
  """The flags that are passed on to runs at the paper's scale."""
  passed_on = []
  for name in _SETTLED_AT_SMALL_SCALE:
    value = FLAGS[name].value
    if name == "additional_task_cache_dirs":
      value = ",".join(value)
    if FLAGS[name].present:
      values = value if isinstance(value, list) else [value]
      passed_on += [f"--{name}={x}" for x in values]
  return passed_on


def _check_mesh_flags(mode: _Mode):
  """Refuses flags and settings that do not go with a mesh of processes."""
  if mode.needs_model_dir and "TF_CONFIG" in os.environ:
    raise _Mistake(
        "the environment has TF_CONFIG, in which TensorFlow's Estimator would "
        "look for workers of its own; unset it, and name the processes of a "
        "mesh with --mesh_hosts."
    )
  has_hosts = FLAGS.mesh_hosts is not None
  if FLAGS.mesh_task is not None and not has_hosts:
    raise _Mistake("--mesh_task goes with --mesh_hosts only.")
  if has_hosts and not mode.needs_model_dir:
    raise _Mistake(f"--mesh_hosts is of no use to --mode={FLAGS.mode}.")
  if has_hosts and FLAGS.tpu:
    raise _Mistake(
        "--mesh_hosts is for CPUs and GPUs; --tpu finds the hosts of a TPU."
    )


def _check_tpu_flags():
  """Refuses flags of a TPU without a TPU."""
  if FLAGS.tpu:
    return
  if FLAGS.tpu is not None:
    raise _Mistake("--tpu= has no name; leave it out for CPUs and GPUs.")
  for name in ("tpu_zone", "gcp_project", "tpu_job_name"):
    if FLAGS[name].present:
      raise _Mistake(f"--{name} goes with --tpu only.")


def _flags_of(mode: _Mode) -> dict[str, Any]:
  """The flags that are given and that only some modes know, by name."""
  owners = {}
  for name, other in _MODES.items():
    for flag in other.flags:
      owners.setdefault(flag, []).append(f"--mode={name}")
  given = {flag: FLAGS[flag].value for flag in owners if FLAGS[flag].present}
  for flag in given:
    if flag not in mode.flags:
      *others, last = owners[flag]
      modes = f"{', '.join(others)} and {last}" if others else last
      raise _Mistake(f"--{flag} goes with {modes} only.")
  for flag, value in given.items():
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(x, str) and not x.strip() for x in values):
      raise _Mistake(f"--{flag}= has no value; leave it out, or give one.")
  if any(flag not in given for flag in mode.needs):
    needed = " and ".join(f"--{flag}" for flag in mode.needs)
    raise _Mistake(f"--mode={FLAGS.mode} needs {needed}.")
  return given


def _gin_directories() -> list[str]:
  """The project's gin files: in the checkout, or installed."""
  places = [_ROOT / "gin", _ROOT / "mtf_switch" / "gin_files"]
  return [str(place) for place in places if (place / "runs").is_dir()]


def _gin_location_prefixes() -> list[str]:
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
  directories = _gin_directories() + _gin_location_prefixes()
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
  raise _Mistake(
      f"--{flag}={name} is neither in the working directory nor in "
      + (" nor in ".join(directories) or "gin/")
      + (f"; did you mean {' or '.join(near)}?" if near else ".")
  )


def _check_tasks(log: _Log):
  """Refuses a user's own module `tasks`, or notes that it is hidden.

  Python has one module of a name, the first on its path, and run_switch needs
  this project's package.
  """
  tasks = _location(importlib.util.find_spec("tasks"))
  if tasks != _ROOT / "tasks":
    raise _Mistake(
        f"{tasks} comes before this project's package `tasks` on Python's "
        "path; rename yours, or take its directory off PYTHONPATH."
    )
  of_user = [os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
  spec = importlib.machinery.PathFinder.find_spec(
      "tasks", [place for place in of_user if _resolved(place) != _ROOT]
  )
  if not spec:
    return
  for module in FLAGS.module_import:
    if module.split(".")[0] == "tasks":
      raise _Mistake(
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


if __name__ == "__main__":
  main()
