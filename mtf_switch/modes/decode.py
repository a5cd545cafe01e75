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

"""The modes that decode and score, configured by gin."""

from collections.abc import Iterator, Mapping, Sequence
import os
from typing import Any, NamedTuple

import gin
import numpy as np
import rich.console
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import caching
from mtf_switch.training import checkpoints
from mtf_switch.training import estimator
from mtf_switch.training import inputs
from mtf_switch.training import progress
from mtf_switch.training import tensorboard
from mtf_switch.training.experiment import Experiment


@gin.configurable(module="mtf_switch.decoding")
def evaluate(
    experiment: Experiment,
    console: rich.console.Console,
    split: str = "validation",
    checkpoint_step: checkpoints.Selection = None,
):
  """Decodes a split and applies the metrics of each task.

  Writes inputs, targets and predictions, one a line, and metrics.jsonl to
  model_dir/<split>_eval, and TensorBoard's events.

  Args:
    experiment: what the run is about.
    console: where progress is shown.
    split: the split.
    checkpoint_step: which checkpoints; see checkpoints.Selection.

  Raises:
    UserError: a checkpoint or the split is missing, or no task has metrics.
  """
  steps = checkpoints.select(experiment.model_dir, checkpoint_step)
  with progress.Display(console) as display:
    evaluation = Evaluation(experiment, split, display)
    for step in steps:
      evaluation.run(step)


class _Task(NamedTuple):
  """The examples of one task's split.

  Attributes:
    dataset: T5's EvalDataset.
    examples: what it gives.
    targets: as the metrics want them.
  """

  dataset: Any
  examples: Sequence[Mapping[str, Any]]
  targets: Sequence[Any]


class Evaluation:
  """Decodes a split, step by step, and applies the metrics of each task.

  Attributes:
    directory: model_dir/<split>_eval, for all that is written.
    task_names: the names of the tasks.
  """

  def __init__(
      self, experiment: Experiment, split: str, display: progress.Display
  ):
    """Reads the examples and writes their inputs and targets, one a line.

    Args:
      experiment: what the run is about.
      split: the split.
      display: where progress is shown.

    Raises:
      UserError: the split or its examples are missing, or no task has metrics.
    """
    self._experiment = experiment
    self._display = display
    self.directory = os.path.join(experiment.model_dir, f"{split}_eval")
    caching.check(experiment.provider, split, "mesh_eval_dataset_fn")
    datasets = inputs.evaluation_datasets(
        experiment.task, experiment.lengths, split
    )
    datasets = [dataset for dataset in datasets if dataset.metric_fns]
    if experiment.model_type == "lm" or not datasets:
      raise errors.UserError(
          f"{experiment.task!r} has no metrics of text decoded from inputs; use"
          " --mode=perplexity_eval."
      )
    self._tasks = {}
    for dataset in datasets:
      display.status(f"reading the {split} split of {dataset.name}")
      self._tasks[dataset.name] = self._read(dataset, split)
    self.task_names = list(self._tasks)

  def run(self, step: int, task_names: Sequence[str] | None = None):
    """Evaluates the checkpoint of a step.

    Writes predictions, one a line, and a line to metrics.jsonl for each task,
    and TensorBoard's events.

    Args:
      step: the checkpoint's step.
      task_names: the tasks; None for all.
    """
    names = self.task_names if task_names is None else task_names
    # All tasks at once: building the model takes longer than many a split.
    ids = [x["inputs"] for name in names for x in self._tasks[name].examples]
    texts = iter(decode(self._experiment, np.stack(ids), step, self._display))
    for name in names:
      self._score(step, name, texts)

  def _read(self, dataset, split: str) -> _Task:
    with tf.Graph().as_default():
      examples = list(tfds.as_numpy(dataset.dataset_fn()))
    if not examples:
      raise errors.UserError(
          f"the {split!r} split of {dataset.name!r} has no examples to decode."
      )
    texts = [_texts(self._experiment, example) for example in examples]
    targets = [
        dataset.postprocess_fn(text["targets"], example=example, is_target=True)
        for text, example in zip(texts, examples)
    ]
    prefix = os.path.join(self.directory, dataset.name)
    files.write_lines(f"{prefix}_inputs", [text["inputs"] for text in texts])
    files.write_lines(f"{prefix}_targets", targets)
    return _Task(dataset, examples, targets)

  def _score(self, step: int, name: str, texts: Iterator[str]):
    """Takes the texts of a task's examples and records what they are worth."""
    dataset, examples, targets = self._tasks[name]
    predictions = [
        dataset.postprocess_fn(next(texts), example=example, is_target=False)
        for example in examples
    ]
    files.write_lines(
        os.path.join(self.directory, f"{name}_{step}_predictions"), predictions
    )
    scores = {}
    for metric_fn in dataset.metric_fns:
      scores.update(metric_fn(targets, predictions))
    _record_scores(self.directory, step, name, scores)
    self._display.note(
        f"step {step}  {name}  "
        + "  ".join(f"{metric} {score:.4g}" for metric, score in scores.items())
    )


def _texts(experiment: Experiment, example: Mapping[str, Any]):
  """The text of each feature as it was before it became tokens, or again."""
  texts = {}
  for name, vocabulary in zip(("inputs", "targets"), experiment.vocabularies):
    text = example.get(f"{name}_pretokenized")
    if text is None:
      text = vocabulary.decode([int(i) for i in example[name]])
    texts[name] = tf.compat.as_text(text)
  return texts


