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

"""Scores worked by hand."""

import math

import pytest

from tasks import scores


def test_a_task_with_one_metric_is_scored_by_it():
  assert scores.score("glue_rte", {"accuracy": 70.0}) == ("accuracy", 70.0)


def test_a_task_with_several_metrics_is_scored_by_their_mean():
  metrics = {"f1": 80.0, "accuracy": 70.0}
  assert scores.score("glue_mrpc", metrics) == ("mean(accuracy, f1)", 75.0)


@pytest.mark.parametrize(
    "task", ["squad", "natural_questions", "web_questions", "trivia_qa"]
)
def test_questions_are_scored_by_exact_match(task):
  assert scores.score(task, {"em": 25.0, "f1": 40.0}) == ("em", 25.0)


@pytest.mark.parametrize("task", ["cnn_dailymail", "xsum"])
def test_summaries_are_scored_by_rouge_2(task):
  metrics = {"rouge1": 40.0, "rouge2": 20.0, "rougeLsum": 30.0}
  assert scores.score(task, metrics) == ("rouge2", 20.0)


def test_a_task_without_metrics_has_no_score():
  assert scores.score("super_glue_axb", {}) is None


def test_a_missing_metric_is_no_score():
  with pytest.raises(KeyError, match="rouge2"):
    scores.score("xsum", {"rouge1": 40.0})


def test_a_correlation_with_constant_predictions_counts_as_zero():
  metrics = {"pearson_corrcoef": math.nan, "spearman_corrcoef": math.nan}
  name, value = scores.score("glue_stsb", metrics)
  assert (name, value) == ("mean(pearson_corrcoef, spearman_corrcoef)", 0.0)


def test_mnli_is_one_task_of_the_mean():
  values = {
      "glue_mnli_matched": 84.0,
      "glue_mnli_mismatched": 86.0,
      "glue_rte": 65.0,
  }
  assert scores.mean_score(values) == 75.0  # The mean of 85 and 65.


def test_the_mean_of_super_glue_omits_dpr():
  values = {"super_glue_cb": 90.0, "super_glue_wsc_eval": 70.0, "dpr": 10.0}
  assert scores.mean_score(values) == 80.0


def test_a_mixture_without_scores_has_no_mean():
  assert scores.mean_score({}) is None
  assert scores.mean_score({"dpr": 10.0}) is None
