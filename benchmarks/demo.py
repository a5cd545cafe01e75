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

"""The demo: a small Switch Transformer beside its dense twin.

Both are pre-trained on the same batches, by the same program that trains the
paper's models, and evaluated on held-out text. They have the same attention,
initial values, optimizer and FLOPs for each token; each has the learning rate
that was best for it among the same few. One table and one picture compare
them. `make demo` runs it; finished runs are not trained again.
"""

import argparse
from collections.abc import Mapping, Sequence
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

import matplotlib
import rich
from rich import box
from rich import table as rich_table

from benchmarks import contest
from benchmarks import program

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  After the choice of backend.

# In the order of the table, with the name and colour of each.
RUNS = {
    "demo_dense": ("T5 (dense)", "tab:gray"),
    "demo_switch": ("Switch", "tab:blue"),
}
# The directories of a model's runs, one for each seed.
Runs = Mapping[str, Sequence[pathlib.Path]]


def train(name: str, model_dir: pathlib.Path, seed: int):
  """Pre-trains and evaluates one model, as a user would."""
  subprocess.run(
      program.command(
          "--mode=train",
          f"--gin_file=experiments/{name}.gin",
          f"--model_dir={model_dir}",
          f"--seed={seed}",
      ),
      check=True,
  )


def read_lines(model_dir: pathlib.Path, kind: str) -> list[dict[str, Any]]:
  """The lines of one kind of a run's metrics.jsonl."""
  lines = (model_dir / "metrics.jsonl").read_text().splitlines()
  return [x for x in map(json.loads, lines) if x["kind"] == kind]


def summarize(model_dirs: Sequence[pathlib.Path]) -> dict[str, Any]:
  """The figures of one row of the table.

  Args:
    model_dirs: of a model's runs, trained and evaluated, one for each seed.

  Returns:
    parameters and flops_per_sequence of the model; steps; lists with a number
    for each run: neg_log_perplexity of the last evaluation, seconds until then,
    tokens_per_second (the median of training) and fraction_dropped (the mean
    of training, None for a dense model); and evaluations, for each run the
    step, the seconds and the neg_log_perplexity of each.
  """
  model = json.loads((model_dirs[0] / "model.json").read_text())
  training = [read_lines(model_dir, "train") for model_dir in model_dirs]
  evaluations = [read_lines(model_dir, "eval") for model_dir in model_dirs]
  last = [lines[-1] for lines in evaluations]

  def mean_dropped(lines):
    dropped = [x["fraction_dropped"] for x in lines]
    return None if None in dropped else statistics.mean(dropped)

  return {
      "parameters": model["parameters"],
      "flops_per_sequence": model["flops_per_sequence"],
      "steps": last[0]["step"],
      "neg_log_perplexity": [x["neg_log_perplexity"] for x in last],
      "seconds": [x["seconds"] for x in last],
      "tokens_per_second": [
          statistics.median_high(x["tokens_per_second"] for x in lines)
          for lines in training
      ],
      "fraction_dropped": [mean_dropped(lines) for lines in training],
      "evaluations": [
          [[x["step"], x["seconds"], x["neg_log_perplexity"]] for x in lines]
          for lines in evaluations
      ],
  }


def with_spread(values: Sequence[float], form: str) -> str:
  """The mean of several runs, and the greatest distance of one from it."""
  mean = statistics.mean(values)
  if len(values) == 1:
    return format(mean, form)
  return f"{mean:{form}} \u00b1 {max(abs(x - mean) for x in values):{form}}"


def make_table(rows: dict[str, dict[str, Any]]) -> rich_table.Table:
  """The comparison as a table, one row a model."""
  table = rich_table.Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
  table.add_column("model", no_wrap=True)
  for title in (
      "parameters",
      "FLOPs per\nsequence",
      "neg log\nperplexity",
      "seconds",
      "tokens/s",
      "tokens\ndropped",
  ):
    table.add_column(title, justify="right", no_wrap=True)
  for title, row in rows.items():
    dropped = row["fraction_dropped"]
    table.add_row(
        title,
        f"{row['parameters'] / 1e6:.2f}M",
        f"{row['flops_per_sequence'] / 1e6:.0f}M",
        with_spread(row["neg_log_perplexity"], ".3f"),
        f"{statistics.mean(row['seconds']):.0f}",
        f"{statistics.mean(row['tokens_per_second']):,.0f}",
        "-" if None in dropped else f"{statistics.mean(dropped):.1%}",
    )
  return table


