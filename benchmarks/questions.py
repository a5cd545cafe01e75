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

"""Goals, results and the command line that all questions share.

A module of this package asks one question and answers it with Findings, which
are written to benchmarks/results/<question>.json and turned into tables by
tables.py.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import datetime
import json
import pathlib
import platform
import sys
from typing import Any

from benchmarks import contest
from benchmarks import tables
from benchmarks.contenders import worker
from mtf_switch import machine


@dataclasses.dataclass(frozen=True)
class Findings:
  """The answer to a question.

  Attributes:
    shapes: the sizes, by name.
    rows: the measurements, with the keys that tables.COLUMNS reads.
    goals: from `goal`.
    peak: FLOP/s of a matrix product; None if nothing is compared to it.
  """

  shapes: Mapping[str, Any]
  rows: Sequence[Mapping[str, Any]]
  goals: Sequence[Mapping[str, Any]]
  peak: float | None = None


@dataclasses.dataclass(frozen=True)
class Question:
  """A question.

  Attributes:
    name: the name of its module and of its results file.
    text: the question; its first line is shown.
    rounds: how often each contender is timed.
    answer: a function of a Contest, whether to use tiny sizes, and the number
      of rounds; returns Findings.
  """

  name: str
  text: str
  rounds: int
  answer: Callable[[contest.Contest, bool, int], Findings]


def goal(
    what: str,
    measured: float | None,
    at_most: float | None = None,
    at_least: float | None = None,
    unit: str = "x",
) -> dict[str, Any]:
  """A goal of the project beside the measured value.

  Args:
    what: a description of the figure.
    measured: its value; None if a contender is missing.
    at_most: the upper limit, or
    at_least: the lower limit. With neither the figure is shown without verdict.
    unit: the unit of the figure.

  Returns:
    the goal's entry in the results.
  """
  return {
      "what": what,
      "measured": measured,
      "at_most": at_most,
      "at_least": at_least,
      "unit": unit,
  }


def ratio(numerator: float, denominator: float | None) -> float | None:
  """A quotient; None if the denominator's contender is missing."""
  return None if denominator is None else numerator / denominator


def answer(
    question: Question,
    servers: contest.Servers,
    quick: bool,
    rounds: int | None = None,
) -> dict[str, Any]:
  """Measures the answer to a question.

  Args:
    question: the question.
    servers: the contenders' servers.
    quick: whether to use tiny sizes and a single round.
    rounds: how often each contender is timed; None for the default.

  Returns:
    the results, ready for JSON.
  """
  rounds = rounds or (1 if quick else question.rounds)
  contest_ = contest.Contest(servers)
  findings = question.answer(contest_, quick, rounds)
  versions = {"python": platform.python_version()}
  for result in contest_.results:
    versions.update(result.versions)
  return {
      "question": question.name,
      "command": (
          f"python -m benchmarks.{question.name}"
          f"{' --quick' * quick} --rounds={rounds}"
      ),
      "date": datetime.date.today().isoformat(),
      "device": machine.device(),
      "threads": worker.num_threads(),
      "versions": versions,
      "rounds": rounds,
      "shapes": dict(findings.shapes),
      "skipped": contest_.skipped,
      "peak_flops_per_second": findings.peak,
      "goals": list(findings.goals),
      "rows": list(findings.rows),
  }


def run(questions: Sequence[Question], argv: Sequence[str] | None = None):
  """Answers questions, prints the results and writes them to files.

  A quick run measures nothing worth keeping, so it writes files only if it is
  told where.

  Args:
    questions: the questions, in order.
    argv: the arguments; None for those of the process.
  """
  parser = argparse.ArgumentParser(
      description=" ".join(q.text.split("\n", 1)[0] for q in questions)
  )
  parser.add_argument(
      "--quick",
      action="store_true",
      help="tiny sizes and one round, to check that it works; prints only",
  )
  parser.add_argument(
      "--rounds", type=int, help="how often each contender is timed"
  )
  parser.add_argument(
      "--directory",
      type=pathlib.Path,
      help="where to write the results; benchmarks/results/ by default, or"
      " nowhere with --quick",
  )
  arguments = parser.parse_args(argv)
  directory = arguments.directory
  if directory is None and not arguments.quick:
    directory = contest.RESULTS
  if directory:
    directory.mkdir(parents=True, exist_ok=True)
  try:
    with contest.Servers() as servers:
      for question in questions:
        record = answer(question, servers, arguments.quick, arguments.rounds)
        if directory:
          path = directory / f"{question.name}.json"
          path.write_text(json.dumps(record, indent=1) + "\n")
        print(f"\n{question.text.split(chr(10), 1)[0]}\n")
        print(f"{tables.render(record)}\n\n{tables.render_goals([record])}")
  except contest.ContenderError as error:
    sys.exit(str(error))
  except KeyboardInterrupt:
    sys.exit(130)
