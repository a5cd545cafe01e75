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

import re

import gin
import numpy as np
import pytest
import seqio

from mtf_switch.paper import tables
from mtf_switch.planning import accounting
from mtf_switch.reproduction import small_card
from mtf_switch.reproduction import small_cards
from mtf_switch.reproduction import small_downstream
from tests import gin_files

CARDS = small_cards.SMALL_CARDS
FOLDER = gin_files.ROOT / "experiments" / "small"


def test_files_are_the_cards():
  written = {x.stem: x.read_text() for x in FOLDER.glob("*.gin")}
  assert written == {x.name: small_card.text(x) for x in CARDS.values()}


# What no model's graph depends on.
_OF_TRAINING = re.compile(
    r"task|train_|train\.|distill\.|learning_rate|dropout|vocabulary|inputs_"
    r"|targets_|batch_"
)
_built = set()


@pytest.mark.parametrize("name", CARDS)
def test_parses_and_builds(name):
  card = CARDS[name]
  gin_files.parse([f"experiments/small/{name}.gin"])
  task = seqio.get_mixture_or_task(gin.query_parameter("%task"))
  for feature in task.output_features.values():
    # Trained here: no card needs a vocabulary that is downloaded.
    assert feature.vocabulary.path is None
  model = *card.includes, *(
      f"{key} = {value}"
      for key, value in card.bindings.items()
      if not _OF_TRAINING.match(key)
  )
  if model not in _built:  # The same model is built once.
    assert gin_files.variable_shapes(640, 64, 64, 64)
    _built.add(model)


@pytest.mark.real_data
@pytest.mark.parametrize("name", small_downstream.PUBLISHED_TASKS)
def test_inputs_of_published_files_have_room(real_data, name):
  task = small_downstream.PUBLISHED_TASKS[name]
  gin_files.parse(
      [f"experiments/small/{small_downstream.fine_tuned(name, None)}.gin"],
      [f"{task.parameter} = '{real_data / task.folder}'"],
  )
  examples = seqio.get_mixture_or_task(name).get_dataset(
      {"inputs": 4096, "targets": 4096}, "train", shuffle=False
  )
  lengths = [
      (len(x["inputs"]), len(x["targets"]))
      for x in examples.as_numpy_iterator()
  ]
  inputs, targets = map(np.array, zip(*lengths))
  assert targets.max() <= gin.query_parameter("%targets_length")
  # The premises of CB are as long as paragraphs; half of them end in time.
  room = gin.query_parameter("%inputs_length")
  assert np.median(inputs) <= room
  assert np.mean(inputs > room) < (0.3 if name == "super_glue_cb" else 0.01)


def test_needed_runs_are_cards():
  def depth(name):
    return 1 + max(map(depth, CARDS[name].needs.values()), default=0)

  # A student needs a fine-tuned teacher, which needs a pre-trained model.
  assert max(map(depth, CARDS)) == 3


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


@pytest.mark.parametrize("experts", small_card.SCALING_EXPERTS)
def test_experts_cost_no_flops(experts):
  assert flops(f"switch_e{experts}") == flops("dense")


def test_values_in_gins_notation():
  card = small_card.SmallCard(
      "x", "X", ["a.gin"], {"a": "%b", "c": ["@d"], "e": "f", "g": None}
  )
  assert small_card.text(card).endswith(
      'include "a.gin"\n\na = %b\nc = [\n    @d,\n]\ne = "f"\ng = None\n'
  )


def test_experts_are_the_cards():
  for experts in small_card.SCALING_EXPERTS:
    gin_files.parse([f"experiments/small/switch_e{experts}.gin"])
    assert gin.query_parameter("%num_experts") == experts
