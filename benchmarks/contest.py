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

"""Times contenders in turn, so that noise affects all of them alike.

Each entrant is a process (see contenders/worker.py). All of them are built and
warmed up before the first round; each round then times every run of every
entrant once.
"""

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import rich
import rich.progress

from benchmarks.contenders import forms

PROJECT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = PROJECT / "benchmarks" / "results"
PEERS_PYTHON = PROJECT / ".venv-peers" / "bin" / "python"

# The modules of contenders/ and their names in the tables.
TITLES = {
    "ours": "mtf_switch",
    "mesh_tensorflow": "mesh-tensorflow",
    "hugging_face": "Hugging Face",
}
# The forms of Hugging Face, in the labels of its entrants.
EAGER, FASTEST = "eager", "fastest"


def title(row: Mapping[str, Any]) -> str:
  """The contender of a results row, with its form if it has several."""
  name = TITLES[row["contender"]]
  return f"{name}, {row['form']}" if "form" in row else name


class ContenderError(Exception):
  """A contender has ended early; the message has the end of its log."""


@dataclasses.dataclass(frozen=True)
class Entrant:
  """One process of a contest.

  Attributes:
    contender: a module of contenders/.
    work: one of the module's works.
    options: its arguments.
    label: the keys that identify this entrant in a row of the results.
  """

  contender: str
  work: str
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  label: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def matmul_entrants(quick: bool) -> list[Entrant]:
  """The entrants that measure the speed of a matrix product."""
  options = {"size": 256 if quick else 2048}
  return [Entrant(c, "matmul", options) for c in ("ours", "hugging_face")]


def entrants_of(
    contender: str,
    work: str,
    options: Mapping[str, Any],
    label: Mapping[str, Any],
) -> list[Entrant]:
  """A contender's entrants for a work: one, or two of Hugging Face.

  Args:
    contender: a module of contenders/.
    work: one of its works.
    options: the work's arguments.
    label: see Entrant; the labels of Hugging Face's also have the form.

  Returns:
    the entrants.
  """
  if contender != "hugging_face":
    return [Entrant(contender, work, options, label)]
  return [
      Entrant(
          contender, work, {**options, "form": form}, {**label, "form": name}
      )
      for name, form in ((EAGER, []), (FASTEST, forms.FASTEST[work]))
  ]


@dataclasses.dataclass(frozen=True)
class Result:
  """The measurements of one entrant.

  Attributes:
    entrant: the entrant.
    facts: the facts of its work.
    versions: the versions of its libraries.
    seconds: the times of each run by its name, one for each round.
    peak_bytes: the process's peak memory minus its size before the work was
      built.
  """

  entrant: Entrant
  facts: Mapping[str, Any]
  versions: Mapping[str, str]
  seconds: Mapping[str, Sequence[float]]
  peak_bytes: int

  def median(self, run: str) -> float:
    """The median time of a run, in seconds."""
    return statistics.median(self.seconds[run])

  def row(self, run: str) -> dict[str, Any]:
    """The columns of a results row that all questions share."""
    return {
        "contender": self.entrant.contender,
        **self.entrant.label,
        "seconds": spread(self.seconds[run]),
        "peak_bytes": self.peak_bytes,
    }


def without_missing(
    entrants: Sequence[Entrant], peers_python: pathlib.Path = PEERS_PYTHON
) -> tuple[list[Entrant], list[str]]:
  """Leaves out the entrants that cannot run.

  Args:
    entrants: the entrants.
    peers_python: the interpreter with Hugging Face's libraries.

  Returns:
    the entrants that can run, and messages about those that cannot.
  """
  if peers_python.exists():
    return list(entrants), []
  kept = [e for e in entrants if e.contender != "hugging_face"]
  if len(kept) == len(entrants):
    return kept, []
  return kept, [
      "Hugging Face is skipped: there is no .venv-peers; `make bench-peers`"
      " installs it."
  ]


class Servers:
  """A context manager of the contenders' servers, started on demand."""

  def __init__(self):
    self._servers = {}
    self._stack = contextlib.ExitStack()

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self._stack.close()

  def start(self, contender: str) -> "_Server":
    """Returns a contender's server, which may still be loading libraries."""
    if contender not in self._servers:
      self._servers[contender] = self._stack.enter_context(_Server(contender))
    return self._servers[contender]


