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

"""The tasks that the paper fine-tunes on (sections 4.1 and 5.6, Table 5).

Most are T5's: formats, postprocessing and metrics are those of the tasks that
t5 registers, under names without a version; only ROUGE is not drawn anew at
each call (rouge.py). The others are not in t5:

*   XSum, in the format of CNN/DailyMail.
*   ANLI, in the format of MNLI: "anli hypothesis: ... premise: ...".
*   Winogrande, in the format of COPA: "winogrande option1: ... option2: ...
    sentence: ..." with the target "option1" or "option2". The paper gives no
    format.
*   ARC, likewise with a question and up to five choices (question_formats.py).
    The paper gives no format for it either.
*   closed-book questions, as in Roberts et al. (2020). In all three the last
    tenth of the training set is the validation set, because Web Questions has
    no other, and the published one is the test set.
"""

from collections.abc import Callable, Mapping, Sequence
import functools

import seqio
from t5.data import glue_utils
from t5.data import postprocessors
from t5.data import preprocessors
import t5.data.tasks  # noqa: F401  Registers T5's tasks.
from t5.evaluation import metrics

from tasks import official_files
from tasks import question_formats
from tasks import rouge
from tasks import vocabulary

# The T5 names of T5's tasks.
FROM_T5 = {
    "dpr": "dpr_v001_simple",
    "super_glue_wsc_train": "super_glue_wsc_v102_simple_train",
    "super_glue_wsc_eval": "super_glue_wsc_v102_simple_eval",
    "cnn_dailymail": "cnn_dailymail_v002",
    "squad": "squad_v010_allanswers",
}
FROM_T5 |= {
    f"glue_{name}": f"glue_{name}_v002" for name in glue_utils.GLUE_METRICS
}
FROM_T5 |= {
    f"super_glue_{name}": f"super_glue_{name}_v102"
    for name in glue_utils.SUPERGLUE_METRICS
}

# T5 reads the splits from the prepared data; here they are known without it.
_ALL_SPLITS = ("train", "validation", "test")
SPLITS = {
    "dpr": ("train", "test"),
    "squad": ("train", "validation"),
    "super_glue_wsc_train": ("train",),
    "super_glue_wsc_eval": ("validation", "test"),
    "super_glue_axb": ("test",),
    "super_glue_axg": ("test",),
    "glue_ax": ("test",),
    "glue_mnli": (
        "train",
        "validation_matched",
        "validation_mismatched",
        "test_matched",
        "test_mismatched",
    ),
    "glue_mnli_matched": ("validation", "test"),
    "glue_mnli_mismatched": ("validation", "test"),
}

# T5 creates these metrics in functions, where all are named "fn".
_METRIC_NAMES = {
    "glue_cola": "matthews_corrcoef",
    "super_glue_cb": "mean_3class_f1",
    "super_glue_multirc": "exact_match",
    "super_glue_record": "squad",
}

# Sizes of training sets that are not in T5, from "Splits" in TFDS's catalog
# (tensorflow.org/datasets/catalog). Of closed-book questions, only the examples
# that Roberts et al. train on count.
NUM_EXAMPLES = {
    "cnn_dailymail": 287_113,
    "xsum": 203_577,
    "squad": 87_599,
    "winogrande_xl": 40_398,
    "anli_r3": 100_459,
    "arc_easy": 2_251,
    "arc_challenge": 1_119,
    "natural_questions": 79_168,
    "web_questions": 3_417,
    "trivia_qa": 78_785,
}


def _register(
    name: str,
    source: seqio.DataSource,
    preprocessor_fns: Sequence[Callable],
    **kwargs,
):
  """Registers a task with T5's vocabulary."""
  feature = seqio.Feature(vocabulary.LateVocabulary("t5"), add_eos=True)
  seqio.TaskRegistry.add(
      name,
      source=source,
      preprocessors=preprocessor_fns,
      output_features={"inputs": feature, "targets": feature},
      **kwargs,
  )


def _named(metric_fn: Callable, name: str) -> Callable:
  """Returns a metric under another name."""

  @functools.wraps(metric_fn)
  def named(targets, predictions):
    return metric_fn(targets, predictions)

  named.__name__ = name
  return named


def _metric_of(name: str, metric_fn: Callable) -> Callable:
  """Returns the metric in place of one of a task of t5."""
  if metric_fn is metrics.rouge:
    return rouge.rouge
  if "<locals>" in metric_fn.__qualname__:
    return _named(metric_fn, _METRIC_NAMES[name])
  return metric_fn


