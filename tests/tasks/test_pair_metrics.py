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

"""Metrics by name, with values by hand."""

import math

import pytest

from tasks import pair_metrics

LABELS = ["no", "yes", "maybe"]


def compute(name, targets, predictions, labels=()):
  return pair_metrics.compute([name], labels, targets, predictions)


@pytest.mark.parametrize(
    "name, targets, predictions, expected",
    [
        ("accuracy", ["a", "b", "c"], ["a", "x", "c"], {"accuracy": 200 / 3}),
        # Any of several texts, in the form that pieces leave.
        (
            "exact_match",
            [["a", "b\n c"], ["\ufb01sh"], "A"],
            ["b c ", "fish", "a"],
            {"exact_match": 200 / 3},
        ),
        (
            # No articles, no punctuation, any case; F1 of 1 of 2 words.
            "squad",
            [["The cat.", "dog"], "a b c"],
            ["Cat", "b"],
            {"em": 50, "f1": 100 * (1 + 2 * 1 * 0.5 / 1.5) / 2},
        ),
        ("trivia_qa", [["x-y", "z"]], ["X Y"], {"em": 100, "f1": 100}),
        (
            # Of 3 and 2 words 2 are shared; one pair of words.
            "rouge",
            [["a b c", "x"]],
            ["a b"],
            {"rouge1": 80, "rouge2": 200 / 3, "rougeLsum": 80},
        ),
        ("bleu", ["a b c d e", "f"], ["a b c d e", "f"], {"bleu": 100}),
        (
            # All of 4 words and 1 of 1 are in one of the references.
            "bleu",
            [["x y", "a b c d"], ["e"]],
            ["a b c d", "e"],
            {"bleu": 100},
        ),
        (
            "pearson_corrcoef",
            ["1", "2", "3"],
            ["2", "4", "6"],
            {"pearson_corrcoef": 100},
        ),
        # Text counts as 0, one less than the least.
        (
            "pearson_corrcoef",
            ["1.0", "2.0"],
            ["rubbish", "0.5"],
            {"pearson_corrcoef": 100},
        ),
        # Ranks 1, 2, 3 and 1, 3, 2: 1 - 6 * 2 / (3 * 8).
        (
            "spearman_corrcoef",
            ["1", "5", "6"],
            ["0", "1e3", "7"],
            {"spearman_corrcoef": 50},
        ),
    ],
)
def test_metrics_of_texts_and_numbers(name, targets, predictions, expected):
  assert compute(name, targets, predictions) == pytest.approx(expected)


def test_one_number_has_no_correlation():
  assert math.isnan(
      compute("pearson_corrcoef", ["1"], ["2"])["pearson_corrcoef"]
  )


def test_metrics_of_labels():
  targets = ["no", "no", "yes", "yes"]
  predictions = ["no", "yes", "yes", "rubbish"]
  # Of "yes" one is found and one is wrong; "rubbish" counts as "no".
  assert compute("f1", targets, predictions, LABELS[:2]) == {
      "f1": pytest.approx(50)
  }
  # "no": 1 of 1 predicted, 1 of 2 found; "yes": 1 of 2 and 1 of 2; "maybe": 0.
  assert compute("macro_f1", targets, predictions, LABELS) == {
      "macro_f1": pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
  }
  # Half of the pairs as they would be by chance.
  assert compute("matthews_corrcoef", targets, targets, LABELS) == {
      "matthews_corrcoef": pytest.approx(100)
  }
  assert compute(
      "matthews_corrcoef", targets, ["no", "yes"] * 2, LABELS[:2]
  ) == {"matthews_corrcoef": pytest.approx(0)}


def test_several_metrics_keep_their_values_apart():
  assert pair_metrics.compute(
      ["f1", "squad"], LABELS[:2], ["no", "yes"], ["no", "rubbish"]
  ) == {"f1": 0, "em": 50, "squad_f1": 50}


@pytest.mark.parametrize("name", pair_metrics.NAMES)
def test_right_and_wrong_predictions(name):
  """Every metric is greater where predictions are better."""
  is_number = name in pair_metrics.OF_NUMBERS
  labels = ["1", "2"] if is_number else ["a b c d e", "f g h i j"]
  targets = labels * 2
  right = pair_metrics.compute([name], labels, targets, targets)
  wrong = pair_metrics.compute([name], labels, targets, ["z", *targets[:3]])
  assert all(value == pytest.approx(100) for value in right.values())
  assert all(value < 60 for value in wrong.values())
