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

"""The plots of docs/performance.md."""

from collections.abc import Callable, Mapping, Sequence
import pathlib

import matplotlib

from benchmarks import contest
from benchmarks.tables import Record
from benchmarks.tables import Row

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  After the choice of backend.

# Of the contenders, in the order of their rows.
_COLORS = ("tab:blue", "tab:orange", "tab:green", "tab:olive")


def _bars(axes, rows: Sequence[Row], groups: str, height: str):
  """Bars of all contenders, side by side and centred for each group."""
  values = list(dict.fromkeys(row[groups] for row in rows))
  titles = list(dict.fromkeys(contest.title(row) for row in rows))
  pitch = 1 / (len(titles) + 1)
  places, heights = {t: [] for t in titles}, {t: [] for t in titles}
  for number, value in enumerate(values):
    present = [row for row in rows if row[groups] == value]
    for i, row in enumerate(present):
      title = contest.title(row)
      places[title].append(number + pitch * (i - (len(present) - 1) / 2))
      heights[title].append(row[height])
  for title, color in zip(titles, _COLORS):
    axes.bar(
        places[title], heights[title], 0.9 * pitch, label=title, color=color
    )
  axes.set_xticks(range(len(values)), values)
  axes.set_xlabel(groups)
  # Above the axes, because the bars leave no room inside.
  axes.legend(
      loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False
  )


def plot_layer(record: Record, axes):
  """Each Switch layer's time relative to its framework's dense layer."""
  rows = [row for row in record["rows"] if row["layer"] == "switch"]
  _bars(axes, rows, "experts", "times_own_dense")
  axes.set_ylabel("time relative to the dense layer")


def plot_step(record: Record, axes):
  """The tokens per second of a training step."""
  rows = [row for row in record["rows"] if row["model"] == "switch"]
  _bars(axes, rows, "precision", "tokens_per_second")
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
