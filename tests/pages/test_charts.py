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

"""Charts: points that stay, gaps, and ranges."""

import base64
import io
import re

import hypothesis
from hypothesis import strategies
import matplotlib.image
import numpy as np
import pytest

from mtf_switch.pages import charts


def curve(y, x=None, name="a"):
  y = np.array(y, float)
  return charts.Curve(name, 0, np.arange(len(y)) if x is None else x, y)


def points(figure):
  """The pieces of the first curve: a list of points for each."""
  (path,) = re.findall(r' d="(.*?)"', figure)
  return [
      [tuple(map(float, x)) for x in re.findall(r"([\d.]+) ([-\d.]+)", piece)]
      for piece in path.split("M")[1:]
  ]


@hypothesis.settings(deadline=None, max_examples=8, derandomize=True)
@hypothesis.given(
    peak=strategies.integers(0, 19_999), gap=strategies.integers(0, 19_999)
)
def test_no_peak_and_no_gap_is_lost(peak, gap):
  y = np.sin(np.arange(20_000.0))
  y[peak] = 9.0
  y[gap] = np.nan
  x, kept = charts.decimate(np.arange(20_000.0), y)
  assert len(kept) <= 5 * 600
  assert np.isnan(kept).any()
  assert peak == gap or x[np.nanargmax(kept)] == peak
  assert np.nanmin(kept) == np.nanmin(y)
  assert x[0] == 0 and x[-1] == 19_999
  assert (np.diff(x) > 0).all()


def test_a_short_curve_stays_whole():
  x, y = charts.decimate(np.arange(5.0), np.arange(5.0))
  assert len(x) == len(y) == 5


def test_a_curve_by_hand():
  # 358 units from 52 on for 2 steps; y from 24 down to 210 with a margin.
  ((left, middle, right),) = points(
      charts.curves("t", "step", [curve([0, 1, 2])])
  )
  assert (left[0], middle[0], right[0]) == (52, 231, 410)
  assert left[1] > middle[1] > right[1] > 24


def test_what_is_missing_is_a_gap():
  found = points(charts.curves("t", "step", [curve([1, 2, np.nan, 3, 4])]))
  assert [len(piece) for piece in found] == [2, 2]


def test_the_first_tenth_does_not_flatten_the_rest():
  y = np.linspace(3, 2, 20)
  y[0] = 1000
  figure = charts.curves("t", "step", [curve(y)])
  (high,) = re.findall(r'data-y1="(.*?)"', figure)
  assert float(high) < 3.1


@pytest.mark.parametrize("y", [[5.0], [0.0, 0.0], [np.nan, 1.0]])
def test_curves_of_one_value(y):
  assert "nan" not in charts.curves("t", "step", [curve(y)])


def test_no_numbers_give_no_figure():
  assert not charts.curves("t", "step", [curve([np.nan]), curve([])])


def test_names_are_escaped():
  figure = charts.curves("<b>", "<i>", [curve([1, 2], name='"<u>')])
  assert not re.search("<[biu]>", figure)
  assert not re.search("<[biu]>", charts.legend(["<b>"]))


def test_further_curves_are_broken_lines():
  names = [str(i) for i in range(10)]
  found = re.findall('class="swatch (.*?)"', charts.legend(names))
  assert len(set(found)) == 10


def test_a_map_by_hand():
  values = np.array([[0.0, 1.0], [0.5, np.nan]])
  figure = charts.heat_map("t", "step", (0, 10), values, ["a", "b"], "c")
  (content,) = re.findall('base64,(.*?)"', figure)
  pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(content)))
  assert pixels.shape == (2, 2, 4)
  (red, _, blue, _), high = pixels[0, 0], pixels[0, 1]
  assert blue > red and high[0] > high[2]
  assert pixels[1, 1, 3] == 0  # Nothing is known there.
