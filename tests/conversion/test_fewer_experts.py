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
"""Which experts stay, and what is made of them, by hand and against NumPy."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import pytest

from mtf_switch import errors
from mtf_switch.conversion import fewer_experts
from tests.training import test_student_weights

LAYER = test_student_weights.LAYER_1
RNG = np.random.RandomState(0)
EXPERTS = RNG.randn(4, 3, 5).astype(np.float32)


def use():
  """Six tokens of two choices, of which one is padding and one has one."""
  made = fewer_experts.Use(np.zeros(4, int))
  experts = np.array([[[1, 3], [3, 1], [3, 0]], [[1, 2], [3, 2], [0, 0]]])
  asked = np.ones(experts.shape, bool)
  asked[0, 2, 1] = asked[1, 2, 0] = asked[1, 2, 1] = False
  gates = np.full(experts.shape, 0.25)
  gates[0, 0] = 0.75, 0.25
  made.add(experts[0], gates[0], asked[0])
  made.add(experts[1], gates[1], asked[1])
  return made


def test_the_use_of_experts_by_hand():
  made = use()
  assert made.choices.tolist() == [0, 3, 2, 4]
  assert made.tokens == 5
  assert made.mean_gate == pytest.approx((9 * 0.25 + 0.5) / 5)
  assert made.most_used(1) == [3]
  assert made.most_used(2) == [1, 3]
  assert made.most_used(3) == [1, 2, 3]
  assert made.share([1, 3]) == pytest.approx(7 / 9)
  # Of equals the first.
  assert fewer_experts.Use(np.array([2, 5, 2, 5])).most_used(3) == [0, 1, 3]


@pytest.mark.parametrize(
    "merging, expected",
    [
        ("mean", EXPERTS.mean(0)),
        ("most_used", EXPERTS[3]),
        ("by_load", np.average(EXPERTS, axis=0, weights=[0, 3, 2, 4])),
    ],
)
def test_dense_weights_against_numpy(merging, expected):
  weights = use().weights(merging)
  assert weights.sum() == pytest.approx(1)
  np.testing.assert_allclose(
      fewer_experts.merged(EXPERTS, weights), expected, rtol=1e-5, atol=1e-6
  )
  np.testing.assert_allclose(
      fewer_experts.merged(EXPERTS, weights, 0.5),
      0.5 * expected,
      rtol=1e-5,
      atol=1e-6,
  )


def test_the_last_matrix_takes_the_gates_place():
  made = use()
  kernels = [f"a/DenseReluDense/{x}/kernel" for x in ("wi", "wi_1", "wo")]
  assert [fewer_experts.dense_factor(x, made) for x in kernels] == [
      1.0,
      1.0,
      made.mean_gate,
  ]


def test_columns_of_routers_by_hand():
  assert fewer_experts.kept_columns([1, 3], 4, 2) == [1, 3]
  assert fewer_experts.kept_columns([1, 3], 4, 4) == [1, 3, 0, 2]
  # Two of six columns were of experts that had been removed before.
  assert fewer_experts.kept_columns([0, 2], 6, 6) == [0, 2, 1, 3, 4, 5]


def test_weights_of_a_layer_find_its_use():
  uses = {"a/layer_001": 1, "a/layer_0011": 2, "a/layer_002/query": 3}
  assert fewer_experts.use_of("a/layer_001/x/router/kernel", uses) == 1
  assert fewer_experts.use_of("a/layer_0011/x/router/kernel", uses) == 2
  assert fewer_experts.use_of("a/layer_002/query/experts/wi", uses) == 3


def sparse(num_experts, **changed):
  shapes = test_student_weights.stack(["attention", "sparse"])
  for name in shapes:
    if "/experts/" in name:
      shapes[name] = [num_experts, *shapes[name][1:]]
    if "/router/" in name:
      shapes[name] = [4, num_experts]
  return shapes | changed


def test_models_with_fewer_experts():
  found = fewer_experts.match_pruned(sparse(2), sparse(3))
  assert (len(found.copied), len(found.of_experts)) == (4, 2)
  assert found.routers == [f"{LAYER}/SwitchFeedForward/router/kernel"]
  found = fewer_experts.match_dense(
      test_student_weights.stack(["attention", "dense"]), sparse(3)
  )
  assert (len(found.copied), len(found.of_experts)) == (4, 2)
  assert not found.routers


@pytest.mark.parametrize(
    "model, expected",
    [
        (sparse(3), "wi/kernel is 3 x 4 x 8 in the smaller .* and 3 x 4 x 8"),
        (sparse(2, more=[3]), "more is 3 in the smaller .* and missing in"),
        (
            {k: v for k, v in sparse(2).items() if "embedding" not in k},
            "embedding is missing in the smaller model and 9 x 4",
        ),
        (
            sparse(2, **{"shared/embedding": [9, 8]}),
            "embedding is 9 x 8 in the smaller model and 9 x 4",
        ),
    ],
)
def test_other_models_are_refused(model, expected):
  with pytest.raises(errors.UserError, match=expected):
    fewer_experts.match_pruned(model, sparse(3))


@pytest.mark.parametrize(
    "layers, expected",
    [
        (["attention", "gated"], "wi_0/kernel is 4 x 8 .* and missing in"),
        (["attention"], "layer_001/rms_norm/scale is missing in .* and 4 in"),
        (["attention", "sparse"], "describes a model with Switch layers"),
    ],
)
def test_other_dense_models_are_refused(layers, expected):
  with pytest.raises(errors.UserError, match=expected):
    fewer_experts.match_dense(test_student_weights.stack(layers), sparse(3))
