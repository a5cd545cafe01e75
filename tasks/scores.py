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

"""The score of each task, by which the best checkpoint is chosen."""

from collections.abc import Mapping
import math

# The metric that the paper reports, for tasks with several. The score of other
# tasks is the mean of their metrics, as in GLUE and SuperGLUE.
REPORTED = {
    "cldr_names": "em",  # As closed-book questions.
    "cnn_dailymail": "rouge2",
    "natural_questions": "em",
    "squad": "em",
    "trivia_qa": "em",
    "web_questions": "em",
    "xsum": "rouge2",
}

# Additional training data for another task; benchmarks do not count it.
_AUXILIARY = frozenset({"dpr"})


def score(
    task: str, metrics: Mapping[str, float | None]
) -> tuple[str, float] | None:
  """Returns the score of a task, greater is better.

  Args:
    task: its name.
    metrics: the values of its metrics by name. NaN or None, which is the
      correlation with constant predictions, counts as 0, the correlation with
      uninformative ones.

  Returns:
    the metric's name, "mean(a, b)" for a mean of a and b, and its value; None
    if the task has no metrics.

  Raises:
    KeyError: the metric that the paper reports for this task is missing.

  Source: Table 5, which reports exact match for SQuAD and closed book, ROUGE-2
  for summaries, accuracies, and the means of GLUE and SuperGLUE.
  """
  if not metrics:
    return None
  names = [REPORTED[task]] if task in REPORTED else sorted(metrics)
  values = [metrics[n] for n in names]
  values = [0.0 if x is None or math.isnan(x) else x for x in values]
  name = names[0] if len(names) == 1 else f"mean({', '.join(names)})"
  return name, float(sum(values) / len(values))


def mean_score(values: Mapping[str, float]) -> float | None:
  """Returns the mean of a mixture's scores, as in GLUE and SuperGLUE.

  Args:
    values: the score of each task that has one, by the task's name. All forms
      of MNLI (matched, mismatched) together count as one task, and `dpr` not at
      all.

  Returns:
    the mean; None if no task counts.
  """
  tasks = {}
  for name, value in values.items():
    if name not in _AUXILIARY:
      is_mnli = name.startswith("glue_mnli")
      tasks.setdefault("glue_mnli" if is_mnli else name, []).append(value)
  means = [sum(members) / len(members) for members in tasks.values()]
  return sum(means) / len(means) if means else None
