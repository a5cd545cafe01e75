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

"""The pictures of docs/results.md."""

from collections.abc import Mapping, Sequence
import statistics

import matplotlib
import matplotlib.axes
import matplotlib.figure

from mtf_switch.reproduction import claims
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import verdicts as verdicts_lib

Record = records_lib.Record
Runs = Mapping[str, Sequence[Record]]

_COLOURS = {
    verdicts_lib.REPRODUCED: "tab:green",
    verdicts_lib.OPPOSITE: "tab:red",
}
_OTHER = "tab:gray"
# Effects of up to so many times what would matter have a linear axis.
_LARGEST_LINEAR = 2


def draw(
    question: claims.Question,
    records: Sequence[Record],
    verdicts: Sequence[verdicts_lib.Verdict],
) -> matplotlib.figure.Figure:
  """Draws learning curves, the last qualities or scores, and the effects.

  Instead of curves, the question of Figure 13 has quality in pre-training
  against scores. Without curves the scores have the whole width.

  Args:
    question: the question.
    records: those of its cards, one at least; contests are not drawn.
    verdicts: on its claims, in their order.

  Returns:
    the picture.
  """
  runs = {
      card: [x for x in records if x.card == card and x.contest is None]
      for card in question.cards
  }
  answered = [
      (claim, verdict)
      for claim, verdict in zip(question.claims, verdicts)
      if verdict.effect
  ]
  height = 4.5 + 0.35 * len(answered) + 0.8 * bool(answered)
  figure = matplotlib.figure.Figure((10, height), layout="constrained")
  rows = 1 + bool(answered)
  slopes = [x for x in question.claims if x.effect is effects.downstream_slope]
  has_curves = any(effects.curve(x) for y in runs.values() for x in y)
  columns = 1 + bool(slopes or has_curves)
  grid = figure.add_gridspec(
      rows, columns, height_ratios=[4.5, 0.8 + 0.35 * len(answered)][:rows]
  )
  colours = _colours(question.cards)
  if slopes:
    _draw_downstream(figure.add_subplot(grid[0, 0]), runs, slopes)
  elif has_curves:
    _draw_curves(figure.add_subplot(grid[0, 0]), runs, colours)
  _draw_ends(figure.add_subplot(grid[0, -1]), runs, colours)
  if answered:
    _draw_effects(figure.add_subplot(grid[1, :]), answered)
  return figure


def _colours(cards: Sequence[str]) -> dict[str, tuple[float, ...]]:
  """A colour for each card, along a scale."""
  scale = matplotlib.colormaps["turbo"]
  last = max(1, len(cards) - 1)
  return {
      card: scale(0.05 + 0.9 * number / last)
      for number, card in enumerate(cards)
  }


def _draw_curves(
    axes: matplotlib.axes.Axes,
    runs: Runs,
    colours: Mapping[str, tuple[float, ...]],
):
  """A line for each run; the first points would flatten all the rest."""
  late = []
  for card, of_card in runs.items():
    for curve in map(effects.curve, of_card):
      late += [y for _, y in curve[len(curve) // 2 :]]
      axes.plot(*zip(*curve), color=colours[card], alpha=0.7, lw=1)
  if late:
    margin = 0.1 * (max(late) - min(late)) or 0.1
    axes.set_ylim(min(late) - margin, max(late) + margin)
  axes.set_xlabel("step")
  axes.set_ylabel(f"held-out {claims.QUALITY}")
  axes.grid(alpha=0.3)


def _draw_downstream(
    axes: matplotlib.axes.Axes, runs: Runs, slopes: Sequence[claims.Claim]
):
  """A point for each fine-tuned run and a colour for each task (Figure 13)."""
  for claim in slopes:
    qualities, scores, tasks = [], [], {}
    for upstream, downstream in effects.downstream_pairs(claim.rows):
      pretrained = {x.seed: x for x in runs[upstream] if effects.curve(x)}
      for run in runs[downstream]:
        if run.seed in pretrained and run.scores:
          qualities.append(effects.quality(pretrained[run.seed]))
          scores.append(effects.score(run))
          tasks.update(run.scores)
    if scores:
      axes.plot(qualities, scores, "o", ms=4, alpha=0.7, label=", ".join(tasks))
  if axes.lines:
    axes.legend(fontsize=7)
  axes.set_xlabel(f"{claims.QUALITY} in pre-training")
  axes.set_ylabel("best score")
  axes.grid(alpha=0.3)


def _draw_ends(
    axes: matplotlib.axes.Axes,
    runs: Runs,
    colours: Mapping[str, tuple[float, ...]],
):
  """A point for each run, of its last quality or of its mean score."""
  is_scored = any(run.scores for of_card in runs.values() for run in of_card)
  shown = {}
  for card, of_card in runs.items():
    if is_scored:
      values = [effects.score(x) for x in of_card if x.scores]
    else:
      values = [effects.quality(x) for x in of_card if effects.curve(x)]
    if values:
      shown[card] = values
  for place, (card, values) in enumerate(shown.items()):
    axes.plot(values, [place] * len(values), "o", color=colours[card], ms=4)
    axes.plot(statistics.fmean(values), place, "k|", ms=12)
  axes.set_yticks(range(len(shown)), shown)
  axes.tick_params(axis="y", labelsize=7)
  axes.invert_yaxis()
  axes.set_xlabel(
      "best score, mean of the tasks" if is_scored else f"last {claims.QUALITY}"
  )
  axes.grid(alpha=0.3)


def _draw_effects(
    axes: matplotlib.axes.Axes,
    answered: Sequence[tuple[claims.Claim, verdicts_lib.Verdict]],
):
  """Each effect with its interval, in units of what would matter."""
  for place, (claim, verdict) in enumerate(answered):
    value, lower, upper = (
        (x - claim.null) / claim.worthwhile for x in verdict.effect[:3]
    )
    axes.plot(
        [lower, upper],
        [place, place],
        color=_COLOURS.get(verdict.verdict, _OTHER),
        lw=2,
    )
    axes.plot(value, place, "ko", ms=4)
  # Some effects are tens of times what would matter.
  if max(map(abs, axes.get_xlim())) > _LARGEST_LINEAR:
    axes.set_xscale("symlog", linthresh=_LARGEST_LINEAR)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:g}")
  axes.axvline(0, color="black", lw=1)
  axes.axvline(1, color="black", lw=1, linestyle=":")
  axes.set_yticks(range(len(answered)), [x.name for x, _ in answered])
  axes.tick_params(axis="y", labelsize=7)
  axes.set_ylim(len(answered) - 0.5, -0.5)
  axes.set_xlabel(
      "effect and interval; 0: none, 1 (dotted): the smallest that would matter"
  )
  axes.grid(axis="x", alpha=0.3)
