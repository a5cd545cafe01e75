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

"""The cards at small scale."""

import gin
import pytest

from mtf_switch.paper import tables
from mtf_switch.planning import accounting
from mtf_switch.reproduction import small_cards
from tests import gin_files

CARDS = small_cards.SMALL_CARDS
FOLDER = gin_files.ROOT / "experiments" / "small"


def test_files_are_the_cards():
  written = {x.stem: x.read_text() for x in FOLDER.glob("*.gin")}
  assert written == {x.name: small_cards.text(x) for x in CARDS.values()}


@pytest.mark.parametrize("name", CARDS)
def test_parses_and_builds(name):
  gin_files.parse([f"experiments/small/{name}.gin"])
  assert gin_files.variable_shapes(640, 64, 0, 64)


def test_needed_runs_are_cards_that_need_nothing():
  for card in CARDS.values():
    assert all(not CARDS[x].needs for x in card.needs.values())


def flops(name):
  gin_files.parse([f"experiments/small/{name}.gin"])
  size = accounting.size_of(gin_files.build_model(640))
  return accounting.flops_per_sequence(size, 0, 64)


def test_large_model_has_the_ratio_of_flops_of_the_papers():
  # "425B" and "124B": the paper's ratio is 3.43.
  large, base = (
      float(tables.TABLE_9[x].flops[:-1]) for x in ("T5-Large", "T5-Base")
  )
  ratio = flops("dense_large") / flops("dense")
  assert ratio == pytest.approx(large / base, rel=0.02)


@pytest.mark.parametrize("experts", small_cards.SCALING_EXPERTS)
def test_experts_cost_no_flops(experts):
  assert flops(f"switch_e{experts}") == flops("dense")


def test_values_in_gins_notation():
  card = small_cards.SmallCard(
      "x", "X", ["a.gin"], {"a": "%b", "c": ["@d"], "e": "f", "g": None}
  )
  assert small_cards.text(card).endswith(
      'include "a.gin"\n\na = %b\nc = [\n    @d,\n]\ne = "f"\ng = None\n'
  )


def test_experts_are_the_cards():
  for experts in small_cards.SCALING_EXPERTS:
    gin_files.parse([f"experiments/small/switch_e{experts}.gin"])
    assert gin.query_parameter("%num_experts") == experts