def plot(runs: Runs, caption: str, path: pathlib.Path):
  """Draws the learning curves of both models, over steps and over seconds.

  Args:
    runs: the directories of each model of `RUNS`.
    caption: the settings, in a line or two.
    path: the PNG file to write.
  """
  figure, panels = plt.subplots(
      1, 2, figsize=(10, 4.2), layout="constrained", sharey=True
  )
  held_out = []
  for name, model_dirs in runs.items():
    title, color = RUNS[name]
    for number, model_dir in enumerate(model_dirs):
      for kind, style in (
          ("train", dict(alpha=0.25, linewidth=0.8)),
          (
              "eval",
              dict(marker="o", markersize=4, label=None if number else title),
          ),
      ):
        lines = read_lines(model_dir, kind)
        curve = [x["neg_log_perplexity"] for x in lines]
        if kind == "eval":
          held_out += curve
        for axes, key in zip(panels, ("step", "seconds")):
          axes.plot([x[key] for x in lines], curve, color=color, **style)
  for axes, key in zip(panels, ("step", "seconds")):
    axes.set_xlabel(key)
    axes.grid(alpha=0.3)
  # The first steps, from the initial loss, would flatten all the rest.
  panels[0].set_ylim(min(held_out) - 0.3, max(held_out) + 0.3)
  panels[0].set_ylabel("neg log perplexity")
  panels[0].legend(loc="lower right", title="points: held-out text")
  figure.suptitle(caption, fontsize=9)
  figure.savefig(path, dpi=150)
  plt.close(figure)


def caption(rows: Mapping[str, Mapping[str, Any]]) -> str:
  """The settings of the comparison, for its picture."""
  seeds = {len(row["seconds"]) for row in rows.values()}
  row = next(iter(rows.values()))
  return (
      f"{row['steps']} steps of the same batches, "
      f"{row['flops_per_sequence'] / 1e6:.0f}M FLOPs for a sequence in both "
      "models\n"
      + ", ".join(
          f"{title}: {row['parameters'] / 1e6:.1f}M parameters"
          for title, row in rows.items()
      )
      + (f"; {max(seeds)} seeds" if max(seeds) > 1 else "; one seed")
  )


def main():
  """Trains what is not trained yet, then compares."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument(
      "--directory",
      type=pathlib.Path,
      default=contest.PROJECT / "runs" / "demo",
      help="where the runs, the table and the picture go",
  )
  parser.add_argument(
      "--seeds", type=int, default=1, help="how often to train each model"
  )
  parser.add_argument(
      "--fresh", action="store_true", help="train again from the start"
  )
  arguments = parser.parse_args()
  if arguments.seeds < 1:
    parser.error(f"--seeds={arguments.seeds}: at least 1 is needed")
  if arguments.fresh:
    shutil.rmtree(arguments.directory, ignore_errors=True)
  start = time.time()
  runs = {name: [] for name in RUNS}
  for seed in range(arguments.seeds):
    for name in RUNS:
      rich.print(f"[bold]{RUNS[name][0]}[/bold]  experiments/{name}.gin")
      runs[name].append(arguments.directory / f"{name}_seed{seed}")
      try:
        train(name, runs[name][-1], seed)
      except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # It has said why.
      except KeyboardInterrupt:
        sys.exit(130)
  rows = {RUNS[name][0]: summarize(dirs) for name, dirs in runs.items()}
  rich.print(make_table(rows))
  (arguments.directory / "table.json").write_text(json.dumps(rows, indent=2))
  picture = arguments.directory / "learning_curves.png"
  plot(runs, caption(rows), picture)
  print(f"Learning curves: {picture}")
  print(f"Trained and evaluated in {time.time() - start:.0f} s.")


if __name__ == "__main__":
  main()
