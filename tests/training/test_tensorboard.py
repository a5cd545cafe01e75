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

"""Events for TensorBoard."""

import io
import math

import matplotlib.image
import numpy as np

from mtf_switch.training import tensorboard


def test_a_histogram_says_what_is_in_its_bins():
  (value,) = tensorboard.histogram_of(
      "a_name", [0.0, 1.0, 3.0], [2, 0, 1]
  ).value
  assert value.tag == "a_name"
  histogram = value.histo
  # The last bin, without an upper end, is shown up to twice its lower end.
  assert list(histogram.bucket_limit) == [1.0, 3.0, 6.0]
  assert list(histogram.bucket) == [2, 0, 1]
  assert (histogram.min, histogram.max, histogram.num) == (0.0, 6.0, 3)
  # Two in the middle of the first bin, one in that of the last.
  assert histogram.sum == 2 * 0.5 + 4.5
  assert histogram.sum_squares == 2 * 0.25 + 4.5**2


def test_a_map_has_a_row_for_each_layer_and_a_place_for_each_expert():
  rows = [[0.0, 1.0, 2.0, 9.0], [1.0, math.nan]]
  (value,) = tensorboard.map_of("a_name", rows).value
  assert value.tag == "a_name"
  picture = matplotlib.image.imread(
      io.BytesIO(value.image.encoded_image_string)
  )
  side = 256 // 4
  assert picture.shape == (2 * side, 4 * side, 4)
  assert (value.image.height, value.image.width) == picture.shape[:2]
  places = picture[side // 2 :: side, side // 2 :: side]
  none, mean, twice, more = places[0]
  assert none[2] > 2 * none[0]  # Blue.
  assert np.ptp(mean[:3]) < 0.02  # Grey.
  assert twice[0] > 2 * twice[2]  # Red.
  assert (more == twice).all()
  assert (places[1, 0] == mean).all()
  assert not places[1, 1:, 3].any()  # What has no number is not there.


def test_a_map_of_many_experts_has_a_pixel_for_each():
  (value,) = tensorboard.map_of("a_name", np.ones([3, 2048])).value
  assert (value.image.height, value.image.width) == (3, 2048)