def _record_scores(
    directory: str, step: int, task: str, scores: Mapping[str, float]
):
  """Adds a line to metrics.jsonl of the split, and a point in TensorBoard."""
  record = {"step": step, "task": task, **scores}
  files.append_record(os.path.join(directory, "metrics.jsonl"), record)
  scalars = {f"eval/{task}/{name}": score for name, score in scores.items()}
  tensorboard.write_scalars(directory, step, scalars)


@gin.configurable(module="mtf_switch.decoding")
def infer(
    experiment: Experiment,
    console: rich.console.Console,
    input_file: str,
    output_file: str,
    checkpoint_step: int | None = None,
):
  """Decodes a file of inputs, one a line, to a file of outputs, one a line.

  Lines keep their order. A blank line stays blank and is not decoded.

  Args:
    experiment: what the run is about.
    console: where progress is shown.
    input_file: the inputs.
    output_file: the outputs; replaced when all of them are there.
    checkpoint_step: the step of the checkpoint; None or -1 for the latest.

  Raises:
    UserError: the checkpoint or the inputs are missing.
  """
  lines = _read_lines(input_file)
  (step,) = checkpoints.select(experiment.model_dir, checkpoint_step)
  is_lm = experiment.model_type == "lm"
  ids = inputs.encode_lines(
      [line for line in lines if line.strip()],
      experiment.vocabularies[0],
      experiment.lengths["targets" if is_lm else "inputs"],
      # An "lm" continues its inputs.
      add_eos=not is_lm,
  )
  with progress.Display(console) as display:
    texts = iter(decode(experiment, ids, step, display))
    outputs = [next(texts) if line.strip() else "" for line in lines]
    files.write_lines(output_file, outputs)
    display.note(f"step {step}: {len(lines)} lines written to {output_file}")


@gin.configurable(module="mtf_switch.decoding")
def score(
    experiment: Experiment,
    console: rich.console.Console,
    input_file: str,
    output_file: str,
    checkpoint_step: int | None = None,
):
  """Writes how probable the targets of a file are, one number a line.

  A line of the file is inputs, a tab and targets; for model_type "lm" only
  targets. The number is the natural logarithm of the probability of the
  targets and the end of the sequence, given the inputs. Targets that are too
  long are cut. What else is in the file has no influence.

  Args:
    experiment: what the run is about.
    console: where progress is shown.
    input_file: the pairs.
    output_file: the numbers; replaced when all of them are there.
    checkpoint_step: the step of the checkpoint; None or -1 for the latest.

  Raises:
    UserError: the checkpoint or the inputs are missing, or a line is not two.
  """
  lines = _read_lines(input_file)
  (step,) = checkpoints.select(experiment.model_dir, checkpoint_step)
  names = ["targets"]
  if experiment.model_type != "lm":
    names = ["inputs", "targets"]
  columns = [line.split("\t") for line in lines]
  for number, texts in enumerate(columns, start=1):
    if len(texts) != len(names):
      raise errors.UserError(
          f"{input_file}:{number}: {len(texts)} columns where "
          f"{' and '.join(names)} are expected, with a tab between columns."
      )
  features = {
      name: inputs.encode_lines(
          [texts[i] for texts in columns],
          experiment.vocabularies[name == "targets"],
          experiment.lengths[name],
          add_eos=True,
      )
      for i, name in enumerate(names)
  }
  with progress.Display(console) as display:
    scores = [
        float(prediction["score"])
        for prediction in _predict(
            experiment,
            estimator.scoring_model_fn(experiment),
            features,
            step,
            display,
            "scored",
        )
    ]
    files.write_lines(output_file, scores)
    display.note(f"step {step}: {len(lines)} lines written to {output_file}")


def _read_lines(input_file: str) -> list[str]:
  """The lines of a file; a UserError if it is not there."""
  if not tf.io.gfile.exists(input_file):
    raise errors.UserError(f"--input_file={input_file} does not exist.")
  with tf.io.gfile.GFile(input_file) as file:
    return file.read().splitlines()


def decode(
    experiment: Experiment,
    ids: np.ndarray,
    step: int,
    display: progress.Display,
) -> list[str]:
  """Decodes inputs with the checkpoint of a step.

  Args:
    experiment: what the run is about.
    ids: `[num_examples, length]` token ids.
    step: the checkpoint's step.
    display: where progress is shown.

  Returns:
    num_examples texts.
  """
  vocabulary = experiment.vocabularies[1]
  return [
      vocabulary.decode([int(i) for i in prediction["outputs"]])
      for prediction in _predict(
          experiment,
          estimator.decoding_model_fn(experiment),
          {"inputs": ids},
          step,
          display,
          "decoded",
      )
  ]


def _predict(
    experiment: Experiment,
    model_fn,
    features: Mapping[str, np.ndarray],
    step: int,
    display: progress.Display,
    done: str,
) -> Iterator[dict[str, Any]]:
  """What a model function predicts with the checkpoint of a step.

  Args:
    experiment: what the run is about.
    model_fn: one of estimator's.
    features: `[num_examples, length]` token ids by name.
    step: the checkpoint's step.
    display: where progress is shown.
    done: what is being done to the examples, as a participle.

  Yields:
    num_examples predictions.
  """
  num_examples = len(next(iter(features.values())))
  if not num_examples:
    return
  display.status(f"building the model of step {step}")
  predictions = estimator.make_estimator(experiment, model_fn).predict(
      lambda params: inputs.inference_batches(
          features, experiment.sequences_per_batch
      ),
      checkpoint_path=checkpoints.path(experiment.model_dir, step),
  )
  for number, prediction in enumerate(predictions, start=1):
    if number <= num_examples:  # The rows after that fill up the last batch.
      yield prediction
      display.steps(done, number, num_examples)
