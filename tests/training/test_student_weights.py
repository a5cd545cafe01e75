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

"""Which weights a student takes from its teacher's checkpoint, and why."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.training import student_weights


def stack(layers, name="transformer"):
  """The shapes of a stack's weights by name, from a kind for each layer."""
  weights = {
      "dense": {
          "DenseReluDense/wi/kernel": [4, 8],
          "DenseReluDense/wo/kernel": [8, 4],
      },
      "gated": {
          "DenseReluDense/wi_0/kernel": [4, 8],
          "DenseReluDense/wi_1/kernel": [4, 8],
          "DenseReluDense/wo/kernel": [8, 4],
      },
      "attention": {"SelfAttention/q": [4, 6]},
      "sparse": {
          "SwitchFeedForward/router/kernel": [4, 3],
          "SwitchFeedForward/experts/wi/kernel": [3, 4, 8],
          "SwitchFeedForward/experts/wo/kernel": [3, 8, 4],
      },
      "gated_experts": {
          "SwitchFeedForward/router/kernel": [4, 3],
          "SwitchFeedForward/experts/wi_0/kernel": [3, 4, 8],
          "SwitchFeedForward/experts/wi_1/kernel": [3, 4, 8],
          "SwitchFeedForward/experts/wo/kernel": [3, 8, 4],
      },
  }
  found = {"shared/embedding": [9, 4]}
  for i, kind in enumerate(layers):
    place = f"{name}/block_000/layer_{i:03}"
    for rest, shape in {"rms_norm/scale": [4], **weights[kind]}.items():
      found[f"{place}/{rest}"] = shape
  return found


LAYER_1 = "transformer/block_000/layer_001"
DENSE = ["attention", "dense"]


def test_dense_layers_in_place_of_experts():
  teacher = stack(["attention", "sparse"])
  for takes_experts in (False, True):
    found = student_weights.match(stack(DENSE), teacher, takes_experts)
    kernels = [f"{LAYER_1}/DenseReluDense/{x}/kernel" for x in ("wi", "wo")]
    assert len(found.copied) == 4  # The norms, attention and embedding.
    assert list(found.of_experts) == (kernels if takes_experts else [])
    assert found.fresh == ([] if takes_experts else kernels)
    assert not found.shape_differs and not found.not_in_teacher


@pytest.mark.parametrize(
    "student, teacher, counts, summary",
    [
        (  # Fewer layers: those at the bottom.
            DENSE,
            ["attention", "dense", "attention", "sparse"],
            (6, 0, 0, 0),
            "6 copied",
        ),
        (
            ["attention", "dense", "attention", "dense"],
            ["attention", "sparse"],
            (4, 0, 2, 5),
            "4 copied, 2 fresh in place of experts, 5 fresh otherwise",
        ),
        (
            ["attention", "gated"],
            ["attention", "gated_experts"],
            (4, 0, 3, 0),
            "4 copied, 3 fresh in place of experts",
        ),
        (  # Another activation has no wi.
            ["attention", "gated"],
            ["attention", "sparse"],
            (4, 0, 1, 2),
            "4 copied, 1 fresh in place of experts, 2 fresh otherwise",
        ),
        (  # Experts of a sparse student, and its router, start fresh.
            ["attention", "sparse"],
            ["attention", "sparse"],
            (4, 0, 3, 0),
            "4 copied, 3 fresh in place of experts",
        ),
    ],
)
def test_each_weight_has_one_reason(student, teacher, counts, summary):
  shapes = stack(student)
  found = student_weights.match(shapes, stack(teacher), take_experts=False)
  assert (
      tuple(
          map(
              len,
              (
                  found.copied,
                  found.shape_differs,
                  found.fresh,
                  found.not_in_teacher,
              ),
          )
      )
      == counts
  )
  assert sorted(
      [*found.copied, *found.shape_differs, *found.fresh, *found.not_in_teacher]
  ) == sorted(shapes)
  assert found.summary == summary


def test_weights_of_another_width_start_fresh():
  student = {**stack(DENSE), f"{LAYER_1}/DenseReluDense/wi/kernel": [4, 6]}
  for teacher in (stack(["attention", "sparse"]), stack(DENSE)):
    found = student_weights.match(student, teacher, take_experts=True)
    assert found.shape_differs == {
        f"{LAYER_1}/DenseReluDense/wi/kernel": ([4, 6], [4, 8])
    }


def test_the_most_used_expert_by_hand():
  source = "encoder/block_000/layer_003/SwitchFeedForward/experts/wi/kernel"
  makes = student_weights.most_used(
      {"a": source}, {"encoder/block_000/layer_003": np.array([3, 9, 5])}
  )
  with tf.Graph().as_default(), tf.Session() as session:
    weights = tf.constant([[1.0], [2.0], [3.0]])
    assert session.run(makes["a"](weights)) == [2.0]
