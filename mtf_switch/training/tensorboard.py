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

from collections.abc import Mapping, Sequence
import io
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

# The pixels of a picture's longer side, if it has not more places than that.
_SIDE = 256


def summary_of(scalars: Mapping[str, Any]) -> tf.Summary:
  """Returns numbers by name as a summary."""
  return tf.Summary(
      value=[
          tf.Summary.Value(tag=name, simple_value=float(value))
          for name, value in scalars.items()
      ]
  )


def write_scalars(directory: str, step: int, scalars: Mapping[str, Any]):
  """Adds numbers by name to TensorBoard's events in a directory."""
  with tf.Graph().as_default(), tf.summary.FileWriter(directory) as writer:
    writer.add_summary(summary_of(scalars), step)


def histogram_of(
    name: str, bins: Sequence[float], counts: Sequence[float]
) -> tf.Summary:
  """Returns counts in bins as a summary.

  Args:
    name: the histogram's name.
    bins: the lower ends of the bins; the last one has no upper end.
    counts: as many numbers.
  """
  # The middle of a bin stands for its values.
  ends = [*bins[1:], 2 * bins[-1]]
  middles = [(low + high) / 2 for low, high in zip(bins, ends)]
  histogram = tf.HistogramProto(
      min=bins[0],
      max=ends[-1],
      num=sum(counts),
      sum=sum(n * x for n, x in zip(counts, middles)),
      sum_squares=sum(n * x * x for n, x in zip(counts, middles)),
      bucket_limit=ends,
      bucket=counts,
  )
  return tf.Summary(value=[tf.Summary.Value(tag=name, histo=histogram)])


def map_of(name: str, rows: Sequence[Sequence[float]]) -> tf.Summary:
  """Returns a picture of loads as a summary.

  Args:
    name: the picture's name.
    rows: numbers relative to their mean, the upper row first: blue for 0, grey
      for 1, red for 2 or more, and nothing for NaN or where a row is shorter.
  """
  # A run without Switch layers has no use for it.
  from matplotlib import colormaps  # pylint: disable=g-import-not-at-top
  from matplotlib import image  # pylint: disable=g-import-not-at-top

  values = np.full([len(rows), max(map(len, rows))], np.nan)
  for number, row in enumerate(rows):
    values[number, : len(row)] = row
  scale = colormaps["coolwarm"].with_extremes(bad=(0, 0, 0, 0))
  pixels = scale(np.ma.masked_invalid(values / 2), bytes=True)
  size = max(1, _SIDE // max(values.shape))
  pixels = pixels.repeat(size, axis=0).repeat(size, axis=1)
  file = io.BytesIO()
  image.imsave(file, pixels, format="png")
  picture = tf.Summary.Image(
      height=pixels.shape[0],
      width=pixels.shape[1],
      colorspace=pixels.shape[2],
      encoded_image_string=file.getvalue(),
  )
  return tf.Summary(value=[tf.Summary.Value(tag=name, image=picture)])