def _register_from_t5(name: str, t5_name: str):
  """Registers a task of t5 under another name, with its source from here."""
  task = seqio.TaskRegistry.get(t5_name)
  _register(
      name,
      official_files.source(
          task.source.tfds_dataset.name, SPLITS.get(name, _ALL_SPLITS)
      ),
      task.preprocessors,
      postprocess_fn=task.postprocessor,
      metric_fns=[_metric_of(name, fn) for fn in task.metric_fns],
  )


def _register_from_tfds(
    name: str,
    tfds_name: str,
    to_text: Sequence[Callable],
    metric_fn: Callable,
    splits: Mapping[str, str] | Sequence[str] = _ALL_SPLITS,
    postprocess_fn: Callable | None = None,
):
  """Registers a task that t5 lacks."""
  _register(
      name,
      official_files.source(tfds_name, splits),
      [
          *to_text,
          seqio.preprocessors.tokenize,
          seqio.CacheDatasetPlaceholder(),
          seqio.preprocessors.append_eos_after_trim,
      ],
      postprocess_fn=postprocess_fn,
      metric_fns=[metric_fn],
  )


def _class_of(names: Sequence[str]) -> Callable:
  """Returns the postprocessor for targets that are names of classes."""
  return functools.partial(
      postprocessors.string_label_to_class_id, label_classes=names
  )


def _register_closed_book(
    name: str,
    tfds_name: str,
    prefix: str,
    target: Callable,
    answers: Callable,
    published: str,
    metric_fn: Callable = metrics.squad,
):
  """Registers closed-book questions.

  Args:
    name: the task's.
    tfds_name: the dataset's.
    prefix: the start of the inputs.
    target: see question_formats.closed_book.
    answers: see question_formats.closed_book.
    published: TFDS's name of the split of published results.
    metric_fn: computes exact match and F1.
  """
  train = f"train[:{NUM_EXAMPLES[name]}]"
  validation = f"train[{NUM_EXAMPLES[name]}:]"
  _register_from_tfds(
      name,
      tfds_name,
      [
          functools.partial(
              question_formats.closed_book,
              prefix=prefix,
              target=target,
              answers=answers,
          )
      ],
      metric_fn,
      {"train": train, "validation": validation, "test": published},
      postprocessors.qa,
  )


def _register_summaries():
  _register_from_tfds(
      "xsum",
      "xsum:1.1.0",
      [
          functools.partial(
              preprocessors.summarize,
              article_key="document",
              summary_key="summary",
          )
      ],
      rouge.rouge,
  )


def _register_entailment():
  entailment = ("entailment", "neutral", "contradiction")
  _register_from_tfds(
      "anli_r3",
      "anli/r3:0.1.0",
      [
          functools.partial(
              preprocessors.rekey,
              key_map={
                  "premise": "context",
                  "hypothesis": "hypothesis",
                  "label": "label",
              },
          ),
          functools.partial(
              preprocessors.glue,
              benchmark_name="anli",
              label_names=entailment,
              id_key=None,
          ),
      ],
      metrics.accuracy,
      postprocess_fn=_class_of(entailment),
  )


def _register_multiple_choice():
  options = ("option1", "option2")
  _register_from_tfds(
      "winogrande_xl",
      "winogrande:1.2.0",
      [
          functools.partial(
              preprocessors.glue,
              benchmark_name="winogrande",
              label_names=options,
              id_key=None,
          )
      ],
      metrics.accuracy,
      {"train": "train_xl", "validation": "validation", "test": "test"},
      _class_of(options),
  )
  for name, config in (
      ("arc_easy", "ARC-Easy"),
      ("arc_challenge", "ARC-Challenge"),
  ):
    _register_from_tfds(
        name,
        f"ai2_arc/{config}:1.0.0",
        [functools.partial(question_formats.multiple_choice, prefix="arc")],
        metrics.accuracy,
        postprocess_fn=_class_of(question_formats.CHOICES),
    )


def _register_questions():
  _register_closed_book(
      "natural_questions",
      "natural_questions_open:1.0.0",
      "nq question:",
      target=lambda example: example["answer"][0],
      answers=lambda example: example["answer"],
      published="validation",
  )
  _register_closed_book(
      "web_questions",
      "web_questions:1.0.0",
      "wq question:",
      target=lambda example: example["answers"][0],
      answers=lambda example: example["answers"],
      published="test",
  )
  _register_closed_book(
      "trivia_qa",
      "trivia_qa/unfiltered.nocontext:1.1.0",
      "trivia_qa question:",
      target=lambda example: example["answer"]["value"],
      answers=lambda example: example["answer"]["aliases"],
      published="validation",
      metric_fn=metrics.trivia_qa,
  )


for _name, _t5_name in FROM_T5.items():
  _register_from_t5(_name, _t5_name)
_register_summaries()
_register_entailment()
_register_multiple_choice()
_register_questions()
