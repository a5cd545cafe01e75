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

"""Charts as SVG: curves and maps, in the colours of the page's scheme.

SVG is written here and not by matplotlib, whose pictures have fixed colours and
a size of text that does not follow the page; its ticks and its scales of
colours are used.
"""

import base64
from collections.abc import Sequence
import io
from typing import NamedTuple

import matplotlib
import matplotlib.image
import matplotlib.ticker
import numpy as np

from mtf_switch.pages import page

Markup = page.Markup

# Of page.css. Further curves are broken lines in the same colours.
_NUM_COLOURS = 8
_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 24, 40
# Columns in which a curve has points: more than the pixels of a chart.
_MOST_COLUMNS = 600
# A map's height for each of its rows, at least; and in all.
_ROW, _LEAST_MAP, _MOST_MAP = 6, 60, 260
_MOST_ROW_LABELS = 12
# A row with a label of its own, and the width of a character of it.
_LABELLED_ROW, _CHARACTER = 14, 6


class Curve(NamedTuple):
  """A line of a chart.

  Attributes:
    name: what it is, for the legend.
    number: its place among the chart's curves, which gives its colour.
    x: numbers that do not fall.
    y: as many numbers; NaN where there is none.
  """

  name: str
  number: int
  x: np.ndarray
  y: np.ndarray


