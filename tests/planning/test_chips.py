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

"""The table of chips, tables of the user's own, and this machine."""

import os

import pytest

from mtf_switch import errors
from mtf_switch.planning import chips

HEADER = (
    "name,kind,peak_flops_bfloat16,peak_flops_float32,memory_bytes,"
    "memory_bandwidth,network_bandwidth,source\n"
)
OWN = "own,gpu,4e12,,1e9,2e9,3e9,a guess\n"


@pytest.fixture
def table(tmp_path):
  def write(text):
    path = tmp_path / "own.csv"
    path.write_text(text)
    return path

  return write


def test_the_table_has_the_chips():
  assert list(chips.read()) == [
      "tpu_v2",
      "tpu_v3",
      "tpu_v4",
      "tpu_v5e",
      "tpu_v5p",
      "a100",
      "h100",
  ]


def test_a_tpu_v3_has_two_cores_a_chip():
  """123 TFLOP/s, 32 GiB, 900 GB/s and 4 links of 656 Gbit/s a chip."""
  core = chips.find("tpu_v3")
  assert core.kind == "tpu"
  assert core.peak_flops_bfloat16 == 123e12 / 2
  assert core.memory_bytes == 32 * 2**30 // 2
  assert core.memory_bandwidth == 900e9 / 2
  assert core.network_bandwidth == 4 * 656e9 / 8 / 2


def test_a_newer_tpu_is_one_core_a_chip():
  """TPU v5p: ICI of 1200 GB/s a chip, both directions together."""
  assert chips.find("tpu_v5p").network_bandwidth == 1200e9 / 2
  assert chips.find("tpu_v4").memory_bytes == 32 * 2**30


def test_peaks_by_dtype():
  chip = chips.find("a100")
  assert chip.peak_flops("bfloat16") == 312e12
  assert chip.peak_flops("float32") == 156e12


@pytest.mark.parametrize("name", chips.read())
def test_figures_are_of_a_processor(name):
  """Orders of magnitude, against a slip of a unit."""
  chip = chips.find(name)
  assert 1e13 < chip.peak_flops_float32 <= chip.peak_flops_bfloat16 < 1e15
  assert 2**33 <= chip.memory_bytes <= 100e9
  assert chip.network_bandwidth < chip.memory_bandwidth < 1e13
  assert chip.source


def test_a_table_of_ones_own_adds_and_replaces(table):
  path = table(f"# Mine.\n\n{HEADER}{OWN}a100,gpu,1,1,1,1,1,slow\n")
  own = chips.find("own", path)
  assert (own.memory_bytes, own.network_bandwidth) == (10**9, 3e9)
  assert chips.find("a100", path).source == "slow"
  assert chips.find("h100", path) == chips.find("h100")


def test_what_the_table_leaves_empty_is_asked_for(table):
  own = chips.find("own", table(HEADER + OWN))
  assert own.peak_flops("bfloat16") == 4e12
  with pytest.raises(errors.UserError, match="no peak_flops_float32 for own"):
    own.peak_flops("float32")


def test_an_unknown_chip_is_refused_with_those_that_there_are(table):
  with pytest.raises(
      errors.UserError, match="'v3' is not known; .*tpu_v3.*own, this_cpu"
  ):
    chips.find("v3", table(HEADER + OWN))


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the columns must be name, kind"),
        (HEADER.replace("kind", "sort") + OWN, "the columns must be"),
        (
            f"# Mine.\n{HEADER}{OWN.replace('2e9', 'fast')}",
            "own.csv:3: memory_bandwidth = 'fast' must be a positive number",
        ),
        (HEADER + OWN.replace("1e9", ""), "csv:2: memory_bytes = '' must be"),
        (HEADER + OWN.replace("4e12", "-1"), "must be a positive .* or empty"),
        (HEADER + OWN.replace("gpu", "npu"), "kind = 'npu' must be one of tpu"),
        (HEADER + "own,gpu\n", "own.csv:2: 8 fields must be there"),
        (HEADER + OWN.replace("guess", "guess, or so"), "csv:2: 8 fields must"),
    ],
)
def test_a_broken_table_is_refused_with_the_place(text, message, table):
  with pytest.raises(errors.UserError, match=message) as error:
    chips.read(table(text))
  assert "\n" not in str(error.value)


def test_a_table_that_is_not_there(tmp_path):
  with pytest.raises(errors.UserError, match="none.csv.*No such file"):
    chips.find("a100", tmp_path / "none.csv")


def test_this_cpu_is_measured(monkeypatch):
  monkeypatch.setattr(chips, "_MATRIX_SIZE", 64)
  monkeypatch.setattr(chips, "_COPIED_BYTES", 2**16)
  calls = []
  monkeypatch.setattr(chips, "_least_seconds", lambda x: calls.append(x) or 0.5)
  cpu = chips.find(chips.THIS_CPU)
  for call in calls:
    call()
  assert cpu.kind == "cpu"
  assert cpu.peak_flops("float32") == 2 * 64**3 / 0.5
  assert cpu.memory_bandwidth == 2 * 2**16 / 0.5
  assert cpu.network_bandwidth == 2**16 / 0.5
  pages = os.sysconf("SC_PHYS_PAGES")
  assert cpu.memory_bytes == pages * os.sysconf("SC_PAGE_SIZE")


def test_the_shortest_time_counts(monkeypatch):
  times = iter([0.0, 0.3, 1.0, 1.1, 2.0, 2.4])
  monkeypatch.setattr(chips.time, "perf_counter", lambda: next(times))
  calls = []
  seconds = chips._least_seconds(lambda: calls.append(1))
  # 0.3 and 0.1 seconds are enough; the first call was not measured.
  assert seconds == pytest.approx(0.1)
  assert len(calls) == 3
