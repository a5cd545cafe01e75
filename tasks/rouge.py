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

"""ROUGE, which compares summaries by the words and phrases that they share."""

from collections.abc import Sequence

from rouge_score import rouge_scorer

_TYPES = ("rouge1", "rouge2", "rougeLsum")


def rouge(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
  """Returns the mean F-measures, in percent.

  They are those of t5.evaluation.metrics.rouge except that these repeat: t5
  estimates the means from random samples of the summaries, with other numbers
  at each call.

  Args:
    targets: summaries; " . " ends a sentence. Of several summaries of one text,
      the best counts.
    predictions: as many.
  """
  scorer = rouge_scorer.RougeScorer(_TYPES)
  scores = [
      scorer.score_multi(
          [
              text.replace(" . ", " .\n")
              for text in ([target] if isinstance(target, str) else target)
          ],
          prediction.replace(" . ", " .\n"),
      )
      for target, prediction in zip(targets, predictions, strict=True)
  ]
  return {
      name: 100 * sum(score[name].fmeasure for score in scores) / len(scores)
      for name in _TYPES
  }
