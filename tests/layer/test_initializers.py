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

"""The initial values of every variable of a model (section 2.4, Table 3)."""

import math
import re

import numpy as np
import pytest

from tests import gin_files
from tests import graphs
from tests.test_gin import loss_of

# Wide enough for a standard deviation to be measured.
SIZES = {
    "d_model": 96,
    "d_ff": 160,
    "d_kv": 24,
    "num_heads": 3,
    "num_experts": 4,
    "num_cores": 2,
}
# Which share of a normal distribution's deviation the part within two
# deviations has.
TRUNCATED = 0.8796


def initial_values(name, *bindings):
  layers = "num_layers = 2" if "t5" in name else "num_blocks = 1"
  gin_files.parse(
      [f"models/{name}.gin"],
      [f"{size} = {value}" for size, value in SIZES.items()]
      + [layers, *bindings],
  )
  names = []

  def build(mesh):
    loss_of(mesh)
    names.extend(v.name for v in mesh.graph.trainable_variables)
    return [v.value for v in mesh.graph.trainable_variables]

  values, _ = graphs.evaluate(build)
  return dict(zip(names, values))


def fan_in(name):
  """The n of sigma = sqrt(s / n); None for variables that are no matrices."""
  d_model, d_ff, d_kv = SIZES["d_model"], SIZES["d_ff"], SIZES["d_kv"]
  for pattern, n in (
      (r"Attention/q$", d_model * d_kv),  # Mesh TensorFlow's folded scaling.
      (r"Attention/(k|v|kv)$", d_model),
      (r"Attention/o$", SIZES["num_heads"] * d_kv),
      (r"/(router|wi|wi_0|wi_1|linear)/kernel$", d_model),
      (r"/wo/kernel$", d_ff),
      (r"/logits/kernel$", d_model),
      (r"(rms_norm/scale|relative_attention_bias|embedding)$", None),
  ):
    if re.search(pattern, name):
      return n
  raise AssertionError(f"{name} is of no known kind")


@pytest.mark.parametrize(
    "name, bindings, scale",
    [
        ("switch_tiny", [], 0.1),
        ("switch_tiny", ["initializer_scale = 1.0"], 1.0),
        ("switch_base", [], 0.1),
        ("switch_base_attention", [], 0.1),
        ("switch_c", [], 0.1),
        ("t5_tiny", ['include "initial_values/truncated_normal.gin"'], 0.1),
    ],
)
def test_every_matrix_is_a_truncated_normal_of_sigma_root_s_over_n(
    name, bindings, scale
):
  values = initial_values(name, *bindings)
  matrices = 0
  for variable, array in values.items():
    n = fan_in(variable)
    if n is None:
      continue
    matrices += 1
    sigma = math.sqrt(scale / n)
    # sigma is the parameter before truncation.
    assert np.abs(array).max() <= 2 * sigma * (1 + 1e-6), variable
    assert np.abs(array).max() > 1.9 * sigma or array.size < 1000, variable
    # The deviation of so many draws is known to five of its own deviations.
    tolerance = 5 / math.sqrt(2 * array.size)
    assert np.std(array) == pytest.approx(
        TRUNCATED * sigma, rel=tolerance
    ), variable
  # At least queries, keys, values, outputs and two matrices for each network.
  assert matrices >= 19


def test_lookup_tables_keep_the_values_of_t5():
  sparse, dense = initial_values("switch_tiny"), initial_values("t5_tiny")
  for values in (sparse, dense):
    assert np.std(values["shared/embedding"]) == pytest.approx(1.0, rel=0.05)
  for stack in ("encoder", "decoder"):
    name = f"{stack}/block_000/layer_000/SelfAttention/relative_attention_bias"
    assert np.std(sparse[name]) == pytest.approx(np.std(dense[name]), rel=0.5)


def test_the_dense_baseline_keeps_the_values_of_t5():
  values = initial_values("t5_tiny")
  for variable, array in values.items():
    n = fan_in(variable)
    if n is None:
      continue
    share = 1.0 if "Attention" in variable else TRUNCATED
    tolerance = 5 / math.sqrt(2 * array.size)
    assert np.std(array) == pytest.approx(
        share * math.sqrt(1.0 / n), rel=tolerance
    ), variable
