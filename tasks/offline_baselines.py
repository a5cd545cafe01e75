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
"""What simple methods score on the offline tasks.

`python -m tasks.offline_baselines` prints the numbers of docs/offline_tasks.md.
"""

import collections
from collections.abc import Mapping, Sequence
import re

from sklearn import feature_extraction
from sklearn import linear_model
from sklearn import pipeline
from t5.evaluation import metrics

from tasks import offline
from tasks import offline_docstrings
from tasks import offline_questions
from tasks.offline_questions import Question

_SIGNATURE = re.compile(r"signature: (.*) choice1: (.*) choice2: (.*)")

Questions = Mapping[str, Sequence[Question]]


def majority(questions: Questions, split: str) -> list[str]:
  """Returns the most frequent target of training for each question."""
  counts = collections.Counter(x.targets for x in questions["train"])
  # Of several, the first in the alphabet.
  target = max(sorted(counts), key=counts.__getitem__)
  return [target] * len(questions[split])


def bag_of_words(questions: Questions, split: str) -> list[str]:
  """Returns the answers of a logistic regression on the words of inputs."""
  classifier = pipeline.make_pipeline(
      feature_extraction.text.TfidfVectorizer(sublinear_tf=True),
      linear_model.LogisticRegression(C=10.0, max_iter=1000),
  )
  classifier.fit(
      [x.inputs for x in questions["train"]],
      [x.targets for x in questions["train"]],
  )
  return list(classifier.predict([x.inputs for x in questions[split]]))


def same_words(questions: Questions, split: str) -> list[str]:
  """Returns the choice that has more of a signature's names, or the first."""
  chosen = []
  for question in questions[split]:
    signature, *choices = _SIGNATURE.fullmatch(question.inputs).groups()
    names = offline_docstrings.words(signature)
    counts = [len(names & offline_docstrings.words(x)) for x in choices]
    chosen.append(offline_docstrings.CHOICES[counts.index(max(counts))])
  return chosen


def score(questions: Questions, split: str, answers: Sequence[str]) -> float:
  """Returns the share of right answers, in percent."""
  targets = [x.targets for x in questions[split]]
  return metrics.sequence_accuracy(targets, answers)["sequence_accuracy"]


BASELINES = {
    "cldr_names": (majority,),
    "docstring_package": (majority, bag_of_words),
    "docstring_kind": (majority, bag_of_words),
    "docstring_signature": (majority, bag_of_words, same_words),
}


def main():
  """Prints a table in Markdown with the sizes and the baselines."""
  held_out = offline_questions.SPLITS[1:]
  print("| task | train | validation | test | baseline | validation | test |")
  print("|---|---:|---:|---:|---|---:|---:|")
  for name, baselines in BASELINES.items():
    text = offline.docstrings_text
    if name == "cldr_names":
      text = offline.names_text
    questions = {
        split: offline_questions.read(text(name), split)
        for split in offline_questions.SPLITS
    }
    for baseline in baselines:
      row = [
          f"`{name}`",
          *(f"{len(questions[s]):,}" for s in offline_questions.SPLITS),
          baseline.__name__.replace("_", " "),
          *(
              f"{score(questions, s, baseline(questions, s)):.1f}%"
              for s in held_out
          ),
      ]
      print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
  main()
