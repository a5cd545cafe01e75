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

"""Evaluation of decoded text with the metrics of each task."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import itertools
import numbers
import os
from typing import Any, NamedTuple

import numpy as np
import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import caching
from mtf_switch.training import evaluated_examples
from mtf_switch.training import inputs
from mtf_switch.training import metrics_file
from mtf_switch.training import prediction
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import tensorboard

# T5's text in the place of a class that is missing.
_NO_LABEL = "<unk>"


class _Task(NamedTuple):
  """The examples of one task's split.

  Attributes:
    dataset: T5's EvalDataset.
    examples: its examples.
    targets: the targets in the form that the metrics take.
    labelled: whether each target is a label.
  """

  dataset: Any
  examples: Sequence[Mapping[str, Any]]
  targets: Sequence[Any]
  labelled: Sequence[bool]


class Evaluation:
  """Decodes a split, step by step, and applies the metrics of each task.

  Attributes:
    directory: model_dir/<split>_eval, where all files go.
    task_names: the names of the tasks.
    scored_names: the names of those that have labels; the others get
      predictions but no scores.
  """

  def __init__(self, run: run_lib.Run, split: str, display: progress.Display):
    """Reads the examples and writes their inputs and targets, one a line.

    Args:
      run: the run.
      split: the split.
      display: the display for progress.

    Raises:
      UserError: the split or its examples are missing, or no task has metrics.
    """
    experiment = run.experiment
    self._run = run
    self._display = display
    self.directory = os.path.join(run.model_dir, f"{split}_eval")
    caching.check(experiment.provider, split, "mesh_eval_dataset_fn")
    caching.warn_of_order(experiment.provider, split)
    datasets = inputs.evaluation_datasets(
        experiment.task, experiment.lengths, split
    )
    datasets = [x for x in datasets if x.metric_fns or _is_for_a_server(x.name)]
    if experiment.model_type == "lm" or not datasets:
      raise errors.UserError(
          f"{experiment.task!r} has no metrics of text decoded from inputs; use"
          " --mode=perplexity_eval, and train.eval_every = None in fine-tuning."
      )
    self._cap = evaluated_examples.cap()
    self._tasks = {}
    with tf.Graph().as_default():  # One for all, which may share preprocessing.
      for dataset in datasets:
        display.status(f"reading the {split} split of {dataset.name}")
        self._tasks[dataset.name] = self._read(dataset, split)
    self.task_names = list(self._tasks)
    self.scored_names = [
        name
        for name, task in self._tasks.items()
        if task.dataset.metric_fns and any(task.labelled)
    ]

  def evaluate(self, step: int, task_names: Sequence[str] | None = None):
    """Evaluates the checkpoint of a step.

    Writes predictions, one a line, and for each task with labels a line to
    metrics.jsonl and TensorBoard's events.

    Args:
      step: the checkpoint's step.
      task_names: the tasks; None for all.
    """
    names = self.task_names if task_names is None else task_names
    # All tasks at once: building the model takes longer than many a split.
    ids = [x["inputs"] for name in names for x in self._tasks[name].examples]
    texts = iter(
        prediction.decode(self._run, np.stack(ids), step, self._display)
    )
    for name in names:
      self._score(step, name, texts)

  def evaluate_missing(self, step: int):
    """Evaluates the tasks that the split's metrics.jsonl does not have yet.

    Args:
      step: the checkpoint's step.
    """
    done = metrics_file.tasks(metrics_file.read(self.directory), step)
    missing = [name for name in self.task_names if name not in done]
    if missing:
      self.evaluate(step, missing)

  def _read(self, dataset, split: str) -> _Task:
    examples = list(tfds.as_numpy(inputs.without_autograph(dataset.dataset_fn)))
    if not examples:
      raise errors.UserError(
          f"the {split!r} split of {dataset.name!r} has no examples to decode."
      )
    vocabularies = self._run.experiment.vocabularies
    texts = [_texts(vocabularies, example) for example in examples]
    targets = [
        dataset.postprocess_fn(text["targets"], example=example, is_target=True)
        for text, example in zip(texts, examples)
    ]
    prefix = os.path.join(self.directory, dataset.name)
    files.write_lines(f"{prefix}_inputs", [text["inputs"] for text in texts])
    files.write_lines(f"{prefix}_targets", targets)
    labels = labelled([text["targets"] for text in texts], targets)
    return _Task(dataset, examples, targets, labels)

  def _score(self, step: int, name: str, texts: Iterator[str]):
    """Takes the texts of a task's examples and records their scores."""
    dataset, examples, targets, labels = self._tasks[name]
    predictions = [
        dataset.postprocess_fn(next(texts), example=example, is_target=False)
        for example in examples
    ]
    path = os.path.join(self.directory, f"{name}_{step}_predictions")
    files.write_lines(path, predictions)
    if name not in self.scored_names:
      missing = "labels" if dataset.metric_fns else "metrics"
      self._display.note(
          f"step {step}  {name}  no {missing}, hence no scores; the predictions"
          f" are in {path}"
      )
      return
    if not all(labels):
      self._display.note(
          f"step {step}  {name}  {len(labels) - sum(labels):,} of "
          f"{len(labels):,} examples have no label and do not count"
      )
      targets = list(itertools.compress(targets, labels))
      predictions = list(itertools.compress(predictions, labels))
    scores = {}
    with self._display.working(f"scoring {name}"):
      for metric_fn in dataset.metric_fns:
        with _repeatable_draws():
          scores |= _numbers(metric_fn, metric_fn(targets, predictions))
    evaluated = self._cap.record(len(examples))
    _record_scores(self.directory, step, name, scores, evaluated)
    self._display.note(
        f"step {step}  {name}  "
        + "  ".join(f"{metric} {score:.4g}" for metric, score in scores.items())
        + self._cap.describe(len(examples))
    )


