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

import random

import pytest
from rouge_score import rouge_scorer
import seqio
from t5.evaluation import metrics

import tasks  # noqa: F401
from tasks import rouge

WORDS = "the a cat dog sat ran on by mat road . and then home".split()


def summaries(seed, count):
  draws = random.Random(seed)
  return [" ".join(draws.choices(WORDS, k=12)) for _ in range(count)]


TARGETS, PREDICTIONS = summaries(0, 40), summaries(1, 40)


def test_rouge_is_the_mean_f_measure():
  scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2"])
  pairs = zip(TARGETS, PREDICTIONS)
  scores = [scorer.score(target, prediction) for target, prediction in pairs]
  found = rouge.rouge(TARGETS, PREDICTIONS)
  for name in ("rouge1", "rouge2"):
    mean = sum(score[name].fmeasure for score in scores) / len(scores)
    assert found[name] == pytest.approx(100 * mean, rel=1e-12)


def test_t5s_rouge_scatters_about_it():
  found = rouge.rouge(TARGETS, PREDICTIONS)
  theirs = [metrics.rouge(TARGETS, PREDICTIONS) for _ in range(3)]
  for name, value in found.items():
    assert len({scores[name] for scores in theirs}) > 1
    for scores in theirs:
      # The median of 1000 means of 40 summaries.
      assert scores[name] == pytest.approx(value, rel=0.02)
  assert found.keys() == theirs[0].keys()


@pytest.mark.parametrize("name", ["xsum", "cnn_dailymail"])
def test_the_scores_of_summaries_repeat(name):
  (metric_fn,) = seqio.TaskRegistry.get(name).metric_fns
  first = metric_fn(TARGETS, PREDICTIONS)
  assert metric_fn(TARGETS, PREDICTIONS) == first
  assert seqio.function_name(metric_fn) == "rouge"
