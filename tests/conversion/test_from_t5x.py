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

"""Models of T5X here: the same logits, of what T5X has written itself."""

import pathlib
import tarfile

import numpy as np
import pytest

from mtf_switch.conversion import arrival
from mtf_switch.conversion import from_t5x
from mtf_switch.conversion import model_architecture
from mtf_switch.conversion import t5x_weights
from tasks import vocabulary as vocabulary_lib
from tests import gin_files
from tests.conversion import peers
from tests.peers import draws
from tests.peers import t5x_models

FIXTURES = pathlib.Path(__file__).resolve().parent / "t5x"
VOCABULARY = str(peers.FIXTURES / "spiece.model")
STEP = 7
_TOLERANCE = 1e-4
_ROWS = 128


def unpack(name: str, directory: pathlib.Path) -> str:
  """Unpacks a checkpoint that T5X has written; returns its directory."""
  with tarfile.open(FIXTURES / f"{name}.tar.xz") as file:
    file.extractall(directory, filter="data")
  return str(directory / "checkpoint")


def architecture_of(name: str):
  """The architecture that the gin files of a case describe."""
  file, bindings = t5x_models.MODELS[name]
  gin_files.parse([file], bindings)
  model = gin_files.build_model(_ROWS)
  return model_architecture.architecture(model, 1e-6, model_architecture.T5X)


def plan_of(name: str, directory: str, left_out=()) -> arrival.Plan:
  """What becomes of a checkpoint."""
  return from_t5x.plan(
      architecture_of(name),
      vocabulary_lib.load(VOCABULARY),
      t5x_weights.Weights(directory),
      directory,
      left_out,
  )


def bring(name: str, directory: str, output_dir: pathlib.Path) -> arrival.Plan:
  """Converts a checkpoint."""
  plan = plan_of(name, directory)
  from_t5x.write(
      plan,
      vocabulary_lib.load(VOCABULARY),
      t5x_weights.Weights(directory),
      directory,
      str(output_dir),
      lambda done: None,
  )
  return plan


@pytest.mark.parametrize("name", t5x_models.MODELS)
def test_logits_are_those_of_t5x(name, tmp_path):
  plan = bring(name, unpack(name, tmp_path), tmp_path / "here")
  with np.load(FIXTURES / f"{name}.npz") as arrays:
    expected = dict(arrays)
  # Nothing is dropped with as many slots as tokens.
  peers.parse(tmp_path / "here", "SwitchFeedForward.capacity_factor_eval = 4")
  logits = peers.results(tmp_path / "here", _ROWS, expected, False, STEP)[
      "logits"
  ]
  # What padding gets does not matter.
  is_real = expected["targets"] != 0
  difference = np.abs(logits - expected["logits"])[is_real].max()
  assert difference < _TOLERANCE * np.abs(expected["logits"]).max()
  found = peers.variables(str(tmp_path / "here" / f"model.ckpt-{STEP}"))
  assert found.pop("global_step") == STEP
  drawn = draws.weights({x.t5x: list(x.mesh_shape) for x in plan.pairs})
  is_rounded = {x.dtypes[0] for x in plan.entries} == {"bfloat16"}
  for pair in plan.pairs:
    np.testing.assert_allclose(
        found[pair.mesh], drawn[pair.t5x], 2**-8 if is_rounded else 0
    )
  assert is_rounded == (name == "t5x_1_0")
