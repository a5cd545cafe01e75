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

"""The least memory of a run, beside what a model has."""

import mtf_switch  # isort: skip  # noqa: F401
import types

import pytest

from mtf_switch import errors
from mtf_switch.planning import accounting
from mtf_switch.planning import chips
from mtf_switch.planning import least_memory
from mtf_switch.training import experiment as experiment_lib
from tests import gin_files
from tests import toy_tasks  # noqa: F401


@pytest.mark.parametrize(
    "file, binding",
    [
        ("t5_base", ""),
        ("t5_xxl", ""),
        ("switch_base", "num_cores = 2"),
        ("switch_base_attention", "num_cores = 2"),
        ("switch_xxl", "num_cores = 2"),
    ],
)
def test_weights_are_those_of_the_plan_but_for_small_ones(file, binding):
  gin_files.parse([f"models/{file}.gin"], [binding] if binding else [])
  model = gin_files.build_model(32_100)
  exact = accounting.num_parameters(accounting.size_of(model))
  assert 0.999 * exact < least_memory.least_weights(model) < exact


def run_of(**options):
  """A run of the smallest Switch model, without files."""
  gin_files.parse(
      ["models/switch_tiny.gin", "runs/defaults.gin"],
      [
          *gin_files.SHRUNK,
          "mesh_shape = ''",
          "layout_rules = ''",
          "task = 'toy_copy'",
          "sequence_length = {'inputs': 24, 'targets': 16}",
          "batch_size = 4",
      ],
  )
  return types.SimpleNamespace(
      experiment=experiment_lib.Experiment(), tpu=None, cluster=None, **options
  )


# In a batch: 24 inputs to 4 layers of an encoder and 16 targets to 6 of a
# decoder, of 16 elements each, and the logits of one layer of two heads in each
# stack, 2 bytes each; and 40 tokens of 4 bytes.
LOGITS = 2 * 24 * 24 + 2 * 16 * 16
ACTIVATIONS = 4 * (2 * (24 * 4 * 16 + 16 * 6 * 16 + LOGITS) + 4 * 40)


@pytest.mark.parametrize(
    "trains, activations",
    [(True, ACTIVATIONS), (False, 4 * (2 * (24 * 16 + 2 * 24 * 24) + 4 * 40))],
)
def test_what_does_not_fit_is_refused_with_the_numbers(
    monkeypatch, trains, activations
):
  run = run_of()
  weights = least_memory.least_weights(run.experiment.build_model())
  needed = 4 * weights + activations
  monkeypatch.setattr(chips, "memory_of_this_machine", lambda: needed)
  least_memory.check(run, trains)
  monkeypatch.setattr(chips, "memory_of_this_machine", lambda: needed - 1)
  with pytest.raises(errors.UserError, match=r"a batch of 160 positions, but"):
    least_memory.check(run, trains)
  run.tpu = "a name"
  least_memory.check(run, trains)
