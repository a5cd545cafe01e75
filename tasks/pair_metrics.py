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

"""Metrics of pairs by name; they compare texts as they are decoded.

Functions take, for each example, its correct texts, of which any may be found,
and the predicted text. Metrics of classes and numbers take the first text.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import itertools
import math
import unicodedata

import sacrebleu
from t5.evaluation import metrics

from tasks import rouge

Answers = Sequence[Sequence[str]]


def same_form(text: str) -> str:
  """Returns a text in the form that vocabularies of pieces leave of it.

  They unify characters of the same meaning (NFKC), and all space is one space.
  """
  return " ".join(unicodedata.normalize("NFKC", text).split())


def number_of(text: str) -> float | None:
  """Returns the number that a text is; None if it is none, or not finite."""
  try:
    number = float(text)
  except ValueError:
    return None
  return number if math.isfinite(number) else None


def _share_found(answers: Answers, predictions: Sequence[str]) -> float:
  """Returns how many predictions are one of the correct texts, in percent."""
  found = [
      same_form(prediction) in map(same_form, texts)
      for texts, prediction in zip(answers, predictions, strict=True)
  ]
  return 100 * sum(found) / len(found)


def _bleu(answers: Answers, predictions: Sequence[str]) -> dict[str, float]:
  """Returns T5's BLEU; t5's own is wrong for several references."""
  references = list(itertools.zip_longest(*answers))
  bleu = sacrebleu.corpus_bleu(
      predictions, references, smooth_method="exp", tokenize="intl"
  )
  return {"bleu": bleu.score}


def _classes(
    metric_fn: Callable,
    name: str,
    answers: Answers,
    predictions: Sequence[str],
    labels: Sequence[str],
) -> dict[str, float]:
  """Applies a metric of class ids; a text that is no label has the id -1."""
  ids = {same_form(label): number for number, label in enumerate(labels)}
  (value,) = metric_fn(
      [ids[same_form(texts[0])] for texts in answers],
      [ids.get(same_form(prediction), -1) for prediction in predictions],
  ).values()
  return {name: value}


def _macro_f1(answers: Answers, predictions: Sequence[str], labels):
  """Returns the mean of the labels' F1."""
  metric_fn = metrics.mean_multiclass_f1(num_classes=len(labels))
  return _classes(metric_fn, "macro_f1", answers, predictions, labels)


def _numbers(
    metric_fn: Callable, name: str, answers: Answers, predictions: Sequence[str]
) -> dict[str, float]:
  """Applies a metric of numbers.

  What is no number counts as one less than all that are correct, which is T5's
  -1 for those of STS-B.
  """
  if len(predictions) < 2:
    return {name: math.nan}
  targets = [float(texts[0]) for texts in answers]
  numbers = [number_of(prediction) for prediction in predictions]
  worst = min(targets) - 1
  return metric_fn(targets, [worst if x is None else x for x in numbers])


_OF_TEXTS = {
    "accuracy": lambda *texts: {"accuracy": _share_found(*texts)},
    "bleu": _bleu,
    "exact_match": lambda *texts: {"exact_match": _share_found(*texts)},
    "rouge": rouge.rouge,
    "squad": metrics.squad,
    "trivia_qa": metrics.trivia_qa,
}
OF_NUMBERS = {
    "pearson_corrcoef": functools.partial(
        _numbers, metrics.pearson_corrcoef, "pearson_corrcoef"
    ),
    "spearman_corrcoef": functools.partial(
        _numbers, metrics.spearman_corrcoef, "spearman_corrcoef"
    ),
}
OF_LABELS = {
    "f1": functools.partial(_classes, metrics.f1_score_with_invalid, "f1"),
    "macro_f1": _macro_f1,
    "matthews_corrcoef": functools.partial(
        _classes,
        metrics.sklearn_metrics_wrapper(
            "matthews_corrcoef", metric_post_process_fn=lambda x: 100 * x
        ),
        "matthews_corrcoef",
    ),
}
NAMES = tuple(sorted([*_OF_TEXTS, *OF_NUMBERS, *OF_LABELS]))


def compute(
    names: Sequence[str],
    labels: Sequence[str],
    targets: Sequence[str | Sequence[str]],
    predictions: Sequence[str],
) -> Mapping[str, float]:
  """Returns the values of metrics.

  Args:
    names: of NAMES.
    labels: all labels, for metrics in OF_LABELS; the second of two is the
      positive one.
    targets: the correct text of each example, or several.
    predictions: as many.
  """
  answers = [[x] if isinstance(x, str) else list(x) for x in targets]
  values = {}
  for name in names:
    if name in OF_LABELS:
      found = OF_LABELS[name](answers, predictions, labels)
    else:
      found = (_OF_TEXTS | OF_NUMBERS)[name](answers, predictions)
    for key, value in found.items():  # Both "f1" and "squad" have an F1.
      key = f"{name}_{key}" if key in values else key
      values[key] = float(value)
  return values
