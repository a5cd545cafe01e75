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

"""The speed and memory of cores: chips.csv, or this machine measured."""

from collections.abc import Callable
import csv
import os
import pathlib
import time
from typing import NamedTuple

import numpy as np

from mtf_switch import errors

TABLE = pathlib.Path(__file__).with_name("chips.csv")
THIS_CPU = "this_cpu"

_FLOAT_FIELDS = (
    "peak_flops_bfloat16",
    "peak_flops_float32",
    "memory_bytes",
    "memory_bandwidth",
    "network_bandwidth",
)
_KINDS = ("tpu", "gpu", "cpu")
# Large enough for a processor's full speed, and for no cache to hold.
_MATRIX_SIZE = 1536
_COPIED_BYTES = 2**27
_SECONDS_OF_A_MEASUREMENT = 0.4


class Chip(NamedTuple):
  """One core of a mesh; chips.csv defines the figures.

  Attributes:
    name: the chip's name in the table.
    kind: "tpu", "gpu" or "cpu".
    peak_flops_bfloat16: FLOP/s of matrix products; None if not known.
    peak_flops_float32: the same for float32 tensors.
    memory_bytes: the core's memory.
    memory_bandwidth: bytes read and written per second.
    network_bandwidth: bytes sent per second.
    source: the source of the figures.
  """

  name: str
  kind: str
  peak_flops_bfloat16: float | None
  peak_flops_float32: float | None
  memory_bytes: int
  memory_bandwidth: float
  network_bandwidth: float
  source: str

  def peak_flops(self, dtype: str) -> float:
    """Returns the peak rate of matrix products in a dtype.

    Args:
      dtype: "bfloat16" or "float32".

    Returns:
      FLOP/s.

    Raises:
      UserError: the table has no such figure.
    """
    peak = getattr(self, f"peak_flops_{dtype}")
    if peak is None:
      raise errors.UserError(
          f"The table of chips has no peak_flops_{dtype} for {self.name}; add "
          "it, or plan for another chip."
      )
    return peak


def read(path: str | os.PathLike[str] = TABLE) -> dict[str, Chip]:
  """Reads a table of chips.

  Args:
    path: a CSV file with the columns of chips.csv, in any order; lines that
      start with # are comments.

  Returns:
    chips by name.

  Raises:
    UserError: the file does not exist or is no such table; names the line.
  """
  try:
    with open(path, encoding="utf-8") as file:
      numbered = [
          (number, line)
          for number, line in enumerate(file, 1)
          if line.strip() and not line.startswith("#")
      ]
  except (OSError, UnicodeDecodeError) as error:
    raise errors.UserError(f"{path}: {error}.") from error
  lines = csv.DictReader(line for _, line in numbered)
  if set(lines.fieldnames or ()) != set(Chip._fields):
    raise errors.UserError(
        f"{path}: the columns must be {', '.join(Chip._fields)}."
    )
  chips = [
      _chip(row, f"{path}:{number}")
      for (number, _), row in zip(numbered[1:], lines)
  ]
  return {chip.name: chip for chip in chips}


def _chip(row: dict[str, str], place: str) -> Chip:
  """Returns the chip of a line of a table."""
  # csv marks too many fields, or too few, with None.
  if None in row or None in row.values():
    raise errors.UserError(
        f"{place}: {len(Chip._fields)} fields must be there."
    )
  values = dict(row)
  for name in _FLOAT_FIELDS:
    try:
      value = float(row[name]) if row[name] else None
    except ValueError:
      value = 0.0
    may_be_empty = name.startswith("peak_flops")
    if (value is None and not may_be_empty) or (
        value is not None and not 0 < value < float("inf")
    ):
      raise errors.UserError(
          f"{place}: {name} = {row[name]!r} must be a positive number"
          + (" or empty." if may_be_empty else ".")
      )
    values[name] = value
  if values["kind"] not in _KINDS:
    raise errors.UserError(
        f"{place}: kind = {values['kind']!r} must be one of"
        f" {', '.join(_KINDS)}."
    )
  values["memory_bytes"] = int(values["memory_bytes"])
  return Chip(**values)


def find(name: str, file: str | os.PathLike[str] | None = None) -> Chip:
  """Finds a chip by its name.

  Args:
    name: a name in chips.csv or in the file, or "this_cpu", which is measured
      in about a second.
    file: a table of more chips, which replace chips of the same name.

  Returns:
    the chip.

  Raises:
    UserError: no chip has the name; lists the names that exist.
  """
  chips = read() | (read(file) if file else {})
  if name in chips:
    return chips[name]
  if name == THIS_CPU:
    return measure_this_cpu()
  raise errors.UserError(
      f"Chip {name!r} is not known; use one of"
      f" {', '.join([*chips, THIS_CPU])}, or add it to a table like"
      f" {TABLE.name}."
  )


def measure_this_cpu() -> Chip:
  """Measures this machine as one core.

  Returns:
    a Chip with measured rates: of a float32 matrix product, which also stands
    for bfloat16, and of a copy, which stands for the memory (bytes read and
    written) and for the network between processes (bytes copied). It has all
    of the machine's memory.
  """
  matrix = np.ones((_MATRIX_SIZE, _MATRIX_SIZE), np.float32)
  product = np.empty_like(matrix)
  product_seconds = _least_seconds(lambda: np.matmul(matrix, matrix, product))
  block = np.ones(_COPIED_BYTES, np.uint8)
  copy = np.empty_like(block)
  copy_seconds = _least_seconds(lambda: np.copyto(copy, block))
  peak_flops = 2 * _MATRIX_SIZE**3 / product_seconds
  return Chip(
      name=THIS_CPU,
      kind="cpu",
      peak_flops_bfloat16=peak_flops,
      peak_flops_float32=peak_flops,
      memory_bytes=memory_of_this_machine(),
      memory_bandwidth=2 * _COPIED_BYTES / copy_seconds,
      network_bandwidth=_COPIED_BYTES / copy_seconds,
      source="measured: a float32 matrix product, and a copy",
  )


def memory_of_this_machine() -> int:
  """The bytes of this machine's memory."""
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _least_seconds(call: Callable[[], None]) -> float:
  """Returns the shortest time of repeated calls, the first left out."""
  call()
  seconds = []
  while not seconds or sum(seconds) < _SECONDS_OF_A_MEASUREMENT:
    start = time.perf_counter()
    call()
    seconds.append(time.perf_counter() - start)
  return min(seconds)
