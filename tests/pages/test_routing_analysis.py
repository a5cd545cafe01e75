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

"""What experts specialise in: numbers by hand, and against libraries."""

import numpy as np
import pytest
from sklearn import metrics

from mtf_switch.pages import routing_analysis as analysis


def shares(*experts, num_experts=2):
  """Tokens of one choice, and that all of them ask."""
  chosen = np.array(experts)[:, np.newaxis]
  return chosen, np.ones(chosen.shape, bool), num_experts


def test_choices_are_counted_by_kind():
  values = np.array([7, 3, 7, 7])
  experts = np.array([[0, 2], [1, 0], [0, 1], [2, 0]], np.uint8)
  asked = np.array([[1, 1], [1, 0], [1, 1], [1, 0]], bool)
  table = analysis.count(values, experts, asked, num_experts=3)
  assert table.values.tolist() == [3, 7]
  assert table.counts.tolist() == [[0, 1, 0], [2, 1, 2]]


def test_many_kinds_and_experts_do_not_overflow():
  values = np.arange(300, dtype=np.int8)
  table = analysis.count(
      values, np.full([300, 1], 255, np.uint8), np.ones([300, 1], bool), 256
  )
  assert table.counts[:, 255].sum() == 300


@pytest.mark.parametrize(
    "counts, bits",
    [
        ([[5, 0], [0, 5]], 1.0),  # The kind says which of two experts.
        ([[2, 2], [3, 3]], 0.0),
        ([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], 2.0),
        # 3/4 log2(3/4 / (3/4 * 3/4)) + 1/4 log2(1/4 / (1/4 * 1/4)).
        ([[3, 0], [0, 1]], 0.75 * np.log2(4 / 3) + 0.25 * 2),
        ([[0, 0], [0, 0]], 0.0),
    ],
)
def test_information_by_hand(counts, bits):
  assert analysis.mutual_information(np.array(counts)) == pytest.approx(bits)


def test_information_is_that_of_a_library():
  rng = np.random.RandomState(0)
  kinds, experts = rng.randint(0, 9, 500), rng.randint(0, 4, 500)
  experts[::3] = kinds[::3] % 4
  table = analysis.count(kinds, *shares(*experts, num_experts=4))
  expected = metrics.mutual_info_score(kinds, experts) / np.log(2)
  assert analysis.mutual_information(table.counts) == pytest.approx(expected)
  entropy = metrics.mutual_info_score(experts, experts) / np.log(2)
  assert analysis.entropy(table.counts.sum(axis=0)) == pytest.approx(entropy)


def test_the_bias_is_that_of_shuffled_tokens():
  rng = np.random.RandomState(0)
  kinds, experts = rng.randint(0, 40, 400), rng.randint(0, 8, 400)
  table = analysis.count(kinds, *shares(*experts, num_experts=8))
  found = analysis.information(table.counts)
  shuffled = [
      metrics.mutual_info_score(kinds, rng.permutation(experts)) / np.log(2)
      for _ in range(50)
  ]
  assert found.shuffled == pytest.approx(np.mean(shuffled), rel=0.05)
  assert 0.3 < found.deviation / np.std(shuffled) < 3
  # Nothing is to be found here, whatever the counts say.
  assert found.bits > 0.3
  assert abs(found.above_shuffled) < 4 * found.deviation
  # Where the kind decides, much stays.
  table = analysis.count(kinds, *shares(*kinds % 8, num_experts=8))
  found = analysis.information(table.counts)
  assert found.bits == pytest.approx(found.entropy)
  assert found.above_shuffled > 2


@pytest.mark.parametrize("counts", [[[4, 0]], [[1, 2]], [[0, 0]], [[1], [2]]])
def test_one_kind_or_expert_says_nothing(counts):
  found = analysis.information(np.array(counts))
  assert found[:3] == (0, 0, 0)
  assert found.entropy == pytest.approx(
      0.9183 if counts == [[1, 2]] else 0, abs=1e-4
  )


def test_typical_tokens_are_frequent_and_more_so_than_elsewhere():
  # A frequent one that all experts take, one that is at home, a rare one.
  table = analysis.Table(
      np.array([10, 20, 30]), np.array([[90, 90], [20, 0], [1, 0]])
  )
  first, second = analysis.typical(table, most=2)
  assert first == [(20, 20), (30, 1)]
  assert second == [(10, 90)]


def test_preferences_are_relative_to_all_tokens():
  found = analysis.preferences(np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]]))
  np.testing.assert_allclose(found[:2, :2], [[1.5, 0.5], [0.5, 1.5]])
  assert np.isnan(found[:, 2]).all() and np.isnan(found[2]).all()


def test_changes_by_hand():
  one, asked, _ = shares(0, 0, 1, 1)
  other, _, _ = shares(0, 1, 1, 1)
  found = analysis.change([one, other], [asked, asked], 2)
  assert found.changed == 0.25
  assert found.by_chance == 1 - (0.5 * 0.25 + 0.5 * 0.75)
  assert found.renamed == 0.25
  # The same experts by other numbers.
  found = analysis.change([one, 1 - one], [asked, asked], 2)
  assert found == (1.0, 0.5, 0.0)


def test_a_change_is_one_of_the_experts_that_are_asked():
  one = np.array([[0, 1], [0, 1], [0, 1]], np.uint8)
  other = np.array([[1, 0], [0, 2], [0, 2]], np.uint8)
  # The order says nothing, nor a second choice that is left out.
  asked = np.array([[1, 1], [1, 0], [1, 1]], bool)
  found = analysis.change([one, other], [asked, asked], 3)
  assert found.changed == pytest.approx(1 / 3)
