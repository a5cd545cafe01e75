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

"""The table of names."""

import pathlib

import pytest

from mtf_switch import markdown
from mtf_switch.conversion import architecture
from mtf_switch.conversion import huggingface_config
from mtf_switch.conversion import names
from tests import gin_files
from tests.conversion import peers

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "checkpoints.md"


def architecture_of(name: str) -> architecture.Architecture:
  """The architecture of a fixture."""
  found = peers.fixture(name)
  is_untied = "lm_head.weight" in found["shapes"]
  return huggingface_config.architecture(found["config"], is_untied, name)


@pytest.mark.parametrize("name", peers.NAMES)
def test_names_and_shapes_are_those_that_hugging_face_saves(name):
  saved = {
      key: tuple(shape)
      for key, shape in peers.fixture(name)["shapes"].items()
      if key not in names.COPIES_OF_EMBEDDING
  }
  assert saved == {
      key: pair.huggingface_shape
      for pair in names.pairs(architecture_of(name))
      for key in pair.huggingface
  }


@pytest.mark.parametrize("name", ["t5_gated_untied", "switch_step_2"])
def test_names_and_shapes_are_those_of_the_model_here(name, tmp_path):
  peers.write(name, tmp_path / "there")
  plan = peers.bring(tmp_path / "there", tmp_path / "here")
  peers.parse(tmp_path / "here")
  assert gin_files.variable_shapes(plan.architecture.vocab_rows, 4, 8, 8) == {
      pair.mesh: pair.mesh_shape for pair in plan.pairs
  }


@pytest.mark.parametrize(
    "is_sparse, layers_per_block",
    [
        ([False] * 12, 1),
        ([True] * 15, 1),
        ([False, True] * 6, 2),
        ([False, True, False] * 2, 3),
        ([False, True, False, False], 4),
    ],
)
def test_blocks_are_as_short_as_can_be(is_sparse, layers_per_block):
  stack = architecture.stack_of(tuple(is_sparse))
  assert stack.layers_per_block == layers_per_block
  assert stack.num_blocks * layers_per_block == len(is_sparse)


def test_the_page_has_the_table():
  table = markdown.table(
      [
          *("in", "Hugging Face", "T5X", "Mesh TensorFlow"),
          "Hugging Face's values",
      ],
      names.documented(),
      num_left=5,
  )
  assert table in PAGE.read_text()
