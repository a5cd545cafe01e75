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

"""Table 6 in small: how much of its teacher's gain does a student keep?

  python -m benchmarks.distillation --seeds=3

trains the sparse model of `make demo`, its dense twin alone, and the twin as a
student in the ways of Table 6, for each seed with the same batches and steps.
What is trained is not trained again, so that the same command goes on after an
interruption. The figures are in benchmarks/results/distillation.json, and as a
table in docs/distillation.md.
"""

import argparse
from collections.abc import Mapping, Sequence
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
from typing import Any, NamedTuple

import tensorflow as tf

from benchmarks import contest
from benchmarks import demo
from benchmarks import program

_RESULTS = contest.RESULTS / "distillation.json"
# The seeds of the pilot. No other comparison uses them.
_FIRST_SEED = 100
_STEPS = 1000


class _Kind(NamedTuple):
  """A row of the table.

  Attributes:
    title: its name.
    paper: the negative log perplexity in Table 6.
    soft_fraction: of the loss; None for a run without a teacher.
    initialize: whether the student starts from the teacher's weights but for
      its experts.
  """

  title: str
  paper: float
  soft_fraction: float | None = None
  initialize: bool = False


KINDS = {
    "alone": _Kind("T5 alone", -1.636),
    "teacher": _Kind("Switch, the teacher", -1.444),
    "soft": _Kind("distillation", -1.631, 1.0),
    "soft_from_teacher": _Kind(
        "+ non-expert weights from the teacher", -1.598, 1.0, True
    ),
    "mix_from_teacher": _Kind("+ 0.75 hard, 0.25 soft", -1.580, 0.25, True),
    # A soft fraction of 0 is ordinary training.
    "from_teacher": _Kind(
        "non-expert weights from the teacher, no distillation",
        -1.639,
        0.0,
        True,
    ),
}


def arguments_of(
    name: str, directories: Mapping[str, pathlib.Path], seed: int, steps: int
) -> list[str]:
  """The arguments of run_switch for a run.

  Args:
    name: one of KINDS.
    directories: the model_dir of each of KINDS.
    seed: of all its runs.
    steps: of each.
  """
  kind = KINDS[name]
  params = [
      f"train_steps = {steps}",
      f"train.eval_every = {steps // 2}",
      f"train.save_checkpoints_steps = {steps // 2}",
  ]
  if kind.soft_fraction is None:
    mode = "train"
    file = "demo_switch" if name == "teacher" else "demo_dense"
  else:
    mode = "distill"
    file = "distill_demo"
    params += [
        f"teacher_dir = {str(directories['teacher'])!r}",
        f"distill.soft_fraction = {kind.soft_fraction}",
        f"distill.initialize_from_teacher = {kind.initialize}",
    ]
  return [
      f"--mode={mode}",
      f"--model_dir={directories[name]}",
      f"--gin_file=experiments/{file}.gin",
      f"--seed={seed}",
      *(f"--gin_param={x}" for x in params),
  ]


def is_done(model_dir: pathlib.Path, steps: int) -> bool:
  """Whether a run has its last evaluation."""
  if not (model_dir / "metrics.jsonl").exists():
    return False
  return any(x["step"] == steps for x in demo.read_lines(model_dir, "eval"))


def summarize(
    runs: Mapping[str, Sequence[pathlib.Path]],
) -> dict[str, dict[str, Any]]:
  """The figures of each of KINDS.

  Args:
    runs: the model_dirs of each of KINDS, one for each seed, in order.

  Returns:
    by the names of KINDS: its title, and lists with a number for each seed:
    evaluations, the step and the neg_log_perplexity on held-out text of each;
    neg_log_perplexity, the last of them; share, how far that is from the
    student alone (0) to the teacher (1); and agreement, the mean over the last
    ten "train" lines, None without a teacher.
  """
  rows = {}
  for name, model_dirs in runs.items():
    evaluations = [
        [
            [x["step"], x["neg_log_perplexity"]]
            for x in demo.read_lines(model_dir, "eval")
        ]
        for model_dir in model_dirs
    ]
    rows[name] = {
        "title": KINDS[name].title,
        "neg_log_perplexity": [x[-1][1] for x in evaluations],
        "agreement": [_agreement(model_dir) for model_dir in model_dirs],
        "evaluations": evaluations,
    }
  worst, best = (rows[x]["neg_log_perplexity"] for x in ("alone", "teacher"))
  for row in rows.values():
    row["share"] = [
        (x - low) / (high - low)
        for x, low, high in zip(row["neg_log_perplexity"], worst, best)
    ]
  return rows


def _agreement(model_dir: pathlib.Path) -> float | None:
  lines = demo.read_lines(model_dir, "train")[-10:]
  if "distillation" not in lines[-1]:
    return None
  return statistics.mean(x["distillation"]["agreement"] for x in lines)


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
  """The rows as a table in Markdown, beside those of the paper.

  Args:
    rows: from summarize.
  """
  low, high = KINDS["alone"].paper, KINDS["teacher"].paper
  lines = [
      "| | neg log perplexity | share of the gain | Table 6 | share |",
      "|---|---:|---:|---:|---:|",
  ]
  for name, row in rows.items():
    paper = KINDS[name].paper
    cells = (
        row["title"],
        demo.with_spread(row["neg_log_perplexity"], ".3f"),
        demo.with_spread(row["share"], ".0%"),
        f"{paper:.3f}",
        f"{(paper - low) / (high - low):.0%}",
    )
    lines.append(f"| {' | '.join(cells)} |")
  return "\n".join(lines)


def main():
  """Trains what is not trained yet, then compares."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument(
      "--directory",
      type=pathlib.Path,
      default=contest.PROJECT / "runs" / "distillation",
      help="where the runs go",
  )
  parser.add_argument("--seeds", type=int, default=3, help="how many")
  parser.add_argument("--steps", type=int, default=_STEPS, help="of each run")
  parser.add_argument("--results", type=pathlib.Path, default=_RESULTS)
  arguments = parser.parse_args()
  seeds = range(_FIRST_SEED, _FIRST_SEED + arguments.seeds)
  runs = {name: [] for name in KINDS}
  for seed in seeds:
    directories = {x: arguments.directory / f"{x}_seed{seed}" for x in KINDS}
    for name, model_dir in directories.items():
      runs[name].append(model_dir)
      if is_done(model_dir, arguments.steps):
        continue
      try:
        subprocess.run(
            program.command(
                *arguments_of(name, directories, seed, arguments.steps)
            ),
            check=True,
        )
      except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # It has said why.
      except KeyboardInterrupt:
        sys.exit(130)
  rows = summarize(runs)
  record = {
      "command": (
          f"python -m benchmarks.distillation --seeds={arguments.seeds}"
          f" --steps={arguments.steps}"
      ),
      "date": datetime.date.today().isoformat(),
      "cores": os.cpu_count(),
      "python": platform.python_version(),
      "tensorflow": tf.__version__,
      "seeds": list(seeds),
      "steps": arguments.steps,
      "rows": rows,
  }
  arguments.results.write_text(json.dumps(record, indent=1) + "\n")
  print(table(rows))


if __name__ == "__main__":
  main()
