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

"""The table of Table 9's printed figures beside those of gin/models."""

import dataclasses
import io

import pytest
import rich.console

from mtf_switch.paper import tables
from mtf_switch.planning import table9
from tests import gin_files


@pytest.fixture(scope="module")
def sizes():
  gin_files.clear()
  return {file: table9.size_in_gin(file) for file in table9.FILES}


def row_of(file):
  return tables.TABLE_9[table9.FILES[file]]


def test_a_row_agrees_or_names_the_inconsistency(sizes):
  for file, size in sizes.items():
    literal = file.endswith("_table9")
    assert table9.agrees(row_of(file), size) != literal
    assert not literal or file in table9.INCONSISTENCIES


def test_a_row_disagrees_by_its_digits_or_by_more_than_1_percent(sizes):
  row, size = row_of("t5_base"), sizes["t5_base"]
  # 247.6M parameters round to 0.2B, 272M do not.
  assert table9.agrees(row, dataclasses.replace(size, tied_embeddings=False))
  assert not table9.agrees(
      row, dataclasses.replace(size, vocabulary_rows=96384)
  )
  # 124.6B FLOPs.
  assert table9.agrees(row._replace(flops="125B"), size)
  assert not table9.agrees(row._replace(flops="126B"), size)


@pytest.mark.parametrize(
    "printed, value, text",
    [
        ("395B", 394.66e9, "394.7B"),
        ("0.2B", 222.9e6, "0.2229B"),
        ("6.3T", 6.26e12, "6.260T"),
        ("890B", 894.0e9, "894.0B"),
    ],
)
def test_numbers_in_the_papers_units(printed, value, text):
  assert table9.in_unit_of(printed, value) == text
  assert table9.number(text) == pytest.approx(value, rel=1e-3)


def test_the_table_fits_a_pipe():
  gin_files.clear()
  output = io.StringIO()
  table9.show(rich.console.Console(file=output, width=80))
  lines = [line.split() for line in output.getvalue().splitlines()]
  assert "Switch-XXL switch_xxl 395B 394.7B 6.3T 6.260T yes".split() in lines
  assert (
      "Switch-XXL switch_xxl_table9 395B 201.4B 6.3T 6.260T no".split() in lines
  )
  assert "Switch-C switch_c 1571B 1571B 890B 894.0B yes".split() in lines
  assert "switch_xxl: 128 experts, where the row prints 64." in (
      output.getvalue()
  )
