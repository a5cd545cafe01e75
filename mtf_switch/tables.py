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

"""What the comparisons of runs share: tables and plots as files."""

from collections.abc import Iterable, Sequence
import csv
import io
from typing import Any

import matplotlib.figure
import tensorflow.compat.v1 as tf

from mtf_switch import files


def write_table(
    path: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
):
  """Writes a CSV file, whole or not at all.

  Args:
    path: the file; its directory is made.
    columns: their names.
    rows: as many values each; None is empty.
  """
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(columns)
  writer.writerows(rows)
  files.write_lines(path, text.getvalue().splitlines())


def write_plot(path: str, figure: matplotlib.figure.Figure):
  """Writes a figure as PNG, into a directory that exists."""
  with tf.io.gfile.GFile(path, "wb") as file:
    figure.savefig(file, format="png", dpi=120)
