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

Both are pre-trained on the same batches of the embedded corpus, by the same
program that trains the paper's models, and evaluated on a held-out split. Then
one table and one picture compare them. `make demo` runs it; what is already
trained is not trained again.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time
from typing import Any

import matplotlib
import rich
from rich import box
from rich import table as rich_table

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  After the choice of backend.

PROJECT = pathlib.Path(__file__).resolve().parent.parent
# In the order of the table, with the name and colour of each.
RUNS = {
    "demo_dense": ("T5 (dense)", "tab:gray"),
    "demo_switch": ("Switch", "tab:blue"),
}


def train(name: str, model_dir: pathlib.Path):
  """Pre-trains and evaluates one model, as a user would."""
  subprocess.run(
      [
          sys.executable,
          PROJECT / "run_switch.py",
          "--mode=train",
          f"--gin_file=experiments/{name}.gin",
          f"--model_dir={model_dir}",
      ],
      check=True,
  )


def read_lines(model_dir: pathlib.Path, kind: str) -> list[dict[str, Any]]:
  """The lines of one kind of a run's metrics.jsonl."""
  lines = (model_dir / "metrics.jsonl").read_text().splitlines()
  return [x for x in map(json.loads, lines) if x["kind"] == kind]


def summarize(model_dir: pathlib.Path) -> dict[str, Any]:
  """The figures of one row of the table.

  Args:
    model_dir: of a run that has been trained and evaluated.

  Returns:
    parameters and flops_per_sequence of the model; neg_log_perplexity of the
    last evaluation; tokens_per_second, the median of training;
    fraction_dropped, the mean of training, None for a dense model.
  """
  model = json.loads((model_dir / "model.json").read_text())
  training = read_lines(model_dir, "train")
  speeds = sorted(x["tokens_per_second"] for x in training)
  dropped = [x["fraction_dropped"] for x in training]
  return {
      "parameters": model["parameters"],
      "flops_per_sequence": model["flops_per_sequence"],
      "neg_log_perplexity": read_lines(model_dir, "eval")[-1][
          "neg_log_perplexity"
      ],
      "tokens_per_second": speeds[len(speeds) // 2],
      "fraction_dropped": (
          None if None in dropped else sum(dropped) / len(dropped)
      ),
  }


def make_table(rows: dict[str, dict[str, Any]]) -> rich_table.Table:
  """The comparison as a table, one row a model."""
  table = rich_table.Table(box=box.SIMPLE_HEAD)
  table.add_column("model")
  for title in (
      "parameters",
      "FLOPs per sequence",
      "neg log perplexity",
      "tokens/s",
      "tokens dropped",
  ):
    table.add_column(title, justify="right")
  for title, row in rows.items():
    dropped = row["fraction_dropped"]
    table.add_row(
        title,
        f"{row['parameters'] / 1e6:.2f}M",
        f"{row['flops_per_sequence'] / 1e6:.0f}M",
        f"{row['neg_log_perplexity']:.3f}",
        f"{row['tokens_per_second']:,.0f}",
        "-" if dropped is None else f"{dropped:.1%}",
    )
  return table


def plot(runs: dict[str, pathlib.Path], path: pathlib.Path):
  """Draws the learning curves of both models.

  Args:
    runs: the model_dir of each run of `RUNS`.
    path: the PNG file to write.
  """
  figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
  held_out = []
  for name, model_dir in runs.items():
    title, color = RUNS[name]
    lines = read_lines(model_dir, "eval")
    held_out += [x["neg_log_perplexity"] for x in lines]
    for kind, style in (
        ("train", dict(alpha=0.35, linewidth=1)),
        ("eval", dict(marker="o", label=f"{title}: {held_out[-1]:.3f}")),
    ):
      lines = read_lines(model_dir, kind)
      axes.plot(
          [x["step"] for x in lines],
          [x["neg_log_perplexity"] for x in lines],
          color=color,
          **style,
      )
  # The first steps, from the initial loss, would flatten all the rest.
  axes.set_ylim(min(held_out) - 1.0, max(held_out) + 0.3)
  axes.set_xlabel("step")
  axes.set_ylabel("neg log perplexity")
  axes.set_title(
      "Same FLOPs for each token, same batches; points: held-out text",
      fontsize=10,
  )
  axes.grid(alpha=0.3)
  axes.legend(loc="lower right")
  figure.savefig(path, dpi=150)
  plt.close(figure)


def main():
  """Trains what is not trained yet, then compares."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument(
      "--directory",
      type=pathlib.Path,
      default=PROJECT / "runs" / "demo",
      help="where the runs, the table and the picture go",
  )
  parser.add_argument(
      "--fresh", action="store_true", help="train again from the start"
  )
  arguments = parser.parse_args()
  if arguments.fresh:
    shutil.rmtree(arguments.directory, ignore_errors=True)
  start = time.time()
  runs = {name: arguments.directory / name for name in RUNS}
  for name, model_dir in runs.items():
    rich.print(f"[bold]{RUNS[name][0]}[/bold]  experiments/{name}.gin")
    try:
      train(name, model_dir)
    except subprocess.CalledProcessError as error:
      sys.exit(error.returncode)  # It has said why.
    except KeyboardInterrupt:
      sys.exit(130)
  rows = {
      RUNS[name][0]: summarize(model_dir) for name, model_dir in runs.items()
  }
  rich.print(make_table(rows))
  (arguments.directory / "table.json").write_text(json.dumps(rows, indent=2))
  picture = arguments.directory / "learning_curves.png"
  plot(runs, picture)
  print(f"Learning curves: {picture}")
  print(f"Trained and evaluated in {time.time() - start:.0f} s.")


if __name__ == "__main__":
  main()
