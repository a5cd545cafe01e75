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
