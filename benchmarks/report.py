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

"""Turns results into the tables and plots of docs/performance.md."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
import json
import pathlib
import re
from typing import Any

import matplotlib

from benchmarks import contest

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  After the choice of backend.

_PAGE = contest.PROJECT / "docs" / "performance.md"
_IMAGES = contest.PROJECT / "docs" / "images"
_COLORS = {
    "ours": "tab:blue",
    "mesh_tensorflow": "tab:orange",
    "hugging_face": "tab:green",
}

Row = Mapping[str, Any]
Record = Mapping[str, Any]


def _milliseconds(spread: Row) -> str:
  return (
      f"{1e3 * spread['median']:,.0f} ({1e3 * spread['lower']:,.0f} -"
      f" {1e3 * spread['upper']:,.0f})"
  )


def _seconds(spread: Row) -> str:
  return (
      f"{spread['median']:.2f} ({spread['lower']:.2f} - {spread['upper']:.2f})"
  )


def _megabytes(number: int) -> str:
  return f"{number / 1e6:,.0f}"


# The columns of each question: a title, and a function from a row to its cell.
_RATE = (
    ("useful GFLOP/s", lambda row: f"{row['flops_per_second'] / 1e9:,.1f}"),
    ("of peak", lambda row: f"{row['share_of_peak']:.0%}"),
)
_TIME = ("ms", lambda row: _milliseconds(row["seconds"]))
_MEMORY = ("peak MB", lambda row: _megabytes(row["peak_bytes"]))
_CONTENDER = ("", lambda row: contest.TITLES[row["contender"]])
_TOKENS = ("tokens/s", lambda row: f"{row['tokens_per_second']:,.0f}")
_EXPERTS = ("experts", lambda row: str(row["experts"]))

Column = tuple[str, Callable[[Row], str]]
COLUMNS: Mapping[str, Sequence[Column]] = {
    "layer": (
        _EXPERTS,
        ("layer", lambda row: row["layer"]),
        _CONTENDER,
        _TIME,
        ("x own dense", lambda row: f"{row['times_own_dense']:.2f}"),
        ("x fastest dense", lambda row: f"{row['times_fastest_dense']:.2f}"),
        *_RATE,
        _MEMORY,
        (
            "x weights + gradients",
            lambda row: f"{row['times_needed_bytes']:.2f}",
        ),
        ("tokens processed", lambda row: f"{row['processed']:.1%}"),
    ),
    "step": (
        _CONTENDER,
        ("precision", lambda row: row["precision"]),
        _TIME,
        _TOKENS,
        *_RATE,
        _MEMORY,
    ),
    "teacher": (
        ("", lambda row: row["what"]),
        ("by", _CONTENDER[1]),
        _TIME,
        (
            "tensors MB",
            lambda row: (
                _megabytes(row["tensor_bytes"]) if row["tensor_bytes"] else "-"
            ),
        ),
        _MEMORY,
    ),
    "decode": (
        ("batch", lambda row: str(row["batch"])),
        _CONTENDER,
        _TIME,
        _TOKENS,
        *_RATE,
        _MEMORY,
    ),
    "scaling": (
        _EXPERTS,
        ("forward ms", lambda row: _milliseconds(row["forward"])),
        ("step ms", lambda row: _milliseconds(row["step"])),
        ("optimizer alone ms", lambda row: _milliseconds(row["optimizer"])),
        _MEMORY,
        ("weights MB", lambda row: _megabytes(row["weight_bytes"])),
        ("weights + slots MB", lambda row: _megabytes(row["state_bytes"])),
    ),
    "pipeline": (
        ("", lambda row: row["what"]),
        ("examples/s", lambda row: f"{row['examples_per_second']:,.0f}"),
        _TOKENS,
    ),
    "memory": (
        ("most memory for", lambda row: row["most"]),
        ("model", lambda row: row["model"]),
        ("batch", lambda row: str(row["batch"])),
        *(
            (
                f"{part} MB",
                lambda row, part=part: _megabytes(row["planned_bytes"][part]),
            )
            for part in ("weight", "optimizer", "gradient", "activation")
        ),
        (
            "planned MB",
            lambda row: _megabytes(sum(row["planned_bytes"].values())),
        ),
        ("measured MB", lambda row: _megabytes(row["tensor_bytes"])),
        ("planned / measured", lambda row: f"{row['ratio']:.2f}"),
        ("process MB", lambda row: _megabytes(row["peak_bytes"])),
    ),
    "startup": (
        ("", lambda row: row["what"]),
        ("s", lambda row: _seconds(row["seconds"])),
    ),
}


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
  """A Markdown table; all columns but the first are right-aligned."""
  titles = list(titles)
  lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
  return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _circumstances(record: Record) -> str:
  """The machine, versions, sizes and rounds of a measurement."""
  device = record["device"]
  versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
  lines = [
      f"`{record['command']}`, {record['date']}: {device['processor']},"
      f" {device['cores']} cores, {record['threads']} threads,"
      f" {device['memory_bytes'] / 1e9:.0f} GB; {versions}."
  ]
  if record["shapes"]:
    shapes = ", ".join(f"{k} {v}" for k, v in record["shapes"].items())
    lines.append(f"Sizes: {shapes}.")
  if record["rounds"] > 1:
    lines.append(f"Medians and quartiles of {record['rounds']} rounds.")
  if record["peak_flops_per_second"]:
    lines.append(
        "A matrix product reached"
        f" {record['peak_flops_per_second'] / 1e9:,.0f} GFLOP/s (float32)."
    )
  return " ".join([*lines, *record["skipped"]])


def render(record: Record) -> str:
  """The table of a question and how it was measured, in Markdown.

  Args:
    record: the results, from questions.answer.

  Returns:
    lines without a trailing newline.
  """
  columns = COLUMNS[record["question"]]
  table = _table(
      [title for title, _ in columns],
      [[cell(row) for _, cell in columns] for row in record["rows"]],
  )
  return f"{table}\n\n{_circumstances(record)}"


def render_goals(records: Sequence[Record]) -> str:
  """The goals of all questions beside the measured values, in Markdown.

  Args:
    records: the results of the questions.

  Returns:
    lines without a trailing newline.
  """

  def number(value, unit):
    return f"{value:.2f} {unit}"

  def cells(question, goal):
    if goal["at_most"] is not None:
      wanted = f"at most {number(goal['at_most'], goal['unit'])}"
    else:
      wanted = f"at least {number(goal['at_least'], goal['unit'])}"
    if goal["measured"] is None:
      return [question, goal["what"], wanted, "-", "-"]
    measured = number(goal["measured"], goal["unit"])
    return [question, goal["what"], wanted, measured, _is_met(goal)]

  return _table(
      ["question", "figure", "goal", "measured", "met"],
      [
          cells(record["question"], goal)
          for record in records
          for goal in record["goals"]
      ],
  )


def _is_met(goal: Row) -> str:
  if goal["at_most"] is not None:
    return "yes" if goal["measured"] <= goal["at_most"] else "no"
  return "yes" if goal["measured"] >= goal["at_least"] else "no"


def fill(page: str, texts: Mapping[str, str]) -> str:
  """Replaces the text between the markers of a page.

  Args:
    page: a page with `<!-- name: begin -->` and `<!-- name: end -->` for each
      text.
    texts: the new texts by name.

  Returns:
    the page.

  Raises:
    ValueError: markers are missing.
  """
  for name, text in texts.items():
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page, found = re.subn(
        f"{begin}.*?{end}",
        lambda _: f"{begin}\n{text}\n{end}",  # noqa: B023  Called at once.
        page,
        flags=re.DOTALL,
    )
    if found != 1:
      raise ValueError(f"The page has no place {begin} ... {end}.")
  return page


def _bars(axes, rows: Sequence[Row], groups: str, height: str):
  """Bars of all contenders, side by side and centred for each group."""
  values = list(dict.fromkeys(row[groups] for row in rows))
  contenders = list(dict.fromkeys(row["contender"] for row in rows))
  pitch = 1 / (len(contenders) + 1)
  places, heights = {c: [] for c in contenders}, {c: [] for c in contenders}
  for number, value in enumerate(values):
    present = [row for row in rows if row[groups] == value]
    for i, row in enumerate(present):
      contender = row["contender"]
      places[contender].append(number + pitch * (i - (len(present) - 1) / 2))
      heights[contender].append(row[height])
  for contender in contenders:
    axes.bar(
        places[contender],
        heights[contender],
        0.9 * pitch,
        label=contest.TITLES[contender],
        color=_COLORS[contender],
    )
  axes.set_xticks(range(len(values)), values)
  axes.set_xlabel(groups)
  # Above the axes, because the bars leave no room inside.
  axes.legend(
      loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False
  )


def plot_layer(record: Record, axes):
  """Each Switch layer's time relative to its framework's dense layer."""
  rows = [row for row in record["rows"] if row["layer"] == "switch"]
  _bars(axes, rows, "experts", "times_own_dense")
  axes.set_ylabel("time relative to the dense layer")


def plot_step(record: Record, axes):
  """The tokens per second of a training step."""
  _bars(axes, record["rows"], "precision", "tokens_per_second")
  axes.set_ylabel("training, tokens/s")


def plot_decode(record: Record, axes):
  """The tokens per second of decoding."""
  _bars(axes, record["rows"], "batch", "tokens_per_second")
  axes.set_ylabel("decoding, tokens/s")
  axes.set_xlabel("batch size")


def _over_experts(
    record: Record, axes, lines: Mapping[str, Callable[[Row], float]], unit: str
):
  """Draws a labelled line for each function of a row."""
  experts = [row["experts"] for row in record["rows"]]
  for label, value in lines.items():
    values = [value(row) for row in record["rows"]]
    axes.plot(experts, values, marker="o", label=label)
  axes.set_xscale("log", base=2)
  axes.set_xticks(experts, experts)
  axes.set_xlabel("experts, at the same number of tokens")
  axes.set_ylabel(unit)
  axes.set_ylim(bottom=0)
  axes.legend()


def plot_scaling(record: Record, axes):
  """Times by number of experts."""
  lines = {
      "forward": lambda row: 1e3 * row["forward"]["median"],
      "step": lambda row: 1e3 * row["step"]["median"],
      "optimizer": lambda row: 1e3 * row["optimizer"]["median"],
  }
  _over_experts(record, axes, lines, "ms")


def plot_memory(record: Record, axes):
  """Memory by number of experts."""
  lines = {
      "peak in training": lambda row: row["peak_bytes"] / 1e6,
      "weights and optimizer's slots": lambda row: row["state_bytes"] / 1e6,
  }
  _over_experts(record, axes, lines, "MB")


PLOTS = {
    "layer": (plot_layer,),
    "step": (plot_step,),
    "decode": (plot_decode,),
    "scaling": (plot_scaling, plot_memory),
}


def draw(record: Record, path: pathlib.Path):
  """Draws the plots of a question side by side.

  Args:
    record: the results of a question that PLOTS has.
    path: the PNG file to write.
  """
  plots = PLOTS[record["question"]]
  figure, all_axes = plt.subplots(
      1,
      len(plots),
      figsize=(5 * len(plots), 3.6),
      layout="constrained",
      squeeze=False,
  )
  for plot, axes in zip(plots, all_axes[0]):
    plot(record, axes)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
  figure.savefig(path, dpi=120)
  plt.close(figure)


def main():
  """Rewrites the page and its plots from the results."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
      "--directory",
      type=pathlib.Path,
      default=contest.RESULTS,
      help="the directory with the results",
  )
  arguments = parser.parse_args()
  records = [
      json.loads(path.read_text())
      for path in (arguments.directory / f"{name}.json" for name in COLUMNS)
      if path.exists()
  ]
  texts = {record["question"]: render(record) for record in records}
  page = fill(_PAGE.read_text(), {"goals": render_goals(records), **texts})
  _PAGE.write_text(page)
  for record in records:
    if record["question"] in PLOTS:
      draw(record, _IMAGES / f"performance_{record['question']}.png")
  print(f"wrote the results of {', '.join(texts)} to {_PAGE}.")


if __name__ == "__main__":
  main()
