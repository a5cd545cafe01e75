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

"""The mode that fine-tunes, configured by gin."""

from collections.abc import Iterable, Mapping, Sequence
import functools
import os
from typing import Any

import gin
import rich.console
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.modes import decode  # noqa: F401  For gin files, as in 0.2.0.
from mtf_switch.modes import train
from mtf_switch.training import best_checkpoints
from mtf_switch.training import checkpoints
from mtf_switch.training import decoded_evaluation
from mtf_switch.training import evaluated_examples
from mtf_switch.training import metrics_file as metrics_file_lib
from mtf_switch.training import model_functions
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import vocabulary_record
from mtf_switch.training import warm_start
from mtf_switch.training.experiment import find_task

# Mixtures whose mean score the paper reports; a larger one has it as well.
_BENCHMARKS = ("glue", "super_glue")

_PRETRAINED = "pretrained.json"


@gin.configurable(module="mtf_switch.finetuning")
@values.checked
def finetune(
    run: run_lib.Run,
    console: rich.console.Console,
    pretrained_dir: str = gin.REQUIRED,
    pretrained_step: checkpoints.Step = None,
):
  """Trains from the weights of another run's checkpoint.

  Trains as `train` does, with its settings, but evaluates by decoding, as
  `evaluate` does; an "lm", which has no inputs to decode, as `train` does. Step
  and optimizer start afresh. Writes initialization.json and pretrained.json
  before the first step, and best.json with each evaluation by decoding. If
  model_dir has a checkpoint of its own, training resumes from that.

  Args:
    run: the run.
    console: the console for progress.
    pretrained_dir: the directory of the pre-trained model, ours or T5's.
    pretrained_step: the step of its checkpoint; None for the latest.

  Raises:
    UserError: there is no such checkpoint, it does not fit the model or the
      vocabulary, the task has no metrics, or model_dir has the checkpoints of
      another run.

  Source: section 4.1.
  """
  make_more_hooks = None
  model_dir = run.model_dir
  if checkpoints.latest_step(model_dir):
    if not tf.io.gfile.exists(os.path.join(model_dir, _PRETRAINED)):
      raise errors.UserError(
          f"{model_dir!r} has the checkpoints of a run that is no fine-tuning; "
          "give --model_dir a new directory."
      )
  else:
    files.check_directory(
        pretrained_dir,
        f"finetune.pretrained_dir = {pretrained_dir!r}",
        to_be_made=True,
    )
    (step,) = checkpoints.select(
        pretrained_dir, pretrained_step, "finetune.pretrained_dir"
    )
    with (
        progress.Display(console) as display,
        display.working("checking the vocabulary"),
    ):
      vocabulary_record.check(pretrained_dir, run.experiment.vocabularies)
    make_more_hooks = functools.partial(
        _initialize, model_dir, pretrained_dir, step, console
    )
  is_lm = run.experiment.model_type == "lm"
  train.train(
      run,
      console,
      make_evaluate=None if is_lm else make_evaluate,
      make_more_hooks=make_more_hooks,
  )


def _initialize(
    model_dir: str,
    pretrained_dir: str,
    step: int,
    console: rich.console.Console,
    unused_graph: model_functions.TrainingGraph,
) -> list[tf.train.SessionRunHook]:
  """Records the origin of the initial weights; returns their hook.

  Later sessions of the same run start from its own checkpoints.
  """
  if checkpoints.latest_step(model_dir):
    return []
  path = checkpoints.path(pretrained_dir, step)
  shapes = dict(tf.train.list_variables(path))
  report = warm_start.match(
      {
          name: variable.shape.as_list()
          for name, variable in warm_start.weights().items()
      },
      shapes,
  )
  warm_start.check(report, path)
  files.write_json(
      os.path.join(model_dir, "initialization.json"), report._asdict()
  )
  metrics = metrics_file_lib.read(pretrained_dir)
  files.write_json(
      os.path.join(model_dir, _PRETRAINED),
      {
          "pretrained_dir": pretrained_dir,
          "step": step,
          "neg_log_perplexity": upstream_neg_log_perplexity(metrics, step),
          "sparse": warm_start.is_sparse(shapes),
      },
  )
  terminal.say(
      console,
      f"initial weights from {path}: {report.summary}; see initialization.json",
  )
  return [warm_start.InitializationHook(path, report.matched)]


