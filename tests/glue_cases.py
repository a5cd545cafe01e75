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

"""A few records of each task of GLUE and SuperGLUE, and the expected results.

The texts have T5's format; the metrics are computed by hand.
"""

from typing import Any, NamedTuple


class Case(NamedTuple):
  """Records of a task, and predictions for them.

  Attributes:
    records: as TFDS stores them, before its features encode them.
    inputs: the model's inputs for the first example.
    targets: the target of each example.
    predictions: a prediction for each example.
    metrics: the predictions' metrics; None for a task without evaluation.
  """

  records: list[dict[str, Any]]
  inputs: str
  targets: list[str]
  predictions: list[str] | None = None
  metrics: dict[str, float] | None = None


def _pair(names, classes, idx=True):
  """Returns records of two sentences: of the first, second and last class."""
  labels = [classes[0], classes[1], classes[-1]]
  first, second = names
  return [
      {first: "It rains.", second: "It is wet."}
      | {"label": label}
      | ({"idx": number} if idx else {})
      for number, label in enumerate(labels)
  ]


def accuracy(records, inputs, targets, predictions, accuracy):
  return Case(records, inputs, targets, predictions, {"accuracy": accuracy})


NLI = ["entailment", "neutral", "contradiction"]
_RTE = ["entailment", "not_entailment"]


def _nli(prefix, names, classes, idx=True):
  """Returns a case of inference with two of three predictions right."""
  targets = [classes[0], classes[1], classes[-1]]
  first, second = sorted(names)
  texts = dict(zip(names, ("It rains.", "It is wet.")))
  return accuracy(
      _pair(names, classes, idx),
      f"{prefix} {first}: {texts[first]} {second}: {texts[second]}",
      targets,
      [targets[0], "nonsense", targets[2]],
      200 / 3,
  )


_MNLI = _nli("mnli", ("premise", "hypothesis"), NLI)

GLUE = {
    "glue_cola": Case(
        [
            {"sentence": "He ran.", "label": label, "idx": 0}
            for label in ("acceptable", "acceptable") + ("unacceptable",) * 2
        ],
        "cola sentence: He ran.",
        ["acceptable"] * 2 + ["unacceptable"] * 2,
        ["acceptable"] + ["unacceptable"] * 3,
        # 1 true and 2 true negatives, 1 false negative: 2 / sqrt(1 x 2 x 2 x 3)
        {"matthews_corrcoef": 57.735},
    ),
    "glue_sst2": accuracy(
        [
            {"sentence": "Good .", "label": "positive", "idx": 0},
            {"sentence": "Bad .", "label": "negative", "idx": 1},
        ],
        "sst2 sentence: Good .",
        ["positive", "negative"],
        ["positive", "positive"],
        50,
    ),
    "glue_mrpc": Case(
        _pair(("sentence1", "sentence2"), ["equivalent"] * 2)[:2]
        + _pair(("sentence1", "sentence2"), ["not_equivalent"] * 2)[:1],
        "mrpc sentence1: It rains. sentence2: It is wet.",
        ["equivalent", "equivalent", "not_equivalent"],
        ["equivalent", "not_equivalent", "nonsense"],
        # For F1 nonsense is a wrong answer: 1 true positive, 1 false positive,
        # 1 false negative, 2 / (2 + 1 + 1).
        {"f1": 50, "accuracy": 100 / 3},
    ),
    "glue_qqp": Case(
        _pair(("question1", "question2"), ["duplicate", "not_duplicate"])[:2],
        "qqp question1: It rains. question2: It is wet.",
        ["duplicate", "not_duplicate"],
        ["duplicate", "duplicate"],
        {"f1": 200 / 3, "accuracy": 50},  # 2 / (2 + 1 + 0)
    ),
    "glue_stsb": Case(
        _pair(("sentence1", "sentence2"), [1.04, 3.0, 5.0]),
        "stsb sentence1: It rains. sentence2: It is wet.",
        ["1.0", "3.0", "5.0"],
        ["0.0", "5.0", "4.0"],
        # (-2, 0, 2) by (-3, 2, 1): 8 / sqrt(8 x 14); ranks by 1, 3, 2:
        # 1 - 6 x 2 / (3 x 8)
        {"pearson_corrcoef": 75.593, "spearman_corrcoef": 50},
    ),
    "glue_mnli": _MNLI,
    "glue_mnli_matched": _MNLI,
    "glue_mnli_mismatched": _MNLI,
    "glue_qnli": _nli("qnli", ("question", "sentence"), _RTE),
    "glue_rte": _nli("rte", ("sentence1", "sentence2"), _RTE),
    "glue_wnli": _nli("wnli", ("sentence1", "sentence2"), _RTE[::-1]),
    "glue_ax": Case(
        [{"premise": "A.", "hypothesis": "B.", "label": -1, "idx": 0}],
        "mnli hypothesis: B. premise: A.",
        ["<unk>"],
    ),
}

_WSC = {
    "text": "Ann told Bea that he would call back soon.",
    "span1_index": 2,
    "span2_index": 4,
    "span2_text": "he",
}