class Contest:
  """Rounds of measurements between entrants.

  Attributes:
    results: the results of all entrants so far.
    skipped: messages about entrants that could not run.
  """

  def __init__(self, servers: Servers):
    self.results = []
    self.skipped = []
    self._servers = servers

  def hold(
      self, title: str, entrants: Sequence[Entrant], rounds: int
  ) -> list[Result]:
    """Builds all entrants, then times each of them once a round.

    Args:
      title: the label of the progress bar.
      entrants: the entrants.
      rounds: how often each is timed.

    Returns:
      the results of the entrants that could run.

    Raises:
      ContenderError: an entrant has ended early.
    """
    entrants, skipped = without_missing(entrants)
    for line in skipped:
      if line not in self.skipped:
        rich.print(line)
        self.skipped.append(line)
    # All servers load their libraries at the same time.
    servers = [self._servers.start(entrant.contender) for entrant in entrants]
    with contextlib.ExitStack() as stack:
      progress = stack.enter_context(_progress())
      task = progress.add_task(title, total=len(entrants) * (rounds + 1))
      processes, built = [], []
      # Built one at a time: the largest do not all fit into memory at once.
      for entrant, server in zip(entrants, servers):
        process = stack.enter_context(_Process(server, entrant.work))
        processes.append(process)
        built.append(
            process.ask({"work": entrant.work, "options": entrant.options})
        )
        progress.advance(task)
      seconds = [{run: [] for run in x["runs"]} for x in built]
      peaks = [0] * len(entrants)
      for _ in range(rounds):
        for i, process in enumerate(processes):
          for run in seconds[i]:
            answer = process.ask({"run": run})
            seconds[i][run].append(answer["seconds"])
            peaks[i] = answer["peak_bytes"]
          progress.advance(task)
    results = [
        Result(entrant, x["facts"], x["versions"], *measured)
        for entrant, x, *measured in zip(entrants, built, seconds, peaks)
    ]
    self.results += results
    return results


class _Server:
  """A contender's server, killed on leaving the context."""

  def __init__(self, contender: str):
    self._title = TITLES[contender]
    python = PEERS_PYTHON if contender == "hugging_face" else sys.executable
    self._log = tempfile.TemporaryFile()
    self._process = subprocess.Popen(
        [python, "-m", f"benchmarks.contenders.{contender}"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=self._log,
        stderr=self._log,
        text=True,
    )

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self._process.kill()
    self._process.communicate()
    self._log.close()

  def fork(self) -> socket.socket:
    """Forks the server and returns a connection to the new process."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX) as listener,
    ):
      path = f"{directory}/socket"
      listener.bind(path)
      listener.listen()
      listener.settimeout(1.0)
      print(path, file=self._process.stdin, flush=True)
      while self._process.poll() is None:
        with contextlib.suppress(TimeoutError):
          connection = listener.accept()[0]
          connection.settimeout(None)
          return connection
    raise self.failed("ended while loading its libraries.")

  def failed(self, what: str) -> ContenderError:
    """Returns the error for a failure, with the end of the log before it."""
    self._log.seek(0)
    log = self._log.read().decode(errors="replace").splitlines()[-30:]
    return ContenderError("\n".join([*log, f"{self._title} {what}"]))


class _Process:
  """An entrant's process, which ends on leaving the context."""

  def __init__(self, server: _Server, work: str):
    self._server = server
    self._work = work
    self._connection = server.fork()
    self._file = self._connection.makefile("rw", buffering=1)

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    # The worker reads the end of its input and exits.
    self._connection.shutdown(socket.SHUT_RDWR)
    self._file.close()
    self._connection.close()

  def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
    """Sends a request and waits for the answer.

    Args:
      request: a request as in worker.serve.

    Returns:
      the answer.

    Raises:
      ContenderError: the process has ended.
    """
    with contextlib.suppress(ConnectionError):
      print(json.dumps(request), file=self._file)
      answer = self._file.readline()
      if answer:
        return json.loads(answer)
    raise self._server.failed(f"ended during {self._work!r}.")


def _progress() -> rich.progress.Progress:
  return rich.progress.Progress(
      rich.progress.TextColumn("{task.description}"),
      rich.progress.BarColumn(),
      rich.progress.TimeElapsedColumn(),
      transient=True,
  )


def spread(values: Sequence[float]) -> dict[str, float]:
  """The median and the quartiles of measurements.

  Args:
    values: one value or more.

  Returns:
    "median", "lower" and "upper".
  """
  lower, median, upper = (
      statistics.quantiles(values, n=4, method="inclusive")
      if len(values) > 1
      else values * 3
  )
  return {"median": median, "lower": lower, "upper": upper}


def peak_of(results: Sequence[Result]) -> float:
  """The FLOP/s of the fastest matrix product among the results."""
  return max(
      result.facts["matmul_flops"] / result.median("matmul")
      for result in results
      if "matmul" in result.seconds
  )


def add_rate(row: dict[str, Any], flops: float, peak: float):
  """Adds the useful FLOP/s to a row, and their share of the peak.

  Args:
    row: a row with "seconds".
    flops: the FLOPs of a run, without padding and one-hot matrices.
    peak: the peak FLOP/s, from `peak_of`.
  """
  row["flops_per_second"] = flops / row["seconds"]["median"]
  row["share_of_peak"] = row["flops_per_second"] / peak