def _is_for_a_server(name: str) -> bool:
  """Whether a task has nothing but a test split, scored elsewhere: glue_ax."""
  return list(seqio.get_mixture_or_task(name).splits) == ["test"]


def labelled(texts: Sequence[str], targets: Sequence[Any]) -> list[bool]:
  """Returns which examples have a label.

  Test sets have none: TensorFlow Datasets puts -1 in the place of a class and
  T5 writes it as "<unk>"; of other labels nothing is left.

  Args:
    texts: the targets' texts.
    targets: the targets in the form that the metrics take.
  """
  known = [text != _NO_LABEL for text in texts]
  # In a split with labels -1 may be one of them.
  if not any(_is_label(target) for target in targets):
    return [False] * len(known)
  return known


def _is_label(target: Any) -> bool:
  if isinstance(target, Mapping):  # T5 adds "group", or SQuAD's "context".
    kinds = [target[name] for name in ("value", "answers") if name in target]
    return any(map(_is_label, kinds or target.values()))
  if isinstance(target, (list, tuple, np.ndarray)):
    return any(map(_is_label, target))
  if isinstance(target, (str, bytes)):
    return tf.compat.as_text(target).strip() not in ("", _NO_LABEL)
  return target is not None and target != -1


@contextlib.contextmanager
def _repeatable_draws() -> Iterator[None]:
  """Seeds NumPy's global generator, which T5's ROUGE draws from."""
  state = np.random.get_state()
  np.random.seed(0)
  try:
    yield
  finally:
    np.random.set_state(state)


def _texts(vocabularies, example: Mapping[str, Any]) -> dict[str, str]:
  """The text of each feature before tokenization, decoded if it is not kept."""
  texts = {}
  for name, vocabulary in zip(("inputs", "targets"), vocabularies):
    text = example.get(f"{name}_pretokenized")
    if text is None:
      text = vocabulary.decode([int(i) for i in example[name]])
    texts[name] = tf.compat.as_text(text)
  return texts


def _numbers(metric_fn: Callable, values: Any) -> Mapping[str, float]:
  """The values of a metric; a UserError if they are not numbers by name."""
  if not isinstance(values, Mapping) or not all(
      isinstance(value, numbers.Real) for value in values.values()
  ):
    raise errors.UserError(
        f"the metric {seqio.function_name(metric_fn)} returned {values!r}; it "
        "must return a dictionary of numbers by their names."
    )
  return values


def _record_scores(
    directory: str,
    step: int,
    task: str,
    scores: Mapping[str, float],
    evaluated: Mapping[str, Any],
):
  """Adds a line to metrics.jsonl of the split, and a point in TensorBoard."""
  record = {"step": step, "task": task, **evaluated, **scores}
  files.append_record(os.path.join(directory, "metrics.jsonl"), record)
  scalars = {f"eval/{task}/{name}": score for name, score in scores.items()}
  tensorboard.write_scalars(directory, step, scalars)