SUPER_GLUE = {
    "super_glue_boolq": accuracy(
        [
            {
                "question": "is it",
                "passage": "It is.",
                "label": "True",
                "idx": 0,
            },
            {"question": "is it", "passage": "No.", "label": "False", "idx": 1},
        ],
        "boolq passage: It is. question: is it",
        ["True", "False"],
        ["True", "True"],
        50,
    ),
    "super_glue_cb": Case(
        _pair(
            ("premise", "hypothesis"),
            ["entailment", "contradiction", "neutral"],
        ),
        "cb hypothesis: It is wet. premise: It rains.",
        ["entailment", "contradiction", "neutral"],
        ["entailment", "entailment", "neutral"],
        # F1 of the classes: 2 / (2 + 1), 0 and 1.
        {"mean_3class_f1": 500 / 9, "accuracy": 200 / 3},
    ),
    "super_glue_copa": accuracy(
        [
            {
                "premise": "I fell.",
                "choice1": "It hurt.",
                "choice2": "It rained.",
                "question": question,
                "label": label,
                "idx": 0,
            }
            for question, label in (("effect", "choice1"), ("cause", "choice2"))
        ],
        "copa choice1: It hurt. choice2: It rained. premise: I fell. question: "
        "effect",
        ["choice1", "choice2"],
        ["choice2", "choice2"],
        50,
    ),
    "super_glue_multirc": Case(
        [
            {
                "paragraph": "<b>Sent 1: </b>I ran.<br>",
                "question": "Who?",
                "answer": "I",
                "label": label,
                "idx": {"paragraph": 0, "question": question, "answer": answer},
            }
            for label, question, answer in (
                ("True", 0, 0),
                ("False", 0, 1),
                ("True", 1, 2),
            )
        ],
        "multirc question: Who? answer: I paragraph: Sent 1: I ran. ",
        ["True", "False", "True"],
        ["True", "False", "False"],
        # 1 true positive, 1 false negative; only the first question is right.
        {"f1": 200 / 3, "exact_match": 50},
    ),
    "super_glue_record": Case(
        [
            {
                "passage": "Paris is old.\n@highlight\nSo is Rome",
                "query": "@placeholder is old",
                "entities": ["Paris", "Rome"],
                "answers": ["City of Paris", "Paris"],
                "idx": {"passage": 0, "query": 0},
            },
            {
                "passage": "Rome\n@highlight\nAnd more",
                "query": "@placeholder is big",
                "entities": ["Rome"],
                "answers": ["Rome"],
                "idx": {"passage": 0, "query": 1},
            },
        ],
        "record query: @placeholder is old entities: Paris, Rome "
        "passage: Paris is old. So is Rome",
        ["City of Paris", "Paris", "Rome"],  # An example for each answer.
        # The first answer to the first question counts; that to the second has
        # precision 1 / 2 and recall 1.
        ["the Paris", "nonsense", "Rome, Italy"],
        {"em": 50, "f1": (100 + 200 / 3) / 2},
    ),
    "super_glue_rte": _nli("rte", ("premise", "hypothesis"), _RTE),
    "super_glue_wic": accuracy(
        [
            {
                "word": "bank",
                "sentence1": "A bank.",
                "sentence2": "The bank.",
                "start1": 2,
                "start2": 4,
                "end1": 6,
                "end2": 8,
                "label": label,
                "idx": 0,
            }
            for label in ("True", "False")
        ],
        "wic sentence1: A bank. sentence2: The bank. word: bank",
        ["True", "False"],
        ["True", "False"],
        100,
    ),
    "super_glue_axb": Case(
        [{"sentence1": "A.", "sentence2": "B.", "label": -1, "idx": 0}],
        "rte hypothesis: B. premise: A.",
        ["<unk>"],
    ),
    "super_glue_axg": Case(
        [{"premise": "A.", "hypothesis": "B.", "label": -1, "idx": 0}],
        "rte hypothesis: B. premise: A.",
        ["<unk>"],
    ),
    "dpr": accuracy(
        [
            {
                "sentence": "Leo told Max when he has time, so he went.",
                "pronoun": "he",
                "candidates": ["Leo", "Max"],
                "label": label,
            }
            for label in (1, 0)
        ],
        "wsc: Leo told Max when *he* has time, so he went.",
        ["Max", "Leo"],
        ["Max", "Max"],
        50,
    ),
    "super_glue_wsc_train": Case(
        [
            {**_WSC, "span1_text": "Bea", "label": "True", "idx": 0},
            {**_WSC, "span1_text": "Ann", "label": "False", "idx": 1},
        ],
        "wsc: Ann told Bea that *he* would call back soon.",
        ["Bea"],  # Training is on correct referents only.
    ),
    "super_glue_wsc_eval": accuracy(
        [
            {**_WSC, "span1_text": "Bea", "label": "True", "idx": 0},
            {**_WSC, "span1_text": "Ann", "label": "False", "idx": 1},
            {**_WSC, "span1_text": "the call", "label": "False", "idx": 2},
        ],
        "wsc: Ann told Bea that *he* would call back soon.",
        ["Bea", "Ann", "the call"],
        ["bea", "Bea", "some call"],  # The last means yes, but the label is no.
        200 / 3,
    ),
}
