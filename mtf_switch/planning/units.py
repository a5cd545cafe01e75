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

"""Counts, bytes and seconds as text."""

from collections.abc import Sequence


def count(number: float | None) -> str:
  """Formats a count, for example "7.415B"."""
  if number is None:
    return "unknown"
  return _scaled(number, ("", "K", "M", "B", "T", "P", "E"), 1000, digits=4)


def bytes_(number: float) -> str:
  """Formats bytes, for example "1.2 GiB"."""
  units = (" B", " KiB", " MiB", " GiB", " TiB", " PiB")
  return _scaled(number, units, 1024, digits=4)


def seconds(number: float) -> str:
  """Formats seconds, for example "34 ms"."""
  return _scaled(number * 1e9, (" ns", " µs", " ms", " s"), 1000, digits=3)


def _scaled(number: float, units: Sequence[str], step: int, digits: int) -> str:
  """Formats a number with few digits in the largest unit not above it."""
  for unit in units:
    text = f"{number:.{digits}g}"
    if float(text) < step:
      return text + unit
    number /= step
  return f"{number * step:,.0f}{units[-1]}"