def decimate(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Leaves out points of a curve that would not be seen.

  Of the points in a column of the chart, the first, the last, the lowest and
  the highest stay, so that no peak is lost.

  Args:
    x: numbers that do not fall.
    y: as many numbers, or NaN, which stay too.

  Returns:
    x and y of the points that stay.
  """
  if len(x) <= 4 * _MOST_COLUMNS:
    return x, y
  span = (x[-1] - x[0]) or 1.0
  columns = np.minimum(
      ((x - x[0]) / span * _MOST_COLUMNS).astype(int), _MOST_COLUMNS - 1
  )
  is_kept = np.zeros(len(x), bool)
  starts = np.flatnonzero(np.diff(columns, prepend=-1))
  for start, end in zip(starts, [*starts[1:], len(x)]):
    is_kept[[start, end - 1]] = True
    part = y[start:end]
    if not np.isnan(part).all():
      is_kept[start + np.nanargmin(part)] = True
      is_kept[start + np.nanargmax(part)] = True
    if np.isnan(part).any():  # One shows that there is a gap.
      is_kept[start + np.isnan(part).argmax()] = True
  return x[is_kept], y[is_kept]


def legend(names: Sequence[str]) -> Markup:
  """Returns the legend of curves by their numbers."""
  return Markup('<div class="legend">{}</div>').format(
      page.joined(
          Markup('<span><i class="swatch {}"></i>{}</span>').format(
              _classes(number), page.text(name)
          )
          for number, name in enumerate(names)
      )
  )


def curves(
    title: str, x_label: str, drawn: Sequence[Curve], caption: str = ""
) -> Markup:
  """Returns a figure with curves.

  The first tenth of a curve does not decide the range: it would flatten all the
  rest. What is outside is cut off at the frame.

  Args:
    title: what the values are.
    x_label: what the x are, and their unit.
    drawn: the curves.
    caption: a text below.
  """
  drawn = [x for x in drawn if np.isfinite(x.y).any()]
  if not drawn:
    return Markup("")
  x_range = _range([x.x for x in drawn])
  y_range = _range([x.y[_first_late(x) :] for x in drawn], margin=0.06)
  scale = _Scale(x_range, y_range, _HEIGHT)
  paths = []
  for curve in drawn:
    x, y = decimate(curve.x, curve.y)
    paths.append(
        Markup('<path class="curve {}" data-name="{}" d="{}"/>').format(
            _classes(curve.number), page.text(curve.name), scale.path(x, y)
        )
    )
  svg = Markup(
      '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}"'
      ' data-x0="{!r}" data-x1="{!r}" data-y0="{!r}" data-y1="{!r}"'
      ' data-unit="{}">{}{}\n'
      '<svg x="{left}" y="{top}" width="{width}" height="{height}"'
      ' viewBox="{left} {top} {width} {height}">{}</svg>'
      '<line class="cursor" y1="{top}" y2="{}"/></svg>'
  ).format(
      _WIDTH,
      _HEIGHT,
      f"{title} over {x_label}",
      *x_range,
      *y_range,
      x_label,
      scale.frame(title, x_label),
      scale.grid(),
      page.joined(paths),
      _HEIGHT - _BOTTOM,
      left=_LEFT,
      top=_TOP,
      width=scale.width,
      height=scale.height,
  )
  return page.figure(svg, caption)


def _first_late(curve: Curve) -> int:
  """The first point after a tenth of a curve."""
  return len(curve.x) // 10


def _range(
    arrays: Sequence[np.ndarray], margin: float = 0.0
) -> tuple[float, float]:
  """The least and the greatest of numbers, never the same."""
  values = np.concatenate(arrays)
  values = values[np.isfinite(values)]
  low, high = (
      (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
  )
  if low == high:
    half = abs(low) / 10 or 0.5
    return low - half, high + half
  return low - margin * (high - low), high + margin * (high - low)


class _Scale:
  """Where numbers are in a picture.

  Attributes:
    width: of the frame, in the picture's units.
    height: likewise.
  """

  def __init__(
      self,
      x: tuple[float, float],
      y: tuple[float, float],
      height: int,
      left: int = _LEFT,
  ):
    """The scale of a picture.

    Args:
      x: the numbers at the left and the right.
      y: the numbers at the bottom and the top.
      height: the picture's.
      left: where the frame begins.
    """
    self._x, self._y, self._left = x, y, left
    self.width = _WIDTH - left - _RIGHT
    self.height = height - _TOP - _BOTTOM

  def x(self, values):
    """The places of numbers from left to right."""
    low, high = self._x
    return self._left + (values - low) / (high - low) * self.width

  def y(self, values):
    """The places of numbers from bottom to top."""
    low, high = self._y
    return _TOP + (high - values) / (high - low) * self.height

  def path(self, x: np.ndarray, y: np.ndarray) -> str:
    """A line through points, with gaps where a number is missing."""
    parts, move = [], True
    for across, down in zip(self.x(x), self.y(y)):
      if np.isfinite(down):
        parts.append(f"{'M' if move else 'L'}{across:.1f} {down:.1f}")
      elif not move and parts[-1][0] == "M":
        parts.append("h.1")  # A point between two gaps.
      move = not np.isfinite(down)
    if parts and parts[-1][0] == "M":
      parts.append("h.1")
    return "".join(parts)

  def frame(self, title: str, x_label: str) -> Markup:
    """The frame, the title, and the numbers below."""
    bottom = _TOP + self.height
    ticks = [
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            self.x(tick), bottom + 14, _short(tick)
        )
        for tick in _ticks(self._x)
    ]
    return Markup(
        '<text class="title" x="{left}" y="14">{}</text>'
        '<rect class="frame" x="{left}" y="{}" width="{}" height="{}"/>'
        '<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>{}'
    ).format(
        page.text(title),
        _TOP,
        self.width,
        self.height,
        self._left + self.width / 2,
        bottom + 31,
        page.text(x_label),
        page.joined(ticks),
        left=self._left,
    )

  def grid(self) -> Markup:
    """Lines at round numbers of y."""
    return page.joined(
        Markup(
            '<line class="grid" x1="{left}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(
            self._left + self.width,
            self._left - 5,
            self.y(tick) + 4,
            _short(tick),
            left=self._left,
            y=self.y(tick),
        )
        for tick in _ticks(self._y)
    )


def _ticks(numbers: tuple[float, float]) -> list[float]:
  """Round numbers within a range."""
  locator = matplotlib.ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
  low, high = numbers
  return [float(x) for x in locator.tick_values(low, high) if low <= x <= high]


def _short(number: float) -> str:
  """A number for a tick: 1.5k, 20M."""
  if abs(number) < 1000:
    return f"{number:.4g}"
  return matplotlib.ticker.EngFormatter(sep="")(number)


def _classes(number: int) -> str:
  broken = " broken" if number // _NUM_COLOURS % 2 else ""
  return f"k{number % _NUM_COLOURS}{broken}"


def heat_map(
    title: str,
    x_label: str,
    x_range: tuple[float, float],
    values: np.ndarray,
    row_labels: Sequence[str],
    caption: str,
    colours: str = "coolwarm",
) -> Markup:
  """Returns a figure with a map of values.

  Args:
    title: what the values are.
    x_label: what the columns are.
    x_range: the numbers at the left and the right.
    values: [rows, columns], from 0 to 1, the ends of the scale of colours; NaN
      where there is none.
    row_labels: one for each row, from the top.
    caption: a text below.
    colours: the scale, by matplotlib's name.
  """
  rows = len(row_labels)
  row_height = _LABELLED_ROW if rows <= _MOST_ROW_LABELS else _ROW
  inner = min(max(rows * row_height, _LEAST_MAP), _MOST_MAP)
  label_width = _CHARACTER * max(map(len, row_labels))
  left = min(max(_LEFT, 10 + label_width), _WIDTH // 2)
  height = inner + _TOP + _BOTTOM
  low, high = x_range
  scale = _Scale(
      (low, high) if low < high else (low - 1, high + 1), (0, 1), height, left
  )
  every = -(-rows // _MOST_ROW_LABELS)
  labels = [
      Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
          left - 5, _TOP + (row + 0.5) / rows * inner + 4, page.text(label)
      )
      for row, label in enumerate(row_labels)
      if row % every == 0
  ]
  svg = Markup(
      '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}'
      '<image x="{}" y="{}" width="{}" height="{}" preserveAspectRatio="none"'
      ' href="data:image/png;base64,{}"/></svg>'
  ).format(
      _WIDTH,
      height,
      f"{title} over {x_label}",
      scale.frame(title, x_label),
      page.joined(labels),
      left,
      _TOP,
      scale.width,
      inner,
      _png(values, colours),
  )
  return page.figure(svg, caption)


def _png(values: np.ndarray, colours: str) -> str:
  """The pixels of a map, in base64."""
  scale = matplotlib.colormaps[colours].with_extremes(bad=(0, 0, 0, 0))
  pixels = scale(np.ma.masked_invalid(values), bytes=True)
  file = io.BytesIO()
  matplotlib.image.imsave(
      file, pixels, format="png", metadata={"Software": None}
  )
  return base64.b64encode(file.getvalue()).decode()
