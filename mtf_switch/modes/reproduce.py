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

"""The mode that asks of the paper's tables and figures whether they hold here.

It starts this program for each run and loads no TensorFlow until then, so that
--dry_run answers at once.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import datetime
import os
import pathlib
import shlex
import statistics
import time
from typing import Literal

import rich.console

from mtf_switch import errors
from mtf_switch import terminal
from mtf_switch.reproduction import agenda as agenda_lib
from mtf_switch.reproduction import configurations
from mtf_switch.reproduction import estimates
from mtf_switch.reproduction import output_dir as output_dir_lib
from mtf_switch.reproduction import paper_runs
from mtf_switch.reproduction import pool
from mtf_switch.reproduction import processes
from mtf_switch.reproduction import questions as questions_lib
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import runs as runs_lib
from mtf_switch.reproduction import small_card
from mtf_switch.reproduction import small_cards
from mtf_switch.training import lock
from mtf_switch.training import progress

_SECONDS_BETWEEN_LOOKS = 0.5
# In a checkout, the project's own records.
_RESULTS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks/results"
_RECORDS = _RESULTS / "reproduction"
_PILOTS = _RESULTS / "reproduction_pilots"


def reproduce(
    program: processes.Program,
    console: rich.console.Console,
    experiment: Sequence[str],
    seeds: str | None = None,
    rows: Sequence[str] = (),
    scale: Literal["small", "paper"] = "small",
    output_dir: str = "reproduction",
    dry_run: bool = False,
):
  """Makes the runs of some questions that are missing, and shows the answers.

  Runs go on side by side, one on each core that this process may use; contests
  of speed follow, alone on all cores. Every run leaves a record. A run that
  fails leaves one that says why, and is tried again by the next command.

  Args:
    program: this program, as it starts itself.
    console: the console for progress.
    experiment: names of questions, or "all".
    seeds: see runs.parse_seeds.
    rows: names of the cards that count; all of them if empty.
    scale: "paper" for the paper's own sizes: runs follow one another on a TPU,
      and leave no records.
    output_dir: the directory for runs and records.
    dry_run: whether to say only what would be done.

  Raises:
    UserError: a name is unknown, output_dir is something else's or in use, a
      record is damaged, the disk is full, or runs failed; the paper's scale
      without a TPU.
    Stopped: there was a signal; runs that had begun go on later.
  """
  which = runs_lib.parse_seeds(seeds)
  if scale == "paper":
    # Here and not above: plans load TensorFlow.
    from mtf_switch.reproduction import paper_cards  # pylint: disable=g-import-not-at-top

    cards = paper_runs.select(experiment, rows, paper_cards.PAPER_CARDS)
    runs = paper_runs.of_cards(cards, which, output_dir)
    _run_on_tpu(program, runs, dry_run, console)
    return
  chosen = runs_lib.select(experiment, questions_lib.QUESTIONS)
  published_files = os.environ.get(small_card.PUBLISHED_FILES)
  if not published_files:
    chosen, left_out = runs_lib.without_published(
        chosen, experiment, small_cards.SMALL_CARDS
    )
    if left_out:
      terminal.say(
          console,
          f"{', '.join(left_out)}: left out, since"
          f" {small_card.PUBLISHED_FILES} names no published files.",
      )
  runs_lib.check_rows(rows, chosen)
  output_dir_lib.check(output_dir)

  elsewhere = records_lib.read_all(str(_RECORDS))

  def make_agenda():
    return agenda_lib.make(
        chosen,
        which,
        rows,
        small_cards.SMALL_CARDS,
        program.gin_directories,
        output_dir,
        elsewhere,
    )

  cores = sorted(os.sched_getaffinity(0))
  agenda = make_agenda()
  if dry_run:
    _show_agenda(agenda, len(cores), console)
    return
  failures = {}
  if agenda.to_make:
    with _opened(output_dir) as descriptor:
      agenda = make_agenda()  # Another process may have ended just now.
      work = _Work(
          program, output_dir, agenda, descriptor, published_files, console
      )
      failures = work.make(cores)
      agenda = make_agenda()
  _show_results(agenda, console)
  if failures:
    run, reason = next(iter(failures.items()))
    raise errors.UserError(
        f"{len(failures)} of {_runs(work.count)} did not come to an end,"
        f" first {run}: {reason.rstrip('.')}. The same command tries them"
        " again."
    )


@contextlib.contextmanager
def _opened(output_dir: str) -> Iterator[int]:
  """Holds a directory for this reproduction alone, and marks it."""
  with contextlib.ExitStack() as stack:
    try:
      descriptor = stack.enter_context(
          lock.hold(output_dir, "reproducing", "--output_dir")
      )
      output_dir_lib.mark(output_dir)
    except OSError as error:
      raise errors.UserError(
          f"--output_dir={output_dir} cannot be written: {error.strerror}."
      ) from error
    yield descriptor


def _run_on_tpu(
    program: processes.Program,
    runs: Sequence[paper_runs.PaperRun],
    dry_run: bool,
    console: rich.console.Console,
):
  """Prints the commands of runs, or runs them one after the other."""
  if not dry_run and not program.has_tpu:
    raise errors.UserError(
        f"--scale=paper has {_runs(len(runs))} for TPUs; name one with --tpu, "
        "or list the commands with --dry_run."
    )
  cores = os.sched_getaffinity(0)
  for run in runs:
    arguments = [*run.flags, *program.flags]
    terminal.say(console, shlex.join(["run_switch", *arguments]))
    if dry_run:
      continue
    process = processes.Process([*program.command, *arguments], cores)
    try:
      status = process.wait()
    except BaseException:
      process.stop()
      process.wait()
      raise
    if status:
      raise errors.UserError(
          f"{run.card}, seed {run.seed}, ended with status {status}; the same "
          "command goes on with it."
      )
  terminal.say(console, f"{_runs(len(runs))}.")


class _Work:
  """The runs that are made: started, shown, recorded.

  Attributes:
    count: how many there are.
    failures: by run, why it has failed or was left out.
  """

  def __init__(
      self,
      program: processes.Program,
      output_dir: str,
      agenda: agenda_lib.Agenda,
      descriptor: int,
      published_files: str | None,
      console: rich.console.Console,
  ):
    self._program = program
    self._output_dir = os.path.abspath(output_dir)
    self._published_files = small_card.PUBLISHED_PLACE
    if published_files:
      self._published_files = os.path.abspath(published_files)
    self._agenda = agenda
    self._descriptor = descriptor
    self._cards = small_cards.SMALL_CARDS
    self._usable = {
        run for run, x in agenda.records.items() if x.diverged is None
    }
    self._display = _Display(agenda, self._output_dir, console)
    self._started = {}
    self.count = len(agenda.to_make)
    self.failures: dict[runs_lib.Run, str] = {}

  def make(self, cores: Sequence[int]) -> Mapping[runs_lib.Run, str]:
    """Makes the runs and returns `failures`."""
    try:
      with self._display:
        self._display.load()
        pool.make(
            self._agenda.to_make,
            cores,
            lambda run: runs_lib.needs_of(run, self._cards),
            lambda run: run in self._usable,
            self._start,
            self._finish,
            self._leave_out,
            self._display.look,
        )
    except KeyboardInterrupt:
      raise errors.Stopped(
          f"stopped; {self._display.count}. Run the same command to go on."
      ) from None
    except Exception as error:  # pylint: disable=broad-exception-caught
      # Here and not above: it loads TensorFlow.
      from mtf_switch import files  # pylint: disable=g-import-not-at-top

      reason = files.explain(error)
      if not reason:
        raise
      raise errors.UserError(
          f"{reason}. {self._display.count}, and nothing is lost; once that is"
          " mended, run the same command to go on."
      ) from error
    return self.failures

  def _start(self, run: runs_lib.Run, cores: Sequence[int]):
    output_dir_lib.prepare(
        self._output_dir,
        run,
        self._agenda.configurations[run.card],
        afresh=run.is_timed,
    )
    self._usable.discard(run)
    self._started[run] = (
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        len(cores),
    )
    self._display.begin(run)
    return processes.Process(
        [
            *self._program.command,
            *runs_lib.flags(
                self._output_dir, run, self._cards, self._published_files
            ),
            *self._program.flags,
        ],
        cores,
        output_dir_lib.output(self._output_dir, run),
        [self._descriptor],
    )

  def _finish(self, run: runs_lib.Run, status: int):
    # Here and not above: it loads TensorFlow.
    from mtf_switch.reproduction import outcomes  # pylint: disable=g-import-not-at-top

    failure = None
    if status:
      output = output_dir_lib.output(self._output_dir, run)
      failure = processes.explain(status, output)
    started, num_cores = self._started.pop(run)
    record = outcomes.record_of(
        run,
        self._cards,
        self._output_dir,
        configurations.text_of(
            configurations.gin_file(run.card), self._program.gin_directories
        ),
        self._agenda.configurations[run.card],
        started,
        num_cores,
        failure,
        self._published_files,
    )
    # One that was made again for its weights has a record already.
    if record.failed is None or run not in self._agenda.records:
      records_lib.write(output_dir_lib.records(self._output_dir), record)
    self._display.end(run, record)
    if record.failed is not None:
      self.failures[run] = record.failed
      return
    if record.diverged is None:
      self._usable.add(run)
    output_dir_lib.prune(
        self._output_dir, run, runs_lib.is_needed(run.card, self._cards)
    )

  def _leave_out(self, run: runs_lib.Run, needed: runs_lib.Run):
    self.failures[run] = f"it needs {needed}, which has no weights to use"
    self._display.leave_out(run, self.failures[run])


class _Display:
  """One display over all runs: bars on a terminal, elsewhere a line a run."""

  def __init__(
      self,
      agenda: agenda_lib.Agenda,
      output_dir: str,
      console: rich.console.Console,
  ):
    self._agenda = agenda
    self._output_dir = output_dir
    self._is_terminal = console.is_terminal
    self._display = progress.Display(console)
    self._num_cores = len(os.sched_getaffinity(0))
    self._bars: dict[runs_lib.Run, contextlib.ExitStack] = {}
    self._reports: dict[runs_lib.Run, progress.Report] = {}
    self._unfinished = dict.fromkeys(agenda.to_make)
    self._records = list(agenda.records.values())
    self._estimate = agenda.estimate

  def __enter__(self):
    self._display.__enter__()
    return self

  def __exit__(self, *exception):
    for bar in self._bars.values():
      bar.close()
    self._display.__exit__(*exception)

  @property
  def count(self) -> str:
    """How many runs are made."""
    total = len(self._agenda.to_make)
    return f"{total - len(self._unfinished)} of {_runs(total)} made"

  def load(self):
    """Loads what is needed when runs end, before their time is taken."""
    with self._display.working("loading TensorFlow (5 to 20 s)"):
      from mtf_switch.reproduction import outcomes  # noqa: F401  pylint: disable=g-import-not-at-top

  def begin(self, run: runs_lib.Run):
    """Shows that a run begins."""
    if self._is_terminal:
      self._bars[run] = contextlib.ExitStack()
      self._reports[run] = self._bars[run].enter_context(
          self._display.working(str(run), self._agenda.steps_of(run), "steps")
      )

  def end(self, run: runs_lib.Run, record: records_lib.Record):
    """Shows how a run has ended."""
    self._records.append(record)
    self._estimate = estimates.by_records(self._records, self._agenda.steps_of)
    self._remove(run)
    self._display.note(
        f"{run}: {_outcome(record)}, {progress.duration(record.seconds)};"
        f" {self.count}, about {self._left({})} left"
    )

  def leave_out(self, run: runs_lib.Run, reason: str):
    """Shows that a run is not made."""
    self._remove(run)
    self._display.note(f"{run}: left out, {reason}")

  def look(
      self, going: Sequence[runs_lib.Run], waiting: Sequence[runs_lib.Run]
  ):
    """Shows how far the runs are, and waits."""
    del waiting
    if self._is_terminal:
      shares = {}
      for run in going:
        steps = output_dir_lib.steps_done(self._output_dir, run)
        self._reports[run](steps)
        shares[run] = min(steps / self._agenda.steps_of(run), 1.0)
      self._show_count(shares)
    time.sleep(_SECONDS_BETWEEN_LOOKS)

  def _show_count(self, shares: Mapping[runs_lib.Run, float]):
    total = len(self._agenda.to_make)
    done = total - len(self._unfinished)
    self._display.steps("runs", done, total, f"about {self._left(shares)} left")

  def _left(self, shares: Mapping[runs_lib.Run, float]) -> str:
    return progress.duration(
        estimates.left(
            self._unfinished, self._estimate, self._num_cores, shares
        )
    )

  def _remove(self, run: runs_lib.Run):
    del self._unfinished[run]
    if bar := self._bars.pop(run, None):
      bar.close()
      del self._reports[run]
      self._show_count({})


def _outcome(record: records_lib.Record) -> str:
  """What a run has come to, in a few words."""
  if record.failed is not None:
    return f"failed, {record.failed}"
  if record.diverged is not None:
    return f"diverged at step {record.diverged}"
  if record.kind == records_lib.SPEED:
    return f"{record.figures['tokens_per_second']:,.0f} tokens/s"
  if record.scores:
    best = statistics.fmean(x["value"] for x in record.scores.values())
    return f"best score {best:.2f}"
  if not record.evaluations:
    return f"{record.figures['steps']} steps, no evaluation"
  last = record.evaluations[-1]
  if last["neg_log_perplexity"] is None:
    return f"no finite quality at step {last['step']}"
  return f"{last['neg_log_perplexity']:.4f} at step {last['step']}"


def _show_agenda(
    agenda: agenda_lib.Agenda, num_cores: int, console: rich.console.Console
):
  """Says how many runs are to be made, and how long that takes."""
  terminal.table(
      console,
      ["experiment", "cards", "runs", "to make", "hours of a core"],
      [
          [
              part.question.name,
              str(len({run.card for run in part.runs})),
              str(len(part.runs)),
              str(len(part.to_make)),
              _hours(sum(map(agenda.estimate, part.to_make))),
          ]
          for part in agenda.parts
      ],
  )
  cores = "1 core" if num_cores == 1 else f"{num_cores} cores"
  terminal.say(
      console,
      f"{_runs(len(agenda.to_make))} to make (what several experiments share"
      f" counts for the first): about {_hours(agenda.seconds(num_cores))} hours"
      f" on {cores}, {agenda.basis}.",
  )
  asked = {run for part in agenda.parts for run in part.runs}
  for runs, what in (
      (agenda.changed, "made with other settings of the cards"),
      (agenda.failed, "failed before"),
  ):
    if number := len(asked.intersection(runs)):
      terminal.say(console, f"{_runs(number)} {what}, to be made again.")


def _show_results(agenda: agenda_lib.Agenda, console: rich.console.Console):
  """Shows tables and verdicts, and the runs that did not come to their end."""
  # Here and not above: it loads SciPy.
  from mtf_switch.reproduction import results_page  # pylint: disable=g-import-not-at-top

  ended = [*agenda.records.values(), *agenda.failed.values()]
  pilots = records_lib.read_all(str(_PILOTS))
  for part in agenda.parts:
    results_page.terminal_table(part.question, ended, console, pilots)
    for record in ended:
      run = runs_lib.of_record(record)
      early = record.failed is not None or record.diverged is not None
      if early and run in part.runs:
        terminal.say(console, f"{run}: {_outcome(record)}")


def _runs(number: int) -> str:
  return "1 run" if number == 1 else f"{number} runs"


def _hours(seconds: float) -> str:
  return f"{seconds / 3600:.2f}"