def upstream_neg_log_perplexity(
    metrics: Iterable[Mapping[str, Any]], step: int
) -> float | None:
  """The quality of a pre-trained model, by its own evaluations.

  Args:
    metrics: the records of its metrics.jsonl.
    step: the step of the checkpoint.

  Returns:
    the neg log perplexity of the task that was trained, or, where tasks were
    mixed, the mean over those evaluated, at the last evaluation until then;
    None if there was none.
  """
  metrics = [record for record in metrics if record["step"] <= step]
  trained = {r["task"] for r in metrics if r.get("kind") == "train"}
  evaluated = metrics_file_lib.evaluations(metrics)
  evaluated = [r for r in evaluated if r["task"] in trained] or evaluated
  last_step = max((r["step"] for r in evaluated), default=None)
  values = {
      r["task"]: r["neg_log_perplexity"]
      for r in evaluated
      if r["step"] == last_step
  }
  return sum(values.values()) / len(values) if values else None


def make_evaluate(
    run: run_lib.Run, split: str, display: progress.Display
) -> best_checkpoints.Evaluation:
  """Returns the evaluation by decoding, which writes which step is the best.

  Args:
    run: the run.
    split: the split.
    display: the display for progress.

  Raises:
    UserError: the split has no labels.
  """
  evaluation = decoded_evaluation.Evaluation(run, split, display)
  if not evaluation.scored_names:
    raise errors.UserError(
        f"the {split!r} split of {run.experiment.task!r} has no labels to "
        "choose the best checkpoint by; set train.eval_split to one that has."
    )
  metrics = metrics_file_lib.MetricsFile(evaluation.directory)
  metrics.drop_after(checkpoints.latest_step(run.model_dir))
  mixtures = _mixtures(run.experiment.task, evaluation.scored_names)

  def evaluate(step):
    evaluation.evaluate_missing(step)
    best = best_scores(metrics.read(), mixtures)
    path = os.path.join(run.model_dir, "best.json")
    files.write_json(path, best)

  def scores():
    curves = scores_by_step(metrics.read(), mixtures)
    return {
        task: {step: value for step, (_, value) in curve.items()}
        for task, curve in curves.items()
    }

  return best_checkpoints.Evaluation(evaluate, scores, metrics.drop_after)


def _mixtures(trained: str, evaluated: Sequence[str]) -> dict[str, list[str]]:
  """The mixtures that a run has a mean score of, with the tasks that count."""

  def tasks_of(name):
    return {task.name for task in seqio.get_subtasks(find_task(name))}

  names = dict.fromkeys((trained, *_BENCHMARKS))
  return {
      name: [task for task in evaluated if task in tasks_of(name)]
      for name in names
      if name in seqio.MixtureRegistry.names()
      and tasks_of(name) <= tasks_of(trained)
  }


def best_scores(
    metrics: Iterable[Mapping[str, Any]], mixtures: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
  """The best score of each task so far, and of each mixture.

  Args:
    metrics: see `scores_by_step`.
    mixtures: see `scores_by_step`.

  Returns:
    objects with "task", "metric", "step" and "value"; the earliest step of
    those with the best value.

  Source: section 4.1, evaluation every 200 steps and the best on validation.
  """
  best = []
  for task, curve in scores_by_step(metrics, mixtures).items():
    step = max(curve, key=lambda step: (curve[step][1], -step))
    metric, value = curve[step]
    best.append(dict(task=task, metric=metric, step=step, value=value))
  return best


def scores_by_step(
    metrics: Iterable[Mapping[str, Any]], mixtures: Mapping[str, Sequence[str]]
) -> dict[str, dict[int, tuple[str, float]]]:
  """The scores of each task, and of each mixture.

  Args:
    metrics: records with "step", "task" and the metrics by name. The first of a
      step counts: others come from later evaluations with other settings.
    mixtures: the tasks of each mixture by its name. Its score is the mean of
      theirs at the same step.

  Returns:
    by task or mixture and by step, the metric and its value.
  """
  # Here and not above, where it could be the user's own module of that name.
  from tasks import scores  # pylint: disable=g-import-not-at-top

  steps: dict[int, dict[str, tuple[str, float]]] = {}
  for record in metrics:
    values = {
        name: value
        for name, value in record.items()
        if name not in ("step", "task", *evaluated_examples.RECORDED)
        and isinstance(value, float | int | None)
    }
    score = scores.score(record["task"], values)
    if score is not None:
      steps.setdefault(record["step"], {}).setdefault(record["task"], score)
  curves = {}
  for step, of_tasks in sorted(steps.items()):
    found = dict(of_tasks)
    for mixture, tasks in mixtures.items():
      if set(tasks) <= set(of_tasks):
        mean = scores.mean_score({task: of_tasks[task][1] for task in tasks})
        if mean is not None:
          found[mixture] = ("mean", mean)
    for task, score in found.items():
      curves.setdefault(task, {})[step] = score
  return curves
